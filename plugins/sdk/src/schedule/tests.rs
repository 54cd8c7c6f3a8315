use serde_json::json;

use super::*;

fn read(json: Json) -> Schedule {
    serde_json::from_value(json).unwrap()
}

fn error(json: Json) -> String {
    serde_json::from_value::<Schedule>(json).unwrap_err().to_string()
}

/// All values of a training of `total` steps, four to an epoch.
fn values(schedule: &Schedule, total: u64) -> Vec<f64> {
    (0..total).map(|step| schedule.at(step, total, 4)).collect()
}

#[test]
fn plain_shapes_over_the_whole_time() {
    assert_eq!(values(&0.1.into(), 3), [0.1; 3]);
    assert_eq!(values(&read(json!({ "ramp": { "from": 1.0, "to": 0.0 } })), 4), [1.0, 0.75, 0.5, 0.25]);
    let curve = read(json!({ "curve": [0.0, 1.0, 5.0] }));
    assert_eq!(values(&curve, 8), [0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(curve.at(8, 8, 4), 5.0);
    assert_eq!(curve.at(99, 8, 4), 5.0);
    assert_eq!(values(&read(json!({ "curve": [2.0] })), 2), [2.0, 2.0]);
    let steps = read(json!({ "steps": [3.0, 2.0, 1.0] }));
    assert_eq!(values(&steps, 7), [3.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0]);
    assert_eq!(steps.at(7, 7, 4), 1.0);
    // cos 0, π/3, π/2, 2π/3
    let cosine = values(&read(json!({ "cosine": { "from": 1.0, "to": 0.0 } })), 6);
    for (value, exact) in [(cosine[0], 1.0), (cosine[2], 0.75), (cosine[3], 0.5), (cosine[4], 0.25)] {
        assert!((value - exact).abs() < 1e-15, "{cosine:?}");
    }
    assert_eq!(read(json!({ "cosine": { "from": 1.0, "to": 0.5 } })).at(6, 6, 4), 0.5);
    assert_eq!(values(&0.1.into(), 0), [0.0; 0]);
}

#[test]
fn cycles_start_again() {
    let cycle = json!({ "quantity": { "value": 1.0, "unit": "epoch" } });
    let cosine = read(json!({ "cosine": { "from": 1.0, "to": 0.0, "cycle": cycle } }));
    let found = values(&cosine, 10);
    assert_eq!(found[..4], found[4..8]);
    assert!((found[2] - 0.5).abs() < 1e-15 && found[8] == 1.0);
    // SWA: the last step of each cycle has the second rate exactly.
    let cyclic =
        read(json!({ "cyclic": { "from": 1.0, "to": 0.2, "cycle": { "value": 4, "unit": "step" } } }));
    let found = values(&cyclic, 9);
    for (value, exact) in found.iter().zip([0.8, 0.6, 0.4, 0.2, 0.8, 0.6, 0.4, 0.2, 0.8]) {
        assert!((value - exact).abs() < 1e-15, "{found:?}");
    }
    // FGE, against the formula of the paper's code.
    let triangle = read(json!({ "triangle": { "from": 0.05, "to": 0.01, "cycle": 2 } }));
    for step in 0..24_u64 {
        let t = (step % 8) as f64 / 8.0;
        let exact = match t < 0.5 {
            true => 0.05 * (1.0 - 2.0 * t) + 0.01 * 2.0 * t,
            false => 0.05 * (2.0 * t - 1.0) + 0.01 * (2.0 - 2.0 * t),
        };
        assert!((triangle.at(step, 24, 4) - exact).abs() < 1e-15);
    }
    assert_eq!((cosine.cycle(4), cyclic.cycle(4), triangle.cycle(4)), (Some(4), Some(4), Some(8)));
    assert_eq!((triangle.at(4, 24, 4), triangle.at(12, 24, 4)), (0.01, 0.01));
    assert_eq!(read(json!({ "cosine": { "from": 1.0, "to": 0.0 } })).cycle(4), None);
}

/// PyTorch's `OneCycleLR(max_lr=1, total_steps=10)`, which starts at 1/25, and with `pct_start=0.5, div_factor=10,
/// final_div_factor=100`: values of its formula, computed in Python.
#[test]
fn one_cycle_is_pytorchs() {
    let found = values(&read(json!({ "one_cycle": { "max": 1.0 } })), 10);
    let exact = [
        0.04,
        0.52,
        1.0,
        0.950_484_632_013_473_7,
        0.811_745_653_949_763_1,
        0.611_262_021_936_289_3,
        0.388_741_978_063_710_75,
        0.188_258_346_050_236_97,
        0.049_519_367_986_526_286,
        4e-6,
    ];
    for (value, exact) in found.iter().zip(exact) {
        assert!((value - exact).abs() < 1e-12, "{found:?}");
    }
    let set = json!({ "one_cycle": { "max": 1.0, "start": 0.1, "end": 0.001, "warmup": 0.5 } });
    let found = values(&read(set), 10);
    assert!((found[0] - 0.1).abs() < 1e-15 && (found[3] - 0.868_198_051_533_946_4).abs() < 1e-12);
    assert!((found[4] - 1.0).abs() < 1e-15 && (found[9] - 0.001).abs() < 1e-15);
    let epochs = json!({ "one_cycle": { "max": 1.0, "warmup": { "value": 1, "unit": "epoch" } } });
    assert!((read(epochs.clone()).at(3, 12, 4) - 1.0).abs() < 1e-15);
    assert_eq!(serde_json::to_value(read(epochs)).unwrap()["one_cycle"]["warmup"]["unit"], "epoch");
    // Degenerate times are still values.
    let always = read(json!({ "one_cycle": { "max": 1.0, "warmup": 1 } }));
    assert_eq!(always.at(9, 10, 4), 1.0);
    assert!(read(json!({ "one_cycle": { "max": 1.0, "warmup": 0 } })).at(0, 10, 4) == 1.0);
    assert!(always.at(0, 1, 1).is_finite() && always.at(0, 0, 1).is_finite());
}

#[test]
fn json_goes_both_ways() {
    for json in [
        json!(0.1),
        json!({ "ramp": { "from": 1.0, "to": 0.0 } }),
        json!({ "curve": [1.0, 0.5] }),
        json!({ "steps": [1.0, 0.5] }),
        json!({ "cosine": { "from": 1.0, "to": 0.0 } }),
        json!({ "cosine": { "from": 1.0, "to": 0.0, "cycle": { "value": 4.0, "unit": "epoch" } } }),
        json!({ "cyclic": { "from": 1.0, "to": 0.0, "cycle": { "value": 400.0, "unit": "step" } } }),
        json!({ "triangle": { "from": 1.0, "to": 0.0, "cycle": { "value": 4.0, "unit": "epoch" } } }),
        json!({ "one_cycle": { "max": 1.0, "start": 0.5, "end": 0.1, "warmup": 0.25 } }),
    ] {
        assert_eq!(serde_json::to_value(read(json.clone())).unwrap(), json);
    }
    // The canonical graph writes an absent cycle as null.
    read(json!({ "cosine": { "from": 1.0, "to": 0.0, "cycle": null } }));
}

#[test]
fn what_is_no_schedule_says_why() {
    assert!(error(json!({ "zigzag": {} })).contains("unknown variant `zigzag`"));
    assert!(error(json!({ "ramp": { "from": 1.0 } })).contains("missing field `to`"));
    assert!(error(json!({ "ramp": { "from": 1.0, "to": 0.0, "tow": 1 } })).contains("tow"));
    assert!(error(json!({ "curve": [] })).contains("at least one value"));
    assert!(
        error(json!({ "cyclic": { "from": 1.0, "to": 0.0, "cycle": 0 } })).contains("longer than nothing")
    );
    let samples = json!({ "value": 9, "unit": "sample" });
    assert!(
        error(json!({ "cyclic": { "from": 1.0, "to": 0.0, "cycle": samples } })).contains("not in samples")
    );
    assert!(error(json!({ "one_cycle": { "max": 1.0, "warmup": 5 } })).contains("`5 epochs`"));
    assert!(error(json!("fast")).contains("fast"));
    assert_eq!(
        Schedule::Curve(vec![1.0, f64::NAN]).fits().unwrap_err(),
        "a schedule's values must be finite numbers"
    );
}

#[test]
fn bounds_hold_for_all_values() {
    for json in [
        json!(0.1),
        json!({ "ramp": { "from": 0.0, "to": 1.0 } }),
        json!({ "curve": [1.0, 0.5, 2.0] }),
        json!({ "cosine": { "from": 1.0, "to": 0.0, "cycle": 2 } }),
        json!({ "triangle": { "from": 1.0, "to": 0.0, "cycle": 2 } }),
        json!({ "one_cycle": { "max": 1.0 } }),
    ] {
        let schedule = read(json);
        let (low, high) = schedule.bounds();
        assert!(values(&schedule, 40).iter().all(|value| (low..=high).contains(value)), "{schedule:?}");
    }
}

#[test]
fn spans_become_steps() {
    let steps = |json: Json| serde_json::from_value::<Span>(json).unwrap().steps(50, 128);
    assert_eq!(steps(json!({ "value": 40, "unit": "epoch" })), 2000);
    assert_eq!(steps(json!(1.5)), 75);
    assert_eq!(steps(json!({ "value": 7, "unit": "step" })), 7);
    assert_eq!(steps(json!({ "value": 1280, "unit": "sample" })), 10);
    assert_eq!(steps(json!({ "quantity": { "value": 2, "unit": "epoch" } })), 100);
    assert_eq!(steps(json!({ "number": 2.0 })), 100);
    assert_eq!(steps(json!(0)), 0);
    assert_eq!(steps(json!(0.001)), 1);
    let fails = |json: Json| serde_json::from_value::<Span>(json).unwrap_err().to_string();
    assert!(fails(json!({ "value": 1, "unit": "hour" })).contains("not in hours"));
    assert!(fails(json!(-1)).contains("no length of time"));
    assert!(fails(json!("4 epochs")).contains("expected a span"));
    assert_eq!(Span::epochs(2.0).steps(3, 1), Span::of_steps(6).steps(3, 1));
}

#[test]
fn schemas_carry_their_units() {
    let schema = schemars::schema_for!(Option<Schedule>).to_value().to_string();
    assert!(schema.contains("schedule"), "{schema}");
    let schema = schemars::schema_for!(Span).to_value();
    assert_eq!(schema["x-unit"], "span");
}
