//! Foreign modules: node tables (the notes' oracle O16), and proofs by running them. Architectures of ours are tested from outside.

mod modules;
mod toy;

use std::collections::BTreeSet;

use fusion_sdk::alignment::Alignment;
use fusion_sdk::symmetry::{Factor, Symmetries};

use modules::{Cnn, Gqa, Lstms, Mlp, Odd, Res, Tr};
use toy::{Toy, captured, outputs, parameters};

/// A node's name and its tensors' axes as text, with sizes: `n0[4]`.
fn table(symmetries: &Symmetries, tensor: &str) -> String {
    let index = symmetries.tensor(tensor).unwrap_or_else(|| panic!("no {tensor} in {symmetries}"));
    let mut numbers = Vec::new();
    for own in &symmetries.tensors {
        for factor in own.axes.iter().flat_map(|axis| &axis.segments).flatten() {
            if let Factor::Node(id) = factor
                && !numbers.contains(id)
            {
                numbers.push(*id);
            }
        }
    }
    let factor = |factor: &Factor| match factor {
        Factor::Pinned(length) => format!("pin[{length}]"),
        Factor::Node(id) => {
            let number = numbers.iter().position(|own| own == id).unwrap();
            format!("n{number}[{}]", symmetries.node(*id).size)
        }
    };
    let axes = symmetries.tensors[index].axes.iter().map(|axis| {
        let products = axis.segments.iter().map(|product| {
            let factors: Vec<String> = product.iter().map(factor).collect();
            if factors.is_empty() { "1".to_owned() } else { factors.join("·") }
        });
        products.collect::<Vec<_>>().join(" ++ ")
    });
    axes.collect::<Vec<_>>().join(", ")
}

/// Relative change that permuted sums make in f32 over a few layers.
const ROUNDING: f32 = 1e-4;

/// Every free node leaves the outputs as they are; every pinned axis of length above 1 that is permuted changes them, except those named
/// (tensor, axis). Gives the symmetries in the layout of the module.
fn proven<T: Toy>(nodes: usize, harmless: &[(&str, usize)]) -> Symmetries {
    let symmetries = captured::<T>();
    symmetries.check().unwrap();
    assert_eq!(symmetries.nodes.len(), nodes, "{symmetries}");
    let values = parameters::<T>(&symmetries);
    let before = outputs::<T>(&values);
    let largest = before.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(largest.is_finite() && largest > 0.0);
    let change = |values: &[Vec<f32>]| {
        let after = outputs::<T>(values);
        after.iter().zip(&before).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
    };
    for id in symmetries.ids() {
        let alignment = Alignment::random_of(&symmetries, id, 3);
        let mut moved = 0;
        let permuted: Vec<Vec<f32>> = values
            .iter()
            .enumerate()
            .map(|(tensor, own)| {
                let other = alignment.apply(&symmetries, &symmetries, tensor, own).unwrap();
                moved += usize::from(&other != own);
                other
            })
            .collect();
        assert!(moved > 0, "{} moves nothing", symmetries.node(id).name);
        let change = change(&permuted);
        assert!(change <= ROUNDING, "{}: {change} in\n{symmetries}", symmetries.node(id).name);
    }
    // One pinned length at a time, all of its uses that can be told to be the same are on one axis.
    for (tensor, described) in symmetries.tensors.iter().enumerate() {
        for (axis, own) in described.axes.iter().enumerate() {
            let [product] = own.segments.as_slice() else { continue };
            let [Factor::Pinned(length)] = product.as_slice() else { continue };
            if *length < 2 || harmless.contains(&(described.name.as_str(), axis)) {
                continue;
            }
            let mut permuted = values.clone();
            permuted[tensor] = rolled(&values[tensor], &symmetries.shape(tensor), axis);
            let change = change(&permuted);
            assert!(
                change > 10.0 * ROUNDING,
                "axis {axis} of {} is pinned and could move: {change}",
                described.name
            );
        }
    }
    symmetries
}

/// Every slice along an axis takes the next one's place.
fn rolled(values: &[f32], shape: &[usize], axis: usize) -> Vec<f32> {
    let inner: usize = shape[axis + 1..].iter().product();
    let step = inner * shape[axis];
    let blocks = values.chunks(step).flat_map(|block| {
        let (last, first) = block.split_at(step - inner);
        first.iter().chain(last).copied()
    });
    blocks.collect()
}

#[test]
fn mlp() {
    let found = proven::<Mlp>(2, &[]);
    assert_eq!(table(&found, "l2.weight"), "n0[8], n1[6]");
    assert_eq!(table(&found, "l3.weight"), "n1[6], pin[3]");
    let names: Vec<&str> = found.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["l1", "l2"]);
    assert!(found.nodes.iter().all(|node| node.scalable && node.parents.is_empty()));
    assert_eq!(found.axis_text(&found.tensors[2].axes[0]), "reads l1");
}

#[test]
fn grouped_convolutions() {
    let found = proven::<Cnn>(2, &[]);
    assert_eq!(table(&found, "stem.weight"), "n0[2]·n1[2], pin[2], pin[3], pin[3]");
    assert_eq!(table(&found, "a.weight"), "n0[2]·n1[2], n1[2], pin[3], pin[3]");
    assert_eq!(table(&found, "dw.weight"), "n0[2]·n1[2], 1, pin[3], pin[3]");
    assert_eq!(table(&found, "fc.weight"), "n0[2]·n1[2]·pin[16], pin[3]");
}

#[test]
fn residual_streams_and_concatenation() {
    let found = proven::<Res>(8, &[]);
    assert_eq!(table(&found, "p2.weight"), "n5[2] ++ n3[6] ++ n6[2], n4[5], pin[3], pin[3]");
    assert_eq!(table(&found, "fc.weight"), "n5[2] ++ n3[6] ++ n6[2] ++ n7[3], pin[3]");
}

#[test]
fn attention_norms_gates_and_tied_heads() {
    let found = proven::<Tr>(5, &[]);
    assert_eq!(table(&found, "att.query.weight"), "n0[8], n1[2]·n2[4]");
    assert_eq!(table(&found, "att.key.weight"), "n0[8], n1[2]·n2[4]");
    assert_eq!(table(&found, "att.value.weight"), "n0[8], n1[2]·n3[4]");
    assert_eq!(table(&found, "att.output.weight"), "n1[2]·n3[4], n0[8]");
    assert_eq!(table(&found, "emb.weight"), "pin[11], n0[8]");
    let head = found.named("att.head").unwrap_or_else(|| panic!("{found}"));
    assert_eq!(found.nodes.iter().filter(|node| node.parents == [head]).count(), 2);
    let embedding = &found.tensors[found.tensor("emb.weight").unwrap()].axes[1];
    assert_eq!(embedding.side, fusion_sdk::symmetry::Side::Both);
}

#[test]
fn grouped_heads_rotary_positions_and_fused_projections() {
    let found = proven::<Gqa>(7, &[]);
    assert_eq!(table(&found, "q.weight"), "n0[10], n1[2]·n2[3]·pin[4]");
    assert_eq!(table(&found, "k.weight"), "n0[10], n1[2]·pin[4]");
    assert_eq!(table(&found, "v.weight"), "n0[10], n1[2]·n3[4]");
    assert_eq!(table(&found, "o.weight"), "n1[2]·n2[3]·n3[4], n0[10]");
    assert_eq!(table(&found, "qkv.weight"), "n0[10], n4[3]·n5[4] ++ n4[3]·n5[4] ++ n4[3]·n6[4]");
    assert_eq!(table(&found, "o2.weight"), "n4[3]·n6[4], n0[10]");
}

#[test]
fn recurrent_networks() {
    let found = proven::<Lstms>(1, &[]);
    assert_eq!(found.nodes[0].size, 4);
    let hidden = found.tensors.iter().position(|tensor| tensor.name.contains("hidden_transform.weight"));
    let hidden = &found.tensors[hidden.unwrap()];
    assert_eq!(hidden.axes[0].segments, hidden.axes[1].segments);
}

#[test]
fn operations_without_a_rule_pin_and_say_so() {
    let found = proven::<Odd>(1, &[]);
    assert_eq!(table(&found, "a.weight"), "pin[3], pin[4]");
    assert_eq!(table(&found, "b.weight"), "pin[4], n0[5]");
    assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
    assert!(found.notes[0].contains("Sort") && found.notes[0].contains("a.weight"), "{:?}", found.notes);
}

/// Nodes come out in an order that has parents first, each used.
#[test]
fn names_are_unique_and_parents_come_first() {
    for found in [captured::<Cnn>(), captured::<Res>(), captured::<Tr>(), captured::<Gqa>()] {
        let names: BTreeSet<&str> = found.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names.len(), found.nodes.len());
        assert_eq!(Symmetries::parse(&found.to_string()).unwrap().fingerprint(), found.fingerprint());
    }
}
