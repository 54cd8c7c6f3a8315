//! Who makes the units of a node, and in which order nodes can be settled from the input on: the forward sweep of methods that compare units
//! by what comes into them.
//!
//! Tensors that read the same nodes (queries, keys and values; gate and up) are one branch; a residual stream has one for each block that
//! writes to it. A branch can be looked at once all nodes that it reads have their transforms; a stream's first branch makes a beginning,
//! and a second sweep has them all.

use fusion_sdk::symmetry::{Axis, Factor, NodeId, Place, Side, Symmetries, TensorRole};

use crate::family::Family;

/// Tensors that make a node's units from the same inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    /// The nodes that they read, ascending; none for layers that read pinned inputs, and tables.
    pub(crate) inputs: Vec<NodeId>,
    /// Where they have the node: matrices in order, then biases.
    pub(crate) places: Vec<Place>,
}

/// The branches of a node, in the order of their first tensors. Matrices, kernels and tables count, and vectors that go by the name of one of
/// them (biases); not the gains and shifts of norms behind. A depthwise kernel, which reads its own units, goes with the first branch. A node
/// that only vectors write has one branch of those; one that nothing writes has none. Tensors in which nodes meet that lie in this one are
/// left to those.
pub(crate) fn branches(symmetries: &Symmetries, family: &Family, node: NodeId) -> Vec<Branch> {
    let inner: Vec<NodeId> =
        family.nodes.iter().copied().filter(|id| symmetries.node(*id).parents.contains(&node)).collect();
    let mut found: Vec<Branch> = Vec::new();
    let (mut vectors, mut attached) = (Vec::new(), Vec::new());
    for place in symmetries.uses(node) {
        let tensor = &symmetries.tensors[place.tensor];
        let below = tensor.axes.iter().any(|axis| inner.iter().any(|id| has(axis, *id)));
        if place.side == Side::Reads || tensor.role != TensorRole::Parameter || below {
            continue;
        }
        let shape = symmetries.shape(place.tensor);
        // Joined axes are one dimension: a vector of them is a vector.
        let dimensions: Vec<usize> = tensor
            .dimensions()
            .enumerate()
            .flat_map(|(dimension, axes)| axes.iter().map(move |_| dimension))
            .collect();
        let wide = |axis: usize| dimensions[axis] != dimensions[place.axis] && shape[dimensions[axis]] > 1;
        if !(0..dimensions.len()).any(wide) {
            vectors.push(place);
            continue;
        }
        let reads = |axis: usize| wide(axis) && tensor.axes[axis].side == Side::Reads;
        let inputs = inputs(symmetries, place);
        if !(0..dimensions.len()).any(reads) && shape.len() > 2 && inputs.is_empty() {
            attached.push(place);
            continue;
        }
        match found.iter_mut().find(|branch| branch.inputs == inputs) {
            Some(branch) => branch.places.push(place),
            None => found.push(Branch { inputs, places: vec![place] }),
        }
    }
    if found.is_empty() {
        let places = if attached.is_empty() { vectors } else { attached };
        return match places.is_empty() {
            true => Vec::new(),
            false => vec![Branch { inputs: Vec::new(), places }],
        };
    }
    found[0].places.extend(attached);
    for vector in vectors {
        let name = stem(&symmetries.tensors[vector.tensor].name);
        let own = |place: &Place| stem(&symmetries.tensors[place.tensor].name) == name;
        if let Some(branch) = found.iter_mut().find(|branch| branch.places.iter().any(own)) {
            branch.places.push(vector);
        }
    }
    found
}

/// The layer that a tensor belongs to: its name up to the last dot.
pub(crate) fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Nodes on the other axes that are read.
fn inputs(symmetries: &Symmetries, place: Place) -> Vec<NodeId> {
    let axes = &symmetries.tensors[place.tensor].axes;
    let others = axes.iter().enumerate().filter(|(at, axis)| *at != place.axis && axis.side == Side::Reads);
    let mut found: Vec<NodeId> = others
        .flat_map(|(_, axis)| axis.segments.iter().flatten())
        .filter_map(|factor| match factor {
            Factor::Node(id) => Some(*id),
            Factor::Pinned(_) => None,
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn has(axis: &Axis, id: NodeId) -> bool {
    axis.segments.iter().any(|product| product.contains(&Factor::Node(id)))
}

/// All families (by index) from the input on: next comes the one of which the earliest tensor reads settled nodes only; if there is none, the
/// one with the earliest tensor. And whether a branch had to be passed over, so that a second sweep sees more.
pub(crate) fn forward(symmetries: &Symmetries, families: &[Family]) -> (Vec<usize>, bool) {
    let all: Vec<Vec<Branch>> = families
        .iter()
        .map(|family| family.nodes.iter().flat_map(|node| branches(symmetries, family, *node)).collect())
        .collect();
    let mut settled = vec![false; symmetries.nodes.len()];
    let mut left: Vec<usize> = (0..families.len()).collect();
    let (mut order, mut passed) = (Vec::with_capacity(families.len()), false);
    while !left.is_empty() {
        let ready = |branch: &&Branch| branch.inputs.iter().all(|id| settled[id.index()]);
        let first = |branch: &Branch| branch.places.iter().map(|place| place.tensor).min();
        let next = left
            .iter()
            .copied()
            .min_by_key(|family| {
                let ready = all[*family].iter().filter(ready).filter_map(first).min();
                let any = all[*family].iter().filter_map(first).min();
                (ready.is_none(), ready.or(any).unwrap_or(usize::MAX), *family)
            })
            .unwrap_or(left[0]);
        passed |= all[next].iter().any(|branch| !ready(&branch));
        families[next].nodes.iter().for_each(|id| settled[id.index()] = true);
        left.retain(|family| *family != next);
        order.push(next);
    }
    (order, passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::families;

    /// A stream with an embedding and two blocks, declared from the end, and attention heads.
    const TEXT: &str = "node s[4]\nnode f[6]\nnode head[2]\nnode qk[2] in head\nnode v[3] in head\n\
        head.weight = pin[5], reads s\ndown.weight = s, reads f\ndown.bias = s\n\
        gate.weight = f, reads s\nup.weight = f, reads s\nnorm.weight = s\n\
        q.weight = head · qk, reads s\nk.weight = head · qk, reads s\nv.weight = head · v, reads s\n\
        v.bias = head · v\no.weight = s, reads head · v\nemb.weight = pin[9], s\n";

    /// Queries, keys and values of a head behind each other, as GPT-NeoX has them: their axis is of two, their bias is a vector all the same.
    #[test]
    fn a_fused_bias_goes_with_its_matrix() {
        let symmetries = Symmetries::parse(
            "node s[4]\nnode head[2]\nnode qk[2] in head\nnode v[3] in head\nemb.weight = pin[9], s\n\
             fused.weight = head · (qk ++ qk ++ v), reads s\nfused.bias = head · (qk ++ qk ++ v)\n\
             o.weight = s, reads head · v\n",
        )
        .unwrap();
        let families = families(&symmetries);
        for name in ["qk", "v"] {
            let id = symmetries.named(name).unwrap();
            let family = families.iter().find(|family| family.has(id)).unwrap();
            let of = |place: &Place| symmetries.tensors[place.tensor].name.clone();
            let found: Vec<Vec<String>> = branches(&symmetries, family, id)
                .iter()
                .map(|it| it.places.iter().map(of).collect())
                .collect();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].first().unwrap(), "fused.weight");
            assert_eq!(found[0].last().unwrap(), "fused.bias");
        }
    }

    #[test]
    fn branches_go_by_what_they_read() {
        let symmetries = Symmetries::parse(TEXT).unwrap();
        let families = families(&symmetries);
        let id = |name: &str| symmetries.named(name).unwrap();
        let family = |name: &str| families.iter().find(|family| family.has(id(name))).unwrap();
        let names = |name: &str| {
            let of = |place: &Place| symmetries.tensors[place.tensor].name.clone();
            let found = branches(&symmetries, family(name), id(name));
            found.iter().map(|branch| branch.places.iter().map(of).collect()).collect::<Vec<Vec<String>>>()
        };
        assert_eq!(names("s"), [vec!["down.weight", "down.bias"], vec!["o.weight"], vec!["emb.weight"]]);
        assert_eq!(names("f"), [["gate.weight", "up.weight"]]);
        assert_eq!(names("qk"), [["q.weight", "k.weight"]]);
        assert_eq!(names("v"), [["v.weight", "v.bias"]]);
        assert!(names("head").is_empty());
        let (order, passed) = forward(&symmetries, &families);
        let first = |index: &usize| symmetries.node(families[*index].nodes[0]).name.as_str();
        assert_eq!(order.iter().map(first).collect::<Vec<_>>(), ["s", "f", "head"]);
        assert!(passed);
    }

    #[test]
    fn a_chain_needs_one_sweep() {
        let text = "node a[2]\nnode b[3]\nw2 = b, reads a\nw1 = a, reads pin[4]\ndw = a, pin[1], pin[3]\nw3 = pin[1], reads b\n";
        let symmetries = Symmetries::parse(text).unwrap();
        let families = families(&symmetries);
        assert_eq!(forward(&symmetries, &families), (vec![0, 1], false));
        let found = branches(&symmetries, &families[0], NodeId(0));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].places.iter().map(|place| place.tensor).collect::<Vec<_>>(), [1, 2]);
    }
}
