//! Costs that are kept between visits of a family: only the terms whose units have moved since are computed again.
//!
//! K changes by Σ_r A[x, r] · (π(B)[y, r] − π₀(B)[y, r]) over the terms r that π moves elsewhere than π₀ did. What depends on no other node is
//! computed once, and late sweeps, in which few units move, cost little. Differences are rounded as products are, so costs keep their
//! precision; they depend on the way that led to a state by rounding only.

use fusion_sdk::MethodError;
use fusion_sdk::symmetry::{Factor, Symmetries};

use super::{Joint, Pair, Rooms, Which};
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
    /// Σ|K| where they were counted first.
    magnitude: f64,
}

impl Kept {
    /// Computes what depends on no other node. Values are not checked: whoever solves with the costs has taken the objective before.
    ///
    /// # Errors
    /// Those of [`Pair::joints`].
    pub(crate) fn new(pair: &Pair<'_>, family: &Family) -> Result<Kept, MethodError> {
        let mut joints = Vec::new();
        let identity = State::identity(pair.symmetries);
        let tensors = family.tensors.iter().copied();
        let (still, moving): (Vec<usize>, Vec<usize>) =
            tensors.partition(|tensor| is_still(pair.symmetries, family, *tensor));
        let mut rooms = Rooms::default();
        pair.add(family, (None, &identity), Which::All, &still, false, &mut joints, &mut rooms)?;
        Ok(Kept { moving, state: None, joints, magnitude: 0.0 })
    }

    /// Computes all of them at a state.
    ///
    /// # Errors
    /// Those of [`Pair::joints`].
    pub(crate) fn fresh(
        pair: &Pair<'_>,
        family: &Family,
        state: &State,
        rooms: &mut Rooms,
    ) -> Result<Kept, MethodError> {
        let mut joints = Vec::new();
        pair.add(family, (None, state), Which::All, &family.tensors, false, &mut joints, rooms)?;
        let tensors = family.tensors.iter().copied();
        let moving = tensors.filter(|tensor| !is_still(pair.symmetries, family, *tensor)).collect();
        let magnitude = joints.iter().map(Joint::magnitude).sum();
        Ok(Kept { moving, state: Some(state.clone()), joints, magnitude })
    }

    /// The costs at a state, and Σ|K| at the first state that was asked for.
    ///
    /// # Errors
    /// Those of [`Pair::joints`].
    pub(crate) fn at(
        &mut self,
        pair: &Pair<'_>,
        family: &Family,
        state: &State,
        rooms: &mut Rooms,
    ) -> Result<(&[Joint], f64), MethodError> {
        let before = self.state.take();
        let states = (before.as_ref(), state);
        pair.add(family, states, Which::All, &self.moving, false, &mut self.joints, rooms)?;
        if before.is_none() {
            self.magnitude = self.joints.iter().map(Joint::magnitude).sum();
        }
        self.state = Some(state.clone());
        Ok((&self.joints, self.magnitude))
    }
}

/// Whether what a tensor contributes depends on the family alone.
fn is_still(symmetries: &Symmetries, family: &Family, tensor: usize) -> bool {
    let factors = symmetries.tensors[tensor].axes.iter().flat_map(|axis| axis.segments.iter().flatten());
    let other = |factor: &Factor| matches!(factor, Factor::Node(id) if !family.has(*id));
    !family.quadratic && !factors.into_iter().any(other)
}
