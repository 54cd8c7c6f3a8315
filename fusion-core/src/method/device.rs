//! Where apply passes run: our fused CPU kernels by default, or a burn device chosen at run time.
//!
//! Statistics passes always run on the CPU in f64, so that selections and norms are the same everywhere; only the
//! arithmetic of `apply` moves. All of burn stays behind this module and the methods' device forms.

use std::fmt;
use std::str::FromStr;

/// The device of a run, as the command line names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// Fused kernels on the CPU.
    #[default]
    Cpu,
    /// burn-flex.
    Flex,
    /// burn-ndarray.
    Ndarray,
    /// burn-cuda, by index.
    Cuda(usize),
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Cpu => f.write_str("cpu"),
            DeviceName::Flex => f.write_str("flex"),
            DeviceName::Ndarray => f.write_str("ndarray"),
            DeviceName::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// A device name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No such word.
    #[error("unknown device `{0}`: use `cpu`, `flex`, `ndarray` or `cuda[:index]`")]
    Unknown(String),
    /// Known, but this binary was built without it.
    #[error("device `{0}` is not in this build: build with `--features {1}`")]
    NotBuilt(String, &'static str),
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(word: &str) -> Result<Self, DeviceError> {
        let name = match word {
            "cpu" => DeviceName::Cpu,
            "flex" => DeviceName::Flex,
            "ndarray" => DeviceName::Ndarray,
            "cuda" => DeviceName::Cuda(0),
            _ => match word.strip_prefix("cuda:").and_then(|index| index.parse().ok()) {
                Some(index) => DeviceName::Cuda(index),
                None => return Err(DeviceError::Unknown(word.to_owned())),
            },
        };
        let built = match name {
            DeviceName::Cpu => None,
            DeviceName::Flex => (!cfg!(feature = "flex")).then_some("flex"),
            DeviceName::Ndarray => (!cfg!(feature = "ndarray")).then_some("ndarray"),
            DeviceName::Cuda(_) => (!cfg!(feature = "cuda")).then_some("cuda"),
        };
        match built {
            Some(feature) => Err(DeviceError::NotBuilt(word.to_owned(), feature)),
            None => Ok(name),
        }
    }
}

#[cfg(feature = "burn")]
pub use on_burn::{Apply, DeviceTile, OnDevice, apply, open};

#[cfg(feature = "burn")]
mod on_burn {
    use std::any::Any;

    use burn::tensor::{Device, Tensor};
    use fusion_sdk::{Elementwise, MethodError};

    use super::DeviceName;

    /// A tile on a device: one rank-1 f32 tensor per input, in port order.
    pub struct DeviceTile<'a> {
        /// Index of the tensor in its group.
        pub tensor: usize,
        /// Position of the first element in the tensor, a multiple of [`fusion_sdk::TILE`].
        pub offset: u64,
        /// Inputs, all as long as the tile. A device tile may span several of the CPU's tiles.
        pub inputs: &'a [Tensor<1>],
        /// The device, for masks and constants.
        pub device: &'a Device,
    }

    /// A method whose `apply` can run on burn: the same function as [`Elementwise::apply`] up to the rounding of f32.
    pub trait OnDevice: Elementwise {
        /// Computes the tile of the result.
        fn apply_on(&self, tile: &DeviceTile<'_>) -> Tensor<1>;
    }

    /// The erased form.
    pub type Apply = fn(&dyn Any, &DeviceTile<'_>) -> Result<Tensor<1>, MethodError>;

    /// Runs the device form of the kernel `K` behind `kernel`.
    pub fn apply<K: OnDevice>(kernel: &dyn Any, tile: &DeviceTile<'_>) -> Result<Tensor<1>, MethodError> {
        match kernel.downcast_ref::<K>() {
            Some(kernel) => Ok(kernel.apply_on(tile)),
            None => Err(MethodError::new(
                fusion_sdk::ErrorKind::Failed,
                "the prepared kernel is of another method (a bug of the registry)",
            )),
        }
    }

    /// Opens a burn device; `None` for the fused CPU kernels.
    pub fn open(name: DeviceName) -> Option<Device> {
        match name {
            DeviceName::Cpu => None,
            #[cfg(feature = "flex")]
            DeviceName::Flex => Some(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[expect(deprecated, reason = "the design keeps burn-ndarray as a device until burn drops it")]
            DeviceName::Ndarray => Some(Device::ndarray()),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda(index) => Some(Device::cuda(index)),
            #[allow(unreachable_patterns, reason = "which names are left depends on the features")]
            _ => None,
        }
    }
}
