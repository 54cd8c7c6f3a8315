//! The methods on inputs whose values are known, through the same door as recipes.

use std::sync::Arc;

use fusion_data::Dataset;
use fusion_sdk::batch::Targets;
use fusion_sdk::objective::{Segment, SegmentKind};
use fusion_sdk::path::{Geometry, Path};
use serde_json::{Value as Json, json};

use super::{Detail, Inputs, NamedData, NamedPath, Scores, Subject, evaluate};
use crate::measure::MeasureError;
use crate::measure::forward::Model;
use crate::measure::toy::{double_well, normed, run, threshold};

fn classes(inputs: &[f32], labels: &[u32]) -> Arc<Dataset> {
    let targets = Targets::Classes(labels.to_vec());
    Arc::new(Dataset::of_rows(inputs.to_vec(), 1, targets, 2).expect("rows"))
}

fn numbers(inputs: &[f32]) -> Arc<Dataset> {
    let targets = Targets::Numbers { width: 1, rows: vec![0.0; inputs.len()] };
    Arc::new(Dataset::of_rows(inputs.to_vec(), 1, targets, 0).expect("rows"))
}

fn segments() -> Vec<Segment> {
    let segment = |name: &str, start, layer| Segment {
        name: name.to_owned(),
        start,
        len: 1,
        kind: SegmentKind::Weight,
        layer,
    };
    vec![segment("a.weight", 0, 0), segment("b.weight", 1, 1)]
}

fn model<'a>(name: &'a str, weights: &'a [f32]) -> Subject<'a> {
    let model = Model { name, network: &threshold, weights, statistics: &[] };
    Subject { name, members: vec![model] }
}

struct Stage<'a> {
    from: Vec<Subject<'a>>,
    paths: Vec<NamedPath<'a>>,
    base: Option<Model<'a>>,
    data: Vec<NamedData<'a>>,
    train: Option<NamedData<'a>>,
}

impl Stage<'_> {
    fn run(&self, id: &str, settings: Json, threads: usize) -> Result<Scores, MeasureError> {
        let inputs = Inputs {
            from: &self.from,
            base: self.base,
            paths: &self.paths,
            data: &self.data,
            train: self.train,
            segments: &segments(),
            seed: 3,
            run: run(threads),
        };
        evaluate(id, settings.as_object().expect("an object"), &inputs)
    }

    /// The same for one and for several threads.
    fn scores(&self, id: &str, settings: Json) -> Scores {
        let found = self.run(id, settings.clone(), 1).expect("it measures");
        assert_eq!(format!("{found:?}"), format!("{:?}", self.run(id, settings, 3).expect("it measures")));
        found
    }
}

fn get(scores: &Scores, name: &str) -> f64 {
    scores.get(name).unwrap_or_else(|| panic!("no `{name}` among {:?}", scores.values))
}

/// x ≥ 1 is class 0 for `a`; `b` calls everything 0. On 0, 1, 2, 3 with labels 1, 0, 0, 1 three and two are right.
#[test]
fn metrics_are_named_by_their_models() {
    let set = classes(&[0.0, 1.0, 2.0, 3.0], &[1, 0, 0, 1]);
    let (a, b) = (model("a", &[1.0, -1.0]), model("b", &[0.0, 0.0]));
    let both = Subject { name: "both", members: vec![a.members[0], b.members[0]] };
    let data = vec![NamedData { name: "test", set: &set }];
    let stage =
        Stage { from: vec![a.clone(), b, both], paths: vec![], base: None, data: data.clone(), train: None };
    let found = stage.scores("accuracy", json!({ "batch": 3 }));
    assert_eq!(["a", "b", "both.accuracy"].map(|name| get(&found, name)), [0.75, 0.5, 0.75]);
    assert_eq!(found.get("accuracy"), None);
    assert_eq!(found.shown, ["a", "b", "both"]);
    assert_eq!(found.cost, "2 models on 4 examples", "members that are models too are asked once");
    // `b` says ½ to everything.
    for (id, wanted) in
        [("cross_entropy", 2_f64.ln()), ("perplexity", 2.0), ("brier", 0.5), ("loss", 2_f64.ln())]
    {
        assert!((get(&stage.scores(id, json!({})), "b") - wanted).abs() < 1e-12, "{id}");
    }
    let ensemble = [stage.scores("loss", json!({})), stage.scores("cross_entropy", json!({}))];
    assert!((get(&ensemble[0], "both") - get(&ensemble[1], "both")).abs() < 1e-12);

    let alone = Stage { from: vec![a], paths: vec![], base: None, data, train: None };
    let table = alone.scores("per_class", json!({}));
    // Class 0: called 3 times, right twice of 2. Class 1: called once, right once of 2.
    assert_eq!(
        (get(&table, "balanced_accuracy"), get(&table, "worst_recall"), get(&table, "a")),
        (0.75, 0.5, 0.75)
    );
    assert!((get(&table, "macro_f1") - 0.5 * (0.8 + 2.0 / 3.0)).abs() < 1e-15);
    assert_eq!(table.details.len(), 2);
    let ece = alone.scores("ece", json!({ "bins": 1 }));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let confidence = (2.0 * sigmoid(1.0) + 0.5 + sigmoid(2.0)) / 4.0;
    assert!((get(&ece, "ece") - (0.75 - confidence).abs()).abs() < 1e-12);
    assert!(matches!(&ece.details[..], [Detail::Reliability { title, .. }] if title == "a"));
}

#[test]
fn outputs_that_are_nan_are_told() {
    let set = classes(&[0.0, 1.0], &[0, 0]);
    let broken = model("broken", &[f32::NAN, 0.0]);
    let data = vec![NamedData { name: "test", set: &set }];
    let stage = Stage { from: vec![broken], paths: vec![], base: None, data, train: None };
    let found = stage.run("accuracy", json!({}), 1).expect("it measures");
    assert_eq!((get(&found, "accuracy"), get(&found, "broken.invalid")), (0.0, 2.0));
    assert!(found.notes[0].contains("`broken`") && found.notes[0].contains("2 of 2"), "{:?}", found.notes);
    assert!(get(&stage.run("loss", json!({}), 1).expect("it measures"), "loss").is_nan());
}

#[test]
fn pairs_are_found_in_both_orders() {
    let set = classes(&[-1.0, 0.0, 1.0, 2.0], &[0, 0, 0, 1]);
    // `up` calls x ≥ 0 class 0, `all` everything: they differ on −1, where `up` errs; both err on 2.
    let (up, all) = (model("up", &[1.0, 0.0]), model("all", &[0.0, 1.0]));
    let base = Model { name: "base", network: &threshold, weights: &[0.0, 0.0], statistics: &[] };
    let data = vec![NamedData { name: "test", set: &set }];
    let stage = Stage { from: vec![up, all], paths: vec![], base: Some(base), data, train: None };
    let found = stage.scores("diversity", json!({}));
    let value = |name: &str| get(&found, name);
    assert_eq!(
        (value("disagreement"), value("up.all.both_wrong"), value("weight_diversity")),
        (0.25, 0.25, 1.0)
    );
    // Errors (1, 0, 0, 1) and (0, 0, 0, 1): covariance ¼ − ½·¼ over √¼·√(3/16).
    assert!((value("all.up.error_correlation") - 0.125 / (0.5 * 0.1875_f64.sqrt())).abs() < 1e-12);
    let (forward, reverse) = (value("up.all.divergence"), value("all.up.divergence"));
    assert!((value("divergence") - 0.5 * (forward + reverse)).abs() < 1e-15 && forward != reverse);

    let found = stage.scores("distance", json!({}));
    assert!((get(&found, "distance") - 2_f64.sqrt()).abs() < 1e-15);
    assert_eq!((get(&found, "cosine"), get(&found, "all.up.cosine")), (0.0, 0.0));
    let [Detail::Table(table)] = &found.details[..] else { panic!("one table") };
    assert_eq!(table.rows.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["all", "a", "b"]);

    let found = stage.scores("cka", json!({ "layers": "all", "examples": 4, "batch": 2 }));
    let [Detail::Table(table)] = &found.details[..] else { panic!("one table") };
    assert_eq!((table.columns.len(), table.rows.len()), (2, 2));

    let found = stage.scores("mergeable", json!({ "points": 3, "metric": "error" }));
    // Half-way the threshold is −1, where the logit is 0 and counts as class 0: ¾ are right, as for `all`; `up` has ½.
    for name in ["gap", "mean_gap", "up.all.gap", "all.up.gap", "accuracy.all.up.gap"] {
        assert_eq!(get(&found, name), -0.125, "{name}");
    }
    assert_eq!((get(&found, "height"), get(&found, "chord")), (0.125, 0.0));
    let [Detail::Matrix(height), ..] = &found.details[..] else { panic!("a matrix") };
    assert_eq!(
        (height.names.as_slice(), height.rows[0][0]),
        (["up".to_owned(), "all".to_owned()].as_slice(), 0.0)
    );
}

/// The valley around the unit circle, by curve and by line.
#[test]
fn barriers_have_all_their_names() {
    let (one, two) = (numbers(&[1.0, 2.0, 3.0]), numbers(&[4.0]));
    let points = vec![vec![-1.0, 0.0], vec![0.0, 2.0], vec![1.0, 0.0]];
    let curve = Path::new(Geometry::Bezier, points, vec![]).expect("a path");
    let path = NamedPath { name: "curve", path: &curve, network: &double_well, statistics: vec![] };
    let data = vec![NamedData { name: "test", set: &one }, NamedData { name: "train", set: &two }];
    let stage = Stage { from: vec![], paths: vec![path], base: None, data, train: None };
    let found = stage.scores("barrier", json!({ "points": 5 }));
    for name in ["height", "loss.height", "test.loss.height", "train.loss.height"] {
        assert_eq!(get(&found, name), 9.0 / 256.0, "{name}");
    }
    for name in ["line.height", "line.chord", "line.gap", "line.middle", "train.loss.line.max"] {
        assert_eq!(get(&found, name), 1.0, "{name}");
    }
    assert_eq!((get(&found, "at"), get(&found, "start"), get(&found, "ensemble")), (0.25, 0.0, 0.0));
    assert_eq!((get(&found, "distance"), found.get("accuracy.height")), (2.0, None));
    assert!(found.shown.iter().all(|name| found.get(name).is_some()), "{:?}", found.shown);
    assert_eq!(found.cost, "8 points on 2 data sets");
    assert_eq!(found.details.iter().filter(|detail| matches!(detail, Detail::Lines(_))).count(), 2);
    let one = vec![NamedData { name: "test", set: &one }];
    let line = vec![Subject {
        name: "a",
        members: vec![Model { name: "a", network: &double_well, weights: &[2.0, 0.0], statistics: &[] }],
    }];
    let regression = Stage { from: line, paths: vec![], base: None, data: one, train: None };
    assert_eq!(get(&regression.scores("loss", json!({})), "loss"), 9.0);
    for id in ["accuracy", "cross_entropy", "perplexity", "brier", "ece", "per_class"] {
        assert!(matches!(regression.run(id, json!({}), 1), Err(MeasureError::Unsuitable { .. })), "{id}");
    }
    let error = stage.run("barrier", json!({ "metric": "accuracy" }), 1).unwrap_err();
    assert!(error.to_string().contains("no `accuracy`"), "{error}");
    assert!(stage.run("landscape", json!({}), 1).is_err());
}

#[test]
fn landscapes_name_the_models_on_their_corners() {
    let set = numbers(&[1.0]);
    let corners = vec![vec![0.0, 0.0], vec![2.0, 0.0], vec![0.0, 2.0]];
    let plane = Path::new(Geometry::Plane, corners.clone(), vec![]).expect("a plane");
    let line =
        Path::new(Geometry::Chain, vec![corners[1].clone(), corners[2].clone()], vec![]).expect("a path");
    let path = |name, path| NamedPath { name, path, network: &double_well, statistics: vec![] };
    let at = |name, weights| Subject {
        name,
        members: vec![Model { name, network: &double_well, weights, statistics: &[] }],
    };
    let stage = Stage {
        from: vec![at("second_model", &[2.0, 0.0]), at("other", &[1.0, 1.0])],
        paths: vec![path("line", &line), path("plane", &plane)],
        base: None,
        data: vec![NamedData { name: "test", set: &set }],
        train: None,
    };
    let found = stage.scores("landscape", json!({ "resolution": 3, "margin": 0.0 }));
    // Corners, middles and the centre of 0..2 squared: 1, 0, 9, …, 49 at (2, 2).
    assert_eq!((get(&found, "min"), get(&found, "max")), (0.0, 49.0));
    let Detail::Map(map) = &found.details[0] else { panic!("a map") };
    let names: Vec<&str> = map.marks.iter().map(|mark| mark.name.as_str()).collect();
    assert_eq!(names, ["first", "second_model", "third", "other"]);
    assert_eq!((map.paths.len(), map.values[0], map.values[4]), (1, 1.0, 1.0));
}

/// A point between models with BatchNorm asks for a policy; `reset` needs data to count on.
#[test]
fn policies_are_asked_for_between_models_only() {
    let set = numbers(&[1.0, 3.0]);
    let line = Path::new(Geometry::Chain, vec![vec![1.0], vec![1.0]], vec![]).expect("a path");
    let own: &[f32] = &[2.0, 4.0];
    let path = NamedPath { name: "line", path: &line, network: &normed, statistics: vec![own, own] };
    let member = Model { name: "a", network: &normed, weights: &[1.0], statistics: own };
    let test = NamedData { name: "test", set: &set };
    let mut stage = Stage {
        from: vec![Subject { name: "a", members: vec![member] }],
        paths: vec![path],
        base: None,
        data: vec![test],
        train: None,
    };
    // (x − 2)/2 on 1 and 3.
    assert_eq!(get(&stage.scores("loss", json!({})), "loss"), 0.25);
    assert_eq!(stage.run("barrier", json!({}), 1).unwrap_err(), MeasureError::NoPolicy);
    assert_eq!(get(&stage.scores("barrier", json!({ "norm": "keep" })), "middle"), 0.25);
    let error = stage.run("barrier", json!({ "norm": "reset" }), 1).unwrap_err();
    assert!(error.to_string().contains("`train`"), "{error}");
    stage.train = Some(test);
    // Its own mean 2 and unbiased variance 2: ½, up to the rounding of a root.
    for settings in [
        json!({ "norm": "reset" }),
        json!({ "norm": "batch" }),
        json!({ "norm": "ema", "norm_momentum": 1.0 }),
    ] {
        assert!((get(&stage.scores("barrier", settings.clone()), "middle") - 0.5).abs() < 1e-6, "{settings}");
        assert!((get(&stage.scores("loss", settings), "loss") - 0.5).abs() < 1e-6);
    }
}
