//! `ot_fusion`: the units of one model are transported to those of another, layer by layer from the input.
//!
//! With P the plan of node ℓ between the model's units (mass α) and the reference's (mass β), at least cost ⟨P, D⟩:
//! D_ℓ[i, j] is the distance between row i of Ŵ = W·T_{ℓ−1} and row j of the reference's layer (`features = weights`: what comes into a unit,
//! its bias with it), or between their activations. Rows become diag(1/β)PᵀŴ, the next layer's weights on them T_ℓ = diag(1/α)P or P·diag(1/β)
//! (`readers`). Averaged half and half with the reference, that is the paper's fused model. Exact transport of equally many units of equal mass is
//! a permutation, and is given as one. Other plans mix units, so an aligned model does not compute what it did.
//!
//! Widths may differ; the result has the reference's. Heads go with heads: a node that others lie in is assigned as a whole, by the sum of
//! its inner transport costs, and units are mixed within heads only. Gains, shifts and statistics of norms follow their units. The input and
//! the output are no nodes and stay.
//!
//! A residual stream is written by many layers. `residual` says what of that counts: all costs summed, the mean of their plans (as in the paper
//! on transformers), the first's or the last's, or that the stream stays as it is. What is written by layers that read the same nodes
//! (queries, keys and values; gate and up) is summed always. Where a writer reads nodes that have no transform yet, a second sweep over all
//! nodes sees it.
//!
//! Differences from sidak/otfusion and graldij/transformer-fusion: biases and norms are handled; the output layer is not transported; α is
//! each side's own mass where widths differ (the latter divides both by the first width); heads are not mixed; a soft `reg` is in units of the scaled
//! costs, and Sinkhorn runs until its marginals hold to 10⁻⁹ or for `iterations`.
//!
//! Singh, Jaggi, "Model fusion via optimal transport", NeurIPS 2020; Imfeld et al., "Transformer fusion with optimal transport", ICLR 2024.

mod costs;
mod nested;
mod plan;

use fusion_sdk::align::{Align, Aligned, Incoming, Matching, When};
use fusion_sdk::alignment::{Alignment, Transform};
use fusion_sdk::symmetry::NodeId;
use fusion_sdk::{About, Category, Claim, MethodError, Params, Words};

use crate::branches;
use crate::distances::{Metric, Scaling};
use crate::family::{Family, families};
use crate::ports;

pub use plan::{Coupling, Mass, Readers, Solver};

/// What units are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Compared {
    /// the weights that come into them
    Weights,
    /// their values on the data
    Activations,
}

/// Where activations are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Place {
    /// before the activation function
    Before,
    /// behind it
    After,
}

impl From<Place> for When {
    fn from(place: Place) -> When {
        match place {
            Place::Before => When::Before,
            Place::After => When::After,
        }
    }
}

/// What counts of the several layers that write to a residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Residual {
    /// all costs, summed
    All,
    /// the mean of the plans of each
    Mean,
    /// the first layer
    First,
    /// the last layer
    Last,
    /// none: streams stay as they are
    Identity,
}

/// Stage parameters of `ot_fusion`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct OtFusionParams {
    /// what units are compared by (default: activations where data is connected, otherwise weights)
    pub features: Option<Compared>,
    /// where activations are taken (default: before)
    pub at: Option<Place>,
    /// distance between units
    #[param(default = Metric::Euclidean)]
    pub metric: Metric,
    /// what costs are divided by
    #[param(default = Scaling::None)]
    pub scaling: Scaling,
    /// how plans are found
    #[param(default = Solver::Exact)]
    pub solver: Solver,
    /// entropy of `sinkhorn`, in units of the scaled costs (default: 0.01)
    #[param(above = 0)]
    pub reg: Option<f64>,
    /// iterations of `sinkhorn` at most (default: 1000)
    #[param(range = 1..)]
    pub iterations: Option<u32>,
    /// mass of units
    #[param(default = Mass::Uniform)]
    pub mass: Mass,
    /// what the next layer's weights on a unit become
    #[param(default = Readers::Spread)]
    pub readers: Readers,
    /// what counts of the several layers that write to a residual stream
    #[param(default = Residual::All)]
    pub residual: Residual,
}

/// The kernel of `ot_fusion`.
#[derive(Clone, Debug)]
pub struct OtFusion {
    features: Compared,
    at: When,
    coupling: Coupling,
    readers: Readers,
    residual: Residual,
}

impl Align for OtFusion {
    type Params = OtFusionParams;

    fn about() -> About {
        About {
            id: "ot_fusion",
            version: 1,
            category: Category::Align,
            summary: "units transported to those of the reference, layer by layer; widths may differ",
            formula: "P = argmin ⟨P, D(W·T, W_ref)⟩, P1 = α, Pᵀ1 = β; rows ← diag(1/β)PᵀW, next columns ← W·diag(1/α)P",
            citation: "Singh and Jaggi, Model fusion via optimal transport, NeurIPS 2020",
            ports: vec![
                ports::reference(),
                ports::from(1, None, "the models that are brought over"),
                ports::data(0),
            ],
            random: false,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: OtFusionParams, incoming: Incoming) -> Result<Self, MethodError> {
        let features = params.features.unwrap_or(match incoming.data {
            true => Compared::Activations,
            false => Compared::Weights,
        });
        match (features, incoming.data) {
            (Compared::Activations, false) => {
                return Err(MethodError::invalid("`features = activations` needs data to take them on")
                    .at("features")
                    .help("connect a data set: `data NAME`"));
            }
            (Compared::Weights, true) => {
                return Err(MethodError::invalid(
                    "`features = weights` looks at no data, and data is connected",
                )
                .at("features")
                .help("remove the data, or set `features = activations`"));
            }
            _ => {}
        }
        if features == Compared::Weights && params.at.is_some() {
            return Err(MethodError::invalid("`at` belongs to `features = activations`").at("at"));
        }
        if params.solver == Solver::Exact {
            for (name, given) in [("reg", params.reg.is_some()), ("iterations", params.iterations.is_some())]
            {
                if given {
                    return Err(MethodError::invalid(format!("`{name}` belongs to `solver = sinkhorn`"))
                        .at(name)
                        .help("remove it, or set `solver = sinkhorn`"));
                }
            }
        }
        let coupling = Coupling {
            metric: params.metric,
            scaling: params.scaling,
            solver: params.solver,
            reg: params.reg.unwrap_or(0.01),
            iterations: params.iterations.unwrap_or(1000) as usize,
            mass: params.mass,
        };
        let at = params.at.map_or(When::Before, When::from);
        Ok(OtFusion { features, at, coupling, readers: params.readers, residual: params.residual })
    }

    fn unequal(&self) -> bool {
        true
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let moving = matching.moving();
        let Some((reference, true)) = matching.models.first().map(|model| (model, matching.reference)) else {
            return Err(
                MethodError::invalid("`ot_fusion` needs a reference").help("connect one: `reference NAME`")
            );
        };
        ports::same_but_widths(matching.models)?;
        let families = families(reference.symmetries);
        let (order, passed) = branches::forward(reference.symmetries, &families);
        let seen = match (self.features, matching.features) {
            (Compared::Weights, _) => None,
            (Compared::Activations, Some(features)) => {
                Some(costs::watch(features, self.at, matching.models, matching.context)?)
            }
            (Compared::Activations, None) => {
                return Err(MethodError::invalid("`features = activations` needs data to take them on"));
            }
        };
        let mut aligned = Aligned::default();
        let (mut cost, mut error, mut mixed, mut unwatched) = (0.0, 0.0_f64, 0, 0);
        for (index, from) in moving.iter().enumerate() {
            let sweep = Sweep {
                method: self,
                costs: costs::Costs {
                    reference,
                    from,
                    seen: seen.as_ref().map(|seen| &seen[index]),
                    residual: self.residual,
                    context: matching.context,
                },
                families: &families,
            };
            let mut transforms: Vec<Option<Transform>> = vec![None; reference.symmetries.nodes.len()];
            let sweeps = if passed && sweep.costs.looks_at_weights(&families) { 2 } else { 1 };
            let mut total = 0.0;
            for round in 0..sweeps {
                total = 0.0;
                for (at, family) in order.iter().enumerate() {
                    matching.context.check()?;
                    let done = (index * sweeps + round) * order.len() + at;
                    let all = moving.len() * sweeps * order.len();
                    let name = &reference.symmetries.node(families[*family].nodes[0]).name;
                    matching.context.progress(done as u64, all as u64, name);
                    let found = sweep.family(&families[*family], &transforms)?;
                    total += found.cost;
                    error = error.max(found.error);
                    for (id, transform) in found.transforms {
                        transforms[id.index()] = Some(transform);
                    }
                }
            }
            cost += total;
            unwatched += sweep.costs.unwatched(&families);
            mixed += transforms.iter().filter(|one| matches!(one, Some(Transform::Map(_)))).count();
            let transforms = transforms.into_iter().map(Option::unwrap_or_default).collect();
            aligned.alignments.push(Alignment::new(from.symmetries, matching.target, transforms));
            aligned.trace.push(total);
        }
        let models = moving.len().max(1) as f64;
        aligned.facts = vec![("cost".to_owned(), cost / models), ("mixed".to_owned(), mixed as f64 / models)];
        if self.coupling.solver == Solver::Sinkhorn {
            aligned.facts.push(("marginal_error".to_owned(), error));
        }
        if self.features == Compared::Activations {
            aligned.facts.push(("unwatched".to_owned(), unwatched as f64 / models));
        }
        Ok(aligned)
    }
}

/// The forward sweep of one model.
struct Sweep<'a> {
    method: &'a OtFusion,
    costs: costs::Costs<'a>,
    families: &'a [Family],
}

/// Transforms of a family.
struct Solved {
    cost: f64,
    error: f64,
    transforms: Vec<(NodeId, Transform)>,
}

impl Sweep<'_> {
    fn family(&self, family: &Family, transforms: &[Option<Transform>]) -> Result<Solved, MethodError> {
        debug_assert!(self.families.contains(family));
        let mut costs = Vec::with_capacity(family.nodes.len());
        for &node in &family.nodes {
            costs.push((node, self.costs.of(family, node, transforms)?));
        }
        let (from, to) = (self.costs.from, self.costs.reference);
        nested::solve(self.method, [from, to], family, &costs, self.costs.context)
    }
}

#[cfg(test)]
mod tests;
