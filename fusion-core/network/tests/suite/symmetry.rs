//! Symmetries of all architectures: what is found, proofs by running, negative controls, declared ones.

use fusion_network::{Architecture, Flat, Network, NetworkError, SymmetriesError, verify};
use fusion_sdk::batch::Batch;
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{Factor, Side, Symmetries, TensorRole};
use serde_json::{Value as Json, json};

use crate::devices::{architecture, devices, numbers, tokens, zoo};

/// A network with random values, so that nothing is symmetric by chance: statistics too.
fn random(architecture: &Architecture, symmetries: &Symmetries) -> (Network, Flat) {
    let network = Network::new(architecture, &devices()[0].1).unwrap();
    let mut flat = Flat { weights: Vec::new(), statistics: Vec::new() };
    for (index, tensor) in symmetries.tensors.iter().enumerate() {
        let key = Key::new(7, &tensor.name, 0);
        let len = symmetries.shape(index).iter().product::<usize>() as u64;
        let fan = symmetries.shape(index).first().copied().unwrap_or(1).max(4) as f32;
        match tensor.role {
            TensorRole::Parameter if tensor.axes.len() > 1 => {
                flat.weights.extend((0..len).map(|at| 1.5 * key.normal(at) / fan.sqrt()));
            }
            TensorRole::Parameter => flat.weights.extend((0..len).map(|at| 0.6 * key.normal(at))),
            TensorRole::Mean => flat.statistics.extend((0..len).map(|at| 0.3 * key.normal(at))),
            TensorRole::Variance => flat.statistics.extend((0..len).map(|at| 0.5 + key.normal(at).abs())),
        }
    }
    assert_eq!(flat.weights.len(), network.len());
    assert_eq!(flat.statistics.len(), network.statistics_len());
    (network, flat)
}

/// Architectures with the number of nodes that they have.
fn cases() -> Vec<(Architecture, Batch, usize)> {
    let counts = [2, 2, 2, 3, 8, 6, 7, 9, 5, 5, 3, 1];
    let mut cases: Vec<_> =
        zoo().into_iter().zip(counts).map(|((network, batch), count)| (network, batch, count)).collect();
    let mlp = |more: Json| {
        let mut arguments = json!({"inputs": 5, "hidden": [7, 6], "outputs": 3}).as_object().unwrap().clone();
        arguments.extend(more.as_object().unwrap().clone());
        (architecture("mlp", arguments.into()), numbers(1, 4, &[5], 3), 2)
    };
    let image = |channels, height, width| numbers(1, 4, &[channels, height, width], 3);
    cases.push(mlp(json!({"bias": false})));
    cases.push(mlp(json!({"norm": "batch"})));
    let cnn = json!({"input": [2, 6, 5], "channels": [3, 4], "outputs": 3, "kernel": 3, "hidden": [5]});
    cases.push((architecture("cnn", cnn), image(2, 6, 5), 3));
    let vgg = json!({"depth": 11, "classes": 3, "width": 0.05, "input": [1, 8, 8]});
    cases.push((architecture("vgg", vgg), image(1, 8, 8), 8));
    for shortcut in ["projection", "zero_padded"] {
        let resnet = json!({"depth": 14, "classes": 3, "width": 0.25, "shortcut": shortcut, "norm": "layer", "input": [2, 8, 8]});
        let count = if shortcut == "projection" { 9 } else { 11 };
        cases.push((architecture("resnet", resnet), image(2, 8, 8), count));
    }
    let untied = json!({"vocabulary": 7, "context": 5, "layers": 2, "dim": 12, "heads": 4, "kv_heads": 2, "hidden": 10,
        "tied": false, "activation": "swiglu"});
    // stream; kv, r, dqk, dv and the gate in each of two layers
    cases.push((architecture("transformer", untied), tokens(1, 3, 5, 7), 11));
    let rotary = json!({"vocabulary": 7, "context": 5, "layers": 1, "dim": 8, "heads": 2, "hidden": 10, "positions": "rope"});
    cases.push((architecture("transformer", rotary), tokens(1, 3, 5, 7), 4));
    cases
}

#[test]
fn every_node_is_a_symmetry() {
    for (architecture, batch, count) in cases() {
        let found = architecture.symmetries().unwrap();
        found.flat.check().unwrap();
        assert!(found.flat.notes.is_empty(), "{architecture}: {:?}", found.flat.notes);
        let (mut network, flat) = random(&architecture, &found.flat);
        let verified = verify(&mut network, &found.flat, &flat, &batch, 1).unwrap();
        assert_eq!(verified.pinned, [], "{architecture}\n{}", found.flat);
        assert_eq!(verified.symmetries, found.flat, "{architecture}");
        assert_eq!(verified.report.len(), found.flat.nodes.len());
        assert_eq!(found.flat.nodes.len(), count, "{architecture}\n{}", found.flat);
    }
}

/// The flat description has the segments' order and lengths, that of the file its shapes.
#[test]
fn layouts_are_those_of_the_vectors_and_of_the_file() {
    for (architecture, _) in zoo() {
        let found = architecture.symmetries().unwrap();
        let network = Network::new(&architecture, &devices()[0].1).unwrap();
        let parameters: Vec<(&str, usize)> = found
            .flat
            .tensors
            .iter()
            .enumerate()
            .filter(|(_, tensor)| tensor.role == TensorRole::Parameter)
            .map(|(index, tensor)| (tensor.name.as_str(), found.flat.shape(index).iter().product()))
            .collect();
        let segments: Vec<(&str, usize)> =
            network.segments().iter().map(|own| (own.name.as_str(), own.len)).collect();
        assert_eq!(parameters, segments);
        let model: Vec<(String, Vec<usize>)> =
            architecture.tensors().into_iter().map(|spec| (spec.name, spec.shape)).collect();
        let rest = found.disk.check_structure(&model).unwrap();
        assert!(rest.iter().all(|name| name.ends_with("num_batches_tracked")), "{rest:?}");
        assert_eq!(found.disk.nodes, found.flat.nodes);
    }
}

/// Pinned axes of weights that are permuted change the outputs, but for zero padding that could change its side.
#[test]
fn pinned_axes_cannot_move() {
    for (architecture, batch, _) in cases() {
        let found = architecture.symmetries().unwrap().flat;
        let (mut network, flat) = random(&architecture, &found);
        let mut outputs = |flat: &Flat| {
            network.outputs(&flat.weights, &flat.statistics, &batch, fusion_network::Norm::Running).unwrap()
        };
        let before = outputs(&flat);
        let largest = before.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let mut start = 0;
        for (index, tensor) in found.tensors.iter().enumerate() {
            if tensor.role != TensorRole::Parameter {
                continue;
            }
            let shape = found.shape(index);
            let len = shape.iter().product::<usize>();
            for (axis, own) in tensor.axes.iter().enumerate() {
                let [product] = own.segments.as_slice() else { continue };
                let [Factor::Pinned(length)] = product.as_slice() else { continue };
                if *length < 2 {
                    continue;
                }
                let mut other = flat.clone();
                let values = &flat.weights[start..start + len];
                let inner: usize = shape[axis + 1..].iter().product();
                let step = inner * shape[axis];
                let rolled: Vec<f32> = values
                    .chunks(step)
                    .flat_map(|block| {
                        let (head, tail) = block.split_at(step - inner);
                        tail.iter().chain(head).copied()
                    })
                    .collect();
                other.weights[start..start + len].copy_from_slice(&rolled);
                let change =
                    outputs(&other).iter().zip(&before).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(change > 1e-3 * largest, "{architecture}: axis {axis} of {} could move", tensor.name);
            }
            start += len;
        }
    }
}

fn text(name: &str, arguments: Json) -> String {
    architecture(name, arguments).symmetries().unwrap().disk.to_string()
}

#[test]
fn a_plain_network_as_text() {
    let found = text("mlp", json!({"inputs": 5, "hidden": [7], "outputs": 3, "norm": "batch"}));
    let wanted = "symmetries 1
node layers.0[7] scalable
layers.0.weight = layers.0, reads pin[5]
layers.0.bias = layers.0
layers.1.weight = pin[3], reads layers.0
layers.1.bias = pin[3]
norms.0.weight = layers.0
norms.0.bias = layers.0
norms.0.running_mean (mean) = layers.0
norms.0.running_var (variance) = layers.0
";
    assert_eq!(found, wanted);
}

#[test]
fn a_llama_as_text() {
    let found = text(
        "transformer",
        json!({"vocabulary": 7, "context": 5, "layers": 1, "dim": 8, "heads": 4, "kv_heads": 2, "hidden": 10,
            "positions": "rope", "activation": "swiglu", "norm": "rms", "tied": false, "bias": false}),
    );
    let wanted = "symmetries 1
node stream[8]
node layers.0.self_attn.head[2]
node layers.0.self_attn.q_proj.head[2] in layers.0.self_attn.head
node layers.0.self_attn.v_proj[2] in layers.0.self_attn.head scalable
node layers.0.mlp.gate_proj[10]
embed_tokens.weight = pin[7], stream
layers.0.input_layernorm.weight = stream
layers.0.self_attn.q_proj.weight = layers.0.self_attn.head · layers.0.self_attn.q_proj.head · pin[2], reads stream
layers.0.self_attn.k_proj.weight = layers.0.self_attn.head · pin[2], reads stream
layers.0.self_attn.v_proj.weight = layers.0.self_attn.head · layers.0.self_attn.v_proj, reads stream
layers.0.self_attn.o_proj.weight = stream, reads layers.0.self_attn.head · layers.0.self_attn.q_proj.head · layers.0.self_attn.v_proj
layers.0.post_attention_layernorm.weight = stream
layers.0.mlp.gate_proj.weight = layers.0.mlp.gate_proj, reads stream
layers.0.mlp.up_proj.weight = layers.0.mlp.gate_proj, reads stream
layers.0.mlp.down_proj.weight = stream, reads layers.0.mlp.gate_proj
norm.weight = stream
lm_head.weight = pin[7], reads stream
";
    assert_eq!(found, wanted);
}

#[test]
fn names_of_stages() {
    let found = architecture(
        "resnet",
        json!({"depth": 14, "classes": 3, "width": 0.25, "shortcut": "zero_padded", "input": [2, 8, 8]}),
    );
    let found = found.symmetries().unwrap().flat;
    let names: Vec<&str> = found.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "layer1.stream",
            "layer1.0.conv1",
            "layer1.1.conv1",
            "layer2.0.conv1",
            "layer2.stream.0",
            "layer2.stream.2",
            "layer2.1.conv1",
            "layer3.0.conv1",
            "layer3.stream.0",
            "layer3.stream.4",
            "layer3.1.conv1"
        ]
    );
}

/// Scales hold where they are offered: ReLU, not GELU, not a tied head.
#[test]
fn scales_are_offered_where_they_hold() {
    let scalable = |name: &str, arguments: Json| -> Vec<bool> {
        let found = architecture(name, arguments).symmetries().unwrap().flat;
        found.nodes.iter().map(|node| node.scalable).collect()
    };
    let mlp =
        |activation: &str| json!({"inputs": 5, "hidden": [7, 6], "outputs": 3, "activation": activation});
    assert_eq!(scalable("mlp", mlp("relu")), [true, true]);
    assert_eq!(scalable("mlp", mlp("leaky_relu")), [true, true]);
    assert_eq!(scalable("mlp", mlp("gelu")), [false, false]);
    assert_eq!(scalable("mlp", mlp("tanh")), [false, false]);
    let layer = json!({"inputs": 5, "hidden": [7, 6], "outputs": 3, "norm": "layer"});
    assert_eq!(scalable("mlp", layer), [false, false]);
    let resnet =
        json!({"depth": 8, "classes": 3, "width": 0.25, "shortcut": "zero_padded", "input": [2, 8, 8]});
    assert!(scalable("resnet", resnet).into_iter().all(|scalable| scalable));
    let lstm = json!({"vocabulary": 7, "context": 5, "hidden": 6, "layers": 1, "embedding": 4});
    assert_eq!(scalable("lstm", lstm), [true, false]);
}

/// Taps of the graph have their units as expressions over the same nodes.
#[test]
fn tensors_of_the_graph_have_axes() {
    let network = architecture(
        "cnn",
        json!({"input": [2, 6, 5], "channels": [3, 4], "outputs": 3, "kernel": 3, "hidden": [5]}),
    );
    let found = network.symmetries().unwrap();
    let captured = Network::new(&network, &devices()[0].1).unwrap().graph().unwrap();
    assert!(!captured.taps.is_empty());
    for tap in &captured.taps {
        let axes = found.axes_of(tap.id).unwrap_or_else(|| panic!("{tap:?}"));
        let width: usize = axes[tap.axis].iter().map(|product| found.flat.product_length(product)).sum();
        assert_eq!(width, tap.width, "{tap:?}");
        assert!(matches!(axes[tap.axis][0][0], Factor::Node(_)), "{tap:?}: {axes:?}");
    }
    assert_eq!(found.axes_of(u64::MAX), None);
}

#[test]
fn what_is_declared_wrongly_is_found() {
    let network = architecture("mlp", json!({"inputs": 4, "hidden": [4], "outputs": 3}));
    let batch = numbers(1, 4, &[4], 3);
    let declared = |text: &str| network.declared_symmetries(&Symmetries::parse(text).unwrap());
    let right = declared(
        "node h[4]\nlayers.0.weight = h, reads pin[4]\nlayers.0.bias = h\nlayers.1.weight = pin[3], reads h",
    )
    .unwrap();
    let inferred = network.symmetries().unwrap();
    assert_eq!(right.flat.tensors, inferred.flat.tensors);
    let (mut net, flat) = random(&network, &right.flat);
    assert_eq!(verify(&mut net, &right.flat, &flat, &batch, 1).unwrap().pinned, []);
    let captured = net.graph().unwrap();
    for tap in &captured.taps {
        assert_eq!(right.axes_of(tap.id), inferred.axes_of(tap.id));
    }

    // The bias was forgotten.
    let wrong =
        declared("node h[4]\nlayers.0.weight = h, reads pin[4]\nlayers.1.weight = pin[3], reads h").unwrap();
    let error = verify(&mut net, &wrong.flat, &flat, &batch, 1).unwrap_err();
    let NetworkError::Symmetries(SymmetriesError::Broken { node, tensors, chain, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(node, "h");
    assert_eq!(tensors, &["layers.0.weight", "layers.1.weight"]);
    assert!(chain.starts_with("layers.0.weight, ") && chain.ends_with("layers.1.weight"), "{chain}");
    // Inferred nodes that fail are pinned instead.
    let mut pretended = wrong.flat.clone();
    pretended.origin = fusion_sdk::symmetry::Origin::Inferred;
    let verified = verify(&mut net, &pretended, &flat, &batch, 1).unwrap();
    assert!(verified.symmetries.nodes.is_empty() && verified.pinned[0].0 == "h");

    let error = |text: &str| declared(text).unwrap_err().to_string();
    assert!(error("node h[4]\nlayers.9.weight = h").contains("`layers.9.weight`"));
    assert!(error("node h[4]\nlayers.1.weight = h, reads pin[4]").contains("[3, 4]"));
}

/// Contracted axes read, others write.
#[test]
fn sides() {
    let network = architecture(
        "transformer",
        json!({"vocabulary": 7, "context": 5, "layers": 1, "dim": 8, "heads": 2}),
    );
    let found = network.symmetries().unwrap().flat;
    let sides = |name: &str| -> Vec<Side> {
        found.tensors[found.tensor(name).unwrap()].axes.iter().map(|axis| axis.side).collect()
    };
    assert_eq!(sides("embed_tokens.weight"), [Side::Writes, Side::Both]);
    assert_eq!(sides("layers.0.self_attn.o_proj.weight"), [Side::Reads, Side::Writes]);
    assert_eq!(sides("layers.0.self_attn.o_proj.bias"), [Side::Writes]);
    assert_eq!(sides("embed_positions.weight")[1], Side::Writes);
}
