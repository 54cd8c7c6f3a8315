//! The two conversions every streamed element goes through: stored bytes to f32, and f32 back with one rounding.
//!
//! They run near memory bandwidth, so the loops are branch-free integer code that LLVM vectorises under the widest
//! instruction set that [`pulp`] finds at run time. Bytes are little endian and need no alignment: data in a
//! safetensors file is only as aligned as its header. Finiteness falls out of the same pass, for the NaN gate.

use pulp::Arch;

use super::Dtype;

/// Exponent and mantissa of a f32 that is infinite; anything above is NaN.
const INF_BITS: u32 = 0x7f80_0000;
const ABS_BITS: u32 = 0x7fff_ffff;

/// Converts stored elements to f32, exactly where f32 can hold them, else rounded to nearest even (f64 and integers
/// wider than 24 bits).
///
/// Returns whether all results are finite: a NaN, an infinity or an f64 beyond the range of f32 gives `false`; the
/// elements are converted all the same, NaN stays NaN. Empty input gives `true`. Truth values become 0 and 1.
///
/// # Panics
/// If `bytes.len() != out.len() * dtype.size()`.
#[must_use = "a merge must not go on with non-finite inputs unnoticed"]
pub fn to_f32(dtype: Dtype, bytes: &[u8], out: &mut [f32]) -> bool {
    assert_eq!(bytes.len(), out.len() * dtype.size(), "`to_f32` needs {} bytes per element", dtype.size());
    let arch = Arch::new();
    match dtype {
        Dtype::F32 => arch.dispatch(|| f32_to_f32(bytes, out)),
        Dtype::BF16 => arch.dispatch(|| bf16_to_f32(bytes, out)),
        Dtype::F16 => arch.dispatch(|| f16_to_f32(bytes, out)),
        Dtype::F64 => arch.dispatch(|| f64_to_f32(bytes, out)),
        Dtype::F8E4M3 => arch.dispatch(|| table_to_f32(&E4M3, bytes, out)),
        Dtype::F8E5M2 => arch.dispatch(|| table_to_f32(&E5M2, bytes, out)),
        Dtype::I64 => arch.dispatch(|| exact(bytes, out, |b: [u8; 8]| i64::from_le_bytes(b) as f32)),
        Dtype::U64 => arch.dispatch(|| exact(bytes, out, |b: [u8; 8]| u64::from_le_bytes(b) as f32)),
        Dtype::I32 => arch.dispatch(|| exact(bytes, out, |b: [u8; 4]| i32::from_le_bytes(b) as f32)),
        Dtype::U32 => arch.dispatch(|| exact(bytes, out, |b: [u8; 4]| u32::from_le_bytes(b) as f32)),
        Dtype::I16 => arch.dispatch(|| exact(bytes, out, |b: [u8; 2]| f32::from(i16::from_le_bytes(b)))),
        Dtype::U16 => arch.dispatch(|| exact(bytes, out, |b: [u8; 2]| f32::from(u16::from_le_bytes(b)))),
        Dtype::I8 => arch.dispatch(|| exact(bytes, out, |b: [u8; 1]| f32::from(i8::from_le_bytes(b)))),
        Dtype::U8 => arch.dispatch(|| exact(bytes, out, |[b]: [u8; 1]| f32::from(b))),
        Dtype::Bool => arch.dispatch(|| exact(bytes, out, |[b]: [u8; 1]| if b == 0 { 0.0 } else { 1.0 })),
    }
}

/// Rounds f32 values to the stored type, to nearest and ties to even, exactly once.
///
/// Returns whether every stored element is finite. Floats: a value that rounds beyond the largest finite one becomes
/// infinity (E4M3, which has none: NaN) and gives `false`, like a NaN or infinity in `values`; NaN stays NaN.
/// Integers: a value out of range is clamped and NaN becomes 0, both give `false`. Truth values: NaN and anything but
/// zero is true; NaN gives `false`. Empty input gives `true`.
///
/// # Panics
/// If `out.len() != values.len() * dtype.size()`.
#[must_use = "an overflow on rounding must not pass unnoticed"]
pub fn from_f32(dtype: Dtype, values: &[f32], out: &mut [u8]) -> bool {
    assert_eq!(out.len(), values.len() * dtype.size(), "`from_f32` needs {} bytes per element", dtype.size());
    let arch = Arch::new();
    match dtype {
        Dtype::F32 => arch.dispatch(|| f32_from_f32(values, out)),
        Dtype::BF16 => arch.dispatch(|| bf16_from_f32(values, out)),
        Dtype::F16 => arch.dispatch(|| f16_from_f32(values, out)),
        Dtype::F64 => arch.dispatch(|| f64_from_f32(values, out)),
        Dtype::F8E4M3 => arch.dispatch(|| e4m3_from_f32(values, out)),
        Dtype::F8E5M2 => arch.dispatch(|| e5m2_from_f32(values, out)),
        Dtype::I64 => arch.dispatch(|| {
            rounded(values, out, |v| ((v as i64).to_le_bytes(), in_range(v, -I64_END, I64_END)))
        }),
        Dtype::U64 => {
            arch.dispatch(|| rounded(values, out, |v| ((v as u64).to_le_bytes(), in_range(v, 0.0, U64_END))))
        }
        Dtype::I32 => arch.dispatch(|| {
            rounded(values, out, |v| ((v as i32).to_le_bytes(), in_range(v, -I32_END, I32_END)))
        }),
        Dtype::U32 => {
            arch.dispatch(|| rounded(values, out, |v| ((v as u32).to_le_bytes(), in_range(v, 0.0, U32_END))))
        }
        Dtype::I16 => arch.dispatch(|| {
            rounded(values, out, |v| ((v as i16).to_le_bytes(), in_range(v, -32768.0, 32768.0)))
        }),
        Dtype::U16 => {
            arch.dispatch(|| rounded(values, out, |v| ((v as u16).to_le_bytes(), in_range(v, 0.0, 65536.0))))
        }
        Dtype::I8 => {
            arch.dispatch(|| rounded(values, out, |v| ((v as i8).to_le_bytes(), in_range(v, -128.0, 128.0))))
        }
        Dtype::U8 => arch.dispatch(|| rounded(values, out, |v| ([v as u8], in_range(v, 0.0, 256.0)))),
        Dtype::Bool => arch.dispatch(|| bool_from_f32(values, out)),
    }
}

/// Counts NaN and infinite elements of stored data; both are zero for integers and truth values.
///
/// A trailing partial element is not counted.
#[must_use]
pub fn count_non_finite(dtype: Dtype, bytes: &[u8]) -> (u64, u64) {
    let arch = Arch::new();
    match dtype {
        Dtype::F64 => arch.dispatch(|| {
            count::<8>(bytes, |b| {
                let magnitude = u64::from_le_bytes(b) & !(1 << 63);
                let infinity = f64::INFINITY.to_bits();
                (magnitude > infinity, magnitude == infinity)
            })
        }),
        Dtype::F32 => arch.dispatch(|| {
            count::<4>(bytes, |b| {
                let magnitude = u32::from_le_bytes(b) & ABS_BITS;
                (magnitude > INF_BITS, magnitude == INF_BITS)
            })
        }),
        Dtype::BF16 => arch.dispatch(|| {
            count::<2>(bytes, |b| {
                let magnitude = u16::from_le_bytes(b) & 0x7fff;
                (magnitude > 0x7f80, magnitude == 0x7f80)
            })
        }),
        Dtype::F16 => arch.dispatch(|| {
            count::<2>(bytes, |b| {
                let magnitude = u16::from_le_bytes(b) & 0x7fff;
                (magnitude > 0x7c00, magnitude == 0x7c00)
            })
        }),
        Dtype::F8E4M3 => arch.dispatch(|| count::<1>(bytes, |[b]| (b & 0x7f == 0x7f, false))),
        Dtype::F8E5M2 => arch.dispatch(|| count::<1>(bytes, |[b]| (b & 0x7f > 0x7c, b & 0x7f == 0x7c))),
        _ => (0, 0),
    }
}

/// Counts finite elements that become infinite as f32: only f64 has them.
#[must_use]
pub fn count_beyond_f32(dtype: Dtype, bytes: &[u8]) -> u64 {
    let beyond = |&bytes: &[u8; 8]| {
        let value = f64::from_le_bytes(bytes);
        value.is_finite() && (value as f32).is_infinite()
    };
    match dtype {
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().filter(|bytes| beyond(bytes)).count() as u64,
        _ => 0,
    }
}

// ---- stored to f32 ----

#[inline(always)]
fn f32_to_f32(bytes: &[u8], out: &mut [f32]) -> bool {
    let mut seen = 0u32;
    for (slot, &b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
        let bits = u32::from_le_bytes(b);
        // Adding one to a full exponent carries into the sign bit: that bit collects "not finite".
        seen |= (bits & ABS_BITS).wrapping_add(0x0080_0000);
        *slot = f32::from_bits(bits);
    }
    seen >> 31 == 0
}

#[inline(always)]
fn bf16_to_f32(bytes: &[u8], out: &mut [f32]) -> bool {
    let mut seen = 0u32;
    for (slot, &b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        let bits = u32::from(u16::from_le_bytes(b)) << 16;
        seen |= (bits & ABS_BITS).wrapping_add(0x0080_0000);
        *slot = f32::from_bits(bits);
    }
    seen >> 31 == 0
}

#[inline(always)]
fn f16_to_f32(bytes: &[u8], out: &mut [f32]) -> bool {
    let mut seen = 0u32;
    for (slot, &b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        let bits = f16_bits(u16::from_le_bytes(b));
        seen |= (bits & ABS_BITS).wrapping_add(0x0080_0000);
        *slot = f32::from_bits(bits);
    }
    seen >> 31 == 0
}

/// f16 to f32 without branches, tables or subnormal operands (the method of Maratyszcza's FP16 library): normal numbers
/// by shifting and rescaling the exponent, subnormal ones by subtracting the implicit bit of a magic number.
#[inline(always)]
fn f16_bits(half: u16) -> u32 {
    let word = u32::from(half) << 16;
    let sign = word & 0x8000_0000;
    let shifted = word.wrapping_add(word);
    let rescale = f32::from_bits(0x0780_0000); // 2^-112
    let normal = (f32::from_bits((shifted >> 4).wrapping_add(0xe0 << 23)) * rescale).to_bits();
    let subnormal = (f32::from_bits((shifted >> 17) | 0x3f00_0000) - 0.5).to_bits();
    sign | if shifted < 1 << 27 { subnormal } else { normal }
}

#[inline(always)]
fn f64_to_f32(bytes: &[u8], out: &mut [f32]) -> bool {
    let mut seen = 0u32;
    for (slot, &b) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
        let value = f64::from_le_bytes(b) as f32;
        seen |= (value.to_bits() & ABS_BITS).wrapping_add(0x0080_0000);
        *slot = value;
    }
    seen >> 31 == 0
}

#[inline(always)]
fn table_to_f32(table: &[f32; 256], bytes: &[u8], out: &mut [f32]) -> bool {
    let mut seen = 0u32;
    for (slot, &b) in out.iter_mut().zip(bytes) {
        let value = table[usize::from(b)];
        seen |= (value.to_bits() & ABS_BITS).wrapping_add(0x0080_0000);
        *slot = value;
    }
    seen >> 31 == 0
}

#[inline(always)]
fn exact<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) -> bool {
    for (slot, &b) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *slot = convert(b);
    }
    true
}

/// Values of an 8-bit float with `mantissa` mantissa bits; `special` tells which magnitudes are infinite or NaN.
const fn f8_table(mantissa: u32, bias: i32, infinite: u32, nan_from: u32) -> [f32; 256] {
    let mut table = [0.0; 256];
    let mut byte = 0u32;
    while byte < 256 {
        let magnitude = byte & 0x7f;
        let sign = (byte & 0x80) << 24;
        let bits = if magnitude >= nan_from {
            0x7fc0_0000
        } else if magnitude >= infinite {
            INF_BITS
        } else {
            let mut exponent = (magnitude >> mantissa) as i32;
            let mut fraction = magnitude & ((1 << mantissa) - 1);
            if exponent == 0 {
                // Subnormal: shift until the implicit bit is set; zero stays zero.
                exponent = 1;
                while fraction != 0 && fraction >> mantissa == 0 {
                    fraction <<= 1;
                    exponent -= 1;
                }
            }
            if magnitude == 0 {
                0
            } else {
                (((exponent - bias + 127) as u32) << 23)
                    | ((fraction & ((1 << mantissa) - 1)) << (23 - mantissa))
            }
        };
        table[byte as usize] = f32::from_bits(sign | bits);
        byte += 1;
    }
    table
}

static E4M3: [f32; 256] = f8_table(3, 7, 0x80, 0x7f);
static E5M2: [f32; 256] = f8_table(2, 15, 0x7c, 0x7d);

// ---- f32 to stored ----

#[inline(always)]
fn f32_from_f32(values: &[f32], out: &mut [u8]) -> bool {
    let mut seen = 0u32;
    for (slot, value) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        let bits = value.to_bits();
        seen |= (bits & ABS_BITS).wrapping_add(0x0080_0000);
        *slot = bits.to_le_bytes();
    }
    seen >> 31 == 0
}

#[inline(always)]
fn bf16_from_f32(values: &[f32], out: &mut [u8]) -> bool {
    let mut seen = 0u32;
    for (slot, value) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
        let bits = value.to_bits();
        // Half of the last kept place, less one when the kept part is even: ties go to even, overflow to infinity.
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        // Rounding could carry a NaN's payload away: keep its upper bits and set the quiet bit.
        let quiet = (bits >> 16) | 0x40;
        let half = if bits & ABS_BITS > INF_BITS { quiet } else { rounded };
        seen |= (half & 0x7fff) + 0x80;
        *slot = (half as u16).to_le_bytes();
    }
    seen & 0x8000 == 0
}

#[inline(always)]
fn f16_from_f32(values: &[f32], out: &mut [u8]) -> bool {
    let mut seen = 0u32;
    for (slot, value) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
        let half = f16_rounded(*value);
        seen |= (half & 0x7fff) + 0x400;
        *slot = (half as u16).to_le_bytes();
    }
    seen & 0x8000 == 0
}

/// f32 to f16 without branches (Maratyszcza's FP16 library): adding a power of two that puts f16's last place at f32's
/// last place lets the float adder round to nearest even, for normal and subnormal results alike.
#[inline(always)]
fn f16_rounded(value: f32) -> u32 {
    let word = value.to_bits();
    let to_infinity = f32::from_bits(0x7780_0000); // 2^112
    let to_zero = f32::from_bits(0x0880_0000); // 2^-110
    let base = (value.abs() * to_infinity) * to_zero;
    let shifted = word.wrapping_add(word);
    let sign = (word >> 16) & 0x8000;
    let bias = (shifted & 0xff00_0000).max(0x7100_0000);
    let bits = (f32::from_bits((bias >> 1).wrapping_add(0x0780_0000)) + base).to_bits();
    let number = ((bits >> 13) & 0x7c00).wrapping_add(bits & 0x0fff);
    sign | if shifted > 0xff00_0000 { 0x7e00 } else { number }
}

#[inline(always)]
fn f64_from_f32(values: &[f32], out: &mut [u8]) -> bool {
    let mut seen = 0u32;
    for (slot, value) in out.as_chunks_mut::<8>().0.iter_mut().zip(values) {
        seen |= (value.to_bits() & ABS_BITS).wrapping_add(0x0080_0000);
        *slot = f64::from(*value).to_le_bytes();
    }
    seen >> 31 == 0
}

#[inline(always)]
fn e4m3_from_f32(values: &[f32], out: &mut [u8]) -> bool {
    let mut nan = 0u32;
    for (slot, value) in out.iter_mut().zip(values) {
        let bits = value.to_bits() & ABS_BITS;
        // Subnormal results (below 2^-6): the adder rounds at the place 2^-9.
        let magic = 141u32 << 23;
        let small = (f32::from_bits(bits) + f32::from_bits(magic)).to_bits().wrapping_sub(magic);
        let odd = (bits >> 20) & 1;
        let normal = bits.wrapping_sub(120 << 23).wrapping_add(0x7_ffff + odd) >> 20;
        let magnitude = if bits < 121 << 23 { small } else { normal };
        // 480 and more has no encoding; 464 to 480 rounds to the pattern of NaN by itself.
        let magnitude = if bits >= 0x43f0_0000 { 0x7f } else { magnitude };
        nan |= (magnitude & 0x7f) + 1;
        *slot = (magnitude | ((value.to_bits() >> 24) & 0x80)) as u8;
    }
    nan & 0x80 == 0
}

#[inline(always)]
fn e5m2_from_f32(values: &[f32], out: &mut [u8]) -> bool {
    let mut seen = 0u32;
    for (slot, value) in out.iter_mut().zip(values) {
        let bits = value.to_bits() & ABS_BITS;
        let magic = 134u32 << 23;
        let small = (f32::from_bits(bits) + f32::from_bits(magic)).to_bits().wrapping_sub(magic);
        let odd = (bits >> 21) & 1;
        let normal = bits.wrapping_sub(112 << 23).wrapping_add(0xf_ffff + odd) >> 21;
        let magnitude = if bits < 113 << 23 { small } else { normal };
        let magnitude = if bits >= 143 << 23 { 0x7c } else { magnitude };
        let magnitude = if bits > INF_BITS { 0x7f } else { magnitude };
        seen |= (magnitude & 0x7f) + 0x04;
        *slot = (magnitude | ((value.to_bits() >> 24) & 0x80)) as u8;
    }
    seen & 0x80 == 0
}

const I64_END: f32 = 9_223_372_036_854_775_808.0;
const U64_END: f32 = 18_446_744_073_709_551_616.0;
const I32_END: f32 = 2_147_483_648.0;
const U32_END: f32 = 4_294_967_296.0;

#[inline(always)]
fn in_range(value: f32, start: f32, end: f32) -> bool {
    value >= start && value < end
}

#[inline(always)]
fn rounded<const N: usize>(values: &[f32], out: &mut [u8], convert: impl Fn(f32) -> ([u8; N], bool)) -> bool {
    let mut fits = true;
    for (slot, value) in out.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        let (bytes, in_range) = convert(value.round_ties_even());
        fits &= in_range;
        *slot = bytes;
    }
    fits
}

#[inline(always)]
fn bool_from_f32(values: &[f32], out: &mut [u8]) -> bool {
    let mut fits = true;
    for (slot, value) in out.iter_mut().zip(values) {
        fits &= !value.is_nan();
        *slot = u8::from(*value != 0.0);
    }
    fits
}

#[inline(always)]
fn count<const N: usize>(bytes: &[u8], classify: impl Fn([u8; N]) -> (bool, bool)) -> (u64, u64) {
    let (mut nan, mut infinite) = (0u64, 0u64);
    // Narrow counters per block keep the lanes narrow.
    for block in bytes.as_chunks::<N>().0.chunks(1 << 14) {
        let (mut block_nan, mut block_infinite) = (0u32, 0u32);
        for &b in block {
            let (is_nan, is_infinite) = classify(b);
            block_nan += u32::from(is_nan);
            block_infinite += u32::from(is_infinite);
        }
        nan += u64::from(block_nan);
        infinite += u64::from(block_infinite);
    }
    (nan, infinite)
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
