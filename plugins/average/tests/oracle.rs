//! Every method against an f64 implementation written from its formula, with sorting where the kernels use histograms.
//!
//! Tolerance: f32 sums of N terms are off by at most (N + 4) · 2⁻²⁴ · (|θ₀| + λ Σ|Dᵢ|), which is what [`close`] allows.

use std::sync::OnceLock;

use fusion_average::{Dare, Linear, Mean, ModelStock, Slerp, TaskArithmetic, Ties};
use fusion_core::method::Registry;
use fusion_sdk::rng::{Key, threshold};
use fusion_sdk::testing::{run, tensor};
use fusion_sdk::{BLOCK, Elementwise, ErrorKind, Method, MethodError, RawGroup, RawTensor, TILE};
use serde_json::{Value as Json, json};

const SIZES: [usize; 6] = [0, 1, 2, 33, TILE, TILE * 2 + 77];

/// A base and `models` models near it. `grid` rounds to multiples of 2⁻¹⁰: exact differences and many ties.
fn data(models: usize, n: usize, seed: u64, grid: bool) -> Vec<Vec<f32>> {
    let base_key = Key::new(seed, "base", 0);
    let base: Vec<f32> = (0..n as u64).map(|i| (base_key.uniform(i) - 0.5) * 0.5).collect();
    let round = |x: f32| if grid { (x * 1024.0).round() / 1024.0 } else { x };
    let mut all: Vec<Vec<f32>> = (0..models)
        .map(|j| {
            let key = Key::new(seed, "model", j as u64);
            (0..n).map(|i| round(base[i]) + round((key.uniform(i as u64) - 0.5) * 0.05)).collect()
        })
        .collect();
    all.insert(0, base.into_iter().map(round).collect());
    all
}

/// The registered method whose kernel is `K`.
fn method<K: Elementwise>() -> &'static dyn Method {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| {
        let mut registry = Registry::new();
        fusion_average::register(&mut registry);
        registry
    });
    registry.get(K::about().id).and_then(|entry| entry.method.as_deref()).expect("it is registered")
}

fn group(params: &Json, inputs: &[Json], n: usize, base: bool, seed: u64) -> RawGroup {
    let inputs: Vec<(&str, Json)> = inputs
        .iter()
        .enumerate()
        .map(|(j, settings)| (if base && j == 0 { "base" } else { "from" }, settings.clone()))
        .collect();
    RawGroup { tensors: vec![tensor("w", &[n], params, &inputs)], seed }
}

fn merge<K: Elementwise>(
    params: &Json,
    inputs: &[Json],
    base: bool,
    values: &[Vec<f32>],
) -> Result<Vec<f32>, MethodError> {
    let group = group(params, inputs, values[0].len(), base, 7);
    run(method::<K>(), &group, &[values.to_vec()]).map(|mut tensors| tensors.remove(0))
}

/// Compares with (value, scale) per element; `None` where the sign is not decidable in f32.
fn close(out: &[f32], expected: &[Option<(f64, f64)>], terms: usize, what: &str) {
    assert_eq!(out.len(), expected.len(), "{what}");
    let mut skipped = 0;
    for (i, (&x, y)) in out.iter().zip(expected).enumerate() {
        let Some((y, scale)) = *y else {
            skipped += 1;
            continue;
        };
        let allowed = (terms as f64 + 4.0) * scale * 2.0_f64.powi(-24) + 1e-40;
        assert!((f64::from(x) - y).abs() <= allowed, "{what}: element {i} is {x}, expected {y} ± {allowed}");
    }
    assert!(skipped * 100 <= out.len(), "{what}: {skipped} undecidable signs");
}

fn weighted(weights: &[f64], values: &[Vec<f32>]) -> Vec<Option<(f64, f64)>> {
    (0..values[0].len())
        .map(|i| {
            let terms = weights.iter().zip(values).map(|(w, v)| w * f64::from(v[i]));
            Some((terms.clone().sum(), terms.map(f64::abs).sum()))
        })
        .collect()
}

fn base_plus(factors: &[f64], values: &[Vec<f32>]) -> Vec<Option<(f64, f64)>> {
    (0..values[0].len())
        .map(|i| {
            let b = f64::from(values[0][i]);
            let terms = factors.iter().zip(&values[1..]).map(|(w, v)| w * (f64::from(v[i]) - b));
            Some((b + terms.clone().sum::<f64>(), b.abs() + terms.map(f64::abs).sum::<f64>()))
        })
        .collect()
}

fn weights(n: usize, extra: &Json) -> (Vec<f64>, Vec<Json>) {
    let all = [0.5, 1.25, -0.375, 0.75, 2.0, 0.125];
    let settings = |w: &f64| {
        let mut settings = extra.clone();
        settings["weight"] = json!(w);
        settings
    };
    (all[..n].to_vec(), all[..n].iter().map(settings).collect())
}

#[test]
fn mean_and_linear() {
    for n in SIZES.into_iter().chain([BLOCK + TILE + 5]) {
        for models in if n > BLOCK { 3..=3 } else { 1..=6 } {
            let values = &data(models, n, 1, false)[1..];
            let none = vec![json!({}); models];
            let uniform = vec![1.0 / models as f64; models];
            let what = format!("{models} models of {n}");
            close(
                &merge::<Mean>(&json!({}), &none, false, values).unwrap(),
                &weighted(&uniform, values),
                models,
                &what,
            );
            close(
                &merge::<Linear>(&json!({}), &none, false, values).unwrap(),
                &weighted(&uniform, values),
                models,
                &what,
            );
            let (given, inputs) = weights(models, &json!({}));
            let out = merge::<Linear>(&json!({ "normalize": false }), &inputs, false, values).unwrap();
            close(&out, &weighted(&given, values), models, &what);
            let sum: f64 = given.iter().sum();
            let shares: Vec<f64> = given.iter().map(|w| w / sum).collect();
            close(
                &merge::<Linear>(&json!({}), &inputs, false, values).unwrap(),
                &weighted(&shares, values),
                models,
                &what,
            );
        }
    }
}

#[test]
fn weights_that_cancel_are_refused() {
    let values = &data(2, 3, 1, false)[1..];
    let linear = |a: f64, b: f64| {
        merge::<Linear>(&json!({}), &[json!({ "weight": a }), json!({ "weight": b })], false, values)
    };
    assert_eq!(linear(1.0, -1.0).unwrap_err().kind, ErrorKind::ZeroSum);
    let error = linear(0.5, -0.4999).unwrap_err();
    assert_eq!((error.kind, error.parameter), (ErrorKind::Cancelling, Some("weight")));
    assert!(error.help.is_some());
}

#[test]
fn task_arithmetic() {
    for n in SIZES {
        for models in 1..=6 {
            let values = data(models, n, 2, false);
            let (given, mut inputs) = weights(models, &json!({}));
            inputs.insert(0, json!({}));
            let what = format!("{models} models of {n}");
            let factors: Vec<f64> = given.iter().map(|w| 0.3 * w).collect();
            let out = merge::<TaskArithmetic>(&json!({ "lambda": 0.3 }), &inputs, true, &values).unwrap();
            close(&out, &base_plus(&factors, &values), models, &what);
            let sum: f64 = given.iter().sum();
            let factors: Vec<f64> = given.iter().map(|w| w / sum).collect();
            let out = merge::<TaskArithmetic>(&json!({ "normalize": true }), &inputs, true, &values).unwrap();
            close(&out, &base_plus(&factors, &values), models, &what);
        }
    }
}

#[test]
fn slerp() {
    let none = [json!({}), json!({})];
    for n in SIZES {
        for t in [0.0, 0.2, 0.5, 1.0] {
            let mut values = data(2, n, 3, false)[1..].to_vec();
            for (i, x) in values[1].iter_mut().enumerate() {
                *x += Key::new(5, "turn", 0).uniform(i as u64) - 0.3; // away from parallel
            }
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
            };
            let (aa, bb) = (dot(&values[0], &values[0]).sqrt(), dot(&values[1], &values[1]).sqrt());
            let cos = (dot(&values[0], &values[1]) / (aa * bb)).clamp(-1.0, 1.0);
            let angle = cos.acos();
            let factors = if n == 0 || cos.abs() > 0.9995 {
                [1.0 - t, t]
            } else {
                [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
            };
            let out = merge::<Slerp>(&json!({ "t": t }), &none, false, &values).unwrap();
            close(&out, &weighted(&factors, &values), 2, &format!("t {t} of {n}"));
        }
    }
}

#[test]
fn slerp_of_orthogonal_unit_vectors_keeps_the_norm() {
    let none = [json!({}), json!({})];
    let values = vec![vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0]];
    for t in [0.25, 0.5, 0.9] {
        let out = merge::<Slerp>(&json!({ "t": t }), &none, false, &values).unwrap();
        let norm: f64 = out.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        assert!((norm - 1.0).abs() < 1e-7, "t {t}: {norm}");
    }
    let mid = |values: &[Vec<f32>]| merge::<Slerp>(&json!({}), &none, false, values).unwrap();
    assert_eq!(mid(&[vec![1.0, 2.0], vec![-1.0, -2.0]]), [0.0, 0.0], "opposite vectors go straight");
    assert_eq!(mid(&[vec![0.0, 0.0], vec![1.0, 2.0]]), [0.5, 1.0], "a zero vector has no direction");
    assert!(mid(&[vec![f32::NAN, 1.0], vec![1.0, 2.0]]).iter().all(|x| x.is_nan()));
    let (small, large) = (mid(&[vec![1e-12, 0.0], vec![0.0, 1e-12]]), mid(&[vec![1.0, 0.0], vec![0.0, 1.0]]));
    assert!((small[0] / 1e-12 - large[0]).abs() < 1e-6, "scale-free");
    let ends = [vec![1.0, f32::NAN], vec![3.0, 4.0]];
    assert_eq!(merge::<Slerp>(&json!({ "t": 1.0 }), &none, false, &ends).unwrap(), [3.0, 4.0]);
    let error = merge::<Slerp>(&json!({ "t": 1.5 }), &none, false, &values).unwrap_err();
    assert_eq!(error.parameter, Some("t"));
}

#[test]
fn model_stock() {
    for n in &SIZES[1..] {
        for models in 2..=5 {
            let values = data(models, *n, 4, false);
            let delta: Vec<Vec<f64>> = values[1..]
                .iter()
                .map(|v| v.iter().zip(&values[0]).map(|(&x, &b)| f64::from(x) - f64::from(b)).collect())
                .collect();
            let dot =
                |i: usize, j: usize| -> f64 { delta[i].iter().zip(&delta[j]).map(|(x, y)| x * y).sum() };
            let mut cos = Vec::new();
            for i in 0..models {
                for j in i + 1..models {
                    cos.push(dot(i, j) / (dot(i, i) * dot(j, j)).sqrt());
                }
            }
            let cos = cos.iter().sum::<f64>() / cos.len() as f64;
            let count = models as f64;
            let divisor = 1.0 + (count - 1.0) * cos;
            let t = if divisor.abs() < 1e-6 { 0.0 } else { count * cos / divisor };
            let out = merge::<ModelStock>(&json!({}), &vec![json!({}); models + 1], true, &values).unwrap();
            let expected = base_plus(&vec![t / count; models], &values);
            close(&out, &expected, models, &format!("{models} models of {n}, t {t}"));
        }
    }
    let same = vec![vec![1.0, 2.0], vec![1.5, 1.0], vec![1.5, 1.0]];
    let out = merge::<ModelStock>(&json!({}), &vec![json!({}); 3], true, &same).unwrap();
    assert_eq!(out, [1.5, 1.0], "equal models are their own mean");
    let still = vec![vec![1.0, 2.0]; 3];
    assert_eq!(merge::<ModelStock>(&json!({}), &vec![json!({}); 3], true, &still).unwrap(), [1.0, 2.0]);
    assert!(merge::<ModelStock>(&json!({}), &vec![json!({}); 2], true, &still[..2]).is_err());
}

/// The settings of a TIES-like merge as the reference reads them.
#[derive(Clone, Debug)]
struct Case {
    elect: bool,
    count: bool,
    mean: bool,
    rescale: &'static str,
    mergekit: bool,
    lambda: f64,
}

/// Trimmed by sorting: the k largest magnitudes, the first of equals.
fn trim(delta: &[f64], density: f64, mergekit: bool) -> Vec<f64> {
    let share = density * delta.len() as f64;
    let k = if density == 0.0 {
        0
    } else {
        (if mergekit { share.floor() } else { share.round() } as usize).max(1)
    };
    let mut order: Vec<usize> = (0..delta.len()).collect();
    order.sort_by(|&a, &b| delta[b].abs().total_cmp(&delta[a].abs()));
    let mut kept = vec![0.0; delta.len()];
    for &i in order.iter().take(k) {
        kept[i] = delta[i];
    }
    kept
}

/// From deltas before and after dropping to the result.
fn disjoint(
    base: &[f32],
    before: &[Vec<f64>],
    after: &[Vec<f64>],
    weights: &[f64],
    densities: &[f64],
    case: &Case,
) -> Vec<Option<(f64, f64)>> {
    let l1 = |v: &[f64]| -> f64 { v.iter().map(|x| x.abs()).sum() };
    let scaled: Vec<Vec<f64>> = (0..weights.len())
        .map(|j| {
            let scale = match case.rescale {
                "expected" if densities[j] > 0.0 => 1.0 / densities[j],
                "l1" if l1(&before[j]) > 0.0 && l1(&after[j]) > 0.0 => l1(&before[j]) / l1(&after[j]),
                _ => 1.0,
            };
            after[j].iter().map(|x| x * scale * weights[j]).collect()
        })
        .collect();
    (0..base.len())
        .map(|i| {
            let d: Vec<f64> = scaled.iter().map(|v| v[i]).collect();
            let (sum, size): (f64, f64) = (d.iter().sum(), d.iter().map(|x| x.abs()).sum());
            let mut vote = sum;
            if case.count {
                let votes: f64 = d.iter().filter(|x| **x != 0.0).map(|x| x.signum()).sum();
                vote = if votes == 0.0 { sum } else { votes };
            }
            if case.elect && vote != 0.0 && vote.abs() < 1e-6 * size {
                return None;
            }
            let sign = if vote >= 0.0 { 1.0 } else { -1.0 };
            let takes_part = |j: usize| !case.elect || d[j] * sign > 0.0;
            let kept: f64 = (0..d.len()).filter(|&j| takes_part(j)).map(|j| d[j]).sum();
            let share = |j: usize| if case.mergekit || !case.elect { weights[j] } else { weights[j].abs() };
            let divisor: f64 = (0..d.len()).filter(|&j| takes_part(j)).map(share).sum();
            let divisor = if case.mean && divisor != 0.0 { divisor } else { 1.0 };
            let b = f64::from(base[i]);
            Some((b + case.lambda * kept / divisor, b.abs() + (case.lambda * size / divisor).abs()))
        })
        .collect()
}

fn deltas(values: &[Vec<f32>]) -> Vec<Vec<f64>> {
    values[1..].iter().map(|v| v.iter().zip(&values[0]).map(|(&x, &b)| f64::from(x - b)).collect()).collect()
}

#[test]
fn ties() {
    let densities = [0.3, 1.0, 0.0, 0.55, 0.01, 0.2];
    for n in SIZES {
        for models in 1..=6 {
            for grid in [false, true] {
                let values = data(models, n, 5, grid);
                let before = deltas(&values);
                let (given, _) = weights(models, &json!({}));
                let mut inputs: Vec<Json> =
                    given.iter().zip(densities).map(|(w, d)| json!({ "weight": w, "density": d })).collect();
                inputs.insert(0, json!({}));
                for (election, combine, rescale, mergekit) in [
                    ("weighted", "mean", "none", false),
                    ("weighted", "sum", "l1", false),
                    ("count", "mean", "expected", false),
                    ("count", "sum", "none", false),
                    ("weighted", "mean", "l1", true),
                    ("weighted", "sum", "none", true),
                ] {
                    let case = Case {
                        elect: true,
                        count: election == "count",
                        mean: combine == "mean",
                        rescale,
                        mergekit,
                        lambda: 0.8,
                    };
                    let after: Vec<Vec<f64>> =
                        before.iter().zip(densities).map(|(d, share)| trim(d, share, mergekit)).collect();
                    let params = json!({
                        "dialect": if mergekit { "mergekit" } else { "fusion" },
                        "election": election, "combine": combine, "rescale": rescale, "lambda": 0.8,
                    });
                    let out = merge::<Ties>(&params, &inputs, true, &values).unwrap();
                    let expected = disjoint(&values[0], &before, &after, &given, &densities, &case);
                    close(
                        &out,
                        &expected,
                        2 * models,
                        &format!("{models} models of {n}, grid {grid}, {case:?}"),
                    );
                }
            }
        }
    }
}

/// Over the whole model: the same as over one tensor that holds all values, tensor by tensor.
#[test]
fn ties_over_the_model_trims_the_whole_vector() {
    for grid in [false, true] {
        let sizes = [TILE + 5, 0, 100, 2 * TILE];
        let parts: Vec<Vec<Vec<f32>>> =
            sizes.iter().enumerate().map(|(i, &n)| data(3, n, 60 + i as u64, grid)).collect();
        let inputs = |density: f64| {
            let from = json!({ "density": density });
            [("base", json!({})), ("from", from.clone()), ("from", from.clone()), ("from", from)]
        };
        let params = json!({ "trim": "model", "rescale": "l1" });
        let tensors: Vec<RawTensor> = sizes
            .iter()
            .enumerate()
            .map(|(i, &n)| tensor(&format!("t{i}"), &[n], &params, &inputs(0.25)))
            .collect();
        let outs = run(method::<Ties>(), &RawGroup { tensors, seed: 0 }, &parts).unwrap();
        let joined: Vec<Vec<f32>> =
            (0..4).map(|j| parts.iter().flat_map(|part| part[j].clone()).collect()).collect();
        let before = deltas(&joined);
        let after: Vec<Vec<f64>> = before.iter().map(|d| trim(d, 0.25, false)).collect();
        let case =
            Case { elect: true, count: false, mean: true, rescale: "l1", mergekit: false, lambda: 1.0 };
        let expected = disjoint(&joined[0], &before, &after, &[1.0; 3], &[0.25; 3], &case);
        close(&outs.concat(), &expected, 6, &format!("grid {grid}"));
    }
    let tensors = [0.2, 0.3].map(|d| {
        tensor(
            "t",
            &[1],
            &json!({ "trim": "model" }),
            &[("base", json!({})), ("from", json!({ "density": d }))],
        )
    });
    let group = RawGroup { tensors: tensors.to_vec(), seed: 0 };
    let one = vec![vec![0.0], vec![1.0]];
    let error = run(method::<Ties>(), &group, &[one.clone(), one]).unwrap_err();
    assert_eq!(error.parameter, Some("density"));
}

#[test]
fn ties_on_special_values() {
    let ties = |params: Json, from: Json, values: &[Vec<f32>]| {
        let mut inputs = vec![from; values.len()];
        inputs[0] = json!({});
        merge::<Ties>(&params, &inputs, true, values)
    };
    let same = vec![vec![1.0, -2.0, 0.0]; 4];
    assert_eq!(ties(json!({}), json!({}), &same).unwrap(), same[0], "equal models");
    let values = [vec![1.0, 2.0, 3.0, 4.0], vec![1.5, 2.25, 3.125, 4.0]];
    let out = ties(json!({}), json!({ "density": 0.5 }), &values).unwrap();
    assert_eq!(out, [1.5, 2.25, 3.0, 4.0], "two of four stay");
    let out = ties(json!({}), json!({ "density": 0.0 }), &values).unwrap();
    assert_eq!(out, values[0]);
    let constant = [vec![0.0; 5], vec![1.0; 5]];
    let out = ties(json!({}), json!({ "density": 0.4 }), &constant).unwrap();
    assert_eq!(out, [1.0, 1.0, 0.0, 0.0, 0.0], "among equals the first");
    let nan = [vec![0.0, 0.0, 0.0], vec![f32::NAN, 1.0, 2.0], vec![1.0, 1.0, 1.0]];
    for density in [0.4, 1.0] {
        let out = ties(json!({}), json!({ "density": density }), &nan).unwrap();
        assert!(out[0].is_nan() && !out[1].is_nan(), "NaN is kept and stays where it is: {out:?}");
    }
    // Opposite changes that cancel exactly: the sign is +.
    let opposite = [vec![0.0], vec![-1.0], vec![1.0]];
    assert_eq!(ties(json!({}), json!({ "density": 1.0 }), &opposite).unwrap(), [1.0]);
}

#[test]
fn settings_that_contradict_the_dialect_are_refused() {
    let values = data(1, 3, 1, false);
    let inputs = [json!({}), json!({})];
    for (name, value) in [("trim", "model"), ("election", "count"), ("rescale", "expected")] {
        let mut params = json!({ "dialect": "mergekit" });
        params[name] = json!(value);
        let error = merge::<Ties>(&params, &inputs, true, &values).unwrap_err();
        assert_eq!((error.kind, error.parameter), (ErrorKind::Invalid, Some(name)));
        assert!(error.message.contains(value));
        if name != "trim" {
            let error = merge::<Dare>(&params, &inputs, true, &values).unwrap_err();
            assert_eq!(error.parameter, Some(name));
        }
    }
}

#[test]
fn shares_outside_their_range_are_refused() {
    let values = data(1, 3, 1, false);
    for share in [-0.1, 1.1] {
        let inputs = [json!({}), json!({ "density": share })];
        for (result, parameter, input) in [
            (merge::<Ties>(&json!({}), &inputs, true, &values), "density", Some(1)),
            (merge::<Dare>(&json!({}), &inputs, true, &values), "density", Some(1)),
            (merge::<Slerp>(&json!({ "t": share }), &[json!({}), json!({})], false, &values), "t", None),
        ] {
            let error = result.unwrap_err();
            assert_eq!((error.parameter, error.input), (Some(parameter), input));
            assert_eq!(error.message, format!("`{parameter} = {share}` must lie between 0% and 100%"));
        }
    }
}

#[test]
fn dare() {
    let densities = [0.5, 1.0, 0.1, 0.0, 0.9, 0.5];
    for n in SIZES {
        for models in 1..=6 {
            let values = data(models, n, 8, false);
            let before = deltas(&values);
            let (given, _) = weights(models, &json!({}));
            let mut inputs: Vec<Json> =
                given.iter().zip(densities).map(|(w, d)| json!({ "weight": w, "density": d })).collect();
            inputs.insert(0, json!({}));
            let after: Vec<Vec<f64>> = before
                .iter()
                .zip(densities)
                .enumerate()
                .map(|(j, (d, share))| {
                    let (key, limit) = (Key::new(7, "w", j as u64), threshold(share));
                    d.iter()
                        .enumerate()
                        .map(|(i, x)| if key.below(i as u64, limit) { *x } else { 0.0 })
                        .collect()
                })
                .collect();
            for (election, combine, rescale, mergekit) in [
                ("none", "sum", "expected", false),
                ("none", "mean", "l1", false),
                ("weighted", "sum", "expected", false),
                ("weighted", "mean", "none", false),
                ("count", "mean", "expected", false),
                ("none", "mean", "l1", true),
                ("weighted", "mean", "l1", true),
            ] {
                let case = Case {
                    elect: election != "none",
                    count: election == "count",
                    mean: combine == "mean",
                    rescale,
                    mergekit,
                    lambda: 1.5,
                };
                let params = json!({
                    "dialect": if mergekit { "mergekit" } else { "fusion" },
                    "election": election, "combine": combine, "rescale": rescale, "lambda": 1.5,
                });
                let out = merge::<Dare>(&params, &inputs, true, &values).unwrap();
                let expected = disjoint(&values[0], &before, &after, &given, &densities, &case);
                close(&out, &expected, 2 * models, &format!("{models} models of {n}, {case:?}"));
            }
        }
    }
}

/// 65 536 masked elements: the share kept has standard error 1.8e-3 at density 0.3; five of them are allowed.
#[test]
fn dare_keeps_the_share_it_is_asked_for_and_depends_on_seed_and_name() {
    let n = 8 * TILE;
    let values = vec![vec![0.0; n], vec![1.0; n]];
    let masks = |seed: u64, name: &str| {
        let inputs = [("base", json!({})), ("from", json!({ "density": 0.3 }))];
        let group =
            RawGroup { tensors: vec![tensor(name, &[n], &json!({ "rescale": "none" }), &inputs)], seed };
        run(method::<Dare>(), &group, std::slice::from_ref(&values)).unwrap().remove(0)
    };
    let first = masks(1, "a");
    let share = f64::from(first.iter().sum::<f32>()) / n as f64;
    assert!((share - 0.3).abs() < 9e-3, "{share}");
    assert_eq!(first, masks(1, "a"));
    assert_ne!(first, masks(2, "a"));
    assert_ne!(first, masks(1, "b"));
}
