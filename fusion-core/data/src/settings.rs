//! The settings of data sets: one struct for all kinds, and which of them a kind takes. A setting that a source cannot use is an error:
//! nothing is ignored.

use std::borrow::Cow;

use fusion_sdk::{Params, Words};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::DataError;

/// Settings of a data set.
///
/// They work in this order: `only`, `shuffle`, `split`, `limit`, `clients` (which examples), `label_noise` (their classes),
/// `rotate`, `invert`, `permute` (their inputs), `normalize` (when a batch is made).
#[derive(Clone, Debug, PartialEq, Params)]
pub struct DataSettings {
    /// examples to generate (default: digits 10000 for train and 2000 for test, other generators 1000)
    #[param(range = 1..)]
    pub samples: Option<usize>,
    /// start of all random draws: what is generated, shuffling, label noise, client partitions
    #[param(unit = seed, default = 0)]
    pub seed: u64,
    /// standard deviation of the generator's noise: of pixels of digits, where white is 1 (default 0.08); of points of spirals and xor
    /// (default 0.04 and 0.3); of the targets of a teacher (default 0)
    #[param(range = 0..)]
    pub noise: Option<f64>,
    /// classes of gaussians (default 3), arms of spirals (default 2), classes of a teacher (default: none, its targets are numbers)
    #[param(range = 2..)]
    pub classes: Option<usize>,
    /// numbers in an input of gaussians and xor (default 2) and of a teacher (default 10)
    #[param(range = 1..)]
    pub dims: Option<usize>,
    /// standard deviation of a class of gaussians; their centres lie at distance 1 from the origin (default 0.3)
    #[param(range = 0..)]
    pub spread: Option<f64>,
    /// turns of a spiral (default 1.5)
    #[param(above = 0)]
    pub turns: Option<f64>,
    /// hidden units of a teacher (default 16)
    #[param(range = 1..)]
    pub hidden: Option<usize>,
    /// share of the examples to take, by position: 0%..90%, or by characters for text (default: all)
    pub split: Option<Split>,
    /// at most so many examples, the first of the split (default: all)
    #[param(unit = samples, range = 1..)]
    pub limit: Option<usize>,
    /// shuffle before `split` and `limit`, always alike for a seed; text is split first, so that its parts do not overlap
    #[param(default = false)]
    pub shuffle: bool,
    /// only these classes; they keep their numbers, so networks for all classes fit (default: all)
    pub only: Option<Vec<u32>>,
    /// share of the examples that get another class, each of the others as likely
    #[param(unit = fraction, range = 0..=1, default = 0)]
    pub label_noise: f64,
    /// number of clients that share the data; `client` says which one this is
    #[param(range = 1..)]
    pub clients: Option<usize>,
    /// which client's part to take, from 0
    pub client: Option<usize>,
    /// how the clients share: at random, or with their own mixtures of classes
    #[param(default = Partition::Iid)]
    pub partition: Partition,
    /// concentration of the clients' mixtures of classes: small is uneven (default 0.5)
    #[param(above = 0)]
    pub alpha: Option<f64>,
    /// degrees to turn images by, counter-clockwise
    #[param(range = -360..=360, default = 0)]
    pub rotate: f64,
    /// swap black and white of images
    #[param(default = false)]
    pub invert: bool,
    /// seed of one fixed permutation of the pixels, or of the numbers of a row (default: as they are)
    #[param(unit = seed)]
    pub permute: Option<u64>,
    /// what is subtracted from inputs and what they are divided by
    #[param(default = Normalize::None)]
    pub normalize: Normalize,
    /// subtracted from inputs: one number, or one for each channel of images or number of a row; with `std`
    pub mean: Option<Vec<f64>>,
    /// what inputs are divided by; with `mean`
    #[param(above = 0)]
    pub std: Option<Vec<f64>>,
    /// random changes of images during training
    #[param(default = Augment::None)]
    pub augment: Augment,
    /// images as rows of numbers
    #[param(default = false)]
    pub flatten: bool,
    /// characters that a model of text sees at once (default 64)
    #[param(range = 1..)]
    pub context: Option<usize>,
    /// characters from the start of one example of text to that of the next (default: `context`)
    #[param(range = 1..)]
    pub stride: Option<usize>,
    /// column of a table to predict, by name or number from 0 (default: the last)
    pub target: Option<String>,
    /// columns of a table to predict from, by name or number from 0 (default: all others)
    pub features: Option<Vec<String>>,
    /// whether the first line of a CSV file holds names (default: whether it holds a feature that is no number)
    pub header: Option<bool>,
    /// what the target of a table is (default: words and whole numbers from 0 to 999 are classes)
    pub predict: Option<Predict>,
    /// the words of a table's target in the order of their classes (default: those that occur, sorted)
    pub labels: Option<Vec<String>>,
}

/// A share of the examples by position.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Where it starts, 0 to 1.
    pub start: f64,
    /// Where it ends, 0 to 1.
    pub end: f64,
}

impl Split {
    /// The positions of `n` that it holds: ⌊start·n + ½⌋ up to ⌊end·n + ½⌋, so parts that meet leave nothing out.
    pub(crate) fn of(self, n: usize) -> std::ops::Range<usize> {
        let at = |share: f64| ((share * n as f64 + 0.5) as usize).min(n);
        at(self.start)..at(self.end)
    }
}

impl JsonSchema for Split {
    fn schema_name() -> Cow<'static, str> {
        "Split".into()
    }

    /// `x-unit = range`: recipes write two fractions, `0%..90%`.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "object",
            "x-unit": "range",
            "properties": {
                "start": { "type": "number", "minimum": 0, "maximum": 1 },
                "end": { "type": "number", "minimum": 0, "maximum": 1 },
            },
            "required": ["start", "end"],
            "additionalProperties": false,
        })
    }
}

/// How inputs are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Normalize {
    /// pixels from 0 to 1, numbers of tables as they are (or by `mean` and `std`)
    None,
    /// by mean and standard deviation of all examples of the file, or of the part `train`; per channel of images and per column of tables
    Computed,
    /// by the usual constants of digits, mnist, fashion_mnist, kmnist, cifar10 and cifar100
    Standard,
}

/// Random changes of images during training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Augment {
    /// none
    None,
    /// colour: a crop after padding by 4 pixels, and a flip of left and right in half of the cases; grey: a shift by up to 2 pixels
    Standard,
}

/// How clients share data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Partition {
    /// at random, in parts of one size
    Iid,
    /// each class is dealt out in shares drawn from a Dirichlet distribution with concentration `alpha`
    Dirichlet,
}

/// What the target of a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Predict {
    /// a class: words, or whole numbers from 0
    Class,
    /// a number
    Number,
}

/// What a source yields, as far as settings are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gaussians,
    Spirals,
    Xor,
    Teacher,
    Digits,
    Images,
    Csv,
    Parquet,
    Text,
    /// Made of other data sets.
    Union,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Gaussians => "gaussians",
            Kind::Spirals => "spirals",
            Kind::Xor => "xor",
            Kind::Teacher => "teacher",
            Kind::Digits => "digits",
            Kind::Images => "images",
            Kind::Csv => "csv",
            Kind::Parquet => "parquet",
            Kind::Text => "text",
            Kind::Union => "union",
        }
    }

    /// The settings of this kind beyond those that all have.
    fn own(self) -> &'static [&'static [&'static str]] {
        const IMAGES: &[&str] = &["rotate", "invert", "augment", "flatten"];
        const INPUTS: &[&str] = &["permute", "normalize", "mean", "std"];
        const CLASSES: &[&str] = &["only", "label_noise"];
        const MADE: &[&str] = &["samples", "noise"];
        const TABLE: &[&str] = &["target", "features", "predict", "labels"];
        match self {
            Kind::Gaussians => &[&["samples", "classes", "dims", "spread"], INPUTS, CLASSES],
            Kind::Spirals => &[MADE, &["classes", "turns"], INPUTS, CLASSES],
            Kind::Xor => &[MADE, &["dims"], INPUTS, CLASSES],
            Kind::Teacher => &[MADE, &["classes", "dims", "hidden"], INPUTS, CLASSES],
            Kind::Digits => &[MADE, IMAGES, INPUTS, CLASSES],
            Kind::Images => &[IMAGES, INPUTS, CLASSES],
            Kind::Csv => &[TABLE, &["header"], INPUTS, CLASSES],
            Kind::Parquet => &[TABLE, INPUTS, CLASSES],
            Kind::Text => &[&["context", "stride"]],
            Kind::Union => &[CLASSES],
        }
    }
}

/// Settings that every kind has.
const COMMON: &[&str] = &["seed", "split", "limit", "shuffle", "clients", "client", "partition", "alpha"];

impl DataSettings {
    /// Reads and checks settings as far as that is possible without the data.
    pub(crate) fn read(settings: &Map<String, Json>, kind: Kind) -> Result<Self, DataError> {
        let takes =
            |name: &str| COMMON.contains(&name) || kind.own().iter().any(|group| group.contains(&name));
        if let Some(stray) = settings.keys().find(|name| !takes(name)) {
            let listed: Vec<&str> = kind.own().iter().flat_map(|group| group.iter().copied()).collect();
            if kind == Kind::Union {
                return Err(DataError::setting_fix(
                    stray,
                    "data made of other data do not take this setting",
                    format!(
                        "set it where those are declared; here are {} and {}",
                        COMMON.join(", "),
                        listed.join(", ")
                    ),
                ));
            }
            return Err(DataError::setting_fix(
                stray,
                format!("{} data do not take this setting", kind.word()),
                format!("they take {} and {}", COMMON.join(", "), listed.join(", ")),
            ));
        }
        let read = DataSettings::from_settings(settings)?;
        read.check()?;
        read.coherent(settings)?;
        Ok(read)
    }

    fn coherent(&self, given: &Map<String, Json>) -> Result<(), DataError> {
        if let Some(Split { start, end }) = self.split
            && !(0.0 <= start && start < end && end <= 1.0)
        {
            return Err(DataError::setting(
                "split",
                format!(
                    "{start}..{end} must start at 0 or later, end at 1 or earlier, and end after its start"
                ),
            ));
        }
        match (self.clients, self.client) {
            (Some(_), None) => {
                return Err(DataError::setting_fix(
                    "client",
                    "`clients` is set, but not which one this is",
                    "set `client`",
                ));
            }
            (None, Some(_)) => {
                return Err(DataError::setting_fix(
                    "clients",
                    "`client` is set, but not among how many",
                    "set `clients`",
                ));
            }
            (Some(clients), Some(client)) if client >= clients => {
                return Err(DataError::setting(
                    "client",
                    format!(
                        "there is no client {client} among {clients}: they count from 0 to {}",
                        clients - 1
                    ),
                ));
            }
            _ => {}
        }
        if self.clients.is_none()
            && let Some(name) = ["partition", "alpha"].into_iter().find(|name| given.contains_key(*name))
        {
            return Err(DataError::setting_fix(
                name,
                "it shapes how clients share",
                "set `clients` and `client`, or remove it",
            ));
        }
        if self.alpha.is_some() && self.partition == Partition::Iid {
            return Err(DataError::setting_fix(
                "alpha",
                "it has no meaning for a partition at random",
                "set `partition = dirichlet`, or remove it",
            ));
        }
        match (&self.mean, &self.std) {
            (None, None) => {}
            (Some(_), Some(_)) if self.normalize != Normalize::None => {
                return Err(DataError::setting_fix(
                    "normalize",
                    "`mean` and `std` are given, and it asks for others",
                    "remove `normalize`, or `mean` and `std`",
                ));
            }
            (Some(mean), Some(std)) if mean.len() != std.len() => {
                return Err(DataError::setting(
                    "std",
                    format!("it has {} numbers and `mean` has {}", std.len(), mean.len()),
                ));
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) => {
                return Err(DataError::setting_fix("mean", "`std` is missing", "set both or neither"));
            }
            (None, Some(_)) => {
                return Err(DataError::setting_fix("std", "`mean` is missing", "set both or neither"));
            }
        }
        if self.permute.is_some() && self.augment != Augment::None {
            return Err(DataError::setting_fix(
                "augment",
                "shifts and flips mean nothing where pixels are permuted",
                "remove `augment` or `permute`",
            ));
        }
        if self.only.as_ref().is_some_and(Vec::is_empty) {
            return Err(DataError::setting("only", "it names no class"));
        }
        if self.features.as_ref().is_some_and(Vec::is_empty) {
            return Err(DataError::setting("features", "it names no column"));
        }
        if let Some(labels) = &self.labels {
            if self.predict == Some(Predict::Number) {
                return Err(DataError::setting("labels", "the target is a number, which has no classes"));
            }
            if let Some(at) = (1..labels.len()).find(|&at| labels[..at].contains(&labels[at])) {
                return Err(DataError::setting("labels", format!("`{}` stands twice", labels[at])));
            }
            if labels.is_empty() {
                return Err(DataError::setting("labels", "it names no class"));
            }
        }
        Ok(())
    }
}

/// The schema of the settings, for the language, which checks recipes against it, and for the reference pages: JSON Schema with docs,
/// defaults and ranges, and `x-unit` as for methods (`split` has the unit `range`).
#[must_use]
pub fn schema() -> Json {
    let generator =
        schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    generator.into_generator().into_root_schema_for::<DataSettings>().to_value()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: Kind, json: Json) -> Result<DataSettings, String> {
        DataSettings::read(json.as_object().unwrap(), kind).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_do_not_fit_are_refused_with_their_names() {
        let good = read(
            Kind::Digits,
            json!({ "samples": 10, "split": { "start": 0.0, "end": 0.9 }, "label_noise": 0.2 }),
        );
        assert_eq!(good.unwrap().split, Some(Split { start: 0.0, end: 0.9 }));
        for (kind, settings, part) in [
            (
                Kind::Digits,
                json!({ "context": 3 }),
                "`context`: digits data do not take this setting; they take seed,",
            ),
            (Kind::Text, json!({ "label_noise": 0.5 }), "text data do not take"),
            (Kind::Digits, json!({ "smaples": 3 }), "`smaples`: digits data do not take this setting"),
            (Kind::Digits, json!({ "samples": 0 }), "must be at least 1"),
            (Kind::Digits, json!({ "label_noise": 1.5 }), "between 0% and 100%"),
            (Kind::Digits, json!({ "split": { "start": 0.9, "end": 0.9 } }), "0.9..0.9"),
            (Kind::Digits, json!({ "split": { "start": 0.0, "end": 1.1 } }), "0..1.1"),
            (Kind::Digits, json!({ "split": { "start": null, "end": 1.0 } }), "`split"),
            (Kind::Digits, json!({ "client": 1 }), "`clients`"),
            (Kind::Digits, json!({ "clients": 2 }), "`client`"),
            (Kind::Digits, json!({ "clients": 2, "client": 2 }), "no client 2 among 2"),
            (Kind::Digits, json!({ "alpha": 0.1 }), "set `clients` and `client`"),
            (Kind::Digits, json!({ "alpha": 0.1, "clients": 2, "client": 0 }), "partition = dirichlet"),
            (Kind::Digits, json!({ "alpha": 0.0, "clients": 2, "client": 0 }), "above 0"),
            (Kind::Digits, json!({ "mean": [0.1] }), "set both"),
            (Kind::Digits, json!({ "std": [0.1] }), "set both"),
            (Kind::Digits, json!({ "mean": [0.1], "std": [0.0] }), "above 0"),
            (Kind::Digits, json!({ "mean": [0.1], "std": [1, 2] }), "2 numbers"),
            (
                Kind::Digits,
                json!({ "mean": [0.1], "std": [1], "normalize": "computed" }),
                "remove `normalize`",
            ),
            (Kind::Digits, json!({ "normalize": "minmax" }), "minmax"),
            (Kind::Digits, json!({ "permute": 1, "augment": "standard" }), "permuted"),
            (Kind::Digits, json!({ "only": [] }), "no class"),
            (Kind::Csv, json!({ "labels": ["a", "b", "a"] }), "`a` stands twice"),
            (Kind::Csv, json!({ "labels": ["a"], "predict": "number" }), "a number"),
            (Kind::Parquet, json!({ "header": true }), "parquet data do not take"),
        ] {
            let error = read(kind, settings.clone()).unwrap_err();
            assert!(error.contains(part), "{settings}: {error}");
        }
    }

    #[test]
    fn splits_that_meet_share_all_examples() {
        for n in [0, 1, 3, 10, 997] {
            let cut = |start, end| Split { start, end }.of(n);
            let parts = [cut(0.0, 0.3), cut(0.3, 0.55), cut(0.55, 1.0)];
            let all: Vec<usize> = parts.into_iter().flatten().collect();
            assert!(all.into_iter().eq(0..n));
        }
        assert_eq!(Split { start: 0.0, end: 0.9 }.of(60_000), 0..54_000);
    }

    #[test]
    fn the_schema_has_docs_defaults_and_ranges() {
        let schema = schema();
        let property = |name: &str| schema.pointer(&format!("/properties/{name}")).unwrap().clone();
        assert_eq!(property("label_noise")["x-unit"], "fraction");
        assert_eq!(property("seed")["default"], 0);
        assert!(property("partition")["oneOf"].to_string().contains("dirichlet"));
        assert!(property("split").to_string().contains("\"x-unit\":\"range\""));
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].as_str().is_some_and(|doc| doc.len() > 8), "{name}");
        }
    }
}
