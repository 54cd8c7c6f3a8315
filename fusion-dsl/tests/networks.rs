//! Networks, training and paths through the compiler: what the graph says of them, and what does and does not change its keys.

mod common;

use std::collections::BTreeMap;

use common::FakeWorld;
use fusion_dsl::descriptor::{KernelClass, Verb};
use fusion_dsl::graph::{Formula, Graph, ModelSource, NodeKind, Schedule, Setting, Value};
use fusion_dsl::world::{NoFiles, World};
use fusion_dsl::{Compiled, compile};

fn compiled(world: &dyn World, text: &str) -> Compiled {
    let compiled = compile(world, "r.fusion", text, &[]);
    let said: Vec<String> = compiled.diagnostics.iter().map(ToString::to_string).collect();
    assert!(!compiled.has_errors(), "{said:#?}\n{text}");
    compiled
}

fn graph(text: &str) -> Graph {
    compiled(&common::full(), &format!("fusion 1\n{text}")).variants.remove(0).graph
}

fn network(graph: &Graph) -> (&BTreeMap<String, Value>, &Option<String>, &[Setting]) {
    let mut found = graph.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Model { source: ModelSource::Network { arguments, from, .. }, settings } => {
            Some((arguments, from, settings.as_slice()))
        }
        _ => None,
    });
    found.next().expect("a network")
}

/// What the last stage sets.
fn set(graph: &Graph, name: &str) -> Value {
    let mut stages = graph.nodes.iter().rev().filter_map(|node| match &node.kind {
        NodeKind::Stage(stage) => stage.settings.iter().find(|setting| setting.name == name),
        _ => None,
    });
    stages.next().expect("the setting").value.clone()
}

fn trained(rate: &str) -> Graph {
    graph(&format!(
        "model a of mlp(4, [3], 2)\ndata d from \"digits\"\ntrain t using adam {{ start a; data d; rate = {rate} }}\nsave t to \"t\"\n"
    ))
}

fn schedule(rate: &str) -> Schedule {
    match set(&trained(rate), "rate") {
        Value::Schedule(schedule) => schedule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn arguments_by_name_and_by_place_are_the_same_network() {
    let save = "\nsave a to \"a\"\n";
    let named = graph(&format!("model a of mlp(inputs: 784, hidden: [512], outputs: 10){save}"));
    for other in [
        "model a of mlp(784, [512], 10)",
        "model a of mlp(784, [512], outputs: 10)",
        "model a of mlp(outputs: 10, inputs: 784, hidden: [512])",
        "let w = 256 * 2\nmodel a of mlp(hidden: [w], 784, outputs: 10)",
    ] {
        let other_graph = graph(&format!("{other}{save}"));
        assert_eq!(network(&other_graph).0, network(&named).0, "{other}");
        assert_eq!(other_graph.hash(), named.hash(), "{other}");
    }
    assert_ne!(graph(&format!("model a of mlp(784, [511], 10){save}")).hash(), named.hash());
}

#[test]
fn weights_without_a_file_get_a_seed_from_the_architecture() {
    let seed = |text: &str| {
        let graph = graph(&format!("{text}\nsave a to \"a\"\n"));
        let settings = network(&graph).2;
        settings.iter().find(|setting| setting.name == "seed").map(|setting| setting.value.clone())
    };
    let drawn = seed("model a of mlp(784, [512], 10)");
    assert!(matches!(drawn, Some(Value::Number(value)) if value.fract() == 0.0 && value >= 0.0), "{drawn:?}");
    assert_eq!(drawn, seed("model a of mlp(outputs: 10, hidden: [512], inputs: 784)"));
    assert_ne!(drawn, seed("model a of mlp(784, [513], 10)"));
    assert_eq!(seed("model a of mlp(784, [512], 10) { seed = 7 }"), Some(Value::Number(7.0)));
    assert_eq!(seed("model a of mlp(784, [512], 10) from \"a.pt\""), None);
}

#[test]
fn a_network_from_a_file_keeps_the_path_and_a_tidy_map() {
    let text = |map: &str, path: &str| {
        format!("model a of mlp(784, [512], 10) from \"{path}\" {{ map = {map} }}\nsave a to \"a\"\n")
    };
    let first = graph(&text("[\"x=layers.0.weight\"]", "a.pt"));
    let (_, from, settings) = network(&first);
    assert_eq!(from.as_deref(), Some("a.pt"));
    assert_eq!(settings[0].value, Value::List(vec![Value::Text("x = layers.0.weight".into())]));
    assert_eq!(first.hash(), graph(&text("[\"  x =  layers.0.weight \"]", "a.pt")).hash(), "blanks");
    assert_ne!(first.hash(), graph(&text("[\"x = layers.0.weight\"]", "b.pt")).hash(), "the file");
    assert_ne!(first.hash(), graph(&text("[\"y = layers.0.weight\"]", "a.pt")).hash(), "the names");
    let json = serde_json::to_value(&first).expect("plain data");
    let back: Graph = serde_json::from_value(json.clone()).expect("it reads back");
    assert_eq!(back.hash(), first.hash());
    assert!(json.to_string().contains("\"from\":\"a.pt\""), "{json}");
    let fresh = graph("model a of mlp(784, [512], 10)\nsave a to \"a\"\n");
    assert!(!serde_json::to_string(&fresh).expect("plain data").contains("from"));
}

#[test]
fn files_of_an_import_are_beside_it_and_built_in_data_is_nowhere() {
    let mut world = common::full();
    let inner = "fusion 1\nmodel a of mlp(4, [3], 2) from \"a.pt\"\ndata built_in from \"digits\"\ndata file from \"set.csv\"\n";
    world.files.insert("sub/inner.fusion".into(), inner.into());
    let text = "fusion 1\nimport \"sub/inner.fusion\" as in_it\n\
        train t using adam { start in_it.a; data in_it.built_in }\ntrain u using adam { start t; data in_it.file }\nsave u to \"u\"\n";
    let graph = compiled(&world, text).variants.remove(0).graph;
    assert_eq!(network(&graph).1.as_deref(), Some("sub/a.pt"));
    let mut sources: Vec<&str> = graph
        .nodes
        .iter()
        .filter_map(
            |node| if let NodeKind::Data { source, .. } = &node.kind { Some(source.as_str()) } else { None },
        )
        .collect();
    sources.sort_unstable();
    assert_eq!(sources, ["digits", "sub/set.csv"]);
}

#[test]
fn spans_and_samples_have_one_form() {
    let epochs = |value: &str| {
        graph(&format!(
            "model a from \"a\"\ndata d from \"digits\"\ntrain t using adam {{ start a; data d; epochs = {value} }}\nsave t to \"t\"\n"
        ))
    };
    let quantity = |value: f64, unit: &str| Value::Quantity { value, unit: unit.into() };
    assert_eq!(set(&epochs("20"), "epochs"), quantity(20.0, "epoch"));
    assert_eq!(epochs("20").hash(), epochs("20 epochs").hash());
    assert_eq!(set(&epochs("2 * 10"), "epochs"), quantity(20.0, "epoch"));
    assert_eq!(set(&epochs("200 steps"), "epochs"), quantity(200.0, "step"));
    assert_eq!(set(&epochs("512 samples"), "epochs"), quantity(512.0, "sample"));
    let data = |limit: &str| {
        graph(&format!(
            "data d from \"digits\" {{ limit = {limit} }}\nmodel a from \"a\"\nevaluate e using accuracy {{ from a; data d }}\n"
        ))
    };
    assert_eq!(data("512").hash(), data("512 samples").hash());
    assert_ne!(data("512").hash(), data("513").hash());
}

#[test]
fn schedules_over_time_reach_the_graph() {
    let json = |rate: &str| serde_json::to_value(schedule(rate)).expect("plain data");
    let span = |value: f64, unit: &str| serde_json::json!({ "quantity": { "value": value, "unit": unit } });
    assert_eq!(
        json("cyclic(from: 0.5, to: 0.25, cycle: 4 epochs)"),
        serde_json::json!({ "cyclic": { "from": 0.5, "to": 0.25, "cycle": span(4.0, "epoch") } })
    );
    assert_eq!(
        json("triangle(0.5, 0.25, 100 steps)"),
        serde_json::json!({ "triangle": { "from": 0.5, "to": 0.25, "cycle": span(100.0, "step") } })
    );
    assert_eq!(
        json("one_cycle(max: 0.5, start: 0.25, end: 0.125, warmup: 50%)"),
        serde_json::json!({ "one_cycle": { "max": 0.5, "start": 0.25, "end": 0.125, "warmup": { "number": 0.5 } } })
    );
    assert_eq!(
        json("one_cycle(max: 0.5, start: 0.25, end: 0.125, warmup: 5 epochs)")["one_cycle"]["warmup"],
        span(5.0, "epoch")
    );
    assert!(schedule("one_cycle(1, warmup: 5 epochs)").at(0.5).is_nan(), "only the training knows");
    assert_eq!(
        schedule("one_cycle(2.5)"),
        Schedule::OneCycle { max: 2.5, start: 0.1, end: 1e-5, warmup: Box::new(Value::Number(0.3)) },
        "PyTorch's defaults: div_factor 25, final_div_factor 10 000, pct_start 0.3"
    );
    assert_eq!(
        schedule("one_cycle(2.5, start: 1, end: 0.5) / 2"),
        Schedule::OneCycle { max: 1.25, start: 0.5, end: 0.25, warmup: Box::new(Value::Number(0.3)) },
        "the shape keeps, the values scale"
    );
    for rate in
        ["cyclic(1, 2, 3 epochs)", "triangle(1, 2, 3 epochs)", "one_cycle(1)", "cosine(1, 2, 3 epochs)"]
    {
        let graph = trained(rate);
        assert!(schedule(rate).over_time().is_some(), "{rate}");
        let back: Graph =
            serde_json::from_str(&serde_json::to_string(&graph).unwrap()).expect("it reads back");
        assert_eq!(back.hash(), graph.hash(), "{rate}");
        assert_ne!(trained(&rate.replace('1', "1.5")).hash(), graph.hash(), "{rate}");
    }
    assert_ne!(trained("cyclic(1, 2, 3 epochs)").hash(), trained("triangle(1, 2, 3 epochs)").hash());
    assert_ne!(trained("cyclic(1, 2, 3 epochs)").hash(), trained("cyclic(1, 2, 3 steps)").hash());
    for rate in ["ramp(1, 2)", "curve([1, 2])", "steps([1, 2])", "cosine(1, 2)"] {
        assert!(schedule(rate).over_time().is_none(), "{rate}");
    }
}

/// Exact values where the formulas have them: ends, turning points and quarters.
#[test]
fn schedules_over_time_have_their_published_shape() {
    let at = |rate: &str, points: &[(f64, f64)]| {
        let schedule = schedule(rate);
        for (p, value) in points {
            // One rounding per operation of values near 1.
            assert!(
                (schedule.at(*p) - value).abs() < 1e-15,
                "{rate} at {p}: {} for {value}",
                schedule.at(*p)
            );
        }
    };
    at("cyclic(1, 0.5, 3 epochs)", &[(0.0, 1.0), (0.25, 0.875), (0.5, 0.75), (1.0, 0.5)]);
    at("triangle(1, 0.5, 3 epochs)", &[(0.0, 1.0), (0.25, 0.75), (0.5, 0.5), (0.75, 0.75), (1.0, 1.0)]);
    at(
        "one_cycle(1, start: 0.5, end: 0.25, warmup: 50%)",
        &[(0.0, 0.5), (0.25, 0.75), (0.5, 1.0), (0.75, 0.625), (1.0, 0.25)],
    );
    at("one_cycle(1, start: 0.5, end: 0.25, warmup: 0)", &[(0.0, 1.0), (0.5, 0.625), (1.0, 0.25)]);
    at("one_cycle(1, start: 0.5, end: 0.25, warmup: 1)", &[(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)]);
}

/// `linear` averages and connects; each stage gets the version and ports of its own.
#[test]
fn methods_of_one_name_keep_apart() {
    let mut world = common::full();
    for method in world.methods.iter_mut().filter(|method| method.id == "linear") {
        method.version = if method.verb == Verb::Connect { 7 } else { 3 };
        // Only the path is random: only its stage gets a seed.
        method.random = method.verb == Verb::Connect;
    }
    world.methods.reverse();
    assert_eq!(world.method(Verb::Connect, "linear").map(|method| method.kernel), Some(KernelClass::Path));
    assert_eq!(
        world.method(Verb::Average, "linear").map(|method| method.kernel),
        Some(KernelClass::Elementwise)
    );
    assert_eq!(world.method(Verb::Train, "linear"), None);
    let text = "fusion 1\nmodel a from \"a\"\nmodel b from \"b\"\n\
        average m using linear { from a; from b }\nconnect c using linear { between a and b }\nsave m to \"m\"\nsave c to \"c\"\n";
    let graph = compiled(&world, text).variants.remove(0).graph;
    let stages: BTreeMap<&str, (u32, usize)> = graph
        .nodes
        .iter()
        .filter_map(|node| match &node.kind {
            NodeKind::Stage(stage) => Some((node.name.as_str(), (stage.version, stage.settings.len()))),
            _ => None,
        })
        .collect();
    assert_eq!(stages, BTreeMap::from([("m", (3, 0)), ("c", (7, 1))]));
}

/// Without tables nothing is refused that may be right in a world that has them.
#[test]
fn a_world_without_tables_checks_no_blocks() {
    let text = "fusion 1\nmodel a of anything(1, two: [x, y], three: 4 GB)\ndata d from \"digits\" { whatever = 3 }\n\
        evaluate e using accuracy { from a; data d }\nreport e to \"r\" { anything = true }\n";
    let methods = common::methods();
    let graph = compiled(&NoFiles(methods.clone()), text).variants.remove(0).graph;
    let (arguments, _, settings) = network(&graph);
    assert_eq!(arguments.keys().collect::<Vec<_>>(), ["0", "three", "two"]);
    assert!(settings.is_empty(), "no seed for an architecture that nobody knows");
    let world = FakeWorld { methods, networks: Vec::new(), blocks: Vec::new(), files: BTreeMap::new() };
    let collect = "fusion 1\nmodel a of mlp(1)\ndata d from \"x\"\n\
        train t using adam { start a; data d; collect c { recorder = swa } }\naverage m using mean { from t.c }\nsave m to \"m\"\n";
    compiled(&world, collect);
}

fn expectations(graph: &Graph) -> Vec<&Formula> {
    graph
        .nodes
        .iter()
        .filter_map(
            |node| if let NodeKind::Expect { formula, .. } = &node.kind { Some(formula) } else { None },
        )
        .collect()
}

/// Facts in a formula, and how deep it goes.
fn facts(formula: &Formula) -> (Vec<String>, usize) {
    match formula {
        Formula::Value(_) => (Vec::new(), 1),
        Formula::Fact { fact, .. } => (vec![fact.clone()], 1),
        Formula::Unary { operand, .. } => facts(operand),
        Formula::Binary { left, right, .. } => {
            let ((mut names, a), (others, b)) = (facts(left), facts(right));
            names.extend(others);
            (names, 1 + a.max(b))
        }
    }
}

fn family(size: usize, name: &str) -> String {
    format!(
        "model a from \"a\"\ndata d from \"digits\"\n\
         for i in 0..{size} {{\n  train {name}[i] using adam {{ start a; data d; seed = i }}\n}}\n\
         evaluate scores using accuracy {{ from [{name}[*], a]; data d }}\n\
         expect {name}[*].loss < 1\nexpect scores.{name}[*] > scores.a - 1%\n"
    )
}

#[test]
fn a_comparison_of_each_holds_for_all() {
    let three = graph(&family(3, "m"));
    let mut of_each: Vec<Vec<String>> = expectations(&three).iter().map(|formula| facts(formula).0).collect();
    of_each.sort();
    assert_eq!(of_each, [vec!["loss"; 3], vec!["m[0]", "a", "m[1]", "a", "m[2]", "a"]]);
    for formula in expectations(&three) {
        assert!(matches!(formula, Formula::Binary { op, .. } if op == "and"), "{formula:?}");
    }
    assert_eq!(three.hash(), graph(&family(3, "other")).hash(), "names do not matter");
    assert_ne!(three.hash(), graph(&family(4, "m")).hash());
    let back: Graph = serde_json::from_str(&serde_json::to_string(&three).unwrap()).expect("it reads back");
    assert_eq!(back.hash(), three.hash());
    // As many as a loop makes, in a formula that is not as deep.
    let many = graph(&family(2000, "m"));
    for formula in expectations(&many) {
        let (names, depth) = facts(formula);
        assert!(names.len() >= 2000 && depth <= 14, "{} facts, {depth} deep", names.len());
    }
}

#[test]
fn a_data_set_is_made_of_others_in_their_order() {
    let text = |parts: &str| {
        format!(
            "data x from \"digits\"\ndata y from \"spirals\"\ndata both from [{parts}] {{ limit = 5 }}\n\
             model a from \"a\"\nevaluate e using accuracy {{ from a; data both }}\n"
        )
    };
    let both = graph(&text("x, y"));
    let sets: Vec<&str> = both
        .nodes
        .iter()
        .filter_map(|node| if let NodeKind::Data { sets, .. } = &node.kind { Some(sets) } else { None })
        .flatten()
        .map(|set| both.node(set.node).name.as_str())
        .collect();
    assert_eq!(sets, ["x", "y"]);
    assert_ne!(both.hash(), graph(&text("y, x")).hash(), "the order is content");
    assert_ne!(both.hash(), graph(&text("x, y, y")).hash());
    let json = serde_json::to_value(&both).expect("plain data");
    let back: Graph = serde_json::from_value(json).expect("it reads back");
    assert_eq!(back.hash(), both.hash());
    // Those that are made of none look as they did.
    let plain =
        graph("data x from \"digits\"\nmodel a from \"a\"\nevaluate e using accuracy { from a; data x }\n");
    assert!(!serde_json::to_string(&plain).expect("plain data").contains("sets"));

    let written =
        "fusion 1\n\ndata both from [x, [y for z in zs]] { limit = 5 }\ndata x    from \"digits\"\n";
    let (file, found) = fusion_dsl::parse(written);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(fusion_dsl::print::print(&file), written);
    let json = serde_json::to_string(&file).expect("plain data");
    assert_eq!(fusion_dsl::print::text_from_json(&json).expect("the same tree"), written);
}

/// `--set` may empty a list: its loop makes nothing, and what is left is whole.
#[test]
fn a_loop_over_an_empty_list_makes_nothing() {
    let text = "fusion 1\nparam seeds: list of count = [1, 2]\nmodel a from \"a\"\n\
        for s in seeds { average m[s] using mean { from a } }\naverage all using mean { from [a, m[*]] }\nsave all to \"a\"\n";
    for (given, stages) in [("[]", 1), ("[3]", 2), ("[1, 2, 3]", 4)] {
        let compiled = compile(&common::full(), "r.fusion", text, &[("seeds".into(), given.into())]);
        assert!(compiled.diagnostics.is_empty(), "{given}: {:?}", compiled.diagnostics);
        let nodes = &compiled.variants[0].graph.nodes;
        let found = nodes.iter().filter(|node| matches!(node.kind, NodeKind::Stage(_))).count();
        assert_eq!(found, stages, "{given}");
    }
}
