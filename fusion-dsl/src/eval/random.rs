//! Draws for `uniform` and `log_uniform`: pure functions of their arguments, so that a recipe means the same everywhere.

/// A number in [0, 1): the top 53 bits of the BLAKE3 hash of the function's name, its bounds and the seed.
///
/// The bounds are hashed too, so that two parameters drawn with the same seed are independent unless they ask for the very
/// same draw.
pub(crate) fn unit(function: &str, low: f64, high: f64, seed: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"fusion draw 1\0");
    hasher.update(function.as_bytes());
    hasher.update(&[0]);
    for word in [low.to_bits(), high.to_bits(), seed] {
        hasher.update(&word.to_le_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform in [low, high).
pub(crate) fn uniform(low: f64, high: f64, seed: u64) -> f64 {
    low + (high - low) * unit("uniform", low, high, seed)
}

/// `exp` of a uniform draw between the logarithms; both bounds are above zero.
pub(crate) fn log_uniform(low: f64, high: f64, seed: u64) -> f64 {
    let u = unit("log_uniform", low, high, seed);
    (low.ln() + (high.ln() - low.ln()) * u).exp().clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_stay_inside_and_spread() {
        let draws: Vec<f64> = (0..1000).map(|seed| uniform(2.0, 4.0, seed)).collect();
        assert!(draws.iter().all(|x| (2.0..4.0).contains(x)));
        let mean = draws.iter().sum::<f64>() / 1000.0;
        assert!((mean - 3.0).abs() < 0.1, "{mean}");
        assert_eq!(uniform(2.0, 4.0, 7), uniform(2.0, 4.0, 7));
        let below = (0..1000).filter(|seed| log_uniform(1e-6, 1e-4, *seed) < 1e-5).count();
        assert!((400..600).contains(&below), "{below}");
    }
}
