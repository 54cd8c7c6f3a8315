//! Whole recipes through the compiler: those of the reference, the canonical graph's promises, limits, and hostile texts.

mod common;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::TIES;
use fusion_dsl::graph::{Graph, ModelSource, NodeKind, Stage, Value};
use fusion_dsl::{Code, Compiled, compile, diag};
use proptest::prelude::*;

fn said(compiled: &Compiled) -> Vec<String> {
    let place = |d: &fusion_dsl::Diagnostic| compiled.sources.place(d.primary.span);
    compiled.diagnostics.iter().map(|d| format!("{} {d} {:?} {:?}", place(d), d.helps, d.notes)).collect()
}

fn run(text: &str) -> Compiled {
    compile(&common::full(), "r.fusion", text, &[])
}

fn set(text: &str, name: &str, value: &str) -> Compiled {
    compile(&common::full(), "r.fusion", text, &[(name.to_owned(), value.to_owned())])
}

/// The graph of a recipe without errors and without variants.
fn graph(text: &str) -> Graph {
    let compiled = run(text);
    assert!(!compiled.has_errors(), "{text}\n{:#?}", said(&compiled));
    let [variant] = compiled.variants.as_slice() else { panic!("one variant of {text}") };
    variant.graph.clone()
}

fn stage(graph: &Graph) -> &Stage {
    let mut stages = graph.nodes.iter().rev().filter_map(|node| match &node.kind {
        NodeKind::Stage(stage) => Some(stage),
        _ => None,
    });
    stages.next().expect("there is a stage")
}

fn codes(compiled: &Compiled) -> Vec<Code> {
    compiled.diagnostics.iter().map(|d| d.code).collect()
}

#[test]
fn the_recipes_compile_without_an_error() {
    for (name, text) in support::RECIPES {
        let compiled = compile(&common::full(), name, text, &[]);
        let expected: &[&str] = match *name {
            // The reference's own A3 gives its networks no seeds, and A4 declares a data set that it does not use.
            "a3_rebasin" => &["the network `b` starts from the same weights as `a`"],
            "a4_swa_fge" => &["the data set `val_set` is never used"],
            _ => &[],
        };
        let messages: Vec<&str> = compiled.diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, expected, "{name}");
    }
}

#[test]
fn the_recipe_of_the_design_becomes_a_graph() {
    let graph = graph(TIES);
    assert_eq!(graph.nodes.len(), 6);
    let stage = stage(&graph);
    assert_eq!(
        stage.edges.iter().map(|edge| edge.role.as_str()).collect::<Vec<_>>(),
        ["base", "from", "from"]
    );
    assert_eq!(stage.settings[0].value, Value::Number(0.6));
    assert_eq!(stage.rules.len(), 2);
    for (id, node) in graph.iter() {
        if let NodeKind::Stage(stage) = &node.kind {
            assert!(stage.edges.iter().all(|edge| edge.input.node < id), "inputs come first");
        }
    }
}

#[test]
fn graphs_survive_json() {
    for (name, text) in support::RECIPES.iter().chain([("ties", TIES)].iter()) {
        for variant in run(text).variants {
            let json = serde_json::to_string(&variant.graph).expect("a graph is plain data");
            let back: Graph = serde_json::from_str(&json).expect("it reads back");
            assert_eq!(serde_json::to_string(&back).expect("plain data"), json, "{name}");
            assert_eq!(back.hash(), variant.graph.hash(), "{name}");
            assert_eq!(back.keys(), variant.graph.keys(), "{name}");
        }
    }
    let schema = Graph::schema();
    assert!(schema.pointer("/properties/nodes").is_some());
}

/// Renames every name that a recipe binds; names of parts and scores follow.
fn renamed(text: &str, names: &[&str]) -> String {
    let mut out = text.to_owned();
    for (index, name) in names.iter().enumerate() {
        let mut next = String::new();
        let mut rest = out.as_str();
        while let Some(at) = rest.find(name) {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let before = rest[..at].chars().next_back();
            let after = rest[at + name.len()..].chars().next();
            let quoted = rest[..at].matches('"').count() % 2 == 1;
            next.push_str(&rest[..at]);
            let whole = !before.is_some_and(is_word) && !after.is_some_and(is_word);
            if whole && (!quoted || before == Some('{')) {
                next.push_str(&format!("renamed_{index}"));
            } else {
                next.push_str(name);
            }
            // Quotes are counted per line piece; keep the parity by consuming through the name only.
            rest = &rest[at + name.len()..];
            if quoted {
                let end = rest.find('"').map_or(rest.len(), |end| end + 1);
                next.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
        next.push_str(rest);
        out = next;
    }
    out
}

#[test]
fn names_comments_order_and_layout_do_not_matter() {
    let first = graph(TIES);
    let keys: std::collections::BTreeSet<_> = first.keys().into_iter().collect();
    let same = |text: &str, what: &str| {
        let other = graph(text);
        assert_eq!(other.hash(), first.hash(), "{what}\n{text}");
        assert_eq!(other.keys().into_iter().collect::<std::collections::BTreeSet<_>>(), keys, "{what}");
    };
    same(&renamed(TIES, &["llama", "chat", "code", "merged", "keep"]), "renamed");
    same(&TIES.replace("\n\n", "\n# a comment\n\n"), "comments");
    same(&fusion_dsl::fmt::format(TIES).0, "reformatted");
    same(
        &TIES.replace("weight = 0.4; density = 45%", "density = 0.45; weight = 4e-1"),
        "settings in another order",
    );
    same(&TIES.replace("= 60%", "= 0.6"), "percent");
    same(&TIES.replace("5 GB", "5000 MB"), "units");
    same(&TIES.replace("density = keep", "density = keep / 2 + keep / 2"), "calculation");
    let (head, items) = TIES.split_once("\n\n").expect("a header");
    let mut items: Vec<&str> = items.split("\n\n").collect();
    items.reverse();
    same(&format!("{head}\n\n{}\n", items.join("\n\n").replace("\n\n\n", "\n\n")), "items in another order");
    for (name, text) in support::RECIPES {
        if *name == "a3_rebasin" {
            continue;
        }
        let graph = graph(text);
        let names: Vec<String> =
            graph.nodes.iter().map(|node| node.name.split('[').next().unwrap().to_owned()).collect();
        let taken = ["run", "start", "base", "save", "report", "expect", "uniform", "path"];
        let names: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !taken.contains(name)).collect();
        let other = self::graph(&renamed(text, &names));
        assert_eq!(other.hash(), graph.hash(), "{name}");
    }
}

#[test]
fn values_rules_inputs_and_versions_do_matter() {
    let first = graph(TIES).hash();
    for (from, to) in [
        ("= 60%", "= 61%"),
        ("ramp(0.2, 0.6)", "ramp(0.2, 0.5)"),
        ("ramp(0.2, 0.6)", "curve([0.2, 0.6])"),
        ("models/code-7b", "models/code-13b"),
        ("*.mlp.*", "*.attn.*"),
        ("0..4", "0..5"),
        ("bf16", "f16"),
        ("5 GB", "4 GB"),
        ("out/merged", "out/other"),
        ("on \"*", "on? \"*"),
        ("  from code { weight = 0.4; density = 45% }\n", ""),
        ("== llama", ">= llama"),
        ("base llama", "base chat"),
    ] {
        assert!(TIES.contains(from), "{from}");
        let text = TIES.replace(from, to);
        let compiled = run(&text);
        assert!(!compiled.has_errors(), "{:#?}", said(&compiled));
        assert_ne!(compiled.variants[0].graph.hash(), first, "{from} → {to}");
    }
    let rules = "  on \"*.mlp.*\"   { density = 75% }\n  on layers 0..4 { weight = 0.1 }\n";
    let swapped = "  on layers 0..4 { weight = 0.1 }\n  on \"*.mlp.*\"   { density = 75% }\n";
    assert_ne!(graph(&TIES.replace(rules, swapped)).hash(), first, "the order of rules");
    let mut world = common::full();
    world.methods.iter_mut().filter(|method| method.id == "ties").for_each(|method| method.version = 2);
    assert_ne!(compile(&world, "r", TIES, &[]).variants[0].graph.hash(), first, "the method's version");
}

#[test]
fn methods_with_random_numbers_get_a_seed_from_what_they_compute() {
    let text = "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\naverage m using dare { base a; from b }\nsave m to \"m\"\n";
    let seed = |text: &str| {
        let graph = graph(text);
        let seeds: Vec<Value> =
            stage(&graph).settings.iter().filter(|s| s.name == "seed").map(|s| s.value.clone()).collect();
        let [Value::Number(seed)] = seeds.as_slice() else { panic!("one seed: {seeds:?}") };
        *seed
    };
    let drawn = seed(text);
    assert_eq!(drawn.fract(), 0.0);
    assert_eq!(seed(&renamed(text, &["a", "b", "m"])), drawn);
    assert_ne!(seed(&text.replace("from \"b\"", "from \"c\"")), drawn);
    assert_eq!(seed(&text.replace("base a;", "base a; seed = 7;")), 7.0);
}

#[test]
fn sweeps_give_one_labelled_variant_for_each_combination() {
    let text = "fusion 1\nparam keep: fraction = 60%\nparam n: seed = 0\nmodel a from \"a\"\n\
                save a to \"{keep}-{n}\"\nsweep { n = 0..2; keep = [20%, 40%] }\n";
    let compiled = run(text);
    assert!(compiled.diagnostics.is_empty(), "{:#?}", said(&compiled));
    let labels: Vec<Vec<(&str, f64)>> = compiled
        .variants
        .iter()
        .map(|variant| {
            let number = |value: &Value| if let Value::Number(number) = value { *number } else { f64::NAN };
            variant.label.iter().map(|(name, value)| (name.as_str(), number(value))).collect()
        })
        .collect();
    assert_eq!(labels[1], [("keep", 0.2), ("n", 1.0)]);
    assert_eq!(labels.len(), 4);
    let one = set(text, "keep", "30%");
    assert_eq!(one.variants.len(), 2, "`--set` replaces the sweep of its name: {:#?}", said(&one));
    assert_eq!(one.variants[0].label.len(), 1);
    let listed = set(text, "keep", "[10%, 20%, 30%]");
    assert_eq!(listed.variants.len(), 6);
    let last = compile(
        &common::full(),
        "r",
        text,
        &[("keep".into(), "1%".into()), ("keep".into(), "2%".into()), ("n".into(), "4".into())],
    );
    assert_eq!(last.variants.len(), 1, "the last `--set` of a name counts: {:#?}", said(&last));
}

#[test]
fn set_values_are_read_by_type() {
    let text = "fusion 1\nparam out: text = \"x\"\nparam m: model = a\nparam size: bytes = 1 GB\nparam kind: dtype = f16\n\
                model a from \"a\"\nmodel b from \"b\"\nsave m to \"{out}\" { shard = size; dtype = kind }\nsave a to \"a\"\nsave b to \"b\"\n";
    let path = |compiled: &Compiled| {
        assert!(compiled.diagnostics.is_empty(), "{:#?}", said(compiled));
        let paths: Vec<String> = compiled.variants[0]
            .graph
            .nodes
            .iter()
            .filter_map(
                |node| if let NodeKind::Save { path, .. } = &node.kind { Some(path.clone()) } else { None },
            )
            .collect();
        paths.join(" ")
    };
    assert!(path(&set(text, "out", "some where/x-1")).contains("some where/x-1"));
    assert!(path(&set(text, "out", "\"a,b\"")).contains("a,b"));
    path(&set(text, "m", "b"));
    path(&set(text, "size", "500MB"));
    path(&set(text, "kind", "bf16"));
    assert_eq!(codes(&set(text, "m", "c")), [Code::UnknownName]);
    assert_eq!(codes(&set(text, "kind", "b16")), [Code::UnknownDtype]);
    assert_eq!(codes(&set(text, "size", "5 epochs")), [Code::WrongUnit]);
    assert_eq!(codes(&set(text, "size", "]")), [Code::BadSetValue]);
    assert_eq!(codes(&set(text, "size", "")), [Code::BadSetValue]);
    assert_eq!(codes(&set(text, "sizes", "1 GB")), [Code::UnknownSetParameter]);
}

#[test]
fn draws_are_the_same_every_time_and_differ_between_seeds() {
    let text = "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\nfor i in 0..3 {\n  average m[i] using linear { from a { weight = log_uniform(1e-6, 1e-4, seed: i) }; from b }\n  save m[i] to \"{i}\"\n}\n";
    let weights = |graph: &Graph| -> BTreeMap<String, String> {
        let stages = graph.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Stage(stage) => {
                Some((node.name.clone(), format!("{:?}", stage.edges[0].settings[0].value)))
            }
            _ => None,
        });
        stages.collect()
    };
    let first = weights(&graph(text));
    assert_eq!(first, weights(&graph(text)));
    assert_eq!(first.values().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[test]
fn imports_bring_names_paths_and_only_what_is_used() {
    let text = "fusion 1\nimport \"sub/one.fusion\" as one\nsave one.x to \"x\"\nsave one.two.z to \"z\"\n";
    let graph = graph(text);
    let mut sources: Vec<(String, String)> = graph
        .nodes
        .iter()
        .filter_map(|node| match &node.kind {
            NodeKind::Model { source: ModelSource::Checkpoint(path), .. } => {
                Some((node.name.clone(), path.clone()))
            }
            _ => None,
        })
        .collect();
    sources.sort();
    let expected = [("one.two.z", "z"), ("one.x", "sub/models/x")];
    assert_eq!(sources, expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
}

#[test]
fn a_broken_item_leaves_the_rest_of_the_graph() {
    let text = "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\naverage bad using tise { from a; from b }\n\
                average good using linear { from a; from b }\nsave bad to \"bad\"\nsave good to \"good\"\n";
    let compiled = run(text);
    assert_eq!(codes(&compiled), [Code::UnknownMethod], "{:#?}", said(&compiled));
    let names: Vec<&str> = compiled.variants[0].graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert!(names.contains(&"good") && !names.contains(&"bad"), "{names:?}");
    assert_eq!(names.iter().filter(|name| **name == "save").count(), 1);
}

#[test]
fn fixes_of_the_checker_leave_a_recipe_without_errors() {
    for (wrong, right) in [
        ("density = keep", "densty = keep"),
        ("base llama", "base lama"),
        ("base llama", "base = llama"),
        ("using ties", "using tise"),
        ("dtype = bf16", "dtype = bfloat16"),
        ("merged.parameters", "merged.parametrs"),
        ("= 60%", "= 60"),
        ("from chat {", "frm chat {"),
    ] {
        let text = TIES.replacen(wrong, right, 1);
        let compiled = run(&text);
        assert_eq!(
            compiled.diagnostics.iter().filter(|d| d.is_error()).count(),
            1,
            "{right}: {:#?}",
            said(&compiled)
        );
        let (fixed, applied) = diag::apply_fixes(&text, &compiled.diagnostics);
        assert_eq!((applied, fixed.as_str()), (1, TIES), "{right}: {:#?}", said(&compiled));
    }
}

#[test]
fn long_chains_and_large_products_are_refused() {
    let chain: String = (0..5000).map(|i| format!("let x{i} = x{} + 1\n", i + 1)).collect();
    let compiled = run(&format!("fusion 1\n{chain}let x5000 = 1\n"));
    assert!(codes(&compiled).contains(&Code::NestingTooDeep), "{:?}", said(&compiled).first());
    let nested = "fusion 1\nmodel a from \"a\"\nfor i in 0..1000 {\n for j in 0..1000 {\n  for k in 0..1000 {\n   save a to \"x{i}-{j}-{k}\"\n  }\n }\n}\n";
    assert_eq!(codes(&run(nested)), [Code::TooManyVariants]);
    let lists = "fusion 1\nlet x = [[[1 for i in 0..1000] for j in 0..1000] for k in 0..1000]\n";
    assert_eq!(codes(&run(lists)), [Code::TooManyVariants]);
    let nodes = "fusion 1\nmodel a from \"a\"\nfor i in 0..500 {\n for j in 0..500 {\n  save a to \"x{i}-{j}\"\n }\n}\n";
    assert_eq!(codes(&run(nodes)), [Code::TooManyVariants]);
}

#[test]
fn ten_thousand_stages_compile_in_linear_time() {
    let recipe = |n: usize| {
        let mut text =
            String::from("fusion 1\nmodel a from \"a\"\naverage m0 using linear { from a; from a }\n");
        for i in 1..n {
            text.push_str(&format!(
                "average m{i} using linear {{ from m{}; from a {{ weight = {i} }} }}\n",
                i - 1
            ));
        }
        text.push_str(&format!("save m{} to \"out\"\n", n - 1));
        text
    };
    let time = |n: usize| {
        let text = recipe(n);
        let start = Instant::now();
        let compiled = run(&text);
        assert!(compiled.diagnostics.is_empty(), "{:?}", said(&compiled).first());
        assert_eq!(compiled.variants[0].graph.nodes.len(), n + 2);
        start.elapsed()
    };
    time(100);
    let (small, large) = (time(1000), time(10_000));
    assert!(large < small * 40 + Duration::from_millis(500), "{small:?} {large:?}");
}

#[test]
fn ten_thousand_unknown_names_are_reported_quickly() {
    let mut text = String::from("fusion 1\n");
    for i in 0..10_000 {
        text.push_str(&format!("model model_{i} from \"m\"\nsave modle_{i} to \"out{i}\"\n"));
    }
    let start = Instant::now();
    let compiled = run(&text);
    assert!(compiled.diagnostics.len() >= 10_000);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn every_prefix_and_every_missing_token_compiles_without_a_panic() {
    let world = common::full();
    for (name, text) in support::RECIPES {
        let check = |text: &str| {
            let compiled = compile(&world, name, text, &[]);
            for diagnostic in &compiled.diagnostics {
                if diagnostic.primary.span.file == fusion_dsl::FileId::MAIN {
                    support::assert_well_formed(diagnostic, text);
                }
            }
            for variant in &compiled.variants {
                variant.graph.hash();
            }
        };
        for token in support::tokens(text) {
            check(&text[..token.end]);
            check(&format!("{}{}", &text[..token.start], &text[token.end..]));
        }
    }
}

/// Words and symbols that recipes are made of, in any order.
fn soup() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "fusion 1\n",
        "model ",
        "a ",
        "b ",
        "m ",
        "from ",
        "\"p{x}\" ",
        "\"*.w\" ",
        "average ",
        "train ",
        "stitch ",
        "connect ",
        "using ",
        "linear ",
        "ties ",
        "stitch ",
        "{ ",
        "} ",
        "base ",
        "on ",
        "layers ",
        "0..4 ",
        "take ",
        "of ",
        "rest ",
        "between ",
        "and ",
        "weight ",
        "density ",
        "= ",
        "60% ",
        "0.5 ",
        "5 GB ",
        "ramp(0, 1) ",
        "param ",
        "let ",
        "x ",
        "i ",
        ": ",
        "count ",
        "for ",
        "in ",
        "[ ",
        "] ",
        ", ",
        "; ",
        "\n",
        "save ",
        "to ",
        "expect ",
        "sweep ",
        "import ",
        "\"zoo.fusion\" ",
        "as ",
        "zoo ",
        "with ",
        ". ",
        "== ",
        "+ ",
        "- ",
        "* ",
        "/ ",
        "( ",
        ") ",
        "if ",
        "else ",
        "not ",
        "true ",
        "copy ",
        "seed ",
        "1e308 ",
        "-1 ",
        "mlp(1, 2) ",
        "mlp(inputs: 1, [2], outputs: 3) ",
        "adam ",
        "data ",
        "collect ",
        "recorder = swa ",
        "cyclic(1, 0, 2 epochs) ",
        "rate ",
        "evaluate ",
        "[*] ",
        "map = [\"a = b\"] ",
    ];
    prop::collection::vec(prop::sample::select(WORDS), 0..60)
        .prop_map(|words| format!("fusion 1\n{}", words.concat()))
}

/// Well-formed items around random values, which reach further than soup.
fn items() -> impl Strategy<Value = String> {
    const VALUES: &[&str] = &[
        "1",
        "0.5",
        "60%",
        "-3",
        "5 GB",
        "3 epochs",
        "x",
        "y",
        "a",
        "m",
        "[a, b]",
        "[1, 2]",
        "0..3",
        "3..0",
        "\"{x}\"",
        "\"t\"",
        "true",
        "ramp(x, y)",
        "curve([x, 1])",
        "x + y",
        "x / y",
        "x == y",
        "1 if x > 0 else y",
        "f(x)",
        "[i * x for i in 0..3]",
        "len(x)",
        "min(x, y)",
        "zoo.width",
        "zoo.llama",
        "m.layers",
        "n[0]",
        "n[*]",
        "bf16",
        "uniform(0, x, seed: y)",
        "1e308 * 1e308",
        "not x",
        "a.b.c",
    ];
    prop::collection::vec(prop::sample::select(VALUES), 12).prop_map(|v| {
        format!(
            "fusion 1\nimport \"zoo.fusion\" as zoo with {{ width = {} }}\nparam x: number = {}\nlet y = {}\n\
             model a from \"a\"\nmodel b from \"b{{y}}\" {{ scale = {} }}\n\
             average m using ties {{ base {}; from b {{ weight = {} }}; density = {}; on layers {} {{ weight = {} }} }}\n\
             for k in {} {{\n  average n[k] using linear {{ from a; from m {{ weight = {} }} }}\n}}\n\
             expect {} == m.layers\nsave m to \"out\"\nsweep {{ x = [1, 2] }}\n",
            v[0], v[1], v[2], v[3], "a", v[4], v[5], v[6], v[7], v[8], v[9], v[10]
        )
    })
}

/// Networks, trainings, parts, paths and facts around random values.
fn trainings() -> impl Strategy<Value = String> {
    const VALUES: &[&str] = &[
        "1",
        "0.5",
        "60%",
        "-3",
        "2 epochs",
        "512 samples",
        "5 GB",
        "y",
        "a",
        "t[0]",
        "t[*]",
        "t[1].c",
        "p",
        "s",
        "d",
        "[1, 2]",
        "[a, p]",
        "[]",
        "0%..10%",
        "\"t = u\"",
        "[\"t = u\", \"t=v\"]",
        "swa",
        "swag",
        "snapshots",
        "cyclic(y, 1, 2 epochs)",
        "one_cycle(y)",
        "cosine(1, y, 3 steps)",
        "ramp(0, 1)",
        "s.t[*]",
        "s.t[0].x",
        "t[*].loss",
        "t[*].c.layers",
        "p.length",
        "len(t[*])",
        "1 / y",
        "mlp(1)",
    ];
    prop::collection::vec(prop::sample::select(VALUES), 16).prop_map(|v| {
        format!(
            "fusion 1\nlet y = {}\nmodel a of mlp({}, hidden: {}, outputs: 3) {{ seed = {} }}\n\
             model f of mlp(1, [2], 3) from \"f{{y}}\" {{ map = {} }}\n\
             data d from \"digits\" {{ split = {}; limit = {} }}\n\
             for i in 0..2 {{\n  train t[i] using sgd {{ start a; data d; rate = {}; epochs = {}; collect c {{ recorder = {}; every = {} }} }}\n}}\n\
             connect p using linear {{ between t[0] and t[1].c }}\nevaluate s using accuracy {{ from [t[*], f]; data d }}\n\
             ensemble e using soft_vote {{ from [p, t[0].c]; temperature = {} }}\naverage m using mean {{ from t[*].c }}\n\
             expect {} > {}\nexpect not ({} == {}) or s.t[*] * 2 > 1\nreport [s, p, {}] to \"r\"\nsave t[0].c to \"c\"\n",
            v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15], "t[0]"
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_trainings_never_panic_and_clean_graphs_survive_json(text in trainings()) {
        let compiled = run(&text);
        for diagnostic in &compiled.diagnostics {
            support::assert_well_formed(diagnostic, &text);
        }
        for variant in &compiled.variants {
            let json = serde_json::to_string(&variant.graph).unwrap();
            let back: Graph = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back.hash(), variant.graph.hash());
        }
    }

    #[test]
    fn word_soup_never_panics(text in soup()) {
        let compiled = run(&text);
        for variant in &compiled.variants {
            variant.graph.hash();
        }
    }

    #[test]
    fn random_values_never_panic_and_clean_graphs_survive_json(text in items()) {
        let compiled = run(&text);
        for variant in &compiled.variants {
            let json = serde_json::to_string(&variant.graph).unwrap();
            let back: Graph = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back.hash(), variant.graph.hash());
        }
    }

    #[test]
    fn numbers_keep_their_value_through_the_graph(value in -1e300f64..1e300) {
        let text = format!("fusion 1\nmodel a from \"a\"\naverage m using linear {{ from a {{ weight = {value:?} }}; from a }}\nsave m to \"m\"\n");
        let graph = graph(&text);
        prop_assert_eq!(&stage(&graph).edges[0].settings[0].value, &Value::Number(value));
        let back: Graph = serde_json::from_str(&serde_json::to_string(&graph).unwrap()).unwrap();
        prop_assert_eq!(&stage(&back).edges[0].settings[0].value, &Value::Number(value));
    }

    #[test]
    fn set_never_panics(name in "[a-z]{1,5}", value in "\\PC{0,12}") {
        for name in [name.as_str(), "keep"] {
            set(TIES, name, &value);
        }
    }
}

/// Whoever chooses versions needs all requirements, in whatever state the rest of the recipe is.
#[test]
fn every_use_of_a_plugin_is_told() {
    let mut world = common::full();
    world.files.insert(
        "inner.fusion".into(),
        "fusion 1\nuse plugin \"org.acme.fisher\" version \"<2\" as own\nmodel a from \"a\"\n".into(),
    );
    let text = "fusion 1\nimport \"inner.fusion\" as one\nimport \"inner.fusion\" as two\n\
        use plugin \"org.acme.fisher\" version \"^1\"\nuse plugin \"org.missing\" as m\nsave nothing to \"x\"\n";
    let compiled = compile(&world, "r.fusion", text, &[]);
    assert!(compiled.has_errors());
    let uses: Vec<(&str, Option<&str>, &str)> = compiled
        .plugins
        .iter()
        .map(|one| (one.id.as_str(), one.version.as_deref(), one.alias.as_str()))
        .collect();
    assert_eq!(
        uses,
        [
            ("org.acme.fisher", Some("^1"), "fisher"),
            ("org.missing", None, "m"),
            ("org.acme.fisher", Some("<2"), "own"),
        ]
    );
}
