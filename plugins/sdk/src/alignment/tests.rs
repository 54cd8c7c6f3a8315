use super::*;
use crate::rng::Key;

/// Attention under grouped heads (also fused head by head), a grouped convolution, and a stream that two tensors share.
const TEXT: &str = "node s[4]
node kv[2]
node r[3] in kv
node dv[2] in kv
node g[2]
node o[2] in g
node i[3] in g
q.weight = kv · r · pin[2], reads s
v.weight = kv · dv, reads s
o.weight = s, reads kv · r · dv
conv.weight = g · o, reads i, pin[2]
in.weight = g · i, reads pin[3]
out.weight = pin[2], reads g · o
fused.weight = kv · (r · pin[2] ++ pin[2] ++ dv), reads s
fused.bias = kv · (r · pin[2] ++ pin[2] ++ dv)
norm.running_var (variance) = s
";

fn symmetries() -> Symmetries {
    Symmetries::parse(TEXT).unwrap()
}

fn random(symmetries: &Symmetries, seed: u64) -> Alignment {
    let transforms = symmetries.ids().map(|id| {
        let tables = (0..symmetries.copies(id)).map(|copy| {
            let key = Key::new(seed, &symmetries.node(id).name, copy as u64);
            let mut order: Vec<u32> = (0..symmetries.node(id).size as u32).collect();
            order.sort_by_key(|unit| key.bits(u64::from(*unit)));
            order
        });
        Transform::Permutation(tables.collect())
    });
    Alignment::new(symmetries, symmetries, transforms.collect())
}

fn counted(symmetries: &Symmetries) -> Vec<Vec<f32>> {
    (0..symmetries.tensors.len())
        .map(|tensor| {
            (0..symmetries.shape(tensor).iter().product::<usize>()).map(|value| value as f32).collect()
        })
        .collect()
}

fn applied(symmetries: &Symmetries, alignment: &Alignment, tensors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let each = tensors.iter().enumerate();
    each.map(|(tensor, values)| alignment.apply(symmetries, symmetries, tensor, values).unwrap()).collect()
}

#[test]
fn a_gather_takes_unit_p_of_i_into_slot_i() {
    let symmetries = Symmetries::parse("node h[3]\nw = h, reads pin[2]\nv = pin[1], reads h").unwrap();
    // A 3-cycle is not its own inverse.
    let cycle = Transform::Permutation(vec![vec![1, 2, 0]]);
    let alignment = Alignment::new(&symmetries, &symmetries, vec![cycle]);
    alignment.check(&symmetries, &symmetries).unwrap();
    let tensors =
        applied(&symmetries, &alignment, &[vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], vec![7.0, 8.0, 9.0]]);
    assert_eq!(tensors, [vec![2.0, 3.0, 4.0, 5.0, 0.0, 1.0], vec![8.0, 9.0, 7.0]]);
}

#[test]
fn inverse_and_composition_are_those_of_a_group() {
    let symmetries = symmetries();
    let tensors = counted(&symmetries);
    for seed in 0..5 {
        let (a, b) = (random(&symmetries, seed), random(&symmetries, seed + 100));
        a.check(&symmetries, &symmetries).unwrap();
        let moved = applied(&symmetries, &a, &tensors);
        assert_ne!(moved, tensors);
        let inverse = a.inverse(&symmetries).unwrap();
        assert_eq!(applied(&symmetries, &inverse, &moved), tensors);
        let both = a.then(&b, &symmetries).unwrap();
        assert_eq!(applied(&symmetries, &both, &tensors), applied(&symmetries, &b, &moved));
        let none = a.then(&inverse, &symmetries).unwrap();
        assert_eq!(none.moved(&symmetries).0, 0);
        let c = random(&symmetries, seed + 200);
        let left = both.then(&c, &symmetries).unwrap();
        assert_eq!(left, a.then(&b.then(&c, &symmetries).unwrap(), &symmetries).unwrap());
    }
}

#[test]
fn children_of_a_group_choose_by_the_other_axis() {
    // Group 1 keeps its inputs, group 0 turns them round: rows of the kernel take them by their group.
    let symmetries =
        Symmetries::parse("node g[2]\nnode o[1] in g\nnode i[2] in g\nw = g · o, reads i\nx = g · i")
            .unwrap();
    let tables = Transform::Permutation(vec![vec![1, 0], vec![0, 1]]);
    let alignment =
        Alignment::new(&symmetries, &symmetries, vec![Transform::Identity, Transform::Identity, tables]);
    let tensors = applied(&symmetries, &alignment, &[vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0]]);
    assert_eq!(tensors, [vec![2.0, 1.0, 3.0, 4.0], vec![6.0, 5.0, 7.0, 8.0]]);
}

#[test]
fn a_permutation_as_a_map_is_the_permutation() {
    let symmetries = symmetries();
    let tensors = counted(&symmetries);
    let hard = random(&symmetries, 3);
    let soft = hard.nodes.iter().map(|(name, transform)| {
        // Nodes on the other axis of a grouped kernel cannot be maps; those with parents on their axis can.
        match transform {
            Transform::Permutation(tables) if ["s", "dv", "r"].contains(&name.as_str()) => Transform::Map(
                tables
                    .iter()
                    .map(|table| {
                        let merge = Matrix::of_permutation(table);
                        Mix { unmerge: merge.transposed(), merge }
                    })
                    .collect(),
            ),
            other => other.clone(),
        }
    });
    let soft = Alignment::new(&symmetries, &symmetries, soft.collect());
    soft.check(&symmetries, &symmetries).unwrap();
    assert_eq!(applied(&symmetries, &soft, &tensors), applied(&symmetries, &hard, &tensors));
    assert!(!soft.permutes() && soft.inverse(&symmetries).is_err());
    let identity = Alignment::identity(&symmetries);
    assert_eq!(hard.then(&identity, &symmetries).unwrap().nodes, hard.nodes);
}

#[test]
fn scales_cancel_between_writers_and_readers() {
    let symmetries =
        Symmetries::parse("node h[2] scalable\nw = h, reads pin[1]\nv = pin[1], reads h\ns (variance) = h")
            .unwrap();
    let scale = Transform::Scale(vec![vec![2.0, 0.5]]);
    let alignment = Alignment::new(&symmetries, &symmetries, vec![scale]);
    let tensors = applied(&symmetries, &alignment, &[vec![3.0, 4.0], vec![5.0, 6.0], vec![1.0, 1.0]]);
    assert_eq!(tensors, [vec![6.0, 2.0], vec![2.5, 12.0], vec![4.0, 0.25]]);
    let back = applied(&symmetries, &alignment.inverse(&symmetries).unwrap(), &tensors);
    assert_eq!(back, [vec![3.0, 4.0], vec![5.0, 6.0], vec![1.0, 1.0]]);
}

#[test]
fn widths_change_by_maps() {
    let from = Symmetries::parse("node h[2]\nw = h, reads pin[1]\nv = pin[1], reads h").unwrap();
    let to = from.resized(&[3]);
    let matrix = |rows, columns, values: &[f64]| Matrix { rows, columns, values: values.to_vec() };
    let mix = Mix {
        merge: matrix(3, 2, &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5]),
        unmerge: matrix(2, 3, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
    };
    let alignment = Alignment::new(&from, &to, vec![Transform::Map(vec![mix])]);
    alignment.check(&from, &to).unwrap();
    let (weights, statistics) = alignment.apply_flat(&from, &to, &[2.0, 4.0, 5.0, 7.0], &[]).unwrap();
    assert_eq!((weights.as_slice(), statistics.as_slice()), (&[2.0, 4.0, 3.0, 5.0, 7.0, 0.0][..], &[][..]));
}

#[test]
fn what_is_no_transform_is_named() {
    let symmetries = Symmetries::parse("node h[3]\nw = h").unwrap();
    let wrong = |transform| {
        let alignment = Alignment::new(&symmetries, &symmetries, vec![transform]);
        alignment.check(&symmetries, &symmetries).unwrap_err().to_string()
    };
    assert!(wrong(Transform::Permutation(vec![vec![0, 1, 1]])).contains("no permutation of 3 units"));
    assert!(wrong(Transform::Permutation(Vec::new())).contains("0 entries"));
    assert!(wrong(Transform::Scale(vec![vec![1.0, -1.0, 1.0]])).contains("positive factors"));
    let other = Symmetries::parse("node h[3]\nw = h, pin[2]").unwrap();
    let error = Alignment::identity(&symmetries).check(&other, &other).unwrap_err();
    assert!(matches!(error, AlignmentError::Other { .. }));
}
