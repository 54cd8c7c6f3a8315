//! Against mergekit 0.1.5 itself: `tests/mergekit/make_expected.py` ran its kernels and wrote inputs and results.
//!
//! Both sides compute in f32 in different orders, so results agree to 16 roundings of the largest value in play.

use fusion_average::{Dare, Linear, ModelStock, Slerp, TaskArithmetic, Ties};
use fusion_sdk::RawGroup;
use fusion_sdk::method::{elementwise, observing};
use fusion_sdk::testing::{run, tensor};
use serde_json::Value as Json;

fn floats(json: &Json) -> Vec<f32> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[test]
fn results_are_those_of_mergekit() {
    let cases: Vec<Json> = serde_json::from_str(include_str!("mergekit/expected.json")).unwrap();
    assert_eq!(cases.len(), 42);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let method = match case["using"].as_str().unwrap() {
            "linear" => elementwise::<Linear>(),
            "slerp" => observing::<Slerp>(),
            "task_arithmetic" => elementwise::<TaskArithmetic>(),
            "ties" => observing::<Ties>(),
            "dare" => observing::<Dare>(),
            "model_stock" => observing::<ModelStock>(),
            other => panic!("{other}"),
        };
        let based = case["base"].as_bool().unwrap();
        let inputs: Vec<(&str, Json)> = case["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .map(|(i, settings)| (if based && i == 0 { "base" } else { "from" }, settings.clone()))
            .collect();
        let values: Vec<Vec<f32>> = case["values"].as_array().unwrap().iter().map(floats).collect();
        let group =
            RawGroup { tensors: vec![tensor("w", &[values[0].len()], &case["params"], &inputs)], seed: 0 };
        let largest = values.iter().flatten().fold(0.0_f32, |most, x| most.max(x.abs()));
        let expected = floats(&case["expected"]);
        let out =
            run(&*method, &group, &[values]).unwrap_or_else(|error| panic!("{name}: {error}")).remove(0);
        for (i, (x, y)) in out.iter().zip(&expected).enumerate() {
            assert!(
                (x - y).abs() <= 16.0 * largest * f32::EPSILON,
                "{name}: element {i} is {x}, mergekit has {y}"
            );
        }
    }
}
