//! Costs that are kept between visits of a family: only the terms whose units have moved since are computed again.
//!
//! K changes by Σ_r A[x, r] · (π(B)[y, r] − π₀(B)[y, r]) over the terms r that π moves elsewhere than π₀ did. What depends on no other node is
//! computed once, and late sweeps, in which few units move, cost little. Differences are rounded as products are, so costs keep their
//! precision; they depend on the way that led to a state by rounding only.

use fusion_sdk::MethodError;
use fusion_sdk::symmetry::{Factor, Symmetries};

use super::{Joint, Pair, Which};
use crate::family::Family;
use crate::state::State;

/// The costs of a family with the state that they are of.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Tensors with other nodes, or with one of the family's twice.
    moving: Vec<usize>,
    /// Where the moving ones are counted at; not yet at all in the beginning.
    state: Option<State>,
    joints: Vec<Joint>,
}

impl Kept {
    /// Checks the tensors of a family, and computes what depends on no other node.
    ///
    /// # Errors
    /// Those of [`Pair::joints`].
    pub(crate) fn new(pair: &Pair<'_>, family: &Family) -> Result<Kept, MethodError> {
        let (mut joints, mut moving) = (Vec::new(), Vec::new());
        let identity = State::identity(pair.symmetries);
        for &tensor in &family.tensors {
            pair.check(tensor)?;
            match is_still(pair.symmetries, family, tensor) {
                true => pair.add(family, (None, &identity), Which::All, tensor, false, &mut joints)?,
                false => moving.push(tensor),
            }
        }
        Ok(Kept { moving, state: None, joints })
    }

    /// The costs at a state.
    ///
    /// # Errors
    /// Those of [`Pair::joints`].
    pub(crate) fn at(
        &mut self,
        pair: &Pair<'_>,
        family: &Family,
        state: &State,
    ) -> Result<&[Joint], MethodError> {
        let before = self.state.take();
        for &tensor in &self.moving {
            pair.add(family, (before.as_ref(), state), Which::All, tensor, false, &mut self.joints)?;
        }
        self.state = Some(state.clone());
        Ok(&self.joints)
    }
}

/// Whether what a tensor contributes depends on the family alone.
fn is_still(symmetries: &Symmetries, family: &Family, tensor: usize) -> bool {
    let factors = symmetries.tensors[tensor].axes.iter().flat_map(|axis| axis.segments.iter().flatten());
    let other = |factor: &Factor| matches!(factor, Factor::Node(id) if !family.has(*id));
    !family.quadratic && !factors.into_iter().any(other)
}
