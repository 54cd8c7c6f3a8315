//! Data sets that are made rather than read: offline, seeded, and the same bytes on every machine. Example i of a part is a pure function of
//! (seed, part, i), and its class is i modulo the number of classes, so every prefix is balanced. The parts are different draws of one
//! distribution.

mod digits;
mod points;
mod teacher;

use fusion_sdk::rng::Key;

use crate::draw::Stream;
use crate::error::DataError;
use crate::places::Watch;
use crate::raw::{Answers, Inputs, Raw, numbered};
use crate::settings::{DataSettings, Kind};
use crate::source::Part;

pub(crate) use digits::{MEAN as DIGITS_MEAN, STD as DIGITS_STD};

/// What is known of a generated set without making it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outline {
    pub(crate) samples: usize,
    pub(crate) shape: Vec<usize>,
    /// 0 for numbers.
    pub(crate) classes: usize,
    /// Whether the class of example i is i modulo `classes`.
    pub(crate) balanced: bool,
}

pub(crate) fn outline(kind: Kind, part: Part, settings: &DataSettings) -> Result<Outline, DataError> {
    let samples = settings.samples.unwrap_or(match (kind, part) {
        (Kind::Digits, Part::Train) => 10_000,
        (Kind::Digits, Part::Test) => 2_000,
        _ => 1_000,
    });
    let (shape, classes) = match kind {
        Kind::Digits => (vec![1, digits::SIDE, digits::SIDE], 10),
        Kind::Gaussians => (vec![settings.dims.unwrap_or(2)], settings.classes.unwrap_or(3)),
        Kind::Spirals => (vec![2], settings.classes.unwrap_or(2)),
        Kind::Xor => (vec![settings.dims.unwrap_or(2)], 2),
        _ => (vec![settings.dims.unwrap_or(10)], settings.classes.unwrap_or(0)),
    };
    if kind == Kind::Xor && shape[0] < 2 {
        return Err(DataError::setting("dims", "xor is a function of two numbers: it needs at least 2"));
    }
    Ok(Outline { samples, shape, classes, balanced: kind != Kind::Teacher })
}

impl Outline {
    /// The classes, where they are known and not so many that listing them would take long.
    pub(crate) fn few_labels(&self) -> Option<Vec<u32>> {
        (self.samples <= 1 << 24).then(|| self.labels()).flatten()
    }

    /// The classes, where they are known.
    fn labels(&self) -> Option<Vec<u32>> {
        (self.balanced && self.classes > 0)
            .then(|| (0..self.samples).map(|index| (index % self.classes) as u32).collect())
    }
}

/// Makes the set.
pub(crate) fn generate(
    kind: Kind,
    part: Part,
    settings: &DataSettings,
    watch: &dyn Watch,
) -> Result<Raw, DataError> {
    let outline = outline(kind, part, settings)?;
    let Outline { samples, ref shape, classes, .. } = outline;
    let size: usize =
        shape.iter().try_fold(1_usize, |size, &part| size.checked_mul(part)).unwrap_or(usize::MAX);
    let element = if kind == Kind::Digits { 1 } else { 4 };
    let too_large = || DataError::TooLarge {
        name: kind.word().to_owned(),
        bytes: (samples as u64).saturating_mul(size as u64).saturating_mul(element),
    };
    let numbers = samples.checked_mul(size).ok_or_else(too_large)?;
    if kind == Kind::Digits {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(numbers).map_err(|_| too_large())?;
        bytes.resize(numbers, 0);
        digits::fill(&mut bytes, part, settings, watch)?;
        let inputs = Inputs::Images { bytes, channels: 1, height: digits::SIDE, width: digits::SIDE };
        let answers = Answers::Classes(outline.labels().unwrap_or_default());
        return Ok(Raw { inputs, answers, classes, names: numbered(classes) });
    }
    let mut values = Vec::new();
    values.try_reserve_exact(numbers).map_err(|_| too_large())?;
    values.resize(numbers, 0.0);
    let width = shape[0];
    let answers = match kind {
        Kind::Gaussians => points::gaussians(&mut values, width, classes, part, settings, watch)?,
        Kind::Spirals => points::spirals(&mut values, classes, part, settings, watch)?,
        Kind::Xor => points::xor(&mut values, width, part, settings, watch)?,
        _ => teacher::teacher(&mut values, width, classes, part, settings, watch)?,
    };
    let infinite = |values: &[f32]| values.iter().any(|value| !value.is_finite());
    if infinite(&values) || matches!(&answers, Some(Answers::Numbers { rows, .. }) if infinite(rows)) {
        let name = if kind == Kind::Gaussians { "spread" } else { "noise" };
        return Err(DataError::setting(name, "it is so large that numbers overflow"));
    }
    let answers = answers.unwrap_or_else(|| Answers::Classes(outline.labels().unwrap_or_default()));
    Ok(Raw { inputs: Inputs::Rows { values, width }, answers, classes, names: numbered(classes) })
}

/// The draws of one example.
pub(crate) fn example(seed: u64, what: &str, part: Part, index: usize) -> Stream {
    let part = match part {
        Part::Train => 0,
        Part::Test => 1,
    };
    Stream::new(Key::new(seed, what, (index as u64) << 1 | part))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::places::Unwatched;

    pub(super) fn made(kind: Kind, part: Part, settings: Json) -> Raw {
        let settings = DataSettings::read(settings.as_object().unwrap(), kind).unwrap();
        generate(kind, part, &settings, &Unwatched).unwrap()
    }

    const ALL: [Kind; 5] = [Kind::Gaussians, Kind::Spirals, Kind::Xor, Kind::Teacher, Kind::Digits];

    #[test]
    fn examples_depend_on_seed_part_and_index_only() {
        for kind in ALL {
            let short = made(kind, Part::Train, json!({ "samples": 70, "seed": 4 }));
            let mut long = made(kind, Part::Train, json!({ "samples": 300, "seed": 4 }));
            long.select(&(0..70).collect::<Vec<_>>());
            assert_eq!(short, long, "{kind:?}");
            assert_ne!(
                short.inputs,
                made(kind, Part::Test, json!({ "samples": 70, "seed": 4 })).inputs,
                "{kind:?}"
            );
            assert_ne!(
                short.inputs,
                made(kind, Part::Train, json!({ "samples": 70, "seed": 5 })).inputs,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn outlines_agree_with_what_is_made() {
        for kind in ALL {
            let settings = DataSettings::read(json!({ "samples": 33 }).as_object().unwrap(), kind).unwrap();
            let outline = outline(kind, Part::Train, &settings).unwrap();
            let raw = generate(kind, Part::Train, &settings, &Unwatched).unwrap();
            assert_eq!((raw.len(), raw.classes), (outline.samples, outline.classes));
            if let Some(labels) = outline.labels() {
                assert_eq!(raw.labels().unwrap(), labels);
            }
        }
        let settings = DataSettings::read(json!({ "dims": 1 }).as_object().unwrap(), Kind::Xor).unwrap();
        assert!(outline(Kind::Xor, Part::Train, &settings).is_err());
        let settings = json!({ "samples": 1_u64 << 60, "dims": 1_u64 << 20 });
        let settings = DataSettings::read(settings.as_object().unwrap(), Kind::Xor).unwrap();
        let error = generate(Kind::Xor, Part::Train, &settings, &Unwatched).unwrap_err();
        assert!(matches!(error, DataError::TooLarge { .. }));
    }
}
