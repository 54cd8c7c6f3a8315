//! Imports: reads the files that a recipe names, once each, and makes one instance per `import` line, because each may be given
//! other parameters.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::ast;
use crate::codes::Code;
use crate::diag::{Diagnostic, has_errors};
use crate::parse;
use crate::resolve::scope::{self, Scope};
use crate::span::{FileId, SourceMap};
use crate::world::World;

/// Index of an instance in [`Program::units`].
pub(crate) type UnitId = usize;

/// Most instances of files in one compilation; a file that imports two, each of which imports two, … grows quickly.
const MAX_UNITS: usize = 1000;

/// One file as it stands in one place of the import tree.
pub(crate) struct Unit {
    pub(crate) file: Rc<ast::File>,
    /// Dotted prefix for names in messages and plans: `zoo.`
    pub(crate) prefix: String,
    /// Folder of the file relative to the recipe's, as written in the imports; empty for the recipe.
    pub(crate) folder: String,
    /// Who imports it: instance and item.
    pub(crate) parent: Option<(UnitId, usize)>,
    pub(crate) scope: Scope,
}

/// All files of a compilation.
#[derive(Default)]
pub(crate) struct Program {
    pub(crate) units: Vec<Unit>,
}

/// Parses the recipe and everything that it imports.
pub(crate) fn load(
    world: &dyn World,
    path: &str,
    text: &str,
    sources: &mut SourceMap,
    diagnostics: &mut Vec<Diagnostic>,
) -> Program {
    let mut loader = Loader {
        world,
        sources,
        diagnostics,
        parsed: BTreeMap::new(),
        program: Program::default(),
        full: false,
    };
    let main = loader.sources.add(path, text);
    let (file, found) = parse::parse_file(main, text);
    loader.diagnostics.extend(found);
    loader.unit(Rc::new(file), String::new(), String::new(), None, &mut vec![clean(path)]);
    loader.program
}

struct Loader<'w> {
    world: &'w dyn World,
    sources: &'w mut SourceMap,
    diagnostics: &'w mut Vec<Diagnostic>,
    /// By resolved path; `None` for files with errors, which are reported once.
    parsed: BTreeMap<String, (FileId, Rc<ast::File>)>,
    program: Program,
    full: bool,
}

impl Loader<'_> {
    fn unit(
        &mut self,
        file: Rc<ast::File>,
        prefix: String,
        folder: String,
        parent: Option<(UnitId, usize)>,
        chain: &mut Vec<String>,
    ) -> UnitId {
        let id = self.program.units.len();
        let (scope, found) = scope::build(&file, self.world, parent.is_none());
        self.diagnostics.extend(found);
        self.program.units.push(Unit { file: file.clone(), prefix, folder, parent, scope });
        for (index, item) in file.items.iter().enumerate() {
            if let ast::Item::Import(import) = item {
                let child = self.import(id, index, import, chain);
                self.program.units[id].scope.link_import(index, child);
            }
        }
        id
    }

    fn import(
        &mut self,
        unit: UnitId,
        index: usize,
        import: &ast::Import,
        chain: &mut Vec<String>,
    ) -> Option<UnitId> {
        let written = import.path.value.as_str();
        let at = import.path.span;
        if let Some((scheme, _)) = written.split_once("://") {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::ImportNotFound,
                    at,
                    format!("imports over `{scheme}` are not supported yet"),
                )
                .label("only files beside the recipe can be imported")
                .help("download the file and import it by its relative path"),
            );
            return None;
        }
        if self.program.units.len() >= MAX_UNITS {
            if !self.full {
                self.full = true;
                self.diagnostics.push(Diagnostic::new(
                    Code::TooManyVariants,
                    at,
                    format!("more than {MAX_UNITS} imports of imports"),
                ));
            }
            return None;
        }
        let base = chain.last().map(|path| folder_of(path)).unwrap_or_default();
        let (resolved, text) = match self.world.read(base, written) {
            Ok(found) => found,
            Err(why) => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::ImportNotFound,
                        at,
                        format!("`{written}` cannot be imported: {why}"),
                    )
                    .note("paths are relative to the folder of the importing file"),
                );
                return None;
            }
        };
        let resolved = clean(&resolved);
        if let Some(start) = chain.iter().position(|path| *path == resolved) {
            let mut circle: Vec<String> = chain[start..].iter().map(|path| format!("`{path}`")).collect();
            circle.push(format!("`{resolved}`"));
            self.diagnostics.push(
                Diagnostic::new(Code::ImportCycle, at, "files import each other in a circle")
                    .label("closes the circle")
                    .note(circle.join(" imports ")),
            );
            return None;
        }
        let file = match self.parsed.get(&resolved) {
            Some((_, file)) => file.clone(),
            None => {
                let id = self.sources.add(resolved.clone(), text.clone());
                let (file, found) = parse::parse_file(id, &text);
                if has_errors(&found) {
                    self.diagnostics.push(
                        Diagnostic::new(Code::BrokenImport, at, format!("`{written}` has errors"))
                            .label("imported here"),
                    );
                }
                self.diagnostics.extend(found);
                let file = Rc::new(file);
                self.parsed.insert(resolved.clone(), (id, file.clone()));
                file
            }
        };
        let alias = scope::import_name(import);
        let parent = &self.program.units[unit];
        let prefix = format!("{}{}.", parent.prefix, alias);
        let folder = join(&parent.folder, folder_of(written));
        chain.push(resolved);
        let id = self.unit(file, prefix, folder, Some((unit, index)), chain);
        chain.pop();
        Some(id)
    }
}

/// The folder part of a path with `/`, without the last slash; empty if there is none.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| if folder.is_empty() { "/" } else { folder })
}

/// `folder/path`, unless the path is absolute, names another kind of source (`hf:…`, `mnist:train`) or the folder is empty.
pub(crate) fn join(folder: &str, path: &str) -> String {
    let elsewhere = path.starts_with('/')
        || path.starts_with('~')
        || path.split('/').next().is_some_and(|first| first.contains(':'));
    if folder.is_empty() || elsewhere {
        path.to_owned()
    } else if path.is_empty() {
        folder.to_owned()
    } else {
        clean(&format!("{}/{path}", folder.trim_end_matches('/')))
    }
}

/// Without `.` and `x/..`, so that one file has one name.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, ".." | "")) => {
                parts.pop();
            }
            "" if !parts.is_empty() => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(clean("a/./b/../c"), "a/c");
        assert_eq!(clean("../a"), "../a");
        assert_eq!(clean("/a//b"), "/a/b");
        assert_eq!(join("common", "models/x"), "common/models/x");
        assert_eq!(join("common", "../x"), "x");
        assert_eq!(join("common", "hf:org/x"), "hf:org/x");
        assert_eq!(join("", "x"), "x");
        assert_eq!(folder_of("r.fusion"), "");
        assert_eq!(folder_of("a/b/r.fusion"), "a/b");
    }
}
