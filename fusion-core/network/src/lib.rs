//! Networks that recipes train and measure: architectures as burn modules, their state as named tensors, and the loss and its
//! gradient as functions of one flat vector of weights.
//!
//! - [`Architecture`]: a validated description (`mlp(inputs: 784, hidden: [512, 512], outputs: 10)`). It knows its tensors as
//!   PyTorch names and lays them out ([out, in]), and draws initial values that depend on (seed, tensor name) alone.
//! - [`State`]: the values of these tensors, as they stand in a file. [`State::fit`] finds out how a foreign checkpoint fits.
//! - [`Network`]: an architecture on a device. It computes [`Network::gradient`], [`Network::outputs`] and the statistics of
//!   batches. All of it are pure functions of the arguments: no running statistics hide inside, and dropout masks come from a
//!   seed.
//!
//! # Threads
//! burn's `flex` uses the rayon pool that it is called in: gemm asks `rayon::current_num_threads()`, and the other loops are
//! rayon iterators. So `ThreadPoolBuilder::new().num_threads(1).build()?.install(|| network.gradient(…))` computes on one
//! thread, and several networks train side by side with a pool of one thread each. Results depend on the number of threads in
//! the last bits, since gemm splits its work by it.
#![deny(unsafe_code)]

mod architecture;
mod check;
mod correct;
mod error;
mod fit;
mod graph;
mod initial;
mod layers;
mod layout;
mod load;
mod loss;
mod moments;
mod network;
mod state;
mod symmetry;
mod taps;

pub use architecture::{Architecture, Entry, Reads};
pub use burn::tensor::Device;
pub use correct::{Change, Correct, Goal};
pub use error::{ArchitectureError, Candidates, NetworkError, StateError};
pub use fit::{Fit, Foreign};
pub use graph::{CapturedNetwork, CapturedTap, CapturedTensor, Constant};
pub use initial::Init;
pub use layout::{Role, TensorSpec};
pub use moments::Moments;
pub use network::{Feature, Network, Norm, Step, StepOptions};
pub use state::{Data, Flat, State, StateTensor};
pub use symmetry::{Checked, Inferred, SymmetriesError, Verified, verify};
pub use taps::Units;
