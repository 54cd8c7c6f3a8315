//! The names that a file binds. It depends on the text alone, not on parameters, so it is made once per instance.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{File, For, Import, Item, Name, Use};
use crate::codes::Code;
use crate::diag::{Diagnostic, Edit};
use crate::import::UnitId;
use crate::span::Span;
use crate::world::World;

/// What a name stands for; `usize` is the item's index in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Binding {
    Param(usize),
    Let(usize),
    /// A model, data set or stage.
    Node(usize),
    /// `name[…]`: the top-level items that make members, in order.
    Family(Vec<usize>),
    /// `None` if the file could not be read, which has been reported.
    Import(usize, Option<UnitId>),
    /// The plugin's id; whether its methods are there.
    Plugin {
        item: usize,
        id: String,
        there: bool,
    },
    /// Bound by an item with a syntax error: quiet.
    Broken,
}

/// A binding and where it was made.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) binding: Binding,
    pub(crate) span: Span,
}

/// All names of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) names: BTreeMap<String, Bound>,
    /// Items that lost a duplicate name: they are not built.
    pub(crate) rejected: BTreeSet<usize>,
}

impl Scope {
    pub(crate) fn link_import(&mut self, item: usize, unit: Option<UnitId>) {
        for bound in self.names.values_mut() {
            if let Binding::Import(index, target) = &mut bound.binding
                && *index == item
            {
                *target = unit;
            }
        }
    }
}

/// The name of an import without `as`: the file's name up to its first dot, as far as it can be a name.
pub(crate) fn import_name(import: &Import) -> String {
    if let Some(alias) = &import.alias {
        return alias.text.clone();
    }
    let file = import.path.value.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

/// The plugin's local name; without `as` the last part of its id.
pub(crate) fn use_name(it: &Use) -> String {
    match &it.alias {
        Some(alias) => alias.text.clone(),
        None => it.plugin.value.rsplit('.').next().unwrap_or_default().replace('-', "_"),
    }
}

struct Builder {
    scope: Scope,
    diagnostics: Vec<Diagnostic>,
}

/// Collects the names; each is bound once.
pub(crate) fn build(file: &File, world: &dyn World, main: bool) -> (Scope, Vec<Diagnostic>) {
    let mut builder = Builder { scope: Scope::default(), diagnostics: Vec::new() };
    for (index, item) in file.items.iter().enumerate() {
        match item {
            Item::Param(it) => builder.bind(&it.name, index, Binding::Param(index)),
            Item::Let(it) => builder.bind(&it.name, index, Binding::Let(index)),
            Item::Model(it) if it.index.is_some() => builder.family(&it.name, index),
            Item::Stage(it) if it.index.is_some() => builder.family(&it.name, index),
            Item::Model(it) => builder.bind(&it.name, index, Binding::Node(index)),
            Item::Stage(it) => builder.bind(&it.name, index, Binding::Node(index)),
            Item::Data(it) => builder.bind(&it.name, index, Binding::Node(index)),
            Item::For(it) => builder.loop_names(it, index),
            Item::Import(it) => {
                let span = it.alias.as_ref().map_or(it.path.span, |alias| alias.span);
                let name = Name::new(import_name(it), span);
                builder.bind(&name, index, Binding::Import(index, None));
            }
            Item::Use(it) => {
                let id = it.plugin.value.clone();
                let version = it.version.as_ref();
                let usable = world.plugin(&id, version.map(|version| version.value.as_str()));
                let there = usable.is_ok();
                if let Err(fault) = usable {
                    let blamed = version.filter(|_| fault.code == Code::PluginVersion).unwrap_or(&it.plugin);
                    builder.diagnostics.push(fault.at(blamed.span));
                }
                let span = it.alias.as_ref().map_or(it.plugin.span, |alias| alias.span);
                builder.bind(
                    &Name::new(use_name(it), span),
                    index,
                    Binding::Plugin { item: index, id, there },
                );
            }
            Item::Sweep(it) if !main => builder.diagnostics.push(
                Diagnostic::new(Code::BadSweep, it.span, "an imported recipe's `sweep` is not run")
                    .with_severity(crate::diag::Severity::Warning)
                    .help("sweep in the importing recipe, over a parameter passed `with { … }`"),
            ),
            Item::Sweep(_) | Item::Save(_) | Item::Report(_) | Item::Expect(_) => {}
        }
    }
    for broken in &file.broken {
        if let Some(name) = &broken.name {
            builder
                .scope
                .names
                .entry(name.text.clone())
                .or_insert(Bound { binding: Binding::Broken, span: name.span });
        }
    }
    (builder.scope, builder.diagnostics)
}

impl Builder {
    fn bind(&mut self, name: &Name, item: usize, binding: Binding) {
        match self.scope.names.get(&name.text) {
            None => {
                self.scope.names.insert(name.text.clone(), Bound { binding, span: name.span });
            }
            Some(first) => {
                self.scope.rejected.insert(item);
                let first = first.span;
                self.duplicate(name, first);
            }
        }
    }

    fn family(&mut self, name: &Name, item: usize) {
        match self.scope.names.get_mut(&name.text) {
            Some(Bound { binding: Binding::Family(items), .. }) => {
                if items.last() != Some(&item) {
                    items.push(item);
                }
            }
            _ => self.bind(name, item, Binding::Family(vec![item])),
        }
    }

    fn loop_names(&mut self, it: &For, item: usize) {
        for inner in &it.items {
            match inner {
                Item::Model(model) => self.member(&model.name, model.index.is_some(), &it.variable, item),
                Item::Stage(stage) => self.member(&stage.name, stage.index.is_some(), &it.variable, item),
                Item::Data(data) => self.diagnostics.push(
                    Diagnostic::new(
                        Code::ClauseNotAllowed,
                        data.name.span,
                        "`data` cannot be made in a loop",
                    )
                    .help("declare it outside the loop"),
                ),
                Item::For(inner) => self.loop_names(inner, item),
                Item::Let(_) | Item::Save(_) | Item::Report(_) | Item::Expect(_) => {}
                // The grammar keeps these out of loops.
                Item::Param(_) | Item::Use(_) | Item::Import(_) | Item::Sweep(_) => {}
            }
        }
    }

    fn member(&mut self, name: &Name, indexed: bool, variable: &Name, item: usize) {
        if indexed {
            return self.family(name, item);
        }
        let fixed = format!("{}[{}]", name.text, variable.text);
        self.diagnostics.push(
            Diagnostic::new(
                Code::BadIndex,
                name.span,
                format!("`{}` is made once per turn of the loop and needs an index", name.text),
            )
            .help(format!("write `{fixed}`"))
            .edits("add the index", vec![Edit { span: name.span, replacement: fixed }]),
        );
        // Known, so that uses of it are not complained about.
        self.scope
            .names
            .entry(name.text.clone())
            .or_insert(Bound { binding: Binding::Broken, span: name.span });
    }

    fn duplicate(&mut self, name: &Name, first: Span) {
        self.diagnostics.push(
            Diagnostic::new(Code::DuplicateName, name.span, format!("`{}` is bound twice", name.text))
                .label("bound again here")
                .secondary(first, "first bound here"),
        );
    }
}
