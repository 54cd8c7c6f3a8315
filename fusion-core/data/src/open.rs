//! Opening: find the source, load it, choose examples, change them, and know how batches normalise.

use serde_json::{Map, Value as Json};

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::files;
use crate::generate;
use crate::normalize::{self, Statistics};
use crate::places::{Places, Watch};
use crate::raw::{Affine, Raw};
use crate::select::{self, Known, select};
use crate::settings::{Augment, DataSettings, Kind, Normalize};
use crate::source::{Origin, Source};
use crate::transform;

impl Dataset {
    /// Opens `source` (`NAME`, `NAME:train`, `NAME:test` of a generator or named set, or the path of a folder or file) with settings as
    /// recipes give them; [`schema`](crate::schema) describes them. It reads everything into memory.
    ///
    /// # Errors
    /// Where the source is not found, not readable, damaged, leaves no example, or does not take a setting; and when `watch` says stop.
    pub fn open(
        source: &str,
        settings: &Map<String, Json>,
        places: &Places,
        watch: &dyn Watch,
    ) -> Result<Dataset, DataError> {
        let source = Source::find(source, places)?;
        let settings = DataSettings::read(settings, source.kind)?;
        let mut raw = load(&source, &settings, watch)?;
        let affine = affine(&source, &settings, &raw, watch)?;
        let known = Known {
            name: &source.name,
            len: raw.len(),
            labels: raw.labels(),
            classes: raw.classes,
            is_split: source.kind == Kind::Text,
        };
        let kept = select(known, &settings)?;
        raw.select(&kept);
        transform::label_noise(&mut raw, &kept, &settings)?;
        transform::inputs(&mut raw, &settings, watch)?;
        let background = if settings.invert { 255 } else { 0 };
        Ok(Dataset::new(raw, affine, settings.augment, settings.flatten, background))
    }
}

/// All examples of a source.
fn load(source: &Source, settings: &DataSettings, watch: &dyn Watch) -> Result<Raw, DataError> {
    if watch.cancelled() {
        return Err(DataError::Cancelled);
    }
    match &source.origin {
        Origin::Generated(part) => generate::generate(source.kind, *part, settings, watch),
        _ => files::load(source, settings, watch),
    }
}

/// How batches normalise.
fn affine(
    source: &Source,
    settings: &DataSettings,
    raw: &Raw,
    watch: &dyn Watch,
) -> Result<Affine, DataError> {
    let statistics = match (&settings.mean, &settings.std, settings.normalize) {
        (Some(mean), Some(std), _) => Some(Statistics { mean: mean.clone(), std: std.clone() }),
        (_, _, Normalize::None) => None,
        (_, _, Normalize::Standard) => Some(published(source)?),
        (_, _, Normalize::Computed) => Some(match &source.training {
            // The same for both parts, and never from test data. Only what shapes the inputs matters here.
            Some(training) => Statistics::of(&load(training, settings, watch)?.inputs),
            None => Statistics::of(&raw.inputs),
        }),
    };
    normalize::affine(raw, statistics)
}

fn published(source: &Source) -> Result<Statistics, DataError> {
    let (mean, std) = match (source.kind, source.set) {
        (Kind::Digits, _) => (vec![generate::DIGITS_MEAN], vec![generate::DIGITS_STD]),
        (_, Some(set)) => (set.mean.to_vec(), set.std.to_vec()),
        _ => {
            return Err(DataError::setting_fix(
                "normalize",
                format!("there are no usual constants for `{}`", source.name),
                "set `normalize = computed`, or `mean` and `std`",
            ));
        }
    };
    Ok(Statistics { mean, std })
}

/// What is known of a source without reading its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// `digits`, `gaussians`, …, `images`, `csv`, `parquet` or `text`.
    pub kind: &'static str,
    /// Number of examples that the settings leave; `None` where only reading would tell.
    pub examples: Option<usize>,
    /// Shape of one example, as [`Dataset::shape`].
    pub shape: Vec<usize>,
    /// Number of classes; `None` where only reading would tell (tables, text, bare IDX files), 0 where targets are numbers.
    pub classes: Option<usize>,
    /// Names of the classes, where they are known.
    pub class_names: Vec<String>,
    /// Whether inputs are tokens.
    pub text: bool,
    /// The files and folders that hold the data.
    pub files: Vec<std::path::PathBuf>,
    /// The class of each example, where it is known without reading inputs.
    pub(crate) labels: Option<Vec<u32>>,
    /// What must be alike in data sets that become one.
    pub(crate) looks: Looks,
}

/// How inputs are kept and changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Looks {
    /// Images rather than rows of numbers.
    pub(crate) images: bool,
    pub(crate) augment: Augment,
    pub(crate) normalize: Normalize,
    pub(crate) mean: Option<Vec<f64>>,
    pub(crate) std: Option<Vec<f64>>,
}

impl Looks {
    /// What decides the normalisation, as far as settings do.
    pub(crate) fn normalized(&self) -> (Normalize, &Option<Vec<f64>>, &Option<Vec<f64>>) {
        (self.normalize, &self.mean, &self.std)
    }
}

/// How many examples the settings leave, and their classes, as far as that can be known without inputs.
pub(crate) fn counted(
    known: Known<'_>,
    settings: &DataSettings,
) -> Result<(Option<usize>, Option<Vec<u32>>), DataError> {
    match known.labels {
        Some(labels) => {
            let kept = select(known, settings)?;
            // Noise changes classes, and is drawn when the data are read.
            let labels = (settings.label_noise == 0.0).then(|| kept.iter().map(|&at| labels[at]).collect());
            Ok((Some(kept.len()), labels))
        }
        None if !select::needs_labels(settings) => Ok((Some(select::count(known, settings)?), None)),
        None => Ok((None, None)),
    }
}

/// Says what can be said of a source from names and headers; for the planner. It opens files, but reads no more than headers, and of IDX
/// files the labels.
///
/// # Errors
/// As [`Dataset::open`], as far as can be seen.
pub fn describe(source: &str, settings: &Map<String, Json>, places: &Places) -> Result<Facts, DataError> {
    let source = Source::find(source, places)?;
    let settings = DataSettings::read(settings, source.kind)?;
    let outline = match &source.origin {
        Origin::Generated(part) => {
            let outline = generate::outline(source.kind, *part, &settings)?;
            files::Outline {
                len: Some(outline.samples),
                labels: outline.few_labels(),
                names: crate::raw::numbered(outline.classes),
                classes: Some(outline.classes),
                shape: outline.shape,
            }
        }
        _ => files::outline(&source, &settings)?,
    };
    if settings.normalize == Normalize::Standard {
        published(&source)?;
    }
    let (examples, labels) = match outline.len {
        Some(len) => {
            let known = Known {
                name: &source.name,
                len,
                labels: outline.labels.as_deref(),
                classes: outline.classes.unwrap_or(0),
                is_split: source.kind == Kind::Text,
            };
            counted(known, &settings)?
        }
        None => (None, None),
    };
    let shape = if settings.flatten { vec![outline.shape.iter().product()] } else { outline.shape };
    Ok(Facts {
        kind: source.kind.word(),
        examples,
        shape,
        classes: outline.classes,
        class_names: outline.names,
        text: source.kind == Kind::Text,
        files: source.files(),
        labels,
        looks: Looks {
            images: matches!(source.kind, Kind::Digits | Kind::Images),
            augment: settings.augment,
            normalize: settings.normalize,
            mean: settings.mean,
            std: settings.std,
        },
    })
}
