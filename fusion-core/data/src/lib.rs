//! Data sets: built-in generators, files, transforms, batches.
//!
//! [`Dataset::open`] turns a source of a recipe (`digits`, `mnist:test`, `table.csv`) and its settings into examples in memory;
//! [`Batches`] number the batches of a training, [`Prefetch`] makes them ahead. [`describe`] tells the planner what it can know without
//! reading data, [`schema`] the language which settings there are, and [`fetch()`] downloads the named sets for who is online.
//!
//! Everything random is a pure function of (seed, what, index): the same settings give the same bytes on every machine and for any number
//! of threads.

mod batches;
mod dataset;
mod draw;
mod error;
mod fetch;
mod files;
mod fingerprint;
mod generate;
mod normalize;
mod open;
mod parallel;
mod places;
mod prefetch;
mod raw;
mod select;
mod sets;
mod settings;
mod source;
mod transform;
mod union;

pub use batches::{BatchOptions, Batches};
pub use dataset::{Dataset, buffer};
pub use error::DataError;
pub use fetch::fetch;
pub use open::{Facts, describe};
pub use places::{Places, Unwatched, Watch};
pub use prefetch::Prefetch;
pub use settings::{Augment, DataSettings, Normalize, Partition, Predict, Split, schema};
pub use source::names;
pub use union::describe_union;
