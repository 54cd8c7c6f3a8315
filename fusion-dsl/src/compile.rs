//! From the text of a recipe to the checked graph of each of its variants, with everything that is to be said about it.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{self, Item};
use crate::check::unused::unused;
use crate::codes::Code;
use crate::diag::{self, Diagnostic, has_errors};
use crate::graph::{Graph, NodeKind, PluginUse, Value};
use crate::hash::Key;
use crate::import::{self, Program, UnitId};
use crate::lower::canonical::canonical;
use crate::resolve::build::Build;
use crate::resolve::scope;
use crate::span::{SourceMap, Span};
use crate::sweep;
use crate::world::World;

/// What a recipe means.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// All texts: the recipe, its imports, and the values of `--set`.
    pub sources: SourceMap,
    /// The recipe's syntax tree.
    pub file: ast::File,
    /// One graph for each combination of swept values; one with an empty label without a sweep. Where there are errors, what is
    /// left of it.
    pub variants: Vec<Variant>,
    /// Every `use plugin` of the recipe and its imports, in reading order; also where there are errors.
    pub plugins: Vec<PluginUse>,
    /// Everything there is to say, in reading order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    /// Whether any diagnostic stops the recipe from running.
    pub fn has_errors(&self) -> bool {
        has_errors(&self.diagnostics)
    }
}

/// One combination of swept values and its graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The swept parameters and their values here, in the order of their declaration.
    pub label: Vec<(String, Value)>,
    /// The canonical graph.
    pub graph: Graph,
}

/// Compiles a recipe.
///
/// `path` is the recipe's name for messages and the start of relative imports; `overrides` are the pairs of `--set`: a list or
/// several values separated by commas are a sweep. Never fails: what is wrong is in [`Compiled::diagnostics`], and what is not
/// touched by it is in the graphs.
pub fn compile(world: &dyn World, path: &str, text: &str, overrides: &[(String, String)]) -> Compiled {
    let mut sources = SourceMap::new();
    let mut diagnostics = Vec::new();
    let program = import::load(world, path, text, &mut sources, &mut diagnostics);
    let (axes, found) = sweep::axes(world, &program, &mut sources, overrides);
    diagnostics.extend(found);

    let uses = plugin_uses(&program);
    // The graph names each plugin once.
    let mut plugins = uses.clone();
    plugins.sort_by(|a, b| a.id.cmp(&b.id));
    plugins.dedup_by(|a, b| a.id == b.id);
    let edition = program.units.first().map_or(1, |unit| unit.file.edition);
    let mut used: BTreeSet<(UnitId, String)> =
        axes.iter().flat_map(|axis| axis.uses.iter().map(|name| (0, name.clone()))).collect();
    let mut variants = Vec::new();
    let (mut total, mut skipped) = (0, false);
    for sets in sweep::product(&axes) {
        let mut build = Build::new(&program, world, &sources, sets.clone());
        build.check_imports();
        build.evaluate_all();
        build.expand_all();
        let raws = build.raws.clone();
        let built = raws.iter().map(|raw| build.node(raw)).collect();
        let (graph, found) = canonical(built, &raws, plugins.clone(), edition, world);
        skipped |= build.skipped;
        used.append(&mut build.used);
        diagnostics.append(&mut build.diagnostics);
        diagnostics.extend(found);
        total += graph.nodes.len();
        variants.push(Variant { label: sweep::label(&axes, &sets), graph });
        if total > sweep::MAX_TOTAL_NODES {
            diagnostics.push(
                Diagnostic::global(
                    Code::TooManyVariants,
                    format!("the sweep makes more than {} nodes in all", sweep::MAX_TOTAL_NODES),
                )
                .help("sweep over fewer values"),
            );
            break;
        }
    }
    same_targets(&variants, &mut diagnostics);
    let file = program.units.first().map(|unit| (*unit.file).clone());
    // What a mistake leaves unused or without its seed is not worth a second message; nor is what a loop without turns would use.
    if has_errors(&diagnostics) {
        diagnostics.retain(|diagnostic| diagnostic.code != Code::SameNetwork);
    } else if !skipped {
        diagnostics.extend(unused(&program, &used));
    }
    diag::sort(&mut diagnostics);
    let file =
        file.unwrap_or(ast::File { edition: 1, items: Vec::new(), broken: Vec::new(), header: Span::NONE });
    Compiled { sources, file, variants, plugins: uses, diagnostics }
}

/// Every `use plugin` of the recipe and its imports. A file that is imported twice counts once.
fn plugin_uses(program: &Program) -> Vec<PluginUse> {
    let mut uses: Vec<PluginUse> = Vec::new();
    for unit in &program.units {
        for item in &unit.file.items {
            let Item::Use(it) = item else { continue };
            if uses.iter().any(|known| known.span == it.span) {
                continue;
            }
            uses.push(PluginUse {
                id: it.plugin.value.clone(),
                version: it.version.as_ref().map(|version| version.value.clone()),
                alias: scope::use_name(it),
                span: it.span,
            });
        }
    }
    uses
}

/// Two different results must not be written to one path, within a variant or across the sweep.
fn same_targets(variants: &[Variant], diagnostics: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<String, (usize, Key, Span)> = BTreeMap::new();
    let mut said: BTreeSet<Span> = BTreeSet::new();
    for (index, variant) in variants.iter().enumerate() {
        let keys = variant.graph.keys();
        let mut written: Vec<(Span, &str, Key, bool)> = variant
            .graph
            .nodes
            .iter()
            .zip(keys)
            .filter_map(|(node, key)| match &node.kind {
                NodeKind::Save { path, path_span, .. } => Some((*path_span, path.as_str(), key, false)),
                NodeKind::Report { path, .. } => Some((node.span, path.as_str(), key, true)),
                _ => None,
            })
            .collect();
        written.sort_unstable();
        for (span, path, key, report) in written {
            let target = import::clean(path.trim_end_matches('/'));
            let Some((other, known, known_span)) = first.get(&target).copied() else {
                first.insert(target, (index, key, span));
                continue;
            };
            // A report gathers all variants of a sweep, and the same result may be written again.
            let gathers = report || key == known;
            if (other != index && gathers && span == known_span) || !said.insert(span) {
                continue;
            }
            let diagnostic =
                Diagnostic::new(Code::SameTarget, span, format!("`{path}` would be written twice"));
            diagnostics.push(if other == index {
                if span == known_span {
                    diagnostic.help("name what differs in the path: `\"out/{i}\"`")
                } else {
                    diagnostic.secondary(known_span, "also written here").help("choose another path")
                }
            } else {
                let names: Vec<&str> = variant.label.iter().map(|(name, _)| name.as_str()).collect();
                let hole = names.first().copied().unwrap_or("name");
                diagnostic
                    .note("each variant of the sweep writes a result of its own")
                    .help(format!("name what is swept in the path: `\"{path}-{{{hole}}}\"`"))
            });
        }
    }
    // A save replaces its folder as a whole, so nothing else may be written into it.
    for (target, (_, _, span)) in &first {
        let outer = target.match_indices('/').find_map(|(at, _)| first.get_key_value(&target[..at]));
        if let Some((folder, (_, _, outer))) = outer
            && said.insert(*span)
        {
            diagnostics.push(
                Diagnostic::new(
                    Code::SameTarget,
                    *span,
                    format!("`{target}` lies inside of the output `{folder}`"),
                )
                .secondary(*outer, "also written here")
                .help("choose paths beside each other"),
            );
        }
    }
}
