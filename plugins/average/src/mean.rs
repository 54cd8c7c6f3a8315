//! `mean`: the uniform average, the simplest soup and the baseline for everything else.
//!
//! θ = (1/N) Σ θᵢ, summed in f32 in input order, then divided. No parameters. NaN and infinities propagate.
//! The average of N equal models differs from them by at most N/2 units in the last place of f32 (none for powers of two).
//! mergekit writes it as `linear` with equal weights.
//!
//! Wortsman et al., "Model soups", 2022.

use fusion_sdk::{About, Category, Claim, Elementwise, MethodError, NoParams, Port, Tasks, Tile, simd};

use crate::combine::{RUN, each};

/// The kernel of `mean`.
#[derive(Debug)]
pub struct Mean {
    pub(crate) count: f32,
}

impl Elementwise for Mean {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "mean",
            version: 1,
            category: Category::Average,
            summary: "uniform average of models",
            formula: "θ = (1/N) Σ θᵢ",
            citation: "Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy \
                       without increasing inference time, ICML 2022",
            ports: vec![Port { settings: false, ..Port::from(1, None, "the models to average") }],
            random: false,
            claims: &[
                Claim::Deterministic,
                Claim::Commutative,
                Claim::Idempotent,
                Claim::Affine,
                Claim::ScaleEquivariant,
            ],
        }
    }

    fn prepare(tasks: Tasks<NoParams, NoParams>) -> Result<Self, MethodError> {
        let inputs = tasks.tensors.first().map_or(0, |tensor| tensor.inputs.len());
        if inputs == 0 {
            return Err(MethodError::invalid("`mean` needs at least one model").help("add a `from` edge"));
        }
        Ok(Mean { count: inputs as f32 })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        let count = self.count;
        simd(
            #[inline(always)]
            || match *tile.inputs {
                [x, y] => each(out, [x, y], |[x, y]| (x + y) / count),
                [x, y, z] => each(out, [x, y, z], |[x, y, z]| (x + y + z) / count),
                [x, y, z, a] => each(out, [x, y, z, a], |[x, y, z, a]| (x + y + z + a) / count),
                _ => {
                    for start in (0..out.len()).step_by(RUN) {
                        let end = out.len().min(start + RUN);
                        let out = &mut out[start..end];
                        out.fill(0.0);
                        for input in tile.inputs {
                            for (sum, &x) in out.iter_mut().zip(&input[start..end]) {
                                *sum += x;
                            }
                        }
                        for sum in out {
                            *sum /= count;
                        }
                    }
                }
            },
        );
    }
}
