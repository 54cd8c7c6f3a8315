//! Where results go: never onto what the recipe reads, nor onto each other, nor, without being asked, onto what is not theirs.
//!
//! This is looked at when all of the recipe has been planned, since an input may be named after an output that would destroy it.

use std::path::{Path, PathBuf};

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::span::Span;

use super::build::Builder;
use super::models::resolve;
use super::outputs::State;

/// A place that is written to.
struct Goal {
    /// As written.
    path: String,
    target: PathBuf,
    span: Span,
    /// Why what is there may not be replaced.
    taken: Option<String>,
}

impl Builder<'_> {
    /// Reports outputs, saved paths and alignments, and reports that may not be written where the recipe says.
    pub(super) fn check_targets(&mut self) {
        let inputs = self.input_paths();
        let mut goals = self.goals();
        goals.sort_by_key(|goal| goal.span);
        let mut before: Vec<(PathBuf, Span)> = Vec::new();
        for goal in goals {
            let Goal { path, target, span, taken } = goal;
            let target = plain(&target);
            let hit =
                inputs.iter().find(|(input, _)| target.starts_with(input) || input.starts_with(&target));
            if let Some((_, shown)) = hit {
                let diagnostic = Diagnostic::new(
                    Code::OutputInsideInput,
                    span,
                    format!("the output `{path}` and the input `{shown}` are in one place"),
                )
                .note("what is read would be replaced; inputs are memory-mapped while outputs are written")
                .help("save to another folder");
                self.error(diagnostic);
                continue;
            }
            let over =
                |(other, _): &&(PathBuf, Span)| target.starts_with(other) || other.starts_with(&target);
            if let Some((other, first)) = before.iter().find(over) {
                let message = match *other == target {
                    true => format!("`{path}` is saved to twice"),
                    false => format!(
                        "`{path}` and another result lie one in the other: a result is replaced as a whole"
                    ),
                };
                let diagnostic =
                    Diagnostic::new(Code::SameTarget, span, message).secondary(*first, "first here");
                self.error(diagnostic);
                continue;
            }
            before.push((target, span));
            if let Some(why) = taken {
                let diagnostic =
                    Diagnostic::new(Code::TargetExists, span, format!("`{path}` exists already"))
                        .note(why)
                        .help("`--overwrite` (or `overwrite = true` here) replaces it as a whole");
                self.error(diagnostic);
            }
        }
    }

    fn goals(&self) -> Vec<Goal> {
        let outputs = self.outputs.iter().map(|output| {
            let target = resolve(&self.options.root, &output.path);
            let taken = match &output.state {
                State::Run { why } if target.exists() && !output.overwrite => {
                    Some(format!("it is not this recipe's result: {}", why.join("; ")))
                }
                _ => None,
            };
            Goal { path: output.path.clone(), target, span: output.span, taken }
        });
        #[cfg(feature = "learn")]
        let outputs = outputs
            .chain(self.experiment.saves.iter().map(|save| Goal {
                path: save.path.clone(),
                target: save.target.clone(),
                span: save.span,
                taken: self.taken(save),
            }))
            .chain(self.experiment.reports.iter().map(|report| Goal {
                path: report.path.clone(),
                target: report.target.clone(),
                span: report.span,
                // Who writes it knows what a report is.
                taken: None,
            }));
        outputs.collect()
    }

    /// Why a path or an alignment may not replace what is there.
    #[cfg(feature = "learn")]
    fn taken(&self, save: &crate::experiment::SavePlan) -> Option<String> {
        if !save.target.exists() {
            return None;
        }
        let what = if save.alignment { "alignment" } else { "path" };
        if save.target.is_dir() == save.alignment {
            let (found, wanted) = if save.alignment { ("folder", "file") } else { ("file", "folder") };
            return Some(format!("it is a {found}, and a saved {what} is a {wanted}"));
        }
        let own = crate::experiment::save::result_in(&save.target, save.alignment);
        match own {
            _ if save.overwrite => None,
            None => Some(format!("it is no {what} that fusion has saved")),
            Some(own) => {
                let step = self.experiment.step(save.input)?;
                let same = own.split('/').next() == Some(step.key.as_str());
                (!same).then(|| "it is not this recipe's result: the recipe or its inputs changed".to_owned())
            }
        }
    }

    /// Files and folders that the recipe reads, with what people call them.
    fn input_paths(&self) -> Vec<(PathBuf, String)> {
        let root = &self.options.root;
        let named = |path: &PathBuf| (path.clone(), path.display().to_string());
        let mut found: Vec<(PathBuf, String)> = self.options.recipe.iter().map(named).collect();
        for source in self.program.sources.iter().filter(|source| source.made_by.is_none()) {
            let path = resolve(root, &source.path);
            #[cfg(feature = "learn")]
            found.extend(crate::symmetry::beside(&path).as_ref().map(named));
            found.push((path, source.path.clone()));
        }
        found.extend(
            self.program.adapters.iter().map(|adapter| (resolve(root, &adapter.path), adapter.path.clone())),
        );
        #[cfg(feature = "learn")]
        found.extend(self.files_of_stages().iter().map(named));
        for (path, _) in &mut found {
            *path = plain(path);
        }
        found
    }

    /// Files that stages on networks read: first weights, alignments, declared symmetries, data.
    #[cfg(feature = "learn")]
    fn files_of_stages(&self) -> Vec<PathBuf> {
        use crate::experiment::Task;
        let mut found = Vec::new();
        for step in &self.experiment.steps {
            match &step.task {
                Task::Network { from, .. } => found.extend(from.clone()),
                Task::Align(plan) => {
                    found.extend(plan.stored.clone());
                    let declared = step.settings.get(super::experiment::align::SYMMETRIES);
                    let declared = declared.and_then(serde_json::Value::as_str);
                    // A text that is no file is given in the recipe itself.
                    let file = declared.map(|path| resolve(&self.options.root, path));
                    found.extend(file.filter(|file| file.is_file()));
                }
                _ => {}
            }
        }
        found.extend(self.experiment.data.values().flat_map(|data| data.facts.files.iter().cloned()));
        found
    }
}

/// A path without `..` and links, also of what is not there yet. Links are followed first: `link/..` is beside what the link names.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (there.canonicalize(), path.strip_prefix(there)) {
            return normal(&real.join(rest));
        }
    }
    path
}

/// `a/../b` without asking the file system.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_without_dots_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("models")).unwrap();
        std::os::unix::fs::symlink(real.join("models"), real.join("link")).unwrap();
        assert_eq!(plain(&real.join("link/new/x")), real.join("models/new/x"));
        assert_eq!(plain(&real.join("none/../models/.")), real.join("models"));
        std::fs::create_dir(real.join("models/deep")).unwrap();
        std::os::unix::fs::symlink(real.join("models/deep"), real.join("down")).unwrap();
        assert_eq!(plain(&real.join("down/../new")), real.join("models/new"));
    }
}
