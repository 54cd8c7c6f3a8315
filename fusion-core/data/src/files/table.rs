//! What tables of both formats have in common: which column is what, and what a target means.

use std::path::Path;

use crate::error::DataError;
use crate::raw::{Answers, Inputs, Raw, numbered};
use crate::settings::{DataSettings, Predict};

/// Classes that whole numbers of a target can mean unless `predict` says so.
const CLASSES: f64 = 1000.0;
/// Classes of a table, at most.
const MOST_CLASSES: f64 = 100_000.0;

/// Which columns are used, by position.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Columns {
    pub(super) target: usize,
    pub(super) features: Vec<usize>,
}

impl Columns {
    /// Finds the columns of the settings among `names`; a name goes before a number.
    pub(super) fn find(path: &Path, names: &[String], settings: &DataSettings) -> Result<Self, DataError> {
        let find = |setting: &str, wanted: &str| {
            let named = names.iter().position(|name| name == wanted);
            let numbered = || wanted.parse::<usize>().ok().filter(|&at| at < names.len());
            named.or_else(numbered).ok_or_else(|| {
                let shown: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
                let more = if names.len() > shown.len() { ", …" } else { "" };
                DataError::setting_fix(
                    setting,
                    format!("`{}` has no column `{wanted}`", path.display()),
                    format!("its {} columns are {}{more}", names.len(), shown.join(", ")),
                )
            })
        };
        if names.len() < 2 {
            return Err(DataError::unsupported(
                path,
                format!("it has {} columns", names.len()),
                "a table has a column to predict and at least one to predict from",
            ));
        }
        let target = match &settings.target {
            Some(wanted) => find("target", wanted)?,
            None => names.len() - 1,
        };
        let features = match &settings.features {
            Some(wanted) => {
                wanted.iter().map(|wanted| find("features", wanted)).collect::<Result<Vec<_>, _>>()?
            }
            None => (0..names.len()).filter(|&at| at != target).collect(),
        };
        if features.contains(&target) {
            return Err(DataError::setting("features", format!("`{}` is the target", names[target])));
        }
        Ok(Columns { target, features })
    }
}

/// A target as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    Numbers(Vec<f64>),
    Words(Vec<String>),
}

/// A cell that is no finite number.
pub(super) fn not_a_number(path: &Path, row: usize, column: &str, cell: &str) -> DataError {
    DataError::unsupported(
        path,
        format!("row {row}, column `{column}` holds `{}`, which is no finite number", shown(cell)),
        "name the numeric columns in `features`, and replace missing values",
    )
}

/// The start of a long cell.
fn shown(cell: &str) -> String {
    let start: String = cell.chars().take(40).collect();
    if start.len() < cell.len() { start + "…" } else { start }
}

/// A data set of the columns that were read. `rows` are counted from 1, as in the file without its header.
pub(super) fn finish(
    path: &Path,
    values: Vec<f32>,
    width: usize,
    target: Target,
    settings: &DataSettings,
) -> Result<Raw, DataError> {
    let (answers, names) = answers(path, target, settings)?;
    let classes = names.len();
    Ok(Raw { inputs: Inputs::Rows { values, width }, answers, classes, names })
}

fn answers(
    path: &Path,
    target: Target,
    settings: &DataSettings,
) -> Result<(Answers, Vec<String>), DataError> {
    let numbers = match target {
        Target::Words(words) => return classes_of_words(path, &words, settings),
        Target::Numbers(numbers) => numbers,
    };
    let is_class = |most: f64| move |number: &f64| number.fract() == 0.0 && (0.0..most).contains(number);
    let predict = settings.predict.unwrap_or(match numbers.iter().all(is_class(CLASSES)) {
        true => Predict::Class,
        false => Predict::Number,
    });
    if predict == Predict::Number {
        let rows = numbers.iter().map(|&number| number as f32).collect();
        return Ok((Answers::Numbers { width: 1, rows }, Vec::new()));
    }
    if let Some(row) = numbers.iter().position(|number| !is_class(MOST_CLASSES)(number)) {
        return Err(DataError::unsupported(
            path,
            format!("row {} has the target {}, which is no class", row + 1, numbers[row]),
            format!(
                "classes are whole numbers from 0 to {}, or words; or set `predict = number`",
                MOST_CLASSES - 1.0
            ),
        ));
    }
    let labels: Vec<u32> = numbers.iter().map(|&number| number as u32).collect();
    let classes = labels.iter().max().map_or(0, |&most| most as usize + 1);
    Ok((Answers::Classes(labels), numbered(classes)))
}

fn classes_of_words(
    path: &Path,
    words: &[String],
    settings: &DataSettings,
) -> Result<(Answers, Vec<String>), DataError> {
    let names = match &settings.labels {
        Some(labels) => labels.clone(),
        None => {
            let mut names: Vec<String> = words.to_vec();
            names.sort_unstable();
            names.dedup();
            names
        }
    };
    if names.len() as f64 > MOST_CLASSES {
        return Err(DataError::unsupported(
            path,
            format!("its target has {} different words", names.len()),
            "check `target`, or set `predict = number` and repair the cells that are no numbers",
        ));
    }
    let mut order: Vec<u32> = (0..names.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| names[a as usize].cmp(&names[b as usize]));
    let mut labels = Vec::with_capacity(words.len());
    for (row, word) in words.iter().enumerate() {
        let found = order.binary_search_by(|&at| names[at as usize].as_str().cmp(word));
        labels.push(
            order[found.map_err(|_| {
                DataError::unsupported(
                    path,
                    format!("row {} has the target `{}`, which `labels` does not list", row + 1, shown(word)),
                    "add it to `labels`, or remove the row",
                )
            })?],
        );
    }
    Ok((Answers::Classes(labels), names))
}
