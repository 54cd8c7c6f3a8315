//! `swag`: a Gaussian over weights from the snapshots of a training.
//!
//! θ ∼ N(θ̄, s(diag σ² + DDᵀ/(K−1))): mean, variance and the last K deviations of the snapshots. Samples are
//! θ̄ + √s(√max(σ², 1e-30) ∘ z₁ + Dz₂/√(K−1)), with s = ½ in the paper; s belongs to whoever samples (`Path::gaussian`).
//!
//! The inputs are either what a recorder has collected (`input = moments`: first the mean, then the variance, then deviations) or
//! snapshots in the order of the training (`input = snapshots`), from which both are taken by Welford's method in f64: after snapshot n
//! θ̄ ← θ̄ + (θ−θ̄)/n, M ← M + (θ−θ̄_old)(θ−θ̄_new), σ² = M/n, and the deviation is θ − θ̄ with the mean that already holds θ.
//!
//! Differences from swa_gaussian: σ² by Welford rather than E[θ²] − θ̄² in f32, which cancels; K is the number of deviations that there
//! are, not the largest number that was asked for.
//!
//! Maddox, Garipov, Izmailov, Vetrov, Wilson, "A simple baseline for Bayesian uncertainty in deep learning", NeurIPS 2019; code
//! wjmaddox/swa_gaussian.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::path::{Geometry, Path};
use fusion_sdk::{About, Category, Claim, MethodError, Params, Words};

use crate::ports;

/// Stage parameters of `swag`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct SwagParams {
    /// what the inputs are
    #[param(default = Given::Moments)]
    pub input: Given,
    /// most deviations K that are kept of snapshots; 0 for a diagonal Gaussian (default: 20)
    #[param(range = 0..=10000)]
    pub rank: Option<u32>,
}

/// What the inputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Given {
    /// mean, variance and deviations, in this order, as a `swag` recorder collects them
    Moments,
    /// snapshots of a training, in its order
    Snapshots,
}

/// The kernel of `swag`.
#[derive(Clone, Debug)]
pub struct Swag {
    given: Given,
    rank: usize,
}

impl Connect for Swag {
    type Params = SwagParams;

    fn about() -> About {
        About {
            id: "swag",
            version: 1,
            category: Category::Connect,
            summary: "a Gaussian over weights from the snapshots of a training",
            formula: "θ = θ̄ + √s(√σ² ∘ z₁ + Dz₂/√(K−1)), z ∼ N(0, I)",
            citation: "Maddox et al., A simple baseline for Bayesian uncertainty in deep learning, NeurIPS 2019",
            ports: vec![ports::from(2, None, "mean, variance and deviations, or the snapshots: see `input`")],
            random: false,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: SwagParams, models: usize) -> Result<Self, MethodError> {
        ports::count("swag", models, 2, usize::MAX)?;
        if params.given_rank_with_moments() {
            return Err(MethodError::invalid(
                "`rank` chooses among snapshots; moments bring their deviations with them",
            )
            .at("rank")
            .help("remove it, or set `input = snapshots`"));
        }
        if params.input == Given::Moments && models == 3 {
            return Err(MethodError::invalid("one deviation alone has no K−1: there must be none, or two")
                .at("input")
                .help("let the recorder keep at least 2 deviations, or set `input = snapshots` if these are snapshots"));
        }
        let rank = params.rank.unwrap_or(20) as usize;
        if rank == 1 {
            return Err(
                MethodError::invalid("`rank = 1` has no K−1: keep none (0), or at least 2").at("rank")
            );
        }
        Ok(Swag { given: params.input, rank })
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        ports::count("swag", search.models.len(), 2, usize::MAX)?;
        ports::sound(search.models)?;
        let points = match self.given {
            Given::Moments => search.models.iter().map(|model| model.to_vec()).collect(),
            Given::Snapshots => moments(search.models, self.rank),
        };
        Ok(Path::new(Geometry::Gaussian, points, Vec::new())?)
    }
}

impl SwagParams {
    fn given_rank_with_moments(&self) -> bool {
        self.input == Given::Moments && self.rank.is_some()
    }
}

/// Mean, variance and the deviations of the last `rank` snapshots. The first snapshot's deviation is 0 and counts, as in the reference
/// code.
fn moments(snapshots: &[&[f32]], rank: usize) -> Vec<Vec<f32>> {
    let (len, count) = (snapshots[0].len(), snapshots.len());
    let first = count - rank.min(count);
    let mut points = vec![vec![0.0_f32; len]; 2 + count - first];
    for element in 0..len {
        let (mut mean, mut squares) = (0.0_f64, 0.0_f64);
        for (n, snapshot) in snapshots.iter().enumerate() {
            let value = f64::from(snapshot[element]);
            let before = value - mean;
            mean += before / (n + 1) as f64;
            squares += before * (value - mean);
            if n >= first {
                points[2 + n - first][element] = (value - mean) as f32;
            }
        }
        points[0][element] = mean as f32;
        points[1][element] = (squares / count as f64) as f32;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::{search, splitmix_uniform};

    fn prepared(input: Given, rank: Option<u32>, models: usize) -> Result<Swag, MethodError> {
        Swag::prepare(SwagParams { input, rank }, models)
    }

    /// Oracle O13 of the reference notes (numpy in f64): five snapshots in four dimensions, K = 3.
    #[test]
    fn moments_are_those_of_the_reference() {
        let rows: Vec<Vec<f32>> =
            splitmix_uniform(91, 20).chunks(4).map(|r| r.iter().map(|&v| v as f32).collect()).collect();
        let models: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let path = prepared(Given::Snapshots, Some(3), 5).unwrap().connect(search(&models, None, 0)).unwrap();
        let mean = [0.300_568_018_36, -0.306_060_195_972, -0.123_328_962_375, -0.365_394_959_216];
        let variance = [0.192_325_833_576, 0.378_376_886_357, 0.153_948_607_026, 0.262_325_544_441];
        assert_eq!((path.geometry, path.points.len()), (Geometry::Gaussian, 5));
        for i in 0..4 {
            // Snapshots are rounded to f32 here, and so are the results: 6e-8 relative each.
            assert!((f64::from(path.points[0][i]) - mean[i]).abs() < 1e-7);
            assert!((f64::from(path.points[1][i]) - variance[i]).abs() < 1e-7);
            // The last deviation is from the whole mean.
            assert!((f64::from(path.points[4][i]) - (f64::from(rows[4][i]) - mean[i])).abs() < 1e-7);
        }
        let all = prepared(Given::Snapshots, None, 5).unwrap().connect(search(&models, None, 0)).unwrap();
        assert_eq!(all.points.len(), 7);
        assert_eq!(all.points[2], [0.0; 4]);
        let diagonal =
            prepared(Given::Snapshots, Some(0), 5).unwrap().connect(search(&models, None, 0)).unwrap();
        assert_eq!(diagonal.points[..], all.points[..2]);
        // What a recorder has collected goes through as it is.
        let given: Vec<&[f32]> = path.points.iter().map(Vec::as_slice).collect();
        let same = prepared(Given::Moments, None, 5).unwrap().connect(search(&given, None, 0)).unwrap();
        assert_eq!(same, path);
    }

    /// E[θ²] − θ̄² in f32 has lost all digits here.
    #[test]
    fn large_weights_keep_their_variance() {
        let models: [&[f32]; 3] = [&[4000.0], &[4000.5], &[4001.0]];
        let path = prepared(Given::Snapshots, Some(0), 3).unwrap().connect(search(&models, None, 0)).unwrap();
        assert!((f64::from(path.points[1][0]) - 1.0 / 6.0).abs() < 1e-7);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(prepared(Given::Moments, Some(3), 5).unwrap_err().parameter, Some("rank"));
        assert_eq!(prepared(Given::Snapshots, Some(1), 5).unwrap_err().parameter, Some("rank"));
        assert_eq!(prepared(Given::Moments, None, 3).unwrap_err().parameter, Some("input"));
        assert!(prepared(Given::Moments, None, 1).is_err());
        let swag = prepared(Given::Moments, None, 2).unwrap();
        let error = swag.connect(search(&[&[0.0], &[-1.0]], None, 0)).unwrap_err();
        assert!(error.message.contains("variance -1"), "{error}");
    }
}
