//! A world without files or code: descriptors like the real ones, and imports from a map.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;

use fusion_dsl::descriptor::{BlockDescriptor, KernelClass, MethodDescriptor, Port, Space, Verb};
use fusion_dsl::world::{PluginFault, World, plugin_of};
use fusion_dsl::{Code, Diagnostic, FileId, Span, compile};
use serde_json::{Value as Json, json};

/// Methods, tables of blocks, and importable files.
pub struct FakeWorld {
    pub methods: Vec<MethodDescriptor>,
    /// Architectures; empty in a world that knows none.
    pub networks: Vec<BlockDescriptor>,
    /// `data`, `collect`, `report`, in this order; empty in a world that does not know them.
    pub blocks: Vec<BlockDescriptor>,
    pub files: BTreeMap<String, String>,
}

impl World for FakeWorld {
    fn read(&self, base: &str, path: &str) -> Result<(String, String), String> {
        let full = if base.is_empty() { path.to_owned() } else { format!("{base}/{path}") };
        match self.files.get(&full) {
            Some(text) => Ok((full, text.clone())),
            None => Err("no such file".to_owned()),
        }
    }

    fn methods(&self) -> &[MethodDescriptor] {
        &self.methods
    }

    fn networks(&self) -> &[BlockDescriptor] {
        &self.networks
    }

    fn data_settings(&self) -> Option<&BlockDescriptor> {
        self.blocks.first()
    }

    fn collect_settings(&self) -> Option<&BlockDescriptor> {
        self.blocks.get(1)
    }

    fn report_settings(&self) -> Option<&BlockDescriptor> {
        self.blocks.get(2)
    }

    /// Version 1 of the one plugin is installed.
    fn plugin(&self, id: &str, version: Option<&str>) -> Result<(), PluginFault> {
        if !self.methods.iter().any(|method| plugin_of(&method.id) == Some(id)) {
            return Err(PluginFault::new(
                Code::PluginNotFound,
                format!("the plugin `{id}` is not installed"),
            ));
        }
        match version {
            Some("^9") => {
                Err(PluginFault::new(Code::PluginVersion, format!("no version of `{id}` is accepted"))
                    .label("1.0.0 is installed")
                    .note("in a fake place")
                    .help("install another"))
            }
            _ => Ok(()),
        }
    }
}

fn port(role: &str, space: Space, min: u32, max: Option<u32>, settings: bool) -> Port {
    Port { role: role.into(), space, min, max, settings, doc: String::new() }
}

fn base() -> Port {
    Port {
        doc: "the model that the others were trained from".into(),
        ..port("base", Space::Model, 1, Some(1), false)
    }
}

fn from(min: u32, max: Option<u32>) -> Port {
    port("from", Space::Model, min, max, true)
}

fn data() -> Port {
    port("data", Space::Dataset, 1, Some(1), false)
}

fn method(id: &str, verb: Verb, ports: Vec<Port>, kernel: KernelClass, properties: Json) -> MethodDescriptor {
    let required: Vec<String> = properties
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, schema)| schema.get("required-here").is_some())
        .map(|(name, _)| name.clone())
        .collect();
    MethodDescriptor {
        id: id.into(),
        version: 1,
        verb,
        summary: format!("fake {id}"),
        formula: String::new(),
        citation: String::new(),
        ports,
        params: json!({ "type": "object", "properties": properties, "required": required }),
        kernel,
        passes: 0,
        random: false,
        traits: Vec::new(),
    }
}

fn fraction(default: f64) -> Json {
    json!({ "type": "number", "x-unit": "fraction", "minimum": 0.0, "maximum": 1.0, "default": default,
        "x-varies": true, "x-input": true, "description": "share of each task vector that survives trimming" })
}

fn weight() -> Json {
    json!({ "type": "number", "default": 1.0, "x-varies": true, "x-input": true, "description": "factor of the input" })
}

fn flag(default: bool) -> Json {
    json!({ "type": "boolean", "default": default })
}

fn count() -> Json {
    json!({ "type": "integer", "minimum": 1 })
}

fn seed() -> Json {
    json!({ "type": "integer", "x-unit": "seed" })
}

fn words(words: &[&str]) -> Json {
    json!({ "type": "string", "enum": words })
}

fn start() -> Port {
    port("start", Space::Model, 1, Some(1), false)
}

fn path() -> Port {
    port("path", Space::Path, 1, Some(1), false)
}

fn between() -> Port {
    port("between", Space::Model, 2, Some(2), false)
}

fn span() -> Json {
    json!({ "x-unit": "span" })
}

fn epochs() -> Json {
    json!({ "x-unit": "span", "x-bare": "epoch", "exclusiveMinimum": 0.0 })
}

fn rate() -> Json {
    json!({ "x-unit": "schedule", "exclusiveMinimum": 0.0, "description": "learning rate" })
}

fn block(id: &str, params: Json) -> BlockDescriptor {
    BlockDescriptor {
        id: id.into(),
        summary: format!("fake {id}"),
        formula: String::new(),
        citation: String::new(),
        params,
    }
}

/// Architectures. `mlp` takes its sizes without names, `resnet` does not.
pub fn networks() -> Vec<BlockDescriptor> {
    let size = json!({ "type": "integer", "minimum": 1 });
    let sizes = json!({ "type": "array", "items": { "type": "integer", "minimum": 1 } });
    vec![
        block(
            "mlp",
            json!({ "type": "object", "required": ["inputs", "outputs"],
                "x-positional": ["inputs", "hidden", "outputs"],
                "properties": { "inputs": size, "hidden": sizes, "outputs": size,
                    "activation": words(&["relu", "gelu", "tanh"]), "bias": flag(true),
                    "dropout": { "type": "number", "x-unit": "fraction" },
                    "norm": words(&["none", "batch", "layer"]) } }),
        ),
        block(
            "resnet",
            json!({ "type": "object", "required": ["depth", "classes"],
                "properties": { "depth": size, "classes": size,
                    "width": { "type": "number", "exclusiveMinimum": 0.0, "default": 1.0 },
                    "norm": words(&["batch", "layer"]) } }),
        ),
    ]
}

/// `data`, `collect`, `report`.
pub fn blocks() -> Vec<BlockDescriptor> {
    vec![
        block(
            "data",
            json!({ "type": "object", "x-sources": ["digits", "spirals"],
                "properties": { "split": { "x-unit": "range" },
                    "limit": { "type": "integer", "x-unit": "samples", "minimum": 1 },
                    "length": { "type": "integer", "x-unit": "tokens", "minimum": 1 },
                    "shuffle": { "type": "integer", "x-unit": "seed" },
                    "noise": { "type": "number", "x-unit": "fraction" },
                    "classes": { "type": "array", "items": { "type": "integer" } },
                    "augment": words(&["none", "standard"]) } }),
        ),
        block(
            "collect",
            json!({ "type": "object", "x-one": ["swa", "ema"],
                "properties": {
                    "recorder": { "type": "string", "enum": ["snapshots", "swa", "ema", "fge", "swag"], "default": "snapshots" },
                    "every": span(), "after": span(), "at": words(&["cycle_end", "cycle_middle"]),
                    "keep": count() } }),
        ),
        block(
            "report",
            json!({ "type": "object", "properties": { "title": { "type": "string" }, "plots": flag(true) } }),
        ),
    ]
}

/// The methods of the reference's recipes and the built-in averages.
pub fn methods() -> Vec<MethodDescriptor> {
    use KernelClass::{Elementwise, Learn, Route, WholeModel, WholeTensor};
    let metric = || words(&["accuracy", "cross_entropy", "perplexity"]);
    let mut all = vec![
        method(
            "linear",
            Verb::Average,
            vec![from(2, None)],
            Elementwise,
            json!({ "weight": weight(), "normalize": flag(true) }),
        ),
        method("mean", Verb::Average, vec![from(1, None)], Elementwise, json!({})),
        method("running_mean", Verb::Average, vec![from(1, None)], Elementwise, json!({})),
        method(
            "slerp",
            Verb::Average,
            vec![from(2, Some(2))],
            WholeTensor,
            json!({ "t": { "type": "number", "minimum": 0.0, "maximum": 1.0, "x-varies": true, "required-here": true,
                "description": "0 gives the first model, 1 the second" } }),
        ),
        method(
            "task_arithmetic",
            Verb::Average,
            vec![base(), from(1, None)],
            Elementwise,
            json!({ "weight": weight(), "scale": { "type": "number", "default": 1.0, "x-varies": true } }),
        ),
        method(
            "ties",
            Verb::Average,
            vec![base(), from(1, None)],
            Elementwise,
            json!({ "weight": weight(), "density": fraction(0.5), "normalize": flag(true),
                "election": words(&["weighted", "count"]),
                "scope": { "oneOf": [{ "const": "tensor", "description": "each tensor" }, { "const": "model" }] } }),
        ),
        MethodDescriptor {
            random: true,
            ..method(
                "dare",
                Verb::Average,
                vec![base(), from(1, None)],
                Elementwise,
                json!({ "weight": weight(), "density": fraction(0.5),
                "rescale": words(&["expected", "l1", "none"]) }),
            )
        },
        method("model_stock", Verb::Average, vec![base(), from(2, None)], WholeTensor, json!({})),
        method("stitch", Verb::Stitch, vec![], Route, json!({})),
        method(
            "org.acme.fisher.diag_fisher",
            Verb::Average,
            vec![base(), from(1, None), data()],
            WholeModel,
            json!({ "weight": weight(), "damping": { "type": "number", "exclusiveMinimum": 0.0 },
                "floor": { "type": "number" } }),
        ),
        method(
            "adam",
            Verb::Train,
            vec![start(), data()],
            Learn,
            json!({ "epochs": epochs(), "batch": count(), "rate": rate(), "seed": seed() }),
        ),
        method(
            "adamw",
            Verb::Train,
            vec![start(), data()],
            Learn,
            json!({ "epochs": epochs(), "rate": rate(), "seed": seed(),
                "decay": { "type": "number", "minimum": 0.0, "default": 0.01 },
                "mixup": { "type": "number", "minimum": 0.0, "maximum": 1.0 }, "warmup": span() }),
        ),
        method(
            "sgd",
            Verb::Train,
            vec![start(), data()],
            Learn,
            json!({ "epochs": epochs(), "batch": count(), "seed": seed(),
                "momentum": { "x-unit": "schedule", "minimum": 0.0, "maximum": 1.0, "default": 0.9 },
                "rate": rate() }),
        ),
        method(
            "weight_matching",
            Verb::Align,
            vec![port("reference", Space::Model, 1, Some(1), false), from(1, Some(1))],
            WholeModel,
            json!({ "sweeps": count(), "seed": seed() }),
        ),
        method("batch_norm", Verb::Repair, vec![from(1, Some(1)), data()], Learn, json!({})),
        method(
            "linear",
            Verb::Connect,
            vec![between()],
            KernelClass::Path,
            json!({ "points": count(), "monotonic": flag(false) }),
        ),
        method(
            "bezier",
            Verb::Connect,
            vec![between(), data()],
            KernelClass::Path,
            json!({ "bends": count(), "epochs": epochs(), "rate": rate(), "seed": seed() }),
        ),
        method("swag", Verb::Connect, vec![from(1, None)], KernelClass::Path, json!({ "rank": count() })),
        method(
            "point",
            Verb::Average,
            vec![path()],
            KernelClass::Path,
            json!({ "at": { "type": "number", "minimum": 0.0, "maximum": 1.0, "required-here": true } }),
        ),
        method("barrier", Verb::Evaluate, vec![path(), data()], Learn, json!({ "metric": metric() })),
        method("accuracy", Verb::Evaluate, vec![from(1, None), data()], Learn, json!({})),
        method(
            "soft_vote",
            Verb::Ensemble,
            vec![from(1, None)],
            Learn,
            json!({ "temperature": { "type": "number", "default": 1.0 }, "points": count() }),
        ),
        method(
            "logistic_stacking",
            Verb::Ensemble,
            vec![from(2, None), data()],
            Learn,
            json!({ "folds": count(), "l2": { "type": "number" } }),
        ),
        method(
            "soft_targets",
            Verb::Distill,
            vec![port("teacher", Space::Model, 1, Some(1), false), start(), data()],
            Learn,
            json!({ "temperature": { "type": "number" }, "alpha": { "type": "number" }, "epochs": epochs() }),
        ),
        method(
            "greedy",
            Verb::Select,
            vec![from(1, None), data()],
            WholeModel,
            json!({ "metric": metric(), "order": words(&["best_first", "given"]),
                "accept": words(&["improves", "not_worse"]) }),
        ),
    ];
    all.sort_by(|a, b| (a.id.as_str(), a.verb).cmp(&(b.id.as_str(), b.verb)));
    all
}

/// All verbs have methods.
pub fn full() -> FakeWorld {
    let files = [
        (
            "zoo.fusion",
            "fusion 1\nparam width: count = 3\nmodel llama from \"l\"\nmodel chat from \"c\"\naverage mid using linear { from llama { weight = width }; from chat }\nsave mid to \"never\"\n",
        ),
        ("circle.fusion", "fusion 1\nimport \"back.fusion\" as back\nmodel x from \"x\"\n"),
        ("back.fusion", "fusion 1\nimport \"circle.fusion\" as circle\n"),
        ("broken.fusion", "fusion 1\nmodel x from \"x\" { adapter: \"y\" }\n"),
        ("open.fusion", "fusion 1\nparam n: count\nmodel x from \"x{n}\"\nsweep { n = [1] }\n"),
        (
            "sub/one.fusion",
            "fusion 1\nimport \"two.fusion\" as two\nmodel x from \"models/x\"\nmodel y from \"hf:org/y\"\n",
        ),
        ("sub/two.fusion", "fusion 1\nmodel z from \"../z\"\n"),
    ];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    FakeWorld { methods: methods(), networks: networks(), blocks: blocks(), files }
}

/// Compiles a case. `# set: name=value` lines are `--set`, `# world: small` takes the smaller world. Messages in other sources
/// than the case are moved into it: those about `--set` to their line, those in imports to the first import.
pub fn diagnose(text: &str) -> Vec<Diagnostic> {
    let world = if text.contains("# world: small") { small() } else { full() };
    let mut lines = Vec::new();
    let mut start = 0u32;
    for line in text.lines() {
        if let Some(pair) = line.strip_prefix("# set: ") {
            let (name, value) = pair.split_once('=').expect("name=value");
            lines.push((start, (name.to_owned(), value.to_owned())));
        }
        start += line.len() as u32 + 1;
    }
    let sets: Vec<_> = lines.iter().map(|(_, pair)| pair.clone()).collect();
    let compiled = compile(&world, "case", text, &sets);
    let moved = |span: Span| match compiled.sources.get(span.file) {
        _ if span.file == FileId::MAIN || span.is_none() => span,
        Some(source) if source.name() == "--set" => {
            let line = lines.iter().find(|(_, (name, value))| *source.text() == format!("{name}={value}"));
            let start = line.expect("a line for every pair").0;
            Span::new(FileId::MAIN, start, start + 1)
        }
        _ => {
            // The n-th imported file counts as the n-th import.
            let import =
                text.match_indices("import").nth(usize::from(span.file.0 > 2)).expect("an import").0 as u32;
            let start = text[..import as usize].rfind('\n').map_or(0, |at| at as u32 + 1);
            Span::new(FileId::MAIN, start, start + 1)
        }
    };
    let mut diagnostics = compiled.diagnostics.clone();
    for diagnostic in &mut diagnostics {
        let labels = std::iter::once(&mut diagnostic.primary).chain(&mut diagnostic.secondary);
        let edits = diagnostic.fixes.iter_mut().flat_map(|fix| &mut fix.edits);
        labels
            .map(|label| &mut label.span)
            .chain(edits.map(|edit| &mut edit.span))
            .for_each(|span| *span = moved(*span));
    }
    diagnostics
}

/// What the first version has: averages and stitch.
pub fn small() -> FakeWorld {
    let mut world = full();
    world.networks.clear();
    world.blocks.clear();
    world
        .methods
        .retain(|method| matches!(method.verb, Verb::Average | Verb::Stitch) && !method.id.contains('.'));
    world
}

/// The example of DESIGN.md.
pub const TIES: &str = r#"fusion 1

param keep: fraction = 60% "share of each task vector that survives trimming"

model llama from "models/llama-7b"
model chat  from "models/llama-7b-chat"
model code  from "models/code-7b"

average merged using ties {
  base llama
  from chat { weight = ramp(0.2, 0.6) }
  from code { weight = 0.4; density = 45% }
  density = keep
  on "*.mlp.*"   { density = 75% }
  on layers 0..4 { weight = 0.1 }
}

expect merged.parameters == llama.parameters
save merged to "out/merged" { dtype = bf16; shard = 5 GB }
"#;
