//! Tables in Parquet: flat columns of numbers, truth values or words, without missing values.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::basic::{ConvertedType, Type as Physical};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::SchemaDescriptor;

use super::Outline;
use super::table::{Columns, Target, finish, not_a_number};
use crate::error::DataError;
use crate::places::Watch;
use crate::raw::Raw;
use crate::settings::{DataSettings, Predict};

/// Values that are read at a time; memory grows with what is read, not with what a header declares.
const BLOCK: usize = 8192;

/// The columns of one row group, or of all.
enum Cells {
    Numbers(Vec<f64>),
    Words(Vec<String>),
}

fn damaged(path: &Path, offence: impl std::fmt::Display) -> DataError {
    DataError::malformed(path, format!("it is no readable Parquet file: {offence}"), "write or get it again")
}

/// The reader's library panics on some damaged files; that is an error of the file, not of the program.
fn guarded<T>(path: &Path, body: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(damaged(path, "its pages contradict each other")))
}

fn open(path: &Path) -> Result<SerializedFileReader<File>, DataError> {
    let file = File::open(path).map_err(|error| DataError::io(path, "open", error))?;
    SerializedFileReader::new(file).map_err(|error| damaged(path, error))
}

/// Names of the columns; all must be flat.
fn names(path: &Path, schema: &SchemaDescriptor) -> Result<Vec<String>, DataError> {
    schema
        .columns()
        .iter()
        .map(|column| {
            let name = column.path().string();
            if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
                let offence = format!("its column `{name}` holds lists or records");
                return Err(DataError::unsupported(path, offence, "write a table of plain columns"));
            }
            Ok(name)
        })
        .collect()
}

pub(super) fn load(path: &Path, settings: &DataSettings, watch: &dyn Watch) -> Result<Raw, DataError> {
    guarded(path, || read(path, settings, watch))
}

fn read(path: &Path, settings: &DataSettings, watch: &dyn Watch) -> Result<Raw, DataError> {
    let file = open(path)?;
    let schema = file.metadata().file_metadata().schema_descr();
    let names = names(path, schema)?;
    let columns = Columns::find(path, &names, settings)?;
    let width = columns.features.len();
    let (mut values, mut target) = (Vec::new(), None);
    for group in 0..file.num_row_groups() {
        if watch.cancelled() {
            return Err(DataError::Cancelled);
        }
        watch.progress(group as u64, file.num_row_groups() as u64, "reading a table");
        let done = values.len() / width;
        let cells = |at: usize| column(path, &file, group, at, &names[at], done);
        let mut features = Vec::with_capacity(width);
        for &at in &columns.features {
            match cells(at)? {
                Cells::Numbers(numbers) => features.push(numbers),
                Cells::Words(words) => {
                    let word = words.first().map_or("", String::as_str);
                    return Err(not_a_number(path, done + 1, &names[at], word));
                }
            }
        }
        let rows = features[0].len();
        let answers = cells(columns.target)?;
        let others = features.iter().map(Vec::len).chain([match &answers {
            Cells::Numbers(numbers) => numbers.len(),
            Cells::Words(words) => words.len(),
        }]);
        if let Some(other) = others.into_iter().find(|&other| other != rows) {
            return Err(damaged(path, format!("columns of row group {group} have {rows} and {other} rows")));
        }
        values.reserve(rows * width);
        for row in 0..rows {
            for (numbers, &at) in features.iter().zip(&columns.features) {
                let number = numbers[row] as f32;
                if !number.is_finite() {
                    return Err(not_a_number(path, done + row + 1, &names[at], &numbers[row].to_string()));
                }
                values.push(number);
            }
        }
        match (&mut target, answers) {
            (None, Cells::Numbers(numbers)) => target = Some(Target::Numbers(numbers)),
            (None, Cells::Words(words)) => target = Some(Target::Words(words)),
            (Some(Target::Numbers(all)), Cells::Numbers(numbers)) => all.extend(numbers),
            (Some(Target::Words(all)), Cells::Words(words)) => all.extend(words),
            // A column has one type.
            _ => return Err(damaged(path, "a column changes its type")),
        }
    }
    let name = &names[columns.target];
    let target = target.unwrap_or(Target::Numbers(Vec::new()));
    let target = match target {
        Target::Numbers(numbers) => {
            if let Some(row) = numbers.iter().position(|number| !(*number as f32).is_finite()) {
                return Err(not_a_number(path, row + 1, name, &numbers[row].to_string()));
            }
            match &settings.labels {
                Some(_) => Target::Words(numbers.iter().map(f64::to_string).collect()),
                None => Target::Numbers(numbers),
            }
        }
        Target::Words(words) => {
            if settings.predict == Some(Predict::Number) {
                return Err(not_a_number(path, 1, name, words.first().map_or("", String::as_str)));
            }
            Target::Words(words)
        }
    };
    finish(path, values, width, target, settings)
}

/// One column of a row group.
fn column(
    path: &Path,
    file: &SerializedFileReader<File>,
    group: usize,
    at: usize,
    name: &str,
    done: usize,
) -> Result<Cells, DataError> {
    let failed = |error: ParquetError| damaged(path, error);
    let group = file.get_row_group(group).map_err(failed)?;
    let kind = file.metadata().file_metadata().schema_descr().column(at);
    let optional = kind.max_def_level() > 0;
    let reader = group.get_column_reader(at).map_err(failed)?;
    let numbers = |numbers: Result<Vec<f64>, Stop>| numbers.map(Cells::Numbers);
    let unsigned = matches!(kind.converted_type(), ConvertedType::UINT_32 | ConvertedType::UINT_64);
    let cells = match reader {
        ColumnReader::BoolColumnReader(reader) => {
            numbers(all(reader, optional, |&truth| f64::from(u8::from(truth))))
        }
        ColumnReader::Int32ColumnReader(reader) if unsigned => {
            numbers(all(reader, optional, |&int| f64::from(int as u32)))
        }
        ColumnReader::Int64ColumnReader(reader) if unsigned => {
            numbers(all(reader, optional, |&int| int as u64 as f64))
        }
        ColumnReader::Int32ColumnReader(reader) => numbers(all(reader, optional, |&int| f64::from(int))),
        ColumnReader::Int64ColumnReader(reader) => numbers(all(reader, optional, |&int| int as f64)),
        ColumnReader::FloatColumnReader(reader) => numbers(all(reader, optional, |&float| f64::from(float))),
        ColumnReader::DoubleColumnReader(reader) => numbers(all(reader, optional, |&float| float)),
        ColumnReader::ByteArrayColumnReader(reader) => {
            all(reader, optional, |bytes| String::from_utf8_lossy(bytes.data()).into_owned())
                .map(Cells::Words)
        }
        ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
            let offence = format!("its column `{name}` has the type {:?}", kind.physical_type());
            return Err(DataError::unsupported(path, offence, "write numbers, truth values or words"));
        }
    };
    // Decimals and times are numbers of another unit than they look.
    let plain = matches!(
        kind.converted_type(),
        ConvertedType::NONE
            | ConvertedType::UTF8
            | ConvertedType::ENUM
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64
            | ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64
    );
    if !plain
        || (kind.physical_type() == Physical::BYTE_ARRAY && kind.converted_type() == ConvertedType::DECIMAL)
    {
        let offence = format!("its column `{name}` holds {:?} values", kind.converted_type());
        return Err(DataError::unsupported(path, offence, "write plain numbers, truth values or words"));
    }
    cells.map_err(|stop| match stop {
        Stop::Failed(error) => failed(error),
        Stop::Missing(row) => not_a_number(path, done + row + 1, name, ""),
    })
}

/// Why a column was not read to its end.
enum Stop {
    Failed(ParquetError),
    /// A missing value, at this row of the group.
    Missing(usize),
}

/// All values of a flat column.
fn all<T: DataType, V>(
    mut reader: ColumnReaderImpl<T>,
    optional: bool,
    value: impl Fn(&T::T) -> V,
) -> Result<Vec<V>, Stop> {
    let mut values = Vec::new();
    let (mut block, mut levels) = (Vec::with_capacity(BLOCK), Vec::new());
    loop {
        block.clear();
        levels.clear();
        let (records, ..) = reader
            .read_records(BLOCK, optional.then_some(&mut levels), None, &mut block)
            .map_err(Stop::Failed)?;
        if records == 0 {
            return Ok(values);
        }
        if let Some(missing) = levels.iter().position(|&level| level == 0) {
            return Err(Stop::Missing(values.len() + missing));
        }
        values.extend(block.iter().map(&value));
    }
}

/// The footer.
pub(super) fn outline(path: &Path, settings: &DataSettings) -> Result<Outline, DataError> {
    guarded(path, || {
        let file = open(path)?;
        let metadata = file.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let names = names(path, schema)?;
        let columns = Columns::find(path, &names, settings)?;
        let rows = usize::try_from(metadata.file_metadata().num_rows())
            .map_err(|_| damaged(path, "its number of rows is negative"))?;
        let physical = schema.column(columns.target).physical_type();
        let classes = match (&settings.labels, settings.predict) {
            (Some(labels), _) => Some(labels.len()),
            (None, Some(Predict::Number)) => Some(0),
            (None, None) if matches!(physical, Physical::FLOAT | Physical::DOUBLE) => None,
            (None, _) => None,
        };
        Ok(Outline {
            len: Some(rows),
            shape: vec![columns.features.len()],
            classes,
            names: settings.labels.clone().unwrap_or_default(),
            labels: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::basic::Compression;
    use ::parquet::data_type::{
        BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type,
    };
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
    use ::parquet::schema::parser::parse_message_type;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::places::Unwatched;
    use crate::raw::{Answers, Inputs};
    use crate::settings::Kind;

    type Group<'a> = SerializedRowGroupWriter<'a, File>;

    fn put<T: DataType>(group: &mut Group<'_>, values: &[T::T], levels: Option<&[i16]>) {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(values, levels, None).unwrap();
        column.close().unwrap();
    }

    fn write(path: &Path, schema: &str, compression: Compression, groups: &[&dyn Fn(&mut Group<'_>)]) {
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        for group in groups {
            let mut row_group = writer.next_row_group().unwrap();
            group(&mut row_group);
            row_group.close().unwrap();
        }
        writer.close().unwrap();
    }

    const SCHEMA: &str = "message table {
        required double a; optional float b; required int32 c (INTEGER(32, false)); required boolean d;
        required binary y (UTF8); required int64 z; }";

    fn table(path: &Path, compression: Compression) {
        let group = |first: f64| {
            move |group: &mut Group<'_>| {
                put::<DoubleType>(group, &[first, first + 1.0], None);
                put::<FloatType>(group, &[0.5, -0.5], Some(&[1, 1]));
                put::<Int32Type>(group, &[7, -1], None);
                put::<BoolType>(group, &[true, false], None);
                put::<ByteArrayType>(group, &["no", "yes"].map(ByteArray::from), None);
                put::<Int64Type>(group, &[3, 0], None);
            }
        };
        write(path, SCHEMA, compression, &[&group(1.0), &group(10.0)]);
    }

    fn loaded(path: &Path, settings: Json) -> Result<Raw, String> {
        let settings = DataSettings::read(settings.as_object().unwrap(), Kind::Parquet).unwrap();
        let raw = load(path, &settings, &Unwatched).map_err(|error| error.to_string());
        if let Ok(raw) = &raw {
            let outline = outline(path, &settings).unwrap();
            assert_eq!(outline.len, Some(raw.len()));
        }
        raw
    }

    #[test]
    fn all_types_and_compressions_load() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(Default::default()),
        ] {
            table(&path, compression);
            let raw = loaded(&path, json!({ "features": ["a", "b", "c", "d"] })).unwrap();
            let Inputs::Rows { values, width: 4 } = &raw.inputs else { panic!() };
            // 4294967295 in f32.
            let top = u32::MAX as f32;
            assert_eq!(values[..8], [1.0, 0.5, 7.0, 1.0, 2.0, -0.5, top, 0.0]);
            assert_eq!(values[8..], [10.0, 0.5, 7.0, 1.0, 11.0, -0.5, top, 0.0]);
            assert_eq!(raw.answers, Answers::Classes(vec![3, 0, 3, 0]));
            let raw = loaded(&path, json!({ "target": "y", "features": ["z"] })).unwrap();
            assert_eq!(
                (raw.answers, raw.names),
                (Answers::Classes(vec![0, 1, 0, 1]), vec!["no".into(), "yes".into()])
            );
            let raw = loaded(&path, json!({ "target": "b", "features": ["z"] })).unwrap();
            assert_eq!(raw.answers, Answers::Numbers { width: 1, rows: vec![0.5, -0.5, 0.5, -0.5] });
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        table(&path, Compression::SNAPPY);
        assert!(loaded(&path, json!({})).unwrap_err().contains("row 1, column `y` holds `no`"));
        assert!(
            loaded(&path, json!({ "target": "q" }))
                .unwrap_err()
                .contains("no column `q`; its 6 columns are `a`")
        );
        let error = loaded(&path, json!({ "target": "y", "predict": "number", "features": ["a"] }));
        assert!(error.unwrap_err().contains("column `y` holds `no`"));

        let schema = "message t { optional double a; required double y; }";
        write(
            &path,
            schema,
            Compression::SNAPPY,
            &[&|group| {
                put::<DoubleType>(group, &[1.0], Some(&[1, 0]));
                put::<DoubleType>(group, &[1.0, 2.0], None);
            }],
        );
        assert!(loaded(&path, json!({})).unwrap_err().contains("row 2, column `a` holds ``"));
        write(
            &path,
            schema,
            Compression::SNAPPY,
            &[&|group| {
                put::<DoubleType>(group, &[1.0, 2.0], Some(&[1, 1]));
                put::<DoubleType>(group, &[1.5, f64::NAN], None);
            }],
        );
        assert!(loaded(&path, json!({})).unwrap_err().contains("row 2, column `y` holds `NaN`"));
        let schema = "message t { required int32 a (DECIMAL(5, 2)); required double y; }";
        write(
            &path,
            schema,
            Compression::SNAPPY,
            &[&|group| {
                put::<Int32Type>(group, &[1], None);
                put::<DoubleType>(group, &[1.0], None);
            }],
        );
        assert!(loaded(&path, json!({})).unwrap_err().contains("DECIMAL"));
        let schema = "message t { required group a (LIST) { repeated group list { required int32 element; } } required double y; }";
        write(&path, schema, Compression::SNAPPY, &[]);
        assert!(loaded(&path, json!({})).unwrap_err().contains("lists or records"));
    }

    /// No cut passes; a changed byte gives an error or some table, but never a panic or a long allocation.
    #[test]
    fn cut_and_changed_files_never_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        table(&path, Compression::UNCOMPRESSED);
        let bytes = std::fs::read(&path).unwrap();
        for cut in (0..bytes.len()).step_by(7) {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(loaded(&path, json!({ "target": "y", "features": ["a"] })).is_err(), "{cut}");
        }
        let settings = DataSettings::read(
            json!({ "target": "y", "features": ["a", "b"] }).as_object().unwrap(),
            Kind::Parquet,
        );
        let settings = settings.unwrap();
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            std::fs::write(&path, &changed).unwrap();
            let _ = load(&path, &settings, &Unwatched);
            let _ = outline(&path, &settings);
        }
    }
}
