//! Alignments in files, so that what was found once can be applied again: one file holds those of all models of a stage.
//!
//! `{"format": "fusion-alignment", "version": 1, "result": "…", "alignments": [{"model": "b", "alignment": {…}}]}`, in the order of the
//! stage's `from`; `result` is the key of the stage. A file of one bare alignment, as fusion wrote at first, is read too.

use std::io::{self, BufRead as _, Write};
use std::path::{Path, PathBuf};

use fusion_sdk::alignment::Alignment;
use serde::Deserialize;
use serde_json::Value as Json;

const FORMAT: &str = "fusion-alignment";
const VERSION: u64 = 1;

/// An alignment, and what the model that it was found for is called.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Named {
    /// Name in the recipe; empty where the file does not say it.
    pub(crate) model: String,
    /// What was found.
    pub(crate) alignment: Alignment,
}

/// Writes a file of alignments that lie in files of their own, each with the name of its model. Maps may be large, so they are copied
/// and not read. `result` says which result it is.
///
/// # Errors
/// The file system's, or one of the files is no JSON object.
pub(crate) fn write(to: &mut impl Write, result: &str, alignments: &[(&str, PathBuf)]) -> io::Result<()> {
    let text = |text: &str| serde_json::to_string(text).map_err(io::Error::other);
    write!(
        to,
        "{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"result\":{},\"alignments\":[",
        text(result)?
    )?;
    for (index, (model, path)) in alignments.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(to, "{comma}{{\"model\":{},\"alignment\":", text(model)?)?;
        let mut object = io::BufReader::new(std::fs::File::open(path)?);
        if object.fill_buf()?.first() != Some(&b'{') {
            return Err(io::Error::other(format!("`{}` is no alignment", path.display())));
        }
        io::copy(&mut object, to)?;
        write!(to, "}}")?;
    }
    write!(to, "]}}")
}

/// The alignments of a text: at least one.
///
/// # Errors
/// What is wrong with it: no JSON, another format, a later version, none in it.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Named>, String> {
    let json: Json = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let Some(format) = json.get("format") else {
        let alignment = serde_json::from_value(json).map_err(|error| error.to_string())?;
        return Ok(vec![Named { model: String::new(), alignment }]);
    };
    if format.as_str() != Some(FORMAT) {
        return Err(format!("its format is {format}, not \"{FORMAT}\""));
    }
    match json.get("version").and_then(Json::as_u64) {
        Some(VERSION) => {}
        Some(later) if later > VERSION => {
            return Err(format!("it is of version {later}, and this fusion reads up to {VERSION}"));
        }
        _ => return Err("its version is no whole number from 1 on".to_owned()),
    }
    let list = json.get("alignments").cloned().unwrap_or_default();
    let found: Vec<Named> = serde_json::from_value(list).map_err(|error| format!("`alignments`: {error}"))?;
    match found.is_empty() {
        true => Err("it holds no alignment".to_owned()),
        false => Ok(found),
    }
}

/// The alignments of a file.
///
/// # Errors
/// It cannot be read, or see [`parse`] ([`io::ErrorKind::InvalidData`]).
pub(crate) fn read(path: &Path) -> io::Result<Vec<Named>> {
    parse(&std::fs::read(path)?).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))
}

#[cfg(test)]
mod tests {
    use fusion_sdk::alignment::Transform;

    use super::*;

    fn one(model: &str, unit: u32) -> Named {
        let nodes = vec![("h".to_owned(), Transform::Permutation(vec![vec![unit, 1 - unit]]))];
        let alignment = Alignment { from: "a".to_owned(), to: "b".to_owned(), nodes };
        Named { model: model.to_owned(), alignment }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let space = tempfile::tempdir().unwrap();
        let all = vec![one("a", 0), one("b \"quoted\"", 1)];
        let mut parts = Vec::new();
        for (index, named) in all.iter().enumerate() {
            let path = space.path().join(index.to_string());
            std::fs::write(&path, serde_json::to_vec(&named.alignment).unwrap()).unwrap();
            parts.push((named.model.as_str(), path));
        }
        let mut written = Vec::new();
        write(&mut written, "0123", &parts).unwrap();
        assert!(written.starts_with(br#"{"format":"fusion-alignment","version":1,"result":"0123","#));
        assert_eq!(parse(&written).as_ref(), Ok(&all));
        std::fs::write(&parts[0].1, "").unwrap();
        assert!(write(&mut Vec::new(), "0123", &parts).is_err());
    }

    #[test]
    fn a_bare_alignment_is_read() {
        let bare = serde_json::to_vec(&one("", 1).alignment).unwrap();
        assert_eq!(parse(&bare), Ok(vec![one("", 1)]));
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for (text, word) in [
            ("{", "EOF"),
            ("[]", "invalid"),
            (r#"{"format": "fusion-path", "version": 1}"#, "fusion-path"),
            (r#"{"format": "fusion-alignment", "version": 2, "alignments": []}"#, "up to 1"),
            (r#"{"format": "fusion-alignment", "alignments": []}"#, "version"),
            (r#"{"format": "fusion-alignment", "version": 1}"#, "alignments"),
            (r#"{"format": "fusion-alignment", "version": 1, "alignments": []}"#, "no alignment"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
