//! The check of a description where there is no network to run: that it fits a model's tensors, and that its transforms are a group on them.

use super::{Alignment, AlignmentError};
use crate::symmetry::{Factor, Symmetries, SymmetryError};

/// A description that cannot be used for a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StructureError {
    /// It contradicts itself, or does not fit the model.
    #[error(transparent)]
    Symmetry(#[from] SymmetryError),
    /// Its transforms cannot be applied.
    #[error(transparent)]
    Alignment(#[from] AlignmentError),
    /// A random element and its inverse do not give the tensor back.
    #[error(
        "moving the units of `{tensor}` forth and back does not give the tensor back: a node is on it twice in a way that cannot be told apart"
    )]
    Back {
        /// The tensor.
        tensor: String,
    },
}

impl Symmetries {
    /// Checks a description against the tensors of a model: it holds in itself ([`Symmetries::check`]), its shapes are those of the model, and
    /// random elements of the group can be applied to every tensor and undone exactly (on a copy with two or three units a node, so it
    /// costs nothing). Gives the names of the model's tensors that it does not describe, which stay as they are.
    ///
    /// # Errors
    /// See [`StructureError`].
    pub fn check_structure(&self, model: &[(String, Vec<usize>)]) -> Result<Vec<String>, StructureError> {
        self.check()?;
        let shapes: std::collections::BTreeMap<&str, &Vec<usize>> =
            model.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
        self.fits(|name| shapes.get(name).map(|shape| (*shape).clone()))?;
        let small = self.shrunk();
        for seed in 0..2 {
            let there = Alignment::random(&small, seed);
            let back = there.inverse(&small)?;
            for (index, tensor) in small.tensors.iter().enumerate() {
                let elements: usize = small.shape(index).iter().product();
                let values: Vec<f32> = (0..elements).map(|value| value as f32).collect();
                let moved = there.apply(&small, &small, index, &values)?;
                if back.apply(&small, &small, index, &moved)? != values {
                    return Err(StructureError::Back { tensor: tensor.name.clone() });
                }
            }
        }
        let described: std::collections::BTreeSet<&str> =
            self.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let others = model.iter().map(|(name, _)| name).filter(|name| !described.contains(name.as_str()));
        Ok(others.cloned().collect())
    }

    /// The same structure with at most three units a node and two of what is pinned.
    fn shrunk(&self) -> Symmetries {
        let sizes: Vec<usize> = self.nodes.iter().map(|node| node.size.min(3)).collect();
        let mut small = self.resized(&sizes);
        let factors = small.tensors.iter_mut().flat_map(|tensor| &mut tensor.axes);
        for factor in factors.flat_map(|axis| &mut axis.segments).flatten() {
            if let Factor::Pinned(length) = factor {
                *length = (*length).min(2);
            }
        }
        small
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_proven_and_the_rest_listed() {
        let symmetries =
            Symmetries::parse("node h[500]\nnode d[64] in h\nq = h · d, pin[7]\no = pin[7], reads h · d")
                .unwrap();
        let model = |shape: usize| {
            vec![
                ("q".to_owned(), vec![32000, shape]),
                ("o".to_owned(), vec![7, 32000]),
                ("x".to_owned(), vec![1]),
            ]
        };
        assert_eq!(symmetries.check_structure(&model(7)), Ok(vec!["x".to_owned()]));
        let error = symmetries.check_structure(&model(8)).unwrap_err().to_string();
        assert_eq!(error, "`q` is [32000, 8], its axes say [32000, 7]");
    }

    #[test]
    fn random_elements_move_units_and_depend_on_the_seed_alone() {
        let symmetries = Symmetries::parse("node a[2]\nnode b[2] in a\nt = a · b").unwrap();
        for seed in 0..20 {
            let one = Alignment::random(&symmetries, seed);
            one.check(&symmetries, &symmetries).unwrap();
            assert_eq!(one, Alignment::random(&symmetries, seed));
            assert_eq!(one.moved(&symmetries), (6, 6));
        }
    }
}
