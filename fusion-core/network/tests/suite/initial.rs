//! Ways to draw first weights against their closed forms.

use fusion_network::{Architecture, Data, Init, State};
use serde_json::{Value as Json, json};

fn architecture(name: &str, arguments: Json) -> Architecture {
    Architecture::parse(name, arguments.as_object().unwrap()).unwrap()
}

fn values<'a>(state: &'a State, name: &str) -> &'a [f32] {
    match &state.tensors().iter().find(|tensor| tensor.spec.name == name).unwrap().data {
        Data::F32(values) => values,
        Data::I64(_) => panic!("{name} is a counter"),
    }
}

/// Mean and variance.
fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    (mean, values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n)
}

/// Of n draws with variance v the sample mean deviates by √(v/n), the sample variance by at most √(2/n)·v (a normal's; a uniform's less):
/// five of these.
fn check(values: &[f32], variance: f64, what: &str) {
    let (mean, found) = moments(values);
    let n = values.len() as f64;
    assert!(mean.abs() < 5.0 * (variance / n).sqrt(), "{what}: mean {mean}");
    assert!(
        (found / variance - 1.0).abs() < 5.0 * (2.0 / n).sqrt(),
        "{what}: variance {found}, not {variance}"
    );
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |largest: f64, &x| largest.max(f64::from(x).abs()))
}

#[test]
fn variances_are_those_of_the_papers() {
    let mlp = architecture("mlp", json!({ "inputs": 300, "hidden": [200, 100], "outputs": 10 }));
    let he = mlp.initial_by(1, Init::He);
    check(values(&he, "layers.0.weight"), 2.0 / 300.0, "he");
    check(values(&he, "layers.1.weight"), 2.0 / 200.0, "he");
    let xavier = mlp.initial_by(1, Init::Xavier);
    check(values(&xavier, "layers.0.weight"), 2.0 / (300.0 + 200.0), "xavier");
    let bound = (6.0_f64 / 500.0).sqrt();
    let reached = largest(values(&xavier, "layers.0.weight"));
    assert!(reached <= bound && reached > 0.999 * bound, "{reached} {bound}");
    for (state, name) in [(&he, "layers.0.bias"), (&xavier, "layers.1.bias")] {
        assert!(values(state, name).iter().all(|value| *value == 0.0));
    }
    let pytorch = mlp.initial_by(1, Init::Pytorch);
    check(values(&pytorch, "layers.0.weight"), 1.0 / (3.0 * 300.0), "pytorch");
    assert!(largest(values(&pytorch, "layers.1.bias")) <= 1.0 / 200.0_f64.sqrt());
    assert!(largest(values(&pytorch, "layers.1.bias")) > 0.9 / 200.0_f64.sqrt());
    // The usual way of linear layers, bit by bit; seeds count.
    assert_eq!(pytorch, mlp.initial(1));
    assert_eq!(mlp.initial_by(1, Init::Usual), mlp.initial(1));
    assert_ne!(he, mlp.initial_by(2, Init::He));
}

#[test]
fn kernels_count_their_area_and_norms_stay() {
    let cnn = architecture(
        "cnn",
        json!({ "input": [3, 16, 16], "channels": [32, 64], "outputs": 10, "kernel": 3, "norm": "batch" }),
    );
    let xavier = cnn.initial_by(3, Init::Xavier);
    check(values(&xavier, "convs.1.weight"), 2.0 / (9.0 * (32.0 + 64.0)), "xavier");
    assert!(values(&xavier, "convs.1.bias").iter().all(|value| *value == 0.0));
    let pytorch = cnn.initial_by(3, Init::Pytorch);
    check(values(&pytorch, "convs.1.weight"), 1.0 / (3.0 * 9.0 * 32.0), "pytorch");
    assert!(largest(values(&pytorch, "convs.1.bias")) > 0.5 / (9.0 * 32.0_f64).sqrt());
    let he = cnn.initial_by(3, Init::He);
    // Convolutions are usually drawn so.
    assert_eq!(values(&he, "convs.1.weight"), values(&cnn.initial(3), "convs.1.weight"));
    for state in [&xavier, &pytorch, &he] {
        assert!(values(state, "norms.0.weight").iter().all(|value| *value == 1.0));
        assert!(values(state, "norms.0.running_mean").iter().all(|value| *value == 0.0));
    }
}

#[test]
fn matrices_of_a_transformer_change_and_gates_of_an_lstm_do_not() {
    let transformer =
        architecture("transformer", json!({ "vocabulary": 50, "context": 8, "dim": 64, "layers": 1 }));
    let (he, usual) = (transformer.initial_by(1, Init::He), transformer.initial(1));
    check(values(&he, "layers.0.self_attn.q_proj.weight"), 2.0 / 64.0, "he");
    assert_eq!(values(&he, "embed_tokens.weight"), values(&usual, "embed_tokens.weight"));
    let lstm = architecture("lstm", json!({ "vocabulary": 50, "context": 8 }));
    assert!(lstm.takes(Init::Pytorch).is_ok() && transformer.takes(Init::He).is_ok());
    let error = lstm.takes(Init::He).unwrap_err().to_string();
    assert!(error.contains("`init = he`") && error.contains("PyTorch"), "{error}");
}

#[test]
fn words_are_read_back() {
    for init in Init::ALL {
        assert_eq!(Init::parse(init.word()), Some(init));
        assert_eq!(serde_json::to_value(init).unwrap(), init.word());
    }
    assert_eq!(Init::parse("kaiming"), None);
}
