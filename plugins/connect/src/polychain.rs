//! `polychain`: a chain of straight pieces of low loss between two models.
//!
//! θ(t) = Σⱼ max(0, 1−|t(n−1)−j|) pⱼ with n = `bends` + 2 points. Found by minimising E[𝓛(θ(t)) + ½λ‖θ(t)‖²] over t ∼ U(0,1): see
//! [`crate::curve`], which also lists the differences from the reference code. A point whose piece is not hit by t has a gradient of 0 in
//! that step and moves by its momentum, as in the reference code.
//!
//! Garipov, Izmailov, Podoprikhin, Vetrov, Wilson, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018;
//! code timgaripov/dnn-mode-connectivity.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::path::{Geometry, Path};
use fusion_sdk::{About, Category, Claim, MethodError};

use crate::curve::{CurveParams, CurveSearch};
use crate::ports;

/// The kernel of `polychain`.
#[derive(Clone, Debug)]
pub struct Polychain(CurveSearch);

impl Connect for Polychain {
    type Params = CurveParams;

    fn about() -> About {
        About {
            id: "polychain",
            version: 1,
            category: Category::Connect,
            summary: "a chain of straight pieces of low loss between two models",
            formula: "θ(t) = Σⱼ max(0, 1−|t(n−1)−j|) pⱼ, ends fixed\n\
                      min over inner p of E[𝓛(θ(t)) + ½λ‖θ(t)‖²], t ∼ U(0,1)",
            citation: "Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of DNNs, NeurIPS 2018",
            ports: vec![ports::between(), ports::data()],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: CurveParams, models: usize) -> Result<Self, MethodError> {
        CurveSearch::new("polychain", Geometry::Chain, params, models).map(Polychain)
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        self.0.connect(search)
    }
}
