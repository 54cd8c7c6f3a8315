use super::*;
use crate::oracle::{uniform, values};
use fusion_sdk::context::Alone;

/// Grouped heads (also fused head by head), a grouped convolution, a concatenation, a recurrent matrix of four gates, a stream that several tensors share.
const TEXT: &str = "node s[4]
node kv[2]
node r[3] in kv
node dv[2] in kv
node g[2]
node o[2] in g
node i[3] in g
node h[3]
q.weight = kv · r · pin[2], reads s
v.weight = kv · dv, reads s
o.weight = s, reads kv · r · dv
conv.weight = g · o, reads i, pin[2]
in.weight = g · i, reads pin[3] ++ s
out.weight = pin[2], reads g · o
fused.weight = kv · (r · pin[2] ++ pin[2] ++ dv), reads s
hh.weight = h ++ h ++ h ++ h, reads h
scale = pin[1]
norm.running_var (variance) = s
";

fn symmetries() -> Symmetries {
    Symmetries::parse(TEXT).unwrap()
}

/// Random matrices, of no particular kind.
fn anywhere(relaxed: &Relaxed<'_>, seed: u64) -> Point {
    let mut point = relaxed.zeros();
    for (index, joint) in point.iter_mut().flatten().enumerate() {
        joint.values = uniform(seed + index as u64, joint.values.len());
    }
    point
}

#[test]
fn at_a_permutation_a_tensor_is_permuted() {
    let symmetries = symmetries();
    let relaxed = Relaxed::new(&symmetries).unwrap();
    assert_eq!(relaxed.degree(), 2);
    let model = values(&symmetries, 1);
    for seed in 0..5 {
        let state = State::random(&symmetries, seed);
        let point = relaxed.vertex(&state);
        let alignment = state.alignment(&symmetries, &symmetries);
        for tensor in relaxed.tensors() {
            let own = &model.tensors[tensor];
            let wanted = alignment.apply_f64(&symmetries, &symmetries, tensor, own).unwrap();
            assert_eq!(relaxed.apply(tensor, &point, own), wanted, "{}", symmetries.tensors[tensor].name);
        }
        assert_eq!(relaxed.round(&point, Context::new(&Alone)).unwrap(), state);
    }
    assert!(!relaxed.tensors().any(|tensor| symmetries.tensors[tensor].role != TensorRole::Parameter));
}

/// ⟨T, X⟩ is linear in each factor, so differences with a step of 1 are exact where a matrix is one factor, and central ones where it is two.
#[test]
fn gradients_are_differences() {
    let symmetries = symmetries();
    let relaxed = Relaxed::new(&symmetries).unwrap();
    let (model, cotangents) = (values(&symmetries, 2), values(&symmetries, 3));
    let point = anywhere(&relaxed, 50);
    let value = |point: &Point| -> f64 {
        let each = relaxed.tensors().map(|tensor| {
            let moved = relaxed.apply(tensor, point, &model.tensors[tensor]);
            moved.iter().zip(&cotangents.tensors[tensor]).map(|(x, t)| x * t).sum::<f64>()
        });
        each.sum()
    };
    for part in relaxed.parts() {
        let mut gradient = vec![0.0; point[part.0][part.1].values.len()];
        for tensor in relaxed.uses(part) {
            let (own, cotangent) = (&model.tensors[tensor], &cotangents.tensors[tensor]);
            relaxed.pull(tensor, &point, cotangent, own, part, &mut gradient);
        }
        for at in (0..gradient.len()).step_by(3) {
            let moved = |by: f64| {
                let mut point = point.clone();
                point[part.0][part.1].values[at] += by;
                value(&point)
            };
            let difference = (moved(1.0) - moved(-1.0)) / 2.0;
            assert!(
                (difference - gradient[at]).abs() < 1e-11,
                "{part:?} {at}: {difference} {}",
                gradient[at]
            );
        }
    }
}

#[test]
fn blocks_make_points_of_the_hull_and_gradients_come_back() {
    let symmetries = symmetries();
    let relaxed = Relaxed::new(&symmetries).unwrap();
    let flat = relaxed.blocks(|_, size, _| Ok(vec![1.0 / size as f64; size * size])).unwrap();
    for (joint, centre) in relaxed.spread(&flat).iter().flatten().zip(relaxed.barycentre().iter().flatten()) {
        for (value, centre) in joint.values.iter().zip(&centre.values) {
            assert!((value - centre).abs() < 1e-15);
        }
    }
    let state = State::random(&symmetries, 3);
    let hard = relaxed.blocks(|id, size, block| {
        let mut values = vec![0.0; size * size];
        let table = state.table(id, block / symmetries.copies(id));
        table.iter().enumerate().for_each(|(slot, unit)| values[slot * size + *unit as usize] = 1.0);
        Ok(values)
    });
    assert_eq!(relaxed.spread(&hard.unwrap()), relaxed.vertex(&state));

    let blocks =
        relaxed.blocks(|id, size, block| Ok(uniform(u64::from(id.0) * 100 + block as u64, size * size)));
    let (blocks, weights) = (blocks.unwrap(), anywhere(&relaxed, 70));
    let back = relaxed.gather(&blocks, &weights);
    for (node, slopes) in back.iter().enumerate() {
        for (at, slope) in slopes.iter().enumerate().step_by(2) {
            let moved = |by: f64| {
                let mut blocks = blocks.clone();
                blocks[node][at] += by;
                inner(&relaxed.spread(&blocks), &weights)
            };
            let difference = (moved(1.0) - moved(-1.0)) / 2.0;
            assert!((difference - slope).abs() < 1e-11, "{node} {at}: {difference} {slope}");
        }
    }
}

#[test]
fn what_cannot_be_relaxed_is_named() {
    let text = "node a[2]\nnode b[3]\nnode c[2] in a, b\nw = a · b · c\n";
    let symmetries = Symmetries::parse(text).unwrap();
    let error = Relaxed::new(&symmetries).unwrap_err();
    assert!(error.message.contains("`c`") && error.help.unwrap().contains("weight_matching"));
}
