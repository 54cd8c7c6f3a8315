//! Symmetries with some of their nodes pinned, where a proof has failed or someone does not want units to move.

use super::{Factor, NodeId, Symmetries};

impl Symmetries {
    /// The same with these nodes pinned: their units stay. What lies in them has one transform for all their indices.
    #[must_use]
    pub fn pinned(&self, ids: &[NodeId]) -> Symmetries {
        let mut other = self.clone();
        let kept: Vec<NodeId> = self.ids().filter(|id| !ids.contains(id)).collect();
        let number = |id: NodeId| kept.iter().position(|own| *own == id).map(|at| NodeId(at as u32));
        other.nodes = kept
            .iter()
            .map(|id| {
                let mut node = self.node(*id).clone();
                node.parents = node.parents.iter().filter_map(|parent| number(*parent)).collect();
                node
            })
            .collect();
        let axes = other.tensors.iter_mut().flat_map(|tensor| &mut tensor.axes);
        for factor in axes.flat_map(|axis| &mut axis.segments).flatten() {
            if let Factor::Node(id) = *factor {
                *factor = number(id).map_or(Factor::Pinned(self.node(id).size), Factor::Node);
            }
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_nodes_become_lengths() {
        let all = Symmetries::parse("node s[3]\nnode h[2]\nnode d[4] in h\nw = h · d, reads s").unwrap();
        let text =
            |ids: &[u32]| all.pinned(&ids.iter().map(|id| NodeId(*id)).collect::<Vec<_>>()).to_string();
        assert_eq!(text(&[1]), "symmetries 1\nnode s[3]\nnode d[4]\nw = pin[2] · d, reads s\n");
        assert_eq!(text(&[0, 2]), "symmetries 1\nnode h[2]\nw = h · pin[4], reads pin[3]\n");
        assert_eq!(text(&[]), all.to_string());
    }
}
