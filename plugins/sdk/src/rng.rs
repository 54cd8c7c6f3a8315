//! Random numbers that depend on nothing but (seed, tensor name, stream, element index), so that masks are the same for any
//! order, chunk size, thread count and subset of tensors.
//!
//! The generator is Squares (Widynski, "Squares: A Fast Counter-Based RNG", 2020), four rounds, 32 bits a draw.

/// The key of one random stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The key of (seed, tensor name, stream), where the stream is for instance the index of a model among the inputs.
    pub fn new(seed: u64, name: &str, stream: u64) -> Key {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
        let bytes = seed.to_le_bytes().into_iter().chain(stream.to_le_bytes()).chain(name.bytes());
        for byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Key(mix(hash) | 1) // Squares wants an odd key with irregular digits
    }

    /// The key of (seed, another key): streams for those who have a tensor's key and not its name.
    #[must_use]
    pub const fn derived(seed: u64, key: u64) -> Key {
        Key(mix(seed ^ mix(key)) | 1)
    }

    /// Standard normal, from the uniform draws 2·`index` and 2·`index` + 1 (Box and Muller, 1958), computed in f64
    /// with functions that give the same bits on every machine.
    #[must_use]
    pub fn normal(self, index: u64) -> f32 {
        let unit = |at: u64| f64::from(self.bits(at)) * (1.0 / 4_294_967_296.0);
        let (radius, angle) =
            (1.0 - unit(index.wrapping_mul(2)), unit(index.wrapping_mul(2).wrapping_add(1)));
        ((-2.0 * libm::log(radius)).sqrt() * libm::cos(std::f64::consts::TAU * angle)) as f32
    }

    /// The key as a number, for services that pass it on.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// 32 random bits for an element.
    #[inline(always)]
    pub fn bits(self, index: u64) -> u32 {
        let mut x = index.wrapping_mul(self.0);
        let y = x;
        let z = y.wrapping_add(self.0);
        x = x.wrapping_mul(x).wrapping_add(y).rotate_left(32);
        x = x.wrapping_mul(x).wrapping_add(z).rotate_left(32);
        x = x.wrapping_mul(x).wrapping_add(y).rotate_left(32);
        (x.wrapping_mul(x).wrapping_add(z) >> 32) as u32
    }

    /// Whether a draw of probability `p` (0..=1, resolution 2⁻³²) succeeds for an element. `threshold` is [`threshold`]`(p)`.
    #[inline(always)]
    pub fn below(self, index: u64, threshold: u64) -> bool {
        u64::from(self.bits(index)) < threshold
    }

    /// Uniform in [0, 1) with 24 bits, exactly representable in f32.
    #[inline(always)]
    pub fn uniform(self, index: u64) -> f32 {
        (self.bits(index) >> 8) as f32 * (1.0 / 16_777_216.0)
    }
}

/// `p` scaled to 2³², for [`Key::below`]: 0 never succeeds, 1 always does. NaN counts as 0.
pub fn threshold(p: f64) -> u64 {
    (p.clamp(0.0, 1.0) * 4_294_967_296.0).round() as u64
}

/// SplitMix64's finaliser (Steele, Lea, Flood, 2014).
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10⁶ draws: the mean of a uniform has standard error 2.9e-4, a fair mask of 0.3 has 4.6e-4; five standard errors.
    #[test]
    fn draws_are_uniform_and_streams_differ() {
        let n = 1_000_000_u64;
        let (a, b) = (Key::new(7, "w", 0), Key::new(7, "w", 1));
        let mean = (0..n).map(|i| f64::from(a.uniform(i))).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 1.5e-3, "{mean}");
        let t = threshold(0.3);
        let hits = (0..n).filter(|&i| a.below(i, t)).count() as f64 / n as f64;
        assert!((hits - 0.3).abs() < 2.3e-3, "{hits}");
        let both = (0..n).filter(|&i| a.below(i, t) && b.below(i, t)).count() as f64 / n as f64;
        assert!((both - 0.09).abs() < 1.5e-3, "{both}");
        let serial = (1..n).filter(|&i| a.below(i, t) && a.below(i - 1, t)).count() as f64 / n as f64;
        assert!((serial - 0.09).abs() < 1.5e-3, "{serial}");
    }

    /// Mean, variance and the share beyond two deviations of a million draws, each within five standard errors.
    #[test]
    fn normal_draws_are_normal() {
        let n = 1_000_000_u64;
        let key = Key::derived(7, 9);
        let (mut sum, mut squares, mut beyond) = (0.0, 0.0, 0_u64);
        for i in 0..n {
            let x = f64::from(key.normal(i));
            sum += x;
            squares += x * x;
            beyond += u64::from(x.abs() > 2.0);
        }
        let n = n as f64;
        assert!((sum / n).abs() < 5e-3, "{sum}");
        assert!((squares / n - 1.0).abs() < 7.1e-3, "{squares}");
        assert!((beyond as f64 / n - 0.045_500_26).abs() < 1.1e-3, "{beyond}");
        assert_ne!(Key::derived(7, 9), Key::derived(9, 7));
    }

    #[test]
    fn the_stream_is_pinned() {
        let key = Key::new(42, "model.layers.0.mlp.up_proj.weight", 2);
        // From an implementation in Python, written from the paper.
        let pinned = [0xfda6_12c4, 0x797f_ec23, 0x5799_5133, 0x2241_c315, 0x9f59_0016];
        assert_eq!([0, 1, 2, 3, 1 << 40].map(|i| key.bits(i)), pinned);
        assert_ne!(Key::new(42, "a", 0), Key::new(43, "a", 0));
        assert_eq!(threshold(0.0), 0);
        assert!(key.below(9, threshold(1.0)) && !key.below(9, threshold(0.0)));
    }
}
