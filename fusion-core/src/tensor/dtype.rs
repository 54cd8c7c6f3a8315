//! One closed list of element types, so that every reader, kernel and writer agrees on what it can meet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How one tensor element is stored (always little endian).
///
/// The names are the words of recipes and reports (`bf16`, `f8_e4m3`, …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dtype {
    /// IEEE 754 binary64.
    #[serde(rename = "f64")]
    F64,
    /// IEEE 754 binary32.
    #[serde(rename = "f32")]
    F32,
    /// IEEE 754 binary16.
    #[serde(rename = "f16")]
    F16,
    /// bfloat16: the upper half of a binary32.
    #[serde(rename = "bf16")]
    BF16,
    /// 8-bit float E4M3FN (arXiv 2209.05433): largest value 448, no infinity, NaN is `0x7f` and `0xff`.
    #[serde(rename = "f8_e4m3")]
    F8E4M3,
    /// 8-bit float E5M2 (arXiv 2209.05433): largest value 57344, with infinities and NaN.
    #[serde(rename = "f8_e5m2")]
    F8E5M2,
    /// 64-bit signed integer.
    #[serde(rename = "i64")]
    I64,
    /// 32-bit signed integer.
    #[serde(rename = "i32")]
    I32,
    /// 16-bit signed integer.
    #[serde(rename = "i16")]
    I16,
    /// 8-bit signed integer.
    #[serde(rename = "i8")]
    I8,
    /// 64-bit unsigned integer.
    #[serde(rename = "u64")]
    U64,
    /// 32-bit unsigned integer.
    #[serde(rename = "u32")]
    U32,
    /// 16-bit unsigned integer.
    #[serde(rename = "u16")]
    U16,
    /// 8-bit unsigned integer.
    #[serde(rename = "u8")]
    U8,
    /// One byte per truth value; any byte but zero is true.
    #[serde(rename = "bool")]
    Bool,
}

/// The word is not the name of a [`Dtype`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown dtype `{word}`: write one of f64, f32, f16, bf16, f8_e4m3, f8_e5m2, i64, i32, i16, i8, u64, u32, u16, u8, bool"
)]
pub struct UnknownDtype {
    /// The word as given.
    pub word: String,
}

impl Dtype {
    /// Every element type, floats first.
    pub const ALL: [Self; 15] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::F8E4M3,
        Self::F8E5M2,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U64,
        Self::U32,
        Self::U16,
        Self::U8,
        Self::Bool,
    ];

    /// Bytes per element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F8E4M3 | Self::F8E5M2 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether this is a floating point type, the kind that merge methods compute on.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16 | Self::F8E4M3 | Self::F8E5M2)
    }

    /// The recipe word: `bf16`, `f8_e4m3`, `i64`, `bool`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F8E4M3 => "f8_e4m3",
            Self::F8E5M2 => "f8_e5m2",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }

    /// The type with this recipe word, or `None`.
    #[must_use]
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == word)
    }

    /// PyTorch's name without its `torch.` prefix, as `config.json` (`torch_dtype`, `dtype`) writes it.
    #[must_use]
    pub const fn torch_name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F8E4M3 => "float8_e4m3fn",
            Self::F8E5M2 => "float8_e5m2",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U64 => "uint64",
            Self::U32 => "uint32",
            Self::U16 => "uint16",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }

    /// The type PyTorch calls by this name (`float16`, also `half`; a `torch.` prefix is allowed), or `None`.
    #[must_use]
    pub fn from_torch_name(word: &str) -> Option<Self> {
        let word = word.strip_prefix("torch.").unwrap_or(word);
        let word = match word {
            "double" => "float64",
            "float" => "float32",
            "half" => "float16",
            "long" => "int64",
            "int" => "int32",
            "short" => "int16",
            other => other,
        };
        Self::ALL.into_iter().find(|dtype| dtype.torch_name() == word)
    }

    /// The same type in the `safetensors` crate.
    #[must_use]
    pub const fn to_safetensors(self) -> safetensors::Dtype {
        match self {
            Self::F64 => safetensors::Dtype::F64,
            Self::F32 => safetensors::Dtype::F32,
            Self::F16 => safetensors::Dtype::F16,
            Self::BF16 => safetensors::Dtype::BF16,
            Self::F8E4M3 => safetensors::Dtype::F8_E4M3,
            Self::F8E5M2 => safetensors::Dtype::F8_E5M2,
            Self::I64 => safetensors::Dtype::I64,
            Self::I32 => safetensors::Dtype::I32,
            Self::I16 => safetensors::Dtype::I16,
            Self::I8 => safetensors::Dtype::I8,
            Self::U64 => safetensors::Dtype::U64,
            Self::U32 => safetensors::Dtype::U32,
            Self::U16 => safetensors::Dtype::U16,
            Self::U8 => safetensors::Dtype::U8,
            Self::Bool => safetensors::Dtype::BOOL,
        }
    }

    /// The type of a `safetensors` header, or `None` for those that fusion does not compute on (complex, 4 and 6 bit,
    /// E8M0 and the FNUZ variants).
    #[must_use]
    pub const fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        Some(match dtype {
            safetensors::Dtype::F64 => Self::F64,
            safetensors::Dtype::F32 => Self::F32,
            safetensors::Dtype::F16 => Self::F16,
            safetensors::Dtype::BF16 => Self::BF16,
            safetensors::Dtype::F8_E4M3 => Self::F8E4M3,
            safetensors::Dtype::F8_E5M2 => Self::F8E5M2,
            safetensors::Dtype::I64 => Self::I64,
            safetensors::Dtype::I32 => Self::I32,
            safetensors::Dtype::I16 => Self::I16,
            safetensors::Dtype::I8 => Self::I8,
            safetensors::Dtype::U64 => Self::U64,
            safetensors::Dtype::U32 => Self::U32,
            safetensors::Dtype::U16 => Self::U16,
            safetensors::Dtype::U8 => Self::U8,
            safetensors::Dtype::BOOL => Self::Bool,
            _ => return None,
        })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dtype {
    type Err = UnknownDtype;

    fn from_str(word: &str) -> Result<Self, UnknownDtype> {
        Self::from_name(word).ok_or_else(|| UnknownDtype { word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_convert_both_ways() {
        for dtype in Dtype::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
            assert_eq!(Dtype::from_torch_name(dtype.torch_name()), Some(dtype));
            assert_eq!(Dtype::from_safetensors(dtype.to_safetensors()), Some(dtype));
            assert_eq!(dtype.size() * 8, dtype.to_safetensors().bitsize());
            let json = serde_json::to_string(&dtype).unwrap();
            assert_eq!(json, format!("\"{}\"", dtype.name()));
            assert_eq!(serde_json::from_str::<Dtype>(&json).unwrap(), dtype);
        }
        assert_eq!(Dtype::from_torch_name("torch.half"), Some(Dtype::F16));
        assert!("fp16".parse::<Dtype>().unwrap_err().to_string().contains("bf16"));
    }
}
