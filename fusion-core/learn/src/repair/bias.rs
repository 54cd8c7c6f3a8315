//! Bias correction without data: biases shrink with their height, as what flows into them does.
//!
//! Where models agree in nothing, their average shrinks what a layer gives by α in every layer, so at height h signals are α^h of what they
//! were, while biases are α as large. With Σ αᵢ^h·bᵢ all parts of a layer shrink alike, and a network of ReLUs without normalisation
//! keeps its function up to a factor (Qu, Horváth, "Rethink Model Re-Basin and the Linear Mode Connectivity", 2024: `bias_norm` in their
//! code).

use fusion_network::Network;
use fusion_sdk::MethodError;
use fusion_sdk::objective::SegmentKind;

use super::Endpoint;
use crate::measure::MeasureError;

/// What was done to a layer's bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Biased {
    /// The layer.
    pub name: String,
    /// Layers with weights up to it, itself included.
    pub height: u32,
    /// Length of the new bias by that of the old one; NaN for a bias of zeros.
    pub ratio: f64,
}

/// Sets the biases of an averaged network: Σ αᵢ^h·bᵢ with the shares of the endpoints, or, without endpoints, α^(h−1)·b, which is the same
/// for shares that are all α. In f64, rounded once.
///
/// # Errors
/// The network normalises its units, is recurrent, or has no bias: the scale of its signals does not follow that of its weights.
pub fn correct_biases(
    network: &Network,
    weights: &mut [f32],
    endpoints: &[Endpoint<'_>],
    alpha: f64,
) -> Result<Vec<Biased>, MeasureError> {
    let name = network.architecture().name();
    let refused = |what: String, help: &str| Err(MeasureError::unsuitable(what, help));
    let repair = "use `repair` or `batch_norm`, which look at data";
    if let Some(norm) = network.segments().iter().find(|segment| segment.kind == SegmentKind::Norm) {
        return refused(
            format!("`{name}` normalises its units (`{}`), whatever their scale", norm.name),
            repair,
        );
    }
    if name == "lstm" {
        return refused("gates of recurrent layers do not scale with their inputs".to_owned(), repair);
    }
    let (mut height, mut found) = (0_u32, Vec::new());
    for segment in network.segments() {
        if segment.kind == SegmentKind::Weight {
            height += 1;
            continue;
        }
        let power = i32::try_from(height).unwrap_or(i32::MAX);
        let range = segment.start..segment.start + segment.len;
        let (mut old, mut new) = (0.0, 0.0);
        for index in range {
            let value = f64::from(weights[index]);
            let corrected = match endpoints {
                [] => value * alpha.powi(power - 1),
                _ => {
                    let parts = endpoints.iter().map(|endpoint| {
                        Some(endpoint.share.powi(power) * f64::from(*endpoint.flat.weights.get(index)?))
                    });
                    let sum: Option<f64> = parts.sum();
                    sum.ok_or_else(|| MethodError::invalid("an endpoint has fewer weights than the network"))?
                }
            };
            (old, new) = (old + value * value, new + corrected * corrected);
            weights[index] = corrected as f32;
        }
        let layer = segment.name.strip_suffix(".bias").unwrap_or(&segment.name).to_owned();
        found.push(Biased { name: layer, height, ratio: (new / old).sqrt() });
    }
    match found.is_empty() {
        true => refused(format!("this `{name}` has no biases"), "there is nothing to correct"),
        false => Ok(found),
    }
}
