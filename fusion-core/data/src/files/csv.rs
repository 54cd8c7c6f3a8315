//! Tables as text, one row a line, cells between commas, semicolons or tabs: whichever stands most often in the first line.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use ::csv::{ReaderBuilder, StringRecord};

use super::Outline;
use super::table::{Columns, Target, finish, not_a_number};
use crate::error::DataError;
use crate::places::Watch;
use crate::raw::Raw;
use crate::settings::{DataSettings, Predict};

/// Bytes of the first line, at most.
const LONGEST_LINE: u64 = 1 << 24;

/// A table whose first row is known.
struct Table {
    reader: ::csv::Reader<BufReader<File>>,
    columns: Columns,
    names: Vec<String>,
    /// The first row, where it is no header.
    first: Option<StringRecord>,
    bytes: u64,
}

fn damaged(path: &Path, error: &::csv::Error) -> DataError {
    DataError::malformed(path, error.to_string(), "every row needs as many cells as the first, in UTF-8")
}

fn number(cell: &str) -> Option<f32> {
    cell.trim().parse::<f32>().ok().filter(|number| number.is_finite())
}

impl Table {
    fn open(path: &Path, settings: &DataSettings) -> Result<Self, DataError> {
        let io = |error| DataError::io(path, "read", error);
        let file = File::open(path).map_err(|error| DataError::io(path, "open", error))?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        std::io::Read::take(&mut file, LONGEST_LINE).read_until(b'\n', &mut line).map_err(io)?;
        let count = |mark: u8| line.iter().filter(|&&byte| byte == mark).count();
        let delimiter =
            b",;\t".iter().copied().max_by_key(|&mark| (count(mark), mark == b',')).unwrap_or(b',');
        // Editors of another system put a mark before the text.
        let start = if line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        let mut reader = ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(file);
        let mut first = StringRecord::new();
        if !reader.read_record(&mut first).map_err(|error| damaged(path, &error))? {
            return Err(DataError::unsupported(path, "it is empty", "a table has a row for each example"));
        }
        let names: Vec<String> = first.iter().map(|cell| cell.trim().to_owned()).collect();
        let bare: Vec<String> = (0..names.len()).map(|at| at.to_string()).collect();
        let header = match settings.header {
            Some(header) => header,
            None => match Columns::find(path, &bare, settings) {
                Ok(columns) => columns.features.iter().any(|&at| number(&names[at]).is_none()),
                // Columns are named, so there must be names.
                Err(DataError::Setting { .. }) => true,
                Err(error) => return Err(error),
            },
        };
        let names = if header { names } else { bare };
        let columns = Columns::find(path, &names, settings)?;
        Ok(Table { reader, columns, names, first: (!header).then_some(first), bytes })
    }
}

pub(super) fn load(path: &Path, settings: &DataSettings, watch: &dyn Watch) -> Result<Raw, DataError> {
    // Words are only kept where the target turns out to have some.
    let words = settings.labels.is_some();
    match read(path, settings, words, watch)? {
        Some(raw) => Ok(raw),
        None => read(path, settings, true, watch)?.ok_or(DataError::Cancelled),
    }
}

/// Reads the table; `None` where a target is no number and words were not asked for.
fn read(
    path: &Path,
    settings: &DataSettings,
    words: bool,
    watch: &dyn Watch,
) -> Result<Option<Raw>, DataError> {
    let Table { mut reader, columns, names, mut first, bytes } = Table::open(path, settings)?;
    let mut values = Vec::new();
    let mut target = if words { Target::Words(Vec::new()) } else { Target::Numbers(Vec::new()) };
    let mut record = StringRecord::new();
    for row in 1.. {
        match first.take() {
            Some(first) => record = first,
            None => {
                if !reader.read_record(&mut record).map_err(|error| damaged(path, &error))? {
                    break;
                }
            }
        }
        if row % 8192 == 0 {
            if watch.cancelled() {
                return Err(DataError::Cancelled);
            }
            watch.progress(reader.position().byte(), bytes, "reading a table");
        }
        // The reader makes sure that all rows have the same number of cells.
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        for &at in &columns.features {
            values.push(number(cell(at)).ok_or_else(|| not_a_number(path, row, &names[at], cell(at)))?);
        }
        let word = cell(columns.target);
        match &mut target {
            Target::Words(words) if word.is_empty() => {
                return Err(DataError::unsupported(
                    path,
                    format!("row {} has no target", words.len() + 1),
                    "remove the row, or fill in the cell",
                ));
            }
            Target::Words(words) => words.push(word.to_owned()),
            Target::Numbers(numbers) => match number(word) {
                // In f64: a class must be a whole number, and 16777217 is none in f32.
                Some(_) => numbers.push(word.parse().unwrap_or(f64::NAN)),
                None if settings.predict == Some(Predict::Number) => {
                    return Err(not_a_number(path, row, &names[columns.target], word));
                }
                None => return Ok(None),
            },
        }
    }
    finish(path, values, columns.features.len(), target, settings).map(Some)
}

/// The header and the first row.
pub(super) fn outline(path: &Path, settings: &DataSettings) -> Result<Outline, DataError> {
    let table = Table::open(path, settings)?;
    let classes = match (&settings.labels, settings.predict) {
        (Some(labels), _) => Some(labels.len()),
        (None, Some(Predict::Number)) => Some(0),
        (None, _) => None,
    };
    let names = settings.labels.clone().unwrap_or_default();
    Ok(Outline { shape: vec![table.columns.features.len()], classes, names, ..Outline::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::places::Unwatched;
    use crate::raw::{Answers, Inputs};
    use crate::settings::Kind;

    fn table(text: &str, settings: Json) -> Result<Raw, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, text).unwrap();
        let settings = DataSettings::read(settings.as_object().unwrap(), Kind::Csv).unwrap();
        let raw = load(&path, &settings, &Unwatched).map_err(|error| error.to_string());
        if let (Ok(raw), Ok(outline)) = (&raw, outline(&path, &settings)) {
            let Inputs::Rows { width, .. } = raw.inputs else { panic!() };
            assert_eq!(outline.shape, [width]);
            assert!(outline.classes.is_none_or(|classes| classes == raw.classes));
        }
        raw
    }

    fn parts(raw: &Raw) -> (&[f32], usize, &Answers) {
        let Inputs::Rows { values, width } = &raw.inputs else { panic!() };
        (values, *width, &raw.answers)
    }

    #[test]
    fn tables_with_and_without_names_load() {
        let wanted = [1.0, -2.5, 3.0, 4e-3];
        for text in [
            "a,b,y\n1,-2.5,0\n3, 4e-3 ,2\n",
            "1,-2.5,0\n3,4e-3,2",
            "\u{feff}a;b;y\r\n1;-2.5;0\r\n3;4e-3;2\r\n",
        ] {
            let raw = table(text, json!({})).unwrap();
            assert_eq!(parts(&raw), (&wanted[..], 2, &Answers::Classes(vec![0, 2])), "{text}");
            assert_eq!(raw.classes, 3);
        }
        // Names of the target alone do not hide a header.
        let raw = table("y,a\nno,1\nyes,2\nno,3\n", json!({ "target": "y" })).unwrap();
        assert_eq!(parts(&raw), (&[1.0, 2.0, 3.0][..], 1, &Answers::Classes(vec![0, 1, 0])));
        assert_eq!(raw.names, ["no", "yes"]);
        let raw = table("no,1\nyes,2\n", json!({ "target": "0" })).unwrap();
        assert_eq!(parts(&raw), (&[1.0, 2.0][..], 1, &Answers::Classes(vec![0, 1])));
        let raw = table("no,1\nyes,2\n", json!({ "target": "0", "labels": ["yes", "maybe", "no"] })).unwrap();
        assert_eq!(parts(&raw).2, &Answers::Classes(vec![2, 0]));
        assert_eq!(raw.classes, 3);
        let raw = table("id,a,y\nx1,1,1.5\nx2,2,-3\n", json!({ "features": ["a"] })).unwrap();
        assert_eq!(parts(&raw).2, &Answers::Numbers { width: 1, rows: vec![1.5, -3.0] });
        assert_eq!(raw.classes, 0);
        let raw = table("1,7\n2,8\n", json!({ "predict": "number" })).unwrap();
        assert_eq!(parts(&raw).2, &Answers::Numbers { width: 1, rows: vec![7.0, 8.0] });
        let raw = table("1,2\n3,4\n", json!({ "header": true, "target": "2" })).unwrap();
        assert_eq!(parts(&raw), (&[3.0][..], 1, &Answers::Classes(vec![4])));
    }

    #[test]
    fn what_is_wrong_is_named_by_row_and_column() {
        for (text, settings, part) in [
            ("a,b,y\n1,x,0\n", json!({}), "row 1, column `b` holds `x`"),
            ("1,2,0\n1,,0\n", json!({}), "row 2, column `1` holds ``"),
            ("1,2,0\n1,nan,0\n", json!({}), "holds `nan`"),
            ("1,2,0\n1,1e99,0\n", json!({}), "holds `1e99`"),
            ("1,2,0\n1,2\n", json!({}), "every row needs as many cells"),
            ("", json!({}), "it is empty"),
            ("a\n1\n", json!({}), "it has 1 columns"),
            ("a,b\n1,2\n", json!({ "target": "c" }), "no column `c`; its 2 columns are `a`, `b`"),
            ("a,b\n1,2\n", json!({ "features": ["b"] }), "`b` is the target"),
            ("a,b\n1,2\n", json!({ "features": ["z"] }), "no column `z`"),
            ("1,2\n1,2.5\n", json!({ "predict": "class" }), "row 2 has the target 2.5"),
            ("1,-2\n", json!({ "predict": "class" }), "row 1 has the target -2"),
            ("1,x\n", json!({ "predict": "number", "header": false }), "holds `x`"),
            ("1,x\n1,\n", json!({ "header": false }), "row 2 has no target"),
            ("1,x\n1,y\n", json!({ "header": false, "labels": ["x"] }), "row 2 has the target `y`"),
        ] {
            let error = table(text, settings).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, b"1,2\n\xff,3\n").unwrap();
        let settings = DataSettings::read(&serde_json::Map::new(), Kind::Csv).unwrap();
        assert!(load(&path, &settings, &Unwatched).unwrap_err().to_string().contains("UTF-8"));
    }
}
