//! The methods' forms on burn devices against the CPU kernels, over a span of several tiles that ends within one.
//!
//! Both round to f32 after each operation, in nearly the same order: 16 roundings of the largest value are allowed.
#![cfg(feature = "flex")]

use burn::tensor::{Device, Tensor, TensorData};
use fusion_average::{Dare, Linear, Mean, ModelStock, Slerp, TaskArithmetic, Ties};
use fusion_core::method::Registry;
use fusion_core::method::device::{DeviceTile, OnDevice, apply};
use fusion_sdk::rng::Key;
use fusion_sdk::testing::tensor;
use fusion_sdk::{Kernel, RawGroup, TILE, Tile};
use serde_json::{Value as Json, json};

fn observe(kernel: &mut dyn Kernel, values: &[Vec<f32>]) {
    let n = values[0].len();
    while kernel.observing() {
        let mut partial = kernel.partial();
        for offset in (0..n).step_by(TILE) {
            let inputs: Vec<&[f32]> = values.iter().map(|v| &v[offset..n.min(offset + TILE)]).collect();
            kernel.observe(&mut *partial, &Tile { tensor: 0, offset: offset as u64, inputs: &inputs });
        }
        kernel.absorb(&mut *partial);
        kernel.finish_pass().unwrap();
    }
}

fn agrees<K: OnDevice>(params: Json, base: bool, from: &[Json], grid: bool) {
    let n = 2 * TILE + 100;
    let device = Device::flex();
    let mut settings: Vec<(&str, Json)> = from.iter().map(|settings| ("from", settings.clone())).collect();
    if base {
        settings.insert(0, ("base", json!({})));
    }
    let values: Vec<Vec<f32>> = (0..settings.len() as u64)
        .map(|j| {
            let key = Key::new(3, "device", j);
            let round = |x: f32| if grid { (x * 64.0).round() / 64.0 } else { x };
            (0..n as u64).map(|i| round(key.uniform(i) - 0.5)).collect()
        })
        .collect();
    let group = RawGroup { tensors: vec![tensor("w", &[n], &params, &settings)], seed: 5 };
    let mut registry = Registry::new();
    fusion_average::register(&mut registry);
    let method = registry.get(K::about().id).and_then(|entry| entry.method.as_deref()).unwrap();
    let mut kernel = method.kernel(&group).unwrap();
    observe(&mut *kernel, &values);
    let mut expected = vec![0.0; n];
    for offset in (0..n).step_by(TILE) {
        let end = n.min(offset + TILE);
        let inputs: Vec<&[f32]> = values.iter().map(|v| &v[offset..end]).collect();
        kernel.apply(&Tile { tensor: 0, offset: offset as u64, inputs: &inputs }, &mut expected[offset..end]);
    }
    for start in [0, TILE] {
        let inputs: Vec<Tensor<1>> = values
            .iter()
            .map(|v| Tensor::from_data(TensorData::new(v[start..].to_vec(), [n - start]), &device))
            .collect();
        let tile = DeviceTile { tensor: 0, offset: start as u64, inputs: &inputs, device: &device };
        let out: Vec<f32> = apply::<K>(kernel.as_any(), &tile).unwrap().into_data().iter::<f32>().collect();
        assert_eq!(out.len(), n - start);
        let largest = expected.iter().fold(1.0_f32, |most, x| most.max(x.abs()));
        for (i, (x, y)) in out.iter().zip(&expected[start..]).enumerate() {
            assert!(
                (x - y).abs() <= 16.0 * largest * f32::EPSILON,
                "{params}: element {i} is {x}, the CPU has {y}"
            );
        }
    }
}

#[test]
fn device_forms_agree_with_the_fused_kernels() {
    let weights = [json!({ "weight": 0.5 }), json!({ "weight": -0.25 }), json!({ "weight": 1.5 })];
    let none = [json!({}), json!({}), json!({})];
    let dense = [0.3, 0.71, 0.5].map(|d| json!({ "weight": d, "density": d }));
    agrees::<Mean>(json!({}), false, &none, false);
    agrees::<Linear>(json!({}), false, &weights, false);
    agrees::<Slerp>(json!({ "t": 0.3 }), false, &none[..2], false);
    agrees::<Slerp>(json!({ "t": 1.0 }), false, &none[..2], false);
    agrees::<TaskArithmetic>(json!({ "lambda": 0.4 }), true, &weights, false);
    agrees::<ModelStock>(json!({}), true, &none, false);
    for grid in [false, true] {
        agrees::<Ties>(json!({}), true, &dense, grid);
        agrees::<Ties>(json!({ "election": "count", "combine": "sum", "rescale": "l1" }), true, &dense, grid);
        agrees::<Dare>(json!({}), true, &dense, grid);
        agrees::<Dare>(json!({ "election": "weighted", "combine": "mean" }), true, &dense, grid);
    }
}
