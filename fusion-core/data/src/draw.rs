//! Random draws that several parts need, each a pure function of a key and an index.

use fusion_sdk::rng::Key;

/// A number in 0..n: the high half of a 64-bit draw times n, so its bias is below n·2⁻⁶⁴. `n` is not 0.
pub(crate) fn below(key: Key, index: u64, n: usize) -> usize {
    let at = index.wrapping_mul(2);
    let bits = (u64::from(key.bits(at)) << 32) | u64::from(key.bits(at.wrapping_add(1)));
    ((u128::from(bits) * n as u128) >> 64) as usize
}

/// A permutation of 0..n (Fisher and Yates; Durstenfeld, 1964), every one as likely.
pub(crate) fn permutation(key: Key, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, below(key, last as u64, last + 1));
    }
    order
}

/// Draws one after the other, for algorithms that reject.
#[derive(Debug)]
pub(crate) struct Stream {
    key: Key,
    next: u64,
}

impl Stream {
    pub(crate) fn new(key: Key) -> Self {
        Stream { key, next: 0 }
    }

    /// For draws by index.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Uniform in [0, 1), 24 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        self.next += 1;
        f64::from(self.key.uniform(2 * self.next))
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Standard normal; it takes the two 32-bit draws of its turn, so it meets no draw of [`Stream::unit`].
    pub(crate) fn normal(&mut self) -> f64 {
        self.next += 1;
        f64::from(self.key.normal(self.next))
    }

    /// The logarithm of a draw from Gamma(`shape`, 1), `shape` > 0 (Marsaglia and Tsang, 2000; below 1 by their boost
    /// G(a) = G(a + 1)·U^(1/a)). As a logarithm, since for small shapes the draw itself underflows.
    pub(crate) fn log_gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let unit = 1.0 - self.unit();
            return self.log_gamma(shape + 1.0) + libm::log(unit) / shape;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let root = 1.0 + c * x;
            if root <= 0.0 {
                continue;
            }
            let v = root * root * root;
            if libm::log(1.0 - self.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return libm::log(d * v);
            }
        }
    }

    /// A draw from the symmetric Dirichlet distribution over `n` parts.
    pub(crate) fn dirichlet(&mut self, alpha: f64, n: usize) -> Vec<f64> {
        let logs: Vec<f64> = (0..n).map(|_| self.log_gamma(alpha)).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut shares: Vec<f64> = logs.iter().map(|log| libm::exp(log - top)).collect();
        let sum: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= sum);
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_are_permutations_and_uniform() {
        for n in [0, 1, 2, 17, 1000] {
            let mut order = permutation(Key::new(3, "p", n as u64), n);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..n));
        }
        // All 24 orders of 4, 24 000 draws: each count has a deviation of 31; five of them.
        let mut counts = std::collections::BTreeMap::new();
        for stream in 0..24_000 {
            *counts.entry(permutation(Key::new(1, "p", stream), 4)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&count| (845..1155).contains(&count)), "{counts:?}");
    }

    /// Mean and variance of Gamma(a, 1) are both a. The mean of n draws has deviation √(a/n), the variance's is
    /// √((2a² + 6a)/n) (fourth central moment 3a² + 6a); five of each.
    #[test]
    fn gamma_has_its_moments() {
        let n = 40_000;
        for shape in [0.1, 0.5, 1.0, 4.5] {
            let mut stream = Stream::new(Key::new(5, "gamma", 0));
            let draws: Vec<f64> = (0..n).map(|_| libm::exp(stream.log_gamma(shape))).collect();
            let mean = draws.iter().sum::<f64>() / n as f64;
            let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
            assert!((mean - shape).abs() < 5.0 * (shape / n as f64).sqrt(), "{shape}: {mean}");
            let deviation = ((2.0 * shape * shape + 6.0 * shape) / n as f64).sqrt();
            assert!((variance - shape).abs() < 5.0 * deviation, "{shape}: {variance}");
        }
    }

    /// Each share of Dir(α) over k parts has mean 1/k and variance (k − 1)/(k²(kα + 1)).
    #[test]
    fn dirichlet_has_its_moments_even_for_tiny_alpha() {
        for alpha in [0.001, 0.5, 10.0] {
            let (k, n) = (4.0_f64, 20_000);
            let mut stream = Stream::new(Key::new(6, "dirichlet", 0));
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..n {
                let shares = stream.dirichlet(alpha, 4);
                assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                sum += shares[0];
                squares += shares[0] * shares[0];
            }
            let (mean, second) = (sum / f64::from(n), squares / f64::from(n));
            let variance = (k - 1.0) / (k * k * (k * alpha + 1.0));
            assert!((mean - 0.25).abs() < 5.0 * (variance / f64::from(n)).sqrt(), "{alpha}: {mean}");
            let measured = second - mean * mean;
            assert!((measured - variance).abs() < 0.1 * variance, "{alpha}: {measured} {variance}");
        }
    }
}
