//! Reads a recipe from disk, compiles it with the plugins that it uses, and plans each of its variants.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use fusion_core::method::Registry;
use fusion_core::plan::{Options, Plan, plan};
use fusion_dsl::codes::Code;
use fusion_dsl::compile::{Compiled, Variant, compile};
use fusion_dsl::diag::{Diagnostic, sort};
use fusion_dsl::graph::{NodeKind, Value};
use fusion_dsl::span::{FileId, Span};
use fusion_dsl::world::plugin_of;
use serde_json::Value as Json;

use crate::cli::{PluginArgs, RecipeArgs};
use crate::failure::Failure;
use crate::plugins::{Isolation, Plugins};
use crate::session::{Session, built_in};
use crate::world::Machine;

/// A recipe with what it means.
pub(crate) struct Recipe {
    /// As given on the command line.
    pub(crate) path: PathBuf,
    /// Relative paths of models and outputs start here.
    pub(crate) root: PathBuf,
    /// Its text.
    pub(crate) text: String,
    /// What it means.
    pub(crate) compiled: Compiled,
    /// The plugins that it uses.
    pub(crate) plugins: Plugins,
    /// The methods that are built in, and those of its plugins.
    pub(crate) registry: Registry,
}

/// The plans of all variants and everything there is to say.
pub(crate) struct Planned {
    /// One per variant; `None` where it has errors.
    pub(crate) plans: Vec<Option<Plan>>,
    /// Of the front end and of the planner, without repeats.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The text of a file, `-` for stdin.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|error| {
        let failure = Failure::read(path, &error);
        if path.is_dir() { failure.help("name a recipe, a file that ends in `.fusion`") } else { failure }
    })?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::new(Code::CannotReadFile, format!("`{}` is not UTF-8 text", path.display()))
            .help("recipes are text files; `fusion inspect` looks into checkpoints")
    })
}

/// A recipe's name in messages.
pub(crate) fn name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.to_string_lossy().into_owned() }
}

impl Recipe {
    /// Reads and compiles. What is wrong with the text is in [`Compiled::diagnostics`].
    pub(crate) fn load(args: &RecipeArgs) -> Result<Recipe, Failure> {
        let path = args.recipe.clone();
        let text = read_text(&path)?;
        Recipe::compile(path, text, &args.set, &args.plugins)
    }

    pub(crate) fn compile(
        path: PathBuf,
        text: String,
        sets: &[(String, String)],
        plugins: &PluginArgs,
    ) -> Result<Recipe, Failure> {
        let name = name(&path);
        let root = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut registry = built_in();
        let mut compiled = compile(&Machine::new(&registry, None), &name, &text, sets);
        let mut chosen = Plugins::default();
        // Which plugins it uses is known only now; with their methods it means something else.
        if !compiled.plugins.is_empty() {
            chosen = Plugins::choose(plugins, &root, &compiled.plugins, true)?;
            chosen.declare(&mut registry);
            compiled = compile(&Machine::new(&registry, Some(&chosen)), &name, &text, sets);
            compiled.diagnostics.extend(chosen.verify(&compiled.plugins, &path));
            sort(&mut compiled.diagnostics);
        }
        Ok(Recipe { path, root, text, compiled, plugins: chosen, registry })
    }

    /// Loads the plugins whose methods stages use. This runs their code.
    pub(crate) fn load_plugins(&mut self, isolation: &Isolation<'_>) -> Result<(), Failure> {
        let stages = self.compiled.variants.iter().flat_map(|variant| &variant.graph.nodes);
        let used: BTreeSet<&str> = stages
            .filter_map(|node| match &node.kind {
                NodeKind::Stage(stage) => plugin_of(&stage.method),
                _ => None,
            })
            .collect();
        self.plugins.load(&used, isolation, &mut self.registry)
    }

    /// Plans every variant. Where the front end found errors, what they leave of the graph is still planned, so that one run
    /// also tells what is wrong with the headers; there are no plans then.
    pub(crate) fn plan(&self, options: &Options) -> Planned {
        let mut diagnostics = self.compiled.diagnostics.clone();
        let mut options = options.clone();
        options.recipe =
            self.compiled.sources.iter().map(|(_, source)| PathBuf::from(source.name())).collect();
        // Whether an output would come out the same is not known of a plugin that is refused.
        options.overwrite |= diagnostics.iter().any(|one| one.is_error() && one.code.group() == "plugins");
        let mut plans = Vec::new();
        for variant in &self.compiled.variants {
            let (one, found) = plan(&variant.graph, &self.registry, &options);
            plans.push(one.filter(|_| !self.compiled.has_errors()));
            diagnostics.extend(found);
        }
        sort(&mut diagnostics);
        // Variants share most of what is wrong with them.
        let mut seen: Vec<Diagnostic> = Vec::new();
        diagnostics.retain(|one| {
            let new = !seen.contains(one);
            if new {
                seen.push(one.clone());
            }
            new
        });
        Planned { plans, diagnostics }
    }

    /// Like [`Recipe::plan`], but diagnostics are shown and errors end the command.
    pub(crate) fn plan_or_say(
        &self,
        session: &Session,
        options: &Options,
        json: bool,
    ) -> Result<Vec<Plan>, Failure> {
        let planned = self.plan(options);
        session.say(&self.path, &planned.diagnostics, &self.compiled.sources, json)?;
        let plans: Vec<Plan> = planned.plans.into_iter().flatten().collect();
        if plans.len() == self.compiled.variants.len() {
            return Ok(plans);
        }
        Err(Failure::new(Code::Internal, "the planner gave neither a plan nor a reason")
            .help(crate::panics::REPORT))
    }

    /// `line 14`, with the file where it is not the recipe itself; empty for no place.
    pub(crate) fn line(&self, span: Span) -> String {
        let Some(source) = self.compiled.sources.get(span.file) else { return String::new() };
        let line = source.position(span.start).line;
        if span.file == FileId::MAIN {
            format!("line {line}")
        } else if source.name().starts_with("--") {
            source.name().to_owned()
        } else {
            format!("{} line {line}", source.name())
        }
    }

    /// A place in JSON; null for none.
    pub(crate) fn place(&self, span: Span) -> Json {
        match self.compiled.sources.get(span.file) {
            Some(source) => {
                let at = source.position(span.start);
                serde_json::json!({ "file": source.name(), "line": at.line, "column": at.column })
            }
            None => Json::Null,
        }
    }
}

/// `keep = 0.2, scale = 1`; empty without a sweep.
pub(crate) fn label(variant: &Variant) -> String {
    let parts: Vec<String> =
        variant.label.iter().map(|(name, value)| format!("{name} = {}", shown(value))).collect();
    parts.join(", ")
}

/// The label as JSON.
pub(crate) fn label_json(variant: &Variant) -> Json {
    variant
        .label
        .iter()
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn shown(value: &Value) -> String {
    match plain(value) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::from(*value),
        // Whole numbers without `.0`.
        Value::Number(value) if value.fract() == 0.0 && value.abs() < 1e15 => Json::from(*value as i64),
        Value::Number(value) => Json::from(*value),
        Value::Text(text) | Value::Word(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => Json::from(*bytes),
        Value::Quantity { value, unit } => Json::from(format!("{value} {unit}")),
        Value::Range { start, end } => Json::from(format!("{start}..{end}")),
        Value::List(items) => items.iter().map(plain).collect(),
        other => serde_json::to_value(other).unwrap_or(Json::Null),
    }
}
