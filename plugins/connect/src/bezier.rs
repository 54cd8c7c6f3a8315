//! `bezier`: a smooth curve of low loss between two models.
//!
//! θ(t) = Σⱼ C(n−1,j) tʲ (1−t)ⁿ⁻¹⁻ʲ pⱼ with n = `bends` + 2 control points; for one bend (1−t)²p₀ + 2t(1−t)p₁ + t²p₂. Found by
//! minimising E[𝓛(θ(t)) + ½λ‖θ(t)‖²] over t ∼ U(0,1): see [`crate::curve`], which also lists the differences from the reference code.
//!
//! Garipov, Izmailov, Podoprikhin, Vetrov, Wilson, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018;
//! code timgaripov/dnn-mode-connectivity.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::path::{Geometry, Path};
use fusion_sdk::{About, Category, Claim, MethodError};

use crate::curve::{CurveParams, CurveSearch};
use crate::ports;

/// The kernel of `bezier`.
#[derive(Clone, Debug)]
pub struct Bezier(CurveSearch);

impl Connect for Bezier {
    type Params = CurveParams;

    fn about() -> About {
        About {
            id: "bezier",
            version: 1,
            category: Category::Connect,
            summary: "a smooth curve of low loss between two models",
            formula: "θ(t) = Σⱼ C(n−1,j) tʲ (1−t)ⁿ⁻¹⁻ʲ pⱼ, ends fixed\n\
                      min over inner p of E[𝓛(θ(t)) + ½λ‖θ(t)‖²], t ∼ U(0,1)",
            citation: "Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of DNNs, NeurIPS 2018",
            ports: vec![ports::between(), ports::data()],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: CurveParams, models: usize) -> Result<Self, MethodError> {
        CurveSearch::new("bezier", Geometry::Bezier, params, models).map(Bezier)
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        self.0.connect(search)
    }
}
