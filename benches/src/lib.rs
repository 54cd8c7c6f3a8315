//! Synthetic checkpoints of the sizes that people merge, so that anyone can repeat the measurements without a download.
//!
//! [`draw`] makes the numbers, [`llama`] says which tensors a model has, [`folder`] writes Hugging Face folders.
//! The programs `make_llama` and `copy_baseline` stand on them; `benches/peers/` uses both.

pub mod draw;
pub mod folder;
pub mod llama;
