//! Every pattern of every narrow float against f64 arithmetic that shares no code with the conversions.

use super::*;

/// A narrow float format: exponent and mantissa bits, bias, and whether it has infinities.
#[derive(Clone, Copy)]
struct Format {
    dtype: Dtype,
    exponent: u32,
    mantissa: u32,
    infinities: bool,
}

const FORMATS: [Format; 4] = [
    Format { dtype: Dtype::F16, exponent: 5, mantissa: 10, infinities: true },
    Format { dtype: Dtype::BF16, exponent: 8, mantissa: 7, infinities: true },
    Format { dtype: Dtype::F8E4M3, exponent: 4, mantissa: 3, infinities: false },
    Format { dtype: Dtype::F8E5M2, exponent: 5, mantissa: 2, infinities: true },
];

impl Format {
    fn bits(self) -> u32 {
        1 + self.exponent + self.mantissa
    }

    /// The value by the definition (-1)^s · m · 2^e, in f64, which holds all of them exactly.
    fn value(self, pattern: u32) -> f64 {
        let bias = (1 << (self.exponent - 1)) - 1;
        let negative = pattern >> (self.bits() - 1) == 1;
        let field = (pattern >> self.mantissa) & ((1 << self.exponent) - 1);
        let fraction = f64::from(pattern & ((1 << self.mantissa) - 1)) / f64::from(1u32 << self.mantissa);
        let full = field == (1 << self.exponent) - 1;
        let magnitude = if full && self.infinities {
            if fraction == 0.0 { f64::INFINITY } else { f64::NAN }
        } else if full && pattern & ((1 << self.mantissa) - 1) == (1 << self.mantissa) - 1 {
            f64::NAN
        } else if field == 0 {
            fraction * 2f64.powi(1 - bias)
        } else {
            (1.0 + fraction) * 2f64.powi(field as i32 - bias)
        };
        if negative { -magnitude } else { magnitude }
    }

    /// Patterns of all finite values from zero up, in order.
    fn ladder(self) -> Vec<(u32, f64)> {
        (0..1u32 << (self.bits() - 1)).map(|p| (p, self.value(p))).filter(|(_, v)| v.is_finite()).collect()
    }

    fn store(self, value: f32) -> (u32, bool) {
        let mut out = [0u8; 4];
        let size = self.dtype.size();
        let finite = from_f32(self.dtype, &[value], &mut out[..size]);
        (u32::from_le_bytes(out), finite)
    }

    fn load(self, pattern: u32) -> (f32, bool) {
        let mut out = [0.0];
        let finite = to_f32(self.dtype, &pattern.to_le_bytes()[..self.dtype.size()], &mut out);
        (out[0], finite)
    }
}

#[test]
fn every_pattern_loads_as_its_definition_says_and_survives_a_round_trip() {
    for format in FORMATS {
        for pattern in 0..1u32 << format.bits() {
            let expected = format.value(pattern);
            let (value, finite) = format.load(pattern);
            assert_eq!(finite, expected.is_finite(), "{} {pattern:#x}", format.dtype);
            if expected.is_nan() {
                assert!(value.is_nan());
                let (stored, finite) = format.store(value);
                assert!(
                    format.value(stored).is_nan() && !finite,
                    "NaN stays NaN: {} {pattern:#x}",
                    format.dtype
                );
                assert_eq!(
                    count_non_finite(format.dtype, &pattern.to_le_bytes()[..format.dtype.size()]),
                    (1, 0)
                );
                continue;
            }
            assert_eq!(f64::from(value).to_bits(), expected.to_bits(), "{} {pattern:#x}", format.dtype);
            assert_eq!(format.store(value), (pattern, expected.is_finite()), "{} {pattern:#x}", format.dtype);
            let infinite = u64::from(expected.is_infinite());
            assert_eq!(
                count_non_finite(format.dtype, &pattern.to_le_bytes()[..format.dtype.size()]),
                (0, infinite)
            );
        }
    }
}

#[test]
fn every_tie_goes_to_even_and_its_neighbours_to_the_nearest() {
    for format in FORMATS {
        let sign = 1u32 << (format.bits() - 1);
        let ladder = format.ladder();
        for pair in ladder.windows(2) {
            let [(low, a), (high, b)] = [pair[0], pair[1]];
            let middle = ((a + b) / 2.0) as f32;
            assert_eq!(f64::from(middle), (a + b) / 2.0, "midpoints are exact in f32");
            let even = if low % 2 == 0 { low } else { high };
            for (value, expected) in [(middle, even), (middle.next_down(), low), (middle.next_up(), high)] {
                assert_eq!(format.store(value), (expected, true), "{} {value:e}", format.dtype);
                assert_eq!(format.store(-value), (expected | sign, true), "{} {value:e}", format.dtype);
            }
        }
        // Half a place beyond the largest finite value is where the next power of two would be nearer.
        let [.., (_, below), (largest, top)] = ladder[..] else { panic!("two values") };
        let limit = (top + (top - below) / 2.0) as f32;
        let (at_limit, finite) = format.store(limit);
        let (beyond, beyond_finite) = format.store(limit.next_up());
        assert_eq!(format.store(limit.next_down()), (largest, true));
        assert!(!beyond_finite && !format.value(beyond).is_finite());
        assert_eq!(finite, largest % 2 == 0, "the tie beyond goes to even: {}", format.dtype);
        assert_eq!(format.value(at_limit).is_finite(), finite);
        for value in [f32::MAX, f32::INFINITY, -f32::MAX] {
            let (stored, finite) = format.store(value);
            assert!(!finite);
            assert_eq!(format.value(stored).is_infinite(), format.infinities);
        }
    }
}

#[test]
fn arbitrary_values_round_to_the_nearest() {
    for format in FORMATS {
        let ladder = format.ladder();
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f32::from_bits((state >> 33) as u32);
            let exact = f64::from(value);
            if exact.is_nan() || exact > ladder[ladder.len() - 1].1 {
                continue;
            }
            let above = ladder.partition_point(|&(_, v)| v < exact);
            let candidates = &ladder[above.saturating_sub(1)..(above + 1).min(ladder.len())];
            let best = candidates
                .iter()
                .min_by(|x, y| {
                    (x.1 - exact).abs().total_cmp(&(y.1 - exact).abs()).then((x.0 % 2).cmp(&(y.0 % 2)))
                })
                .unwrap();
            assert_eq!(format.store(value), (best.0, true), "{} {value:e}", format.dtype);
        }
    }
}

#[test]
fn half_crate_agrees_on_f16_and_bf16() {
    let mut state = 1u64;
    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = f32::from_bits((state >> 32) as u32);
        if !value.is_nan() {
            assert_eq!(
                FORMATS[0].store(value).0,
                u32::from(half::f16::from_f32(value).to_bits()),
                "{value:e}"
            );
            assert_eq!(
                FORMATS[1].store(value).0,
                u32::from(half::bf16::from_f32(value).to_bits()),
                "{value:e}"
            );
        }
    }
}

/// Long and unaligned slices take the vectorised path; one element alone takes the tail: both must agree.
#[test]
fn long_unaligned_slices_agree_with_single_elements() {
    for dtype in Dtype::ALL {
        let size = dtype.size();
        let count = 1037;
        let mut state = 7u64;
        let mut bytes = vec![0u8; count * size + 1];
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        let bytes = &bytes[1..];
        let mut values = vec![0.0f32; count];
        let finite = to_f32(dtype, bytes, &mut values);
        let mut all = true;
        for (element, value) in bytes.chunks_exact(size).zip(&values) {
            let mut one = [0.0];
            all &= to_f32(dtype, element, &mut one);
            assert_eq!(one[0].to_bits(), value.to_bits());
        }
        assert_eq!(finite, all);
        let mut stored = vec![0u8; count * size + 1];
        let fits = from_f32(dtype, &values, &mut stored[1..]);
        let mut all = true;
        for (element, value) in stored[1..].chunks_exact(size).zip(&values) {
            let mut one = vec![0u8; size];
            all &= from_f32(dtype, &[*value], &mut one);
            assert_eq!(one, element);
        }
        assert_eq!(fits, all);
    }
}

#[test]
fn wide_floats_and_integers() {
    let load = |dtype: Dtype, bytes: &[u8]| {
        let mut out = [0.0];
        let finite = to_f32(dtype, bytes, &mut out);
        (out[0], finite)
    };
    assert_eq!(load(Dtype::F64, &0.1f64.to_le_bytes()), (0.1, true));
    assert_eq!(load(Dtype::F64, &1e300f64.to_le_bytes()), (f32::INFINITY, false));
    assert!(!load(Dtype::F64, &f64::NAN.to_le_bytes()).1);
    assert_eq!(load(Dtype::F32, &f32::INFINITY.to_le_bytes()), (f32::INFINITY, false));
    assert_eq!(load(Dtype::I64, &(-3i64).to_le_bytes()), (-3.0, true));
    assert_eq!(load(Dtype::U8, &[200]), (200.0, true));
    assert_eq!(load(Dtype::Bool, &[2]), (1.0, true));

    let store = |dtype: Dtype, value: f32| {
        let mut out = vec![0u8; dtype.size()];
        let fits = from_f32(dtype, &[value], &mut out);
        (out, fits)
    };
    assert_eq!(store(Dtype::F64, 0.1), ((f64::from(0.1f32)).to_le_bytes().to_vec(), true));
    assert!(!store(Dtype::F64, f32::NAN).1);
    assert_eq!(store(Dtype::I8, 2.5), (vec![2], true));
    assert_eq!(store(Dtype::I8, 127.5), (vec![127], false));
    assert_eq!(store(Dtype::I8, -128.5), (vec![0x80], true));
    assert_eq!(store(Dtype::U8, -1.0), (vec![0], false));
    assert_eq!(store(Dtype::U8, -0.4), (vec![0], true));
    assert_eq!(store(Dtype::I32, f32::NAN), (vec![0; 4], false));
    assert_eq!(store(Dtype::I64, I64_END), (i64::MAX.to_le_bytes().to_vec(), false));
    assert_eq!(store(Dtype::Bool, 0.5), (vec![1], true));
    assert_eq!(store(Dtype::Bool, f32::NAN), (vec![1], false));
    for dtype in Dtype::ALL {
        assert!(to_f32(dtype, &[], &mut []) && from_f32(dtype, &[], &mut []));
    }
    assert_eq!(count_non_finite(Dtype::F64, &f64::NEG_INFINITY.to_le_bytes()), (0, 1));
    assert_eq!(count_non_finite(Dtype::F32, &f32::NAN.to_le_bytes()), (1, 0));
    assert_eq!(count_non_finite(Dtype::I32, &[0xff; 4]), (0, 0));
}

#[test]
fn values_beyond_f32_are_told_from_infinities() {
    let values = [1e39, -1e300, f64::INFINITY, f64::NAN, f64::from(f32::MAX), 1.0];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(count_beyond_f32(Dtype::F64, &bytes), 2);
    assert_eq!(count_non_finite(Dtype::F64, &bytes), (1, 1));
    assert_eq!(count_beyond_f32(Dtype::BF16, &bytes), 0);
    let mut out = [0.0; 6];
    assert!(!to_f32(Dtype::F64, &bytes, &mut out));
}
