use fusion_sdk::optim::{Optimizer, Rule};
use fusion_sdk::rng::Key;
use serde_json::json;

use super::*;
use crate::train::TrainParams;

/// A training of 12 steps, 4 to an epoch, with these settings besides.
fn timeline(settings: Json) -> Timeline {
    let mut all = json!({ "epochs": 3, "batch": 1 });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    Timeline::new(&TrainParams::read("sgd", all.as_object().unwrap()).unwrap(), 4).unwrap()
}

fn params(settings: Json) -> CollectParams {
    serde_json::from_value(settings).unwrap()
}

fn steps(n: u64) -> Json {
    json!({ "value": n, "unit": "step" })
}

/// What a recorder makes of weights that are `of(done)` after `done` steps.
fn recorded(settings: Json, timeline: &Timeline, of: impl Fn(u64) -> f32) -> Vec<Vec<f32>> {
    let mut recorder = recorder(&params(settings), timeline, true).unwrap();
    recorder.begin(&[of(0)]);
    for done in 1..=timeline.total() {
        if recorder.due(done) {
            if recorder.acts() {
                recorder.act(&mut [of(done)], &mut Optimizer::new(Rule::PLAIN, 1));
            }
            recorder.record(Seen { weights: &[of(done)], statistics: &[] });
        }
    }
    recorder.finish().unwrap().into_iter().map(|flat| flat.weights).collect()
}

fn count(done: u64) -> f32 {
    done as f32
}

#[test]
fn snapshots_come_when_they_are_due() {
    let plain = timeline(json!({}));
    assert_eq!(recorded(json!({}), &plain, count), [[4.0], [8.0], [12.0]]);
    let two = json!({ "every": steps(2), "after": steps(3) });
    assert_eq!(recorded(two, &plain, count), [[5.0], [7.0], [9.0], [11.0]]);
    let last = json!({ "every": steps(2), "after": steps(3), "last": 2 });
    assert_eq!(recorded(last, &plain, count), [[9.0], [11.0]]);

    let triangle = json!({ "triangle": { "from": 1.0, "to": 0.1, "cycle": steps(4) } });
    let cyclic = timeline(json!({ "rate": triangle }));
    assert_eq!(recorded(json!({ "at": "cycle_end" }), &cyclic, count), [[4.0], [8.0], [12.0]]);
    let fge = recorded(json!({ "recorder": "fge", "after": steps(4) }), &cyclic, count);
    assert_eq!(fge, [[6.0], [10.0]]);
    // The step before a member's is the last of the falling half: the next one has the lowest rate.
    assert!((1..12).all(|step| cyclic.rate(step) >= cyclic.rate(2)) && cyclic.rate(6) == cyclic.rate(2));
    // Cycles start after the warm-up.
    let warmed = timeline(json!({ "rate": triangle_of(4), "warmup": steps(3) }));
    assert_eq!(recorded(json!({ "at": "cycle_end" }), &warmed, count), [[7.0], [11.0]]);
    assert_eq!(recorded(json!({ "at": "cycle_middle" }), &warmed, count), [[5.0], [9.0]]);
}

fn triangle_of(n: u64) -> Json {
    json!({ "triangle": { "from": 1.0, "to": 0.1, "cycle": steps(n) } })
}

#[test]
fn means_are_means() {
    let plain = timeline(json!({}));
    let square = |done: u64| (done * done) as f32;
    assert_eq!(recorded(json!({ "recorder": "swa" }), &plain, square), [[(16.0 + 64.0 + 144.0) / 3.0]]);
    let late = json!({ "recorder": "swa", "every": steps(1), "after": steps(8) });
    assert_eq!(recorded(late, &plain, count), [[10.5]]);
    let lawa = json!({ "recorder": "lawa", "every": steps(1), "last": 3 });
    assert_eq!(recorded(lawa, &plain, square), [[(100.0 + 121.0 + 144.0) / 3.0]]);
    // The default of five, with fewer records than that.
    assert_eq!(recorded(json!({ "recorder": "lawa" }), &plain, count), [[8.0]]);
}

/// A mean over many steps of numbers whose sum has no place in f32: exact in f64.
#[test]
fn a_long_mean_loses_nothing() {
    let long = timeline(json!({ "epochs": steps(100_000) }));
    let weights = |done: u64| if done.is_multiple_of(2) { 16_777_216.0 } else { 1.0 };
    let mean = recorded(json!({ "recorder": "swa", "every": steps(1) }), &long, weights);
    assert_eq!(mean, [[(16_777_217.0_f64 / 2.0) as f32]]);
}

/// From x₀ on, towards a constant c: θ̄ₙ = c + (x₀−c)·Π dₜ.
#[test]
fn the_exponential_average_follows_its_closed_form() {
    let plain = timeline(json!({}));
    let jump = |done: u64| if done <= 1 { 5.0 } else { 1.0 };
    let even = json!({ "recorder": "ema", "decay": 0.9, "warm_up": false });
    let found = recorded(even, &plain, jump)[0][0];
    assert_eq!(found, (1.0 + 4.0 * 0.9_f64.powi(11)) as f32);
    let found = recorded(json!({ "recorder": "ema", "decay": 0.9 }), &plain, jump)[0][0];
    let product: f64 = (1..=11).map(|t| f64::from(1 + t) / f64::from(10 + t)).product();
    assert!((f64::from(found) - (1.0 + 4.0 * product)).abs() < 1e-7, "{found}");
    // d = 0.5 takes over from (1+t)/(10+t) at t = 8.
    let found = recorded(json!({ "recorder": "ema", "decay": 0.5 }), &plain, jump)[0][0];
    let product: f64 = (1..=11).map(|t| (f64::from(1 + t) / f64::from(10 + t)).min(0.5)).product();
    assert!((f64::from(found) - (1.0 + 4.0 * product)).abs() < 1e-7, "{found}");
}

/// Weights that move by 1 a step from wherever they are, k = 5, α = ½: each round moves φ by αk.
#[test]
fn lookahead_pulls_back() {
    for (word, momentum) in [("keep", 8.0), ("reset", 0.0), ("pullback", 6.0)] {
        let settings = json!({ "recorder": "lookahead", "momentum": word });
        let long = timeline(json!({ "epochs": 2.5 }));
        let mut recorder = recorder(&params(settings), &long, false).unwrap();
        let mut optimizer =
            Optimizer::new(Rule::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 }, 1);
        let mut weights = [0.0];
        recorder.begin(&weights);
        let mut seen = Vec::new();
        for done in 1..=10 {
            weights[0] += 1.0;
            if recorder.due(done) {
                optimizer.moments_mut().0[0] = 8.0;
                recorder.act(&mut weights, &mut optimizer);
                recorder.record(Seen { weights: &weights, statistics: &[] });
                seen.push(weights[0]);
            }
        }
        assert_eq!(seen, [2.5, 5.0]);
        assert_eq!(recorder.finish().unwrap()[0].weights, [5.0]);
        // Pullback: the slow momentum is 4 after the first round and 4 + ½(8−4) after the second.
        assert_eq!(optimizer.moments().0, [momentum], "{word}");
    }
}

/// θₙ = n: mean (n+1)/2, variance (n²−1)/12, deviation n − (n+1)/2 = (n−1)/2.
#[test]
fn swag_has_the_moments() {
    let plain = timeline(json!({}));
    let settings = json!({ "recorder": "swag", "every": steps(1), "last": 3 });
    let found = recorded(settings.clone(), &plain, count);
    assert_eq!(found, [[6.5], [(143.0_f64 / 12.0) as f32], [4.5], [5.0], [5.5]]);
    // Far from zero the reference's Σθ²/n − θ̄² is noise in f32: 2²⁰ squared has no place for a variance of 12.
    let far = recorded(settings, &plain, |done| 1_048_576.0 + done as f32);
    assert_eq!(far[1..], found[1..]);
    // Fewer records than the rank.
    assert_eq!(recorded(json!({ "recorder": "swag" }), &plain, count).len(), 2 + 3);
}

/// Start and end straight from the definition, on the whole list of losses: segments that make up the mean.
fn swad_by_definition(losses: &[f64], converged: usize, patience: usize, tolerance: f64) -> Vec<usize> {
    let n = losses.len();
    let min = |range: std::ops::Range<usize>| losses[range].iter().copied().fold(f64::INFINITY, f64::min);
    let Some(start) = (0..n).find(|&s| s + converged <= n && losses[s] == min(s..s + converged)) else {
        return vec![n - 1];
    };
    let mean = losses[start..start + converged].iter().sum::<f64>() / converged as f64;
    let high = (1.0 + tolerance) * mean;
    let end = (start..n).find(|&e| e + patience < n && min(e + 1..e + 1 + patience) > high);
    (start..=end.unwrap_or(n - 1)).collect()
}

#[test]
fn swad_averages_from_the_validated_start_to_the_end() {
    let key = Key::new(5, "swad", 0);
    let mut ends = std::collections::BTreeSet::new();
    for case in 0..400_u64 {
        let n = 6 + (case % 12) as usize;
        let (converged, patience) = (1 + (case % 4) as usize, 1 + (case / 4 % 4) as usize);
        let tolerance = 0.1 * (case % 3) as f64;
        // A valley: down, flat, and up again, with noise.
        let losses: Vec<f64> = (0..n)
            .map(|i| {
                let x = i as f64 / n as f64 * 4.0 - 2.0;
                1.0 + 0.3 * x * x + 0.5 * f64::from(key.uniform(case * 100 + i as u64))
            })
            .collect();
        let settings = json!({
            "recorder": "swad", "converged": converged, "patience": patience, "tolerance": tolerance,
        });
        let mut recorder = recorder(&params(settings), &timeline(json!({})), true).unwrap();
        // Segment i has i + 1 steps, all at 2ⁱ: sums tell which segments are in.
        for (index, &loss) in losses.iter().enumerate() {
            for _ in 0..=index {
                if recorder.due(1) {
                    recorder.record(Seen { weights: &[(1_u64 << index) as f32], statistics: &[] });
                }
            }
            recorder.validated(loss);
        }
        let segments = swad_by_definition(&losses, converged, patience, tolerance);
        let steps: usize = segments.iter().map(|index| index + 1).sum();
        let sum: u64 = segments.iter().map(|&index| (index as u64 + 1) << index).sum();
        let found = recorder.finish().unwrap();
        assert_eq!(found[0].weights, [(sum as f64 / steps as f64) as f32], "{losses:?} {segments:?}");
        ends.insert((segments.len() > 1, segments.last() == Some(&(n - 1))));
    }
    // Runs that end in the middle, runs that do not, and single segments were among them.
    assert!(ends.len() >= 3, "{ends:?}");
}

#[test]
fn swad_without_a_start_is_the_last_segment_and_nan_starts_nothing() {
    let settings = json!({ "recorder": "swad", "converged": 3 });
    let run = |losses: &[f64]| {
        let mut recorder = recorder(&params(settings.clone()), &timeline(json!({})), true).unwrap();
        for (index, &loss) in losses.iter().enumerate() {
            recorder.record(Seen { weights: &[index as f32], statistics: &[] });
            recorder.validated(loss);
        }
        recorder.finish().unwrap()[0].weights[0]
    };
    assert_eq!(run(&[5.0, 4.0, 3.0, 2.0]), 3.0);
    assert_eq!(run(&[5.0, f64::NAN, 6.0, 4.0]), 3.0);
    assert_eq!(run(&[1.0, 1.0, 1.0, 1.0]), 1.5);
}

const ALL: [&str; 8] = ["snapshots", "swa", "swad", "lawa", "ema", "lookahead", "fge", "swag"];

/// A recorder that is saved and loaded after any step gives what one gives that went through.
#[test]
fn states_go_through_a_checkpoint() {
    let cyclic = timeline(json!({ "rate": triangle_of(4) }));
    let weights = |done: u64| [(done as f32).sin(), (done as f32).sqrt()];
    for word in ALL {
        let settings = params(json!({ "recorder": word }));
        let fresh = || recorder(&settings, &cyclic, true).unwrap();
        for stop in 0..=12 {
            let mut recorders = [fresh(), fresh()];
            for recorder in &mut recorders {
                recorder.begin(&weights(0));
            }
            let mut optimizers = [0, 1].map(|_| Optimizer::new(Rule::ADAM, 2));
            let [through, broken] = &mut recorders;
            for done in 1..=12 {
                for (recorder, optimizer) in [&mut *through, &mut *broken].into_iter().zip(&mut optimizers) {
                    let mut weights = weights(done);
                    if recorder.due(done) {
                        if recorder.acts() {
                            recorder.act(&mut weights, optimizer);
                        }
                        recorder.record(Seen { weights: &weights, statistics: &[done as f32] });
                    }
                    if done.is_multiple_of(2) {
                        recorder.validated(1.0 + (done as f64 - 5.0).abs());
                    }
                }
                if done == stop {
                    let Saved { numbers, singles, doubles } = broken.save();
                    let saved = Saved {
                        numbers: serde_json::from_str(&numbers.to_string()).unwrap(),
                        singles: singles.into_iter().map(|v| Cow::Owned(v.into_owned())).collect(),
                        doubles: doubles.into_iter().map(|v| Cow::Owned(v.into_owned())).collect(),
                    };
                    let mut again = fresh();
                    again.load(saved).unwrap();
                    *broken = again;
                }
            }
            assert_eq!(through.save(), broken.save(), "{word}");
            assert_eq!(through.finish(), broken.finish(), "{word}");
        }
    }
}

#[test]
fn states_of_another_recorder_are_refused() {
    let cyclic = timeline(json!({ "rate": triangle_of(4) }));
    for (word, singles, doubles) in
        [("swa", 0, 1), ("ema", 1, 0), ("lookahead", 1, 0), ("swag", 1, 1), ("lawa", 1, 0)]
    {
        let mut recorder = recorder(&params(json!({ "recorder": word })), &cyclic, true).unwrap();
        let saved = Saved {
            numbers: json!({ "count": 1 }),
            singles: vec![vec![0.0].into(); singles],
            doubles: vec![vec![0.0].into(); doubles],
        };
        assert!(recorder.load(saved).is_err(), "{word}");
    }
}

#[test]
fn the_planner_knows_how_many_models_come_out() {
    let cyclic = timeline(json!({ "rate": triangle_of(4), "warmup": steps(2) }));
    for settings in [
        json!({}),
        json!({ "every": steps(5) }),
        json!({ "every": steps(2), "after": 1 }),
        json!({ "every": steps(1), "last": 3 }),
        json!({ "at": "cycle_end" }),
        json!({ "at": "cycle_middle", "after": 1.5 }),
        json!({ "recorder": "fge" }),
        json!({ "recorder": "fge", "last": 2, "at": "cycle_end" }),
        json!({ "recorder": "swag", "every": steps(1), "last": 5 }),
        json!({ "recorder": "swag" }),
        json!({ "recorder": "swa" }),
        json!({ "recorder": "lawa", "last": 2 }),
        json!({ "recorder": "ema", "after": 2 }),
        json!({ "recorder": "lookahead" }),
    ] {
        let models = recorded(settings.clone(), &cyclic, count).len();
        let expected = match planned(&params(settings.clone()), &cyclic, false).unwrap() {
            Count::One => 1,
            Count::Exactly(several) => several,
        };
        assert_eq!(models, expected, "{settings}");
    }
    let one =
        |word: &str| planned(&params(json!({ "recorder": word })), &cyclic, true).unwrap() == Count::One;
    let schema = CollectParams::schema();
    for word in ALL {
        let listed = schema["x-one"].as_array().unwrap().contains(&word.into());
        assert_eq!(one(word), listed, "{word}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_name() {
    let plain = timeline(json!({}));
    let refused = |settings: Json, timeline: &Timeline| {
        let error = planned(&params(settings), timeline, false).unwrap_err();
        (error.parameter.unwrap_or("none"), error.message)
    };
    assert_eq!(refused(json!({ "decay": 0.9 }), &plain).0, "decay");
    assert_eq!(refused(json!({ "recorder": "swa", "last": 2 }), &plain).0, "last");
    assert_eq!(refused(json!({ "recorder": "ema", "tolerance": 0.2 }), &plain).0, "tolerance");
    assert_eq!(refused(json!({ "recorder": "fge" }), &plain).0, "recorder");
    assert_eq!(refused(json!({ "at": "cycle_end" }), &plain).0, "at");
    let cyclic = timeline(json!({ "rate": triangle_of(4) }));
    assert_eq!(refused(json!({ "at": "cycle_end", "every": 1 }), &cyclic).0, "at");
    assert_eq!(refused(json!({ "every": 0 }), &plain).0, "every");
    assert_eq!(refused(json!({ "recorder": "swad" }), &plain).0, "recorder");
    assert_eq!(refused(json!({ "after": 3 }), &plain).0, "after");
    assert!(refused(json!({ "every": 4 }), &plain).1.contains("12 steps"));
    let early = timeline(json!({ "early_stopping": 1 }));
    assert!(refused(json!({}), &early).1.contains("early_stopping"));
    assert_eq!(planned(&params(json!({ "recorder": "swa" })), &early, false).unwrap(), Count::One);
    // A training that ended before its time.
    let mut never = recorder(&params(json!({ "recorder": "swa" })), &plain, false).unwrap();
    assert!(never.finish().unwrap_err().message.contains("before `swa`"));
}
