//! Data from files. No reader believes a header: what a file declares is held against its size before memory is asked for.

mod bytes;
mod cifar;
mod csv;
mod idx;
mod images;
mod parquet;
mod table;
mod text;

use crate::error::DataError;
use crate::places::Watch;
use crate::raw::Raw;
use crate::settings::DataSettings;
use crate::source::{Origin, Source};

/// What is known of files by their names and headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outline {
    pub(crate) len: Option<usize>,
    pub(crate) shape: Vec<usize>,
    /// 0 for numbers.
    pub(crate) classes: Option<usize>,
    pub(crate) names: Vec<String>,
    pub(crate) labels: Option<Vec<u32>>,
}

/// Reads all examples.
pub(crate) fn load(source: &Source, settings: &DataSettings, watch: &dyn Watch) -> Result<Raw, DataError> {
    match &source.origin {
        Origin::Idx { images, labels } => idx::load(images, labels, source.set),
        Origin::Cifar { files, hundred } => cifar::load(files, *hundred, watch),
        Origin::Images { path, zip, part } => images::load(path, *zip, *part, watch),
        Origin::Csv(path) => csv::load(path, settings, watch),
        Origin::Parquet(path) => parquet::load(path, settings, watch),
        Origin::Text(path) => text::load(path, settings),
        Origin::Generated(_) => unreachable_kind(source),
    }
}

/// Looks at headers.
pub(crate) fn outline(source: &Source, settings: &DataSettings) -> Result<Outline, DataError> {
    match &source.origin {
        Origin::Idx { images, labels } => idx::outline(images, labels, source.set),
        Origin::Cifar { files, hundred } => cifar::outline(files, *hundred),
        Origin::Images { path, zip, part } => images::outline(path, *zip, *part),
        Origin::Csv(path) => csv::outline(path, settings),
        Origin::Parquet(path) => parquet::outline(path, settings),
        Origin::Text(path) => text::outline(path, settings),
        Origin::Generated(_) => unreachable_kind(source),
    }
}

/// Generators have no files; whoever calls this asked the wrong room.
fn unreachable_kind<T>(source: &Source) -> Result<T, DataError> {
    Err(DataError::setting("source", format!("`{}` is made, not read", source.name)))
}
