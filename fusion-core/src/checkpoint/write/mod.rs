//! Writes results as transactions, because half a model is worse than none.
//!
//! A result is planned to the byte ([`layout()`]), built in a hidden folder next to its target
//! ([`Transaction::begin`], `.NAME.fusion-part`), written by any number of threads at final offsets
//! ([`Transaction::write_at`]) and moved to its place in one step ([`Transaction::commit`]). Whatever happens before
//! that step, the target holds what it held; a journal in the hidden folder lets the next run with the same key go on
//! where the last one stopped. What was written can be checked later ([`verify()`]).
//!
//! The hidden folder holds `lock` (one run at a time), `journal.jsonl`, and `new`, which becomes the target.

mod commit;
mod error;
mod journal;
mod layout;
mod lock;
mod space;
mod target;
mod tidy;
mod transaction;
mod verify;

pub mod card;
pub mod config;
pub mod sidecars;

#[cfg(test)]
mod tests;

pub use card::{CardInfo, CardInput, card};
pub use commit::Committed;
pub use config::{ConfigChange, LayerChange};
pub use error::WriteError;
pub use layout::{Layout, OutTensor, Place, Shard, TENSORS_SLOT, layout};
pub(crate) use sidecars::donor_paths;
pub use sidecars::{Sidecar, custom_code, donor_files};
pub use target::Target;
pub use tidy::tidy;
pub use transaction::{Begin, Resumed, Transaction};
pub use verify::{Damage, VerifyError, VerifyReport, verify};

/// Name of the record that a committed folder holds: what it was made from and the hashes of what was written.
pub const RECORD: &str = "fusion.json";
