//! Tensors: call-scoped borrows in the layout of DLPack, so that any DLPack reader can use them.

use core::ffi::c_void;

use crate::fusion_str;

/// Where data lies (`DLDevice`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct fusion_device {
    /// 1 is the CPU, 2 CUDA, as in DLPack.
    pub kind: i32,
    /// Which one.
    pub id: i32,
}

/// An element type (`DLDataType`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct fusion_dtype {
    /// 0 signed, 1 unsigned, 2 float, 4 bfloat, as in DLPack.
    pub code: u8,
    /// Bits of a lane.
    pub bits: u8,
    /// 1.
    pub lanes: u16,
}

/// 32-bit floats, what all calls of version 1.0 carry.
pub const FUSION_F32: fusion_dtype = fusion_dtype { code: 2, bits: 32, lanes: 1 };

/// `DLTensor`. Version 1 promises contiguous row-major data; `strides` is never NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_dltensor {
    /// First byte. Aligned to the element, and no more is promised.
    pub data: *mut c_void,
    /// Where.
    pub device: fusion_device,
    /// Dimensions.
    pub ndim: i32,
    /// Elements.
    pub dtype: fusion_dtype,
    /// `ndim` lengths.
    pub shape: *mut i64,
    /// `ndim` strides in elements.
    pub strides: *mut i64,
    /// 0.
    pub byte_offset: u64,
}

/// A stretch of a tensor, or all of it. Valid for one call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fusion_tensor {
    /// Size of this struct.
    pub struct_size: u64,
    /// The elements of this view.
    pub dl: fusion_dltensor,
    /// Name in the result, the one that recipes match on.
    pub name: fusion_str,
    /// Stable id of the tensor: the key of its random stream.
    pub key: u64,
    /// This view holds elements `first ..` of `total`, row-major.
    pub first: u64,
    /// Elements of the whole tensor.
    pub total: u64,
    /// Index of the tensor in its group.
    pub member: u64,
}
