//! Taps: what is watched is what the layers compute, and corrections give units what they should have.

use fusion_network::{Change, Correct, Goal, Moments, Network, Norm};
use fusion_sdk::align::When;
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::symmetry::{Factor, NodeId, Symmetries};
use serde_json::json;

use crate::devices::{architecture, devices, numbers, zoo};

fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// `T(seed, [len])` of the notes, section 7.
fn uniform(seed: u64, len: u64) -> Vec<f64> {
    let unit = |index| (splitmix64((seed << 32) + index) >> 11) as f64 * 2.0_f64.powi(-53);
    (0..len).map(|index| 2.0 * unit(index) - 1.0).collect()
}

/// Every tap has as many units as it says, in rows for examples times positions; whatever is watched beside it, values are the same.
/// Layers in front of activations have a weight of that name with as many rows, and those of the outputs are not among them.
#[test]
fn taps_are_what_the_list_says() {
    for (architecture, batch) in zoo() {
        let mut network = Network::new(&architecture, &devices()[0].1).unwrap();
        let flat = network.flatten(&architecture.initial(1)).unwrap();
        let taps = network.taps().unwrap();
        assert!(!taps.is_empty(), "{architecture}");
        let all: Vec<usize> = (0..taps.len()).collect();
        let mut watch = |numbers: &[usize]| {
            network.watch(&flat.weights, &flat.statistics, &batch, Norm::Running, numbers).unwrap()
        };
        let seen = watch(&all);
        for (number, (tap, units)) in taps.iter().zip(&seen).enumerate() {
            assert_eq!(tap.width, units.width, "{architecture}: {tap:?}");
            assert_eq!(units.values.len() % (batch.shape[0] * units.width), 0, "{architecture}: {tap:?}");
            assert_eq!(&watch(&[number])[0], units, "{architecture}: {tap:?}");
        }
        let last = all.len() - 1;
        assert_eq!(
            watch(&all.iter().rev().copied().collect::<Vec<_>>())[0],
            seen[last],
            "{architecture}: order"
        );
        let specs = architecture.tensors();
        for tap in taps.iter().filter(|tap| tap.when == When::Before) {
            let name = format!("{}.weight", tap.layer);
            let spec = specs.iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(spec.shape[0], tap.width, "{architecture}: {name}");
        }
        let (weights, statistics) = (flat.weights.clone(), flat.statistics.clone());
        assert!(network.watch(&weights, &statistics, &batch, Norm::Running, &[taps.len()]).is_err());
    }
}

/// Symmetries of the same network with nodes of other names and numbers have their taps at the same units; a node that they lack is pinned.
#[test]
fn taps_lie_on_the_nodes_of_declared_symmetries() {
    let net = architecture("mlp", json!({ "inputs": 6, "hidden": [4, 4], "outputs": 3 }));
    let network = Network::new(&net, &devices()[0].1).unwrap();
    let captured = network.taps().unwrap();
    let inferred = net.symmetries().unwrap();
    let text = "symmetries 1\nnode second[4]\nnode first[4]\nlayers.0.weight = first, reads pin[6]\nlayers.0.bias = first\n\
                layers.1.weight = second, reads first\nlayers.1.bias = second\nlayers.2.weight = pin[3], reads second\n\
                layers.2.bias = pin[3]\n";
    let units = |text: &str| -> Vec<(String, Factor)> {
        let declared = net.declared_symmetries(&Symmetries::parse(text).unwrap()).unwrap();
        let taps = inferred.taps_in(&captured, &declared.flat);
        taps.iter().map(|tap| (tap.layer.clone(), tap.units[0][0])).collect()
    };
    let found = units(text);
    assert!(found.contains(&("layers.0".to_owned(), Factor::Node(NodeId(1)))), "{found:?}");
    assert!(found.contains(&("layers.1".to_owned(), Factor::Node(NodeId(0)))), "{found:?}");
    let only = "symmetries 1\nnode second[4]\nlayers.1.weight = second, reads pin[4]\nlayers.1.bias = second\n\
                layers.2.weight = pin[3], reads second\n";
    let found = units(only);
    assert!(found.contains(&("layers.0".to_owned(), Factor::Pinned(4))), "{found:?}");
    assert!(found.contains(&("layers.1".to_owned(), Factor::Node(NodeId(0)))), "{found:?}");
}

/// Layers that have taps, and those behind which BatchNorm comes.
#[test]
fn taps_by_architecture() {
    let of = |index: usize| {
        let (architecture, _) = zoo().swap_remove(index);
        let network = Network::new(&architecture, &devices()[0].1).unwrap();
        let line = |tap: &fusion_network::CapturedTap| {
            let when = if tap.when == When::Before { '<' } else { '>' };
            format!("{when}{}{}", tap.layer, if tap.batch_norm { "*" } else { "" })
        };
        network.taps().unwrap().iter().map(line).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(0), "<layers.0 >layers.0 <layers.1 >layers.1");
    assert_eq!(of(3), "<convs.0* >convs.0 <convs.1* >convs.1 <layers.0 >layers.0");
    assert_eq!(
        of(5),
        "<conv1* >conv1 <layer1.0.conv1* >layer1.0.conv1 <layer1.0.conv2* >layer1.0 <layer2.0.conv1* >layer2.0.conv1 \
         <layer2.0.conv2* <layer2.0.downsample.0* >layer2.0 <layer3.0.conv1* >layer3.0.conv1 <layer3.0.conv2* \
         <layer3.0.downsample.0* >layer3.0"
    );
    let (llama, _) = zoo().into_iter().find(|(one, _)| one.to_string().contains("swiglu")).unwrap();
    let taps = Network::new(&llama, &devices()[0].1).unwrap().taps().unwrap();
    let names: Vec<&str> = taps.iter().map(|tap| tap.layer.as_str()).collect();
    let block = |own: &[&str]| own.iter().map(|name| format!("layers.0.{name}")).collect::<Vec<_>>();
    let attention =
        ["q_proj", "k_proj", "v_proj", "v_proj", "o_proj"].map(|name| format!("self_attn.{name}"));
    let mlp = ["gate_proj", "up_proj", "up_proj", "down_proj"].map(|name| format!("mlp.{name}"));
    let inner: Vec<&str> = attention.iter().chain(&mlp).map(String::as_str).collect();
    let wanted: Vec<String> =
        ["embed_tokens".to_owned()].into_iter().chain(block(&inner)).chain(["layers.0".to_owned()]).collect();
    assert_eq!(names, wanted);
    let (lstm, _) = zoo().pop().unwrap();
    let taps = Network::new(&lstm, &devices()[0].1).unwrap().taps().unwrap();
    assert!(taps.iter().all(|tap| tap.when == When::After && tap.layer.starts_with("lstm.")));
}

/// What is taken in behind the activation of an MLP are its features, and what a layer gives in front of it is x·W + b, here summed in
/// f64: 5 products of numbers near 1 are exact to 1e-5 in f32.
#[test]
fn an_mlp_shows_what_it_computes() {
    let (architecture, batch) = zoo().swap_remove(0);
    for (name, device) in devices() {
        let mut network = Network::new(&architecture, &device).unwrap();
        let flat = network.flatten(&architecture.initial(3)).unwrap();
        let seen = network.watch(&flat.weights, &[], &batch, Norm::Running, &[0, 1, 3]).unwrap();
        let features = network.features(&flat.weights, &[], &batch).unwrap();
        assert_eq!(seen[1].values, features[0].values, "{name}");
        assert_eq!(seen[2].values, features[1].values, "{name}");
        let Values::Floats(inputs) = &batch.inputs else { panic!("numbers") };
        for (row, found) in inputs.chunks(5).zip(seen[0].values.chunks(7)) {
            for (unit, found) in found.iter().enumerate() {
                let sum = row.iter().enumerate();
                let sum: f64 =
                    sum.map(|(i, x)| f64::from(*x) * f64::from(flat.weights[i * 7 + unit])).sum::<f64>();
                let wanted = sum + f64::from(flat.weights[35 + unit]);
                assert!((wanted - f64::from(*found)).abs() < 1e-5, "{name}: {wanted} {found}");
            }
        }
    }
}

/// Rows as a batch.
fn batch(rows: &[f64], width: usize) -> Batch {
    Batch {
        inputs: Values::Floats(rows.iter().map(|&value| value as f32).collect()),
        shape: vec![rows.len() / width, width],
        targets: Targets::Classes(vec![0; rows.len() / width]),
    }
}

/// x·Wᵀ in f64, as moments of the units.
fn reference(x: &[f64], w: &[f64]) -> Moments {
    let unit = |unit: usize| {
        let values: Vec<f64> = x
            .chunks(6)
            .map(|row| row.iter().zip(&w[6 * unit..6 * unit + 6]).map(|(a, b)| a * b).sum::<f64>())
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>())
    };
    let (mean, squares) = (0..4).map(unit).unzip();
    Moments { rows: 50, mean, squares }
}

fn std(moments: &Moments) -> Vec<f64> {
    moments.variances().into_iter().map(f64::sqrt).collect()
}

fn near(found: &[f64], wanted: &[f64], tolerance: f64) {
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= tolerance * wanted.abs().max(1.0), "{found} {wanted}");
    }
    assert_eq!(found.len(), wanted.len());
}

/// O14 of the notes: a layer between two, its deviations, the scales that repair it, and what it has afterwards; in f64 to the digits, in a
/// network in f32 to 1e-5 (sums of six products, folded weights rounded once).
#[test]
fn one_layer_is_repaired_to_the_digits() {
    let (x, a, b) = (uniform(101, 300), uniform(102, 24), uniform(103, 24));
    let middle: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect();
    let half = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect::<Vec<f64>>();
    let (of_a, of_b, of_middle) = (reference(&x, &a), reference(&x, &b), reference(&x, &middle));
    let goal = Goal { mean: half(&of_a.mean, &of_b.mean), std: half(&std(&of_a), &std(&of_b)) };
    near(&std(&of_middle), &[0.860181226242, 0.514683618116, 0.437111998053, 0.8960674066], 1e-12);
    let change = goal.change(Correct::Both, &of_middle);
    near(&change.scale, &[1.09510657776, 1.302340855981, 1.826391883951, 1.160780571068], 1e-11);
    assert_eq!(change.dead, 0);
    let mut repaired = middle.clone();
    repaired.iter_mut().enumerate().for_each(|(index, w)| *w *= change.scale[index / 6]);
    let mut after = reference(&x, &repaired);
    after.mean.iter_mut().zip(&change.shift).for_each(|(mean, shift)| *mean += shift);
    near(&after.mean, &goal.mean, 1e-14);
    near(&std(&after), &goal.std, 1e-14);

    let net = architecture("mlp", json!({"inputs": 6, "hidden": [4], "outputs": 1}));
    let batch = batch(&x, 6);
    for (_, device) in devices() {
        let mut network = Network::new(&net, &device).unwrap();
        let mut weights = vec![0.0; network.len()];
        for unit in 0..4 {
            (0..6).for_each(|i| weights[4 * i + unit] = middle[6 * unit + i] as f32);
        }
        let goals = [(0, goal.clone())];
        let found = network.corrected(&weights, &[], &batch, Norm::Running, Correct::Both, &goals).unwrap();
        near(&std(&found[0]), &std(&of_middle), 1e-5);
        let change = goal.change(Correct::Both, &found[0]);
        network.fold(&mut weights, "layers.0", &change).unwrap();
        let after = network.moments(&weights, &[], &batch, Norm::Running, &[0]).unwrap();
        near(&after[0].mean, &goal.mean, 1e-5);
        near(&std(&after[0]), &goal.std, 1e-5);
    }
}

/// Corrections at all layers at once: the later ones see what they would see behind the earlier ones folded in. Kept and changed by the
/// same f32 arithmetic but for one rounding of weights: 1e-4 of the largest mean.
#[test]
fn later_layers_see_corrected_ones() {
    for index in [0, 9] {
        let (architecture, batch) = zoo().swap_remove(index);
        let mut network = Network::new(&architecture, &devices()[0].1).unwrap();
        let flat = network.flatten(&architecture.initial(1)).unwrap();
        let taps = network.taps().unwrap();
        let before = |tap: &&(usize, &fusion_network::CapturedTap)| tap.1.when == When::Before;
        let places: Vec<(usize, &fusion_network::CapturedTap)> = taps.iter().enumerate().collect();
        let places: Vec<_> = places.iter().filter(before).collect();
        let goal = |width: usize| Goal { mean: vec![0.25; width], std: vec![0.5; width] };
        for kind in [Correct::Both, Correct::Scale, Correct::Shift] {
            if kind != Correct::Scale && !network.has_bias(&places[0].1.layer) {
                continue;
            }
            let goals: Vec<_> = places.iter().map(|(number, tap)| (*number, goal(tap.width))).collect();
            let found = network
                .corrected(&flat.weights, &flat.statistics, &batch, Norm::Running, kind, &goals)
                .unwrap();
            let mut weights = flat.weights.clone();
            for ((_, tap), (moments, (_, goal))) in places.iter().zip(found.iter().zip(&goals)) {
                network.fold(&mut weights, &tap.layer, &goal.change(kind, moments)).unwrap();
            }
            let numbers: Vec<usize> = goals.iter().map(|(number, _)| *number).collect();
            let after = network.moments(&weights, &flat.statistics, &batch, Norm::Running, &numbers).unwrap();
            for (moments, (_, goal)) in after.iter().zip(&goals) {
                if kind != Correct::Scale {
                    near(&moments.mean, &goal.mean, 1e-4);
                }
                if kind != Correct::Shift {
                    near(&std(moments), &goal.std, 1e-4);
                }
            }
        }
    }
}

/// A unit that never changes keeps its scale and gets its mean; a goal without spread makes a unit constant; a shift needs a bias.
#[test]
fn dead_units_and_missing_biases() {
    let goal = Goal { mean: vec![1.0, 2.0, 0.5], std: vec![1.0, 0.0, 1.0] };
    let of = Moments { rows: 4, mean: vec![3.0, 1.0, 0.0], squares: vec![0.0, 4.0, 4.0 * 0.9e-6] };
    let change = goal.change(Correct::Both, &of);
    assert_eq!(change, Change { scale: vec![1.0, 0.0, 1.0], shift: vec![-2.0, 2.0, 0.5], dead: 2 });
    assert_eq!(goal.change(Correct::Shift, &of).dead, 0);
    let broken = Moments { rows: 4, mean: vec![f64::NAN, 0.0, 0.0], squares: vec![f64::NAN, 4.0, 4.0] };
    assert!(goal.change(Correct::Both, &broken).scale[0].is_nan());

    let bare = architecture("mlp", json!({"inputs": 5, "hidden": [3], "outputs": 2, "bias": false}));
    let network = Network::new(&bare, &devices()[0].1).unwrap();
    assert!(!network.has_bias("layers.0"));
    let mut weights = vec![1.0; network.len()];
    let error = network.fold(&mut weights, "layers.0", &change).unwrap_err();
    assert!(error.to_string().contains("`layers.0`: it has no bias"), "{error}");
    let scale = Change { scale: vec![2.0, 3.0, 4.0], shift: vec![0.0; 3], dead: 0 };
    network.fold(&mut weights, "layers.0", &scale).unwrap();
    assert_eq!(weights[..6], [2.0, 3.0, 4.0, 2.0, 3.0, 4.0]);
    assert!(network.fold(&mut weights, "layers.7", &scale).is_err());
    assert!(network.fold(&mut weights, "layers.1", &scale).is_err());
}

/// The units of a convolution are its first axis.
#[test]
fn convolutions_are_folded_by_channel() {
    let (architecture, _) = zoo().swap_remove(3);
    let mut network = Network::new(&architecture, &devices()[0].1).unwrap();
    let flat = network.flatten(&architecture.initial(1)).unwrap();
    let batch = numbers(7, 6, &[2, 6, 5], 3);
    let change = Change { scale: vec![2.0, 0.5, -1.0], shift: vec![1.0, 0.0, 3.0], dead: 0 };
    let mut weights = flat.weights.clone();
    network.fold(&mut weights, "convs.0", &change).unwrap();
    let mut rows = |weights: &[f32]| {
        let seen = network.watch(weights, &flat.statistics, &batch, Norm::Running, &[0]).unwrap();
        seen.into_iter().next().unwrap().values
    };
    let (before, after) = (rows(&flat.weights), rows(&weights));
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        let wanted = change.scale[index % 3] as f32 * before + change.shift[index % 3] as f32;
        assert!((wanted - after).abs() < 1e-4, "{wanted} {after}");
    }
}
