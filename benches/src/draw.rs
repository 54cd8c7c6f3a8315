//! Normal draws as a pure function of (key, element), so that a file's bytes depend on neither threads nor chunks.
//!
//! Made for speed: one 64-bit hash gives two draws, each a linear interpolation in a table of the inverse normal
//! distribution. Good enough for weights of a benchmark, not for statistics: the tails end at about 4.3 deviations.

/// Cells of the inverse-normal table.
const CELLS: usize = 1 << 16;
/// Increment of the counter, the odd constant of SplitMix64 (Steele, Lea and Flood, 2014).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The key of one tensor's stream: the first 64 bits of BLAKE3 over the seed, the model's and the tensor's name.
#[must_use]
pub fn stream_key(seed: u64, model: &str, tensor: &str) -> u64 {
    let mut hash = blake3::Hasher::new();
    hash.update(&seed.to_le_bytes());
    // the lengths keep ("ab", "c") and ("a", "bc") apart
    for part in [model, tensor] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut key = [0; 8];
    hash.finalize_xof().fill(&mut key);
    u64::from_le_bytes(key)
}

/// A table of the inverse of the standard normal distribution function.
#[derive(Debug, Clone)]
pub struct Normal {
    quantiles: Vec<f32>,
}

impl Default for Normal {
    fn default() -> Self {
        Self::new()
    }
}

impl Normal {
    /// Computes the table (65537 quantiles, 256 KiB).
    #[must_use]
    pub fn new() -> Self {
        let step = 1.0 / (CELLS as f64 + 1.0);
        Self { quantiles: (0..=CELLS).map(|i| quantile((i as f64 + 0.5) * step) as f32).collect() }
    }

    /// Fills `out` with `mean + std * z`, where `z` are the standard normal draws of the elements
    /// `first..first + out.len()` of the stream `key`.
    ///
    /// # Panics
    /// If `first` is odd: two neighbours share one hash.
    pub fn fill(&self, key: u64, first: u64, mean: f32, std: f32, out: &mut [f32]) {
        assert!(first.is_multiple_of(2), "a run of draws starts at an even element, not at {first}");
        let mut pair = first / 2;
        let mut runs = out.chunks_exact_mut(2);
        for two in &mut runs {
            let bits = mix(key, pair);
            two[0] = mean + std * self.at(bits as u32);
            two[1] = mean + std * self.at((bits >> 32) as u32);
            pair += 1;
        }
        if let [last] = runs.into_remainder() {
            *last = mean + std * self.at(mix(key, pair) as u32);
        }
    }

    fn at(&self, bits: u32) -> f32 {
        let cell = (bits >> 16) as usize;
        let share = (bits & 0xFFFF) as f32 * (1.0 / 65536.0);
        let (low, high) = (self.quantiles[cell], self.quantiles[cell + 1]);
        low + (high - low) * share
    }
}

/// SplitMix64's output function at counter `index` of the stream `key`.
fn mix(key: u64, index: u64) -> u64 {
    let mut z = key.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The standard normal quantile of `p` in (0, 1), by Acklam's rational approximation (relative error below 1.2e-9).
fn quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] =
        [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
    const TAIL: f64 = 0.02425;
    let horner = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, c| sum * x + c);
    if p < TAIL {
        let q = (-2.0 * p.ln()).sqrt();
        horner(&C, q) / horner(&D, q)
    } else if p <= 1.0 - TAIL {
        let q = p - 0.5;
        q * horner(&A, q * q) / horner(&B, q * q)
    } else {
        -quantile(1.0 - p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_published_values() {
        for (p, z) in [(0.5, 0.0), (0.975, 1.959_963_984_540), (0.001, -3.090_232_306_168)] {
            assert!((quantile(p) - z).abs() < 1e-8, "{p}");
        }
    }

    #[test]
    fn draws_have_the_moments_of_a_normal() {
        let mut z = vec![0.0; 1 << 20];
        Normal::new().fill(stream_key(7, "base", "w"), 0, 0.0, 1.0, &mut z);
        let moment = |power: i32| z.iter().map(|&z| f64::from(z).powi(power)).sum::<f64>() / z.len() as f64;
        assert!(moment(1).abs() < 5e-3);
        assert!((moment(2) - 1.0).abs() < 1e-2);
        assert!((moment(4) - 3.0).abs() < 0.05);
    }

    #[test]
    fn draws_do_not_depend_on_the_chunks() {
        let (normal, key) = (Normal::new(), stream_key(7, "base", "w"));
        let mut whole = vec![0.0; 1001];
        normal.fill(key, 0, 0.0, 1.0, &mut whole);
        let mut parts = vec![0.0; 1001];
        for (i, part) in parts.chunks_mut(64).enumerate() {
            normal.fill(key, i as u64 * 64, 0.0, 1.0, part);
        }
        assert_eq!(whole, parts);
    }
}
