//! Data sets that are made of others, one behind the other: `data all from [fours, tenth]`.
//!
//! The parts stay as they were declared, in the order in which they are named; a part may stand there twice. Settings of the whole choose
//! among its examples and change their classes. Inputs are changed and normalised by the parts, which must agree in that: one data set has
//! one normalisation.

use serde_json::{Map, Value as Json};

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::open::{Facts, counted};
use crate::raw::{Answers, Inputs, Raw, numbered};
use crate::select::{Known, select};
use crate::settings::{Augment, DataSettings, Kind};
use crate::transform;

/// Says what can be said of a data set made of others, as [`describe`](crate::describe) of a source. `name` is its own; parts come with
/// their names.
///
/// # Errors
/// As [`Dataset::union`], as far as can be seen.
pub fn describe_union(
    name: &str,
    parts: &[(&str, &Facts)],
    settings: &Map<String, Json>,
) -> Result<Facts, DataError> {
    let settings = DataSettings::read(settings, Kind::Union)?;
    let Some((first, rest)) = parts.split_first() else { return Err(nothing(name)) };
    if first.1.text {
        return Err(texts(first.0, first.0));
    }
    for other in rest {
        agree(first, other)?;
    }
    let (of, classes) = (first.1, parts.iter().find_map(|(_, facts)| facts.classes));
    let names = parts.iter().map(|(_, facts)| &facts.class_names).find(|names| !names.is_empty());
    let labels: Option<Vec<&[u32]>> = parts.iter().map(|(_, facts)| facts.labels.as_deref()).collect();
    let labels = labels.map(|labels| labels.concat());
    let len = parts.iter().map(|(_, facts)| facts.examples).sum::<Option<usize>>();
    let known = Known {
        name,
        len: len.unwrap_or(0),
        labels: labels.as_deref(),
        classes: classes.unwrap_or(0),
        is_split: false,
    };
    let (examples, labels) = if len.is_some() { counted(known, &settings)? } else { (None, None) };
    Ok(Facts {
        kind: Kind::Union.word(),
        examples,
        shape: of.shape.clone(),
        classes,
        class_names: names.cloned().unwrap_or_default(),
        text: false,
        files: parts.iter().flat_map(|(_, facts)| facts.files.iter().cloned()).collect(),
        labels,
        looks: of.looks.clone(),
    })
}

impl Dataset {
    /// A data set made of others, one behind the other in the order given; `settings` are those that choose examples (`only`, `shuffle`,
    /// `split`, `limit`, `clients`) and `label_noise`. It holds copies.
    ///
    /// # Errors
    /// Without parts; where parts are texts, differ in shape, in their classes or in how inputs are normalised and augmented; where the
    /// settings do not fit or leave no example.
    pub fn union(
        name: &str,
        parts: &[(&str, &Dataset)],
        settings: &Map<String, Json>,
    ) -> Result<Dataset, DataError> {
        let settings = DataSettings::read(settings, Kind::Union)?;
        let Some(((first, of), rest)) = parts.split_first() else { return Err(nothing(name)) };
        if of.is_text() {
            return Err(texts(first, first));
        }
        for (other, data) in rest {
            let differs = |offence: &str, fix: &str| {
                Err(DataError::Parts {
                    first: (*first).to_owned(),
                    other: (*other).to_owned(),
                    offence: offence.to_owned(),
                    fix: fix.to_owned(),
                })
            };
            if data.affine != of.affine {
                let fix = "normalise all parts alike: by `standard` constants, or by one `mean` and `std`";
                return differs("its inputs are normalised by other constants", fix);
            }
            if data.augment != of.augment || data.augment != Augment::None && data.background != of.background
            {
                return differs("its images are augmented in another way", AUGMENT);
            }
            if data.flatten != of.flatten || data.shape() != of.shape() {
                return differs(&shapes(data.shape(), of.shape()), SHAPE);
            }
            if known_names(&data.raw.names) && known_names(&of.raw.names) && data.raw.names != of.raw.names {
                return differs("its classes have other names", CLASSES);
            }
        }
        let mut raw = Raw {
            inputs: inputs(name, parts)?,
            answers: answers(parts)?,
            classes: of.raw.classes,
            names: of.raw.names.clone(),
        };
        let known =
            Known { name, len: raw.len(), labels: raw.labels(), classes: raw.classes, is_split: false };
        let kept = select(known, &settings)?;
        raw.select(&kept);
        transform::label_noise(&mut raw, &kept, &settings)?;
        Ok(Dataset::new(raw, of.affine.clone(), of.augment, of.flatten, of.background))
    }
}

const SHAPE: &str = "take data of one shape (`flatten` makes rows of images)";
const CLASSES: &str = "classes are joined by their numbers, so they must mean the same everywhere";
const AUGMENT: &str = "set `augment` and `invert` alike for all parts";

fn nothing(name: &str) -> DataError {
    DataError::Empty { name: name.to_owned(), offence: "it is made of no data set".into() }
}

fn texts(first: &str, other: &str) -> DataError {
    DataError::Parts {
        first: first.to_owned(),
        other: other.to_owned(),
        offence: "texts number their characters each in its own way".into(),
        fix: "put the texts into one file".into(),
    }
}

fn shapes(own: &[usize], wanted: &[usize]) -> String {
    format!("an example is {own:?}, there it is {wanted:?}")
}

/// Whether classes have names, and not just numbers.
fn known_names(names: &[String]) -> bool {
    !names.is_empty() && names != numbered(names.len())
}

/// Whether two parts can stand behind each other, as far as headers tell.
fn agree(first: &(&str, &Facts), other: &(&str, &Facts)) -> Result<(), DataError> {
    let ((first, wanted), (other, own)) = (first, other);
    let differs = |offence: String, fix: &str| {
        let (first, other) = ((*first).to_owned(), (*other).to_owned());
        Err(DataError::Parts { first, other, offence, fix: fix.to_owned() })
    };
    if own.text {
        return Err(texts(first, other));
    }
    if own.shape != wanted.shape {
        return differs(shapes(&own.shape, &wanted.shape), SHAPE);
    }
    if own.looks.images != wanted.looks.images {
        let word = |images: bool| if images { "images" } else { "rows of numbers" };
        let offence = format!("it holds {}, there are {}", word(own.looks.images), word(wanted.looks.images));
        return differs(offence, "take data of one kind");
    }
    if let (Some(own), Some(wanted)) = (own.classes, wanted.classes)
        && own != wanted
    {
        let word = |classes: usize| match classes {
            0 => "numbers as targets".to_owned(),
            classes => format!("{classes} classes"),
        };
        return differs(format!("it has {}, there are {}", word(own), word(wanted)), CLASSES);
    }
    if known_names(&own.class_names)
        && known_names(&wanted.class_names)
        && own.class_names != wanted.class_names
    {
        let mut pairs = own.class_names.iter().zip(&wanted.class_names).enumerate();
        let offence = match pairs.find(|(_, (own, wanted))| own != wanted) {
            Some((class, (own, wanted))) => format!("its class {class} is `{own}`, there it is `{wanted}`"),
            None => "its classes have other names".to_owned(),
        };
        return differs(offence, CLASSES);
    }
    if own.looks.augment != wanted.looks.augment {
        return differs("its images are augmented in another way".into(), AUGMENT);
    }
    if own.looks.normalized() != wanted.looks.normalized() {
        let fix = "set `normalize`, or `mean` and `std`, alike for all parts";
        return differs("its inputs are normalised in another way".into(), fix);
    }
    Ok(())
}

/// The inputs of all parts.
fn inputs(name: &str, parts: &[(&str, &Dataset)]) -> Result<Inputs, DataError> {
    let (first, of) = parts[0];
    let room = |count: usize, size: usize| DataError::TooLarge {
        name: name.to_owned(),
        bytes: (count as u64).saturating_mul(size as u64),
    };
    let differs = |other: &str, offence: String| DataError::Parts {
        first: first.to_owned(),
        other: other.to_owned(),
        offence,
        fix: "take data of one kind and shape".into(),
    };
    match &of.raw.inputs {
        Inputs::Images { channels, height, width, .. } => {
            let count = of_parts(parts, |inputs| match inputs {
                Inputs::Images { bytes, .. } => bytes.len(),
                _ => 0,
            });
            let mut all = Vec::new();
            all.try_reserve_exact(count).map_err(|_| room(count, 1))?;
            for (other, data) in parts {
                match &data.raw.inputs {
                    Inputs::Images { bytes, channels: c, height: h, width: w }
                        if (c, h, w) == (channels, height, width) =>
                    {
                        all.extend_from_slice(bytes);
                    }
                    _ => return Err(differs(other, format!("it holds no images of {height} x {width}"))),
                }
            }
            Ok(Inputs::Images { bytes: all, channels: *channels, height: *height, width: *width })
        }
        Inputs::Rows { width, .. } => {
            let count = of_parts(parts, |inputs| match inputs {
                Inputs::Rows { values, .. } => values.len(),
                _ => 0,
            });
            let mut all = Vec::new();
            all.try_reserve_exact(count).map_err(|_| room(count, 4))?;
            for (other, data) in parts {
                match &data.raw.inputs {
                    Inputs::Rows { values, width: own } if own == width => all.extend_from_slice(values),
                    _ => return Err(differs(other, format!("it holds no rows of {width} numbers"))),
                }
            }
            Ok(Inputs::Rows { values: all, width: *width })
        }
        Inputs::Text { .. } => Err(texts(first, first)),
    }
}

fn of_parts(parts: &[(&str, &Dataset)], len: impl Fn(&Inputs) -> usize) -> usize {
    parts.iter().map(|(_, data)| len(&data.raw.inputs)).fold(0, usize::saturating_add)
}

/// The classes or numbers of all parts.
fn answers(parts: &[(&str, &Dataset)]) -> Result<Answers, DataError> {
    let (first, of) = parts[0];
    let differs = |other: &str, offence: String| DataError::Parts {
        first: first.to_owned(),
        other: other.to_owned(),
        offence,
        fix: CLASSES.into(),
    };
    let mut all = match &of.raw.answers {
        Answers::Classes(_) => Answers::Classes(Vec::new()),
        Answers::Numbers { width, .. } => Answers::Numbers { width: *width, rows: Vec::new() },
        Answers::Next => return Err(texts(first, first)),
    };
    for (other, data) in parts {
        match (&mut all, &data.raw.answers) {
            (Answers::Classes(all), Answers::Classes(own)) if data.raw.classes == of.raw.classes => {
                all.extend_from_slice(own);
            }
            (Answers::Classes(_), Answers::Classes(_)) => {
                let offence = format!("it has {} classes, there are {}", data.raw.classes, of.raw.classes);
                return Err(differs(other, offence));
            }
            (Answers::Numbers { width, rows }, Answers::Numbers { width: own, rows: more })
                if width == own =>
            {
                rows.extend_from_slice(more);
            }
            _ => return Err(differs(other, "its targets are of another kind".into())),
        }
    }
    Ok(all)
}
