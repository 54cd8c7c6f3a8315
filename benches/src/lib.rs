//! What the measurements stand on, so that anyone can repeat them without a download.
//!
//! Synthetic checkpoints of the sizes that people merge: [`draw`] makes the numbers, [`llama`] says which tensors a model has, [`folder`]
//! writes Hugging Face folders. The programs `make_llama` and `copy_baseline` stand on them; `benches/peers/` uses both.
//! [`training`] has the trainings that `train_rate` and the bench `train` measure.

pub mod draw;
pub mod folder;
pub mod llama;
pub mod training;
