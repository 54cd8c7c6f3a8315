//! The report for machines: one JSON object that says what it is.

use serde::{Deserialize, Serialize};

use crate::model::Report;

/// What the object says of itself.
const FORMAT: &str = "fusion-report";
/// Raised when a field changes its meaning or goes away; new fields do not raise it.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u32,
    #[serde(flatten)]
    report: &'a Report,
}

#[derive(Deserialize)]
struct Marker {
    format: String,
    version: u32,
}

/// The report as JSON, in lines.
pub fn write(report: &Report) -> String {
    let written = Written { format: FORMAT, version: VERSION, report };
    // Keys are strings and numbers are finite, see `model`: nothing in a report is unknown to JSON.
    let text = serde_json::to_string_pretty(&written);
    debug_assert!(text.is_ok(), "{text:?}");
    text.unwrap_or_default() + "\n"
}

/// Reads what [`write()`] has written.
///
/// # Errors
/// Why the text is no report.
pub fn read(text: &str) -> Result<Report, String> {
    marker(text)?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Checks that the text is a report of ours in a version that we know.
pub(crate) fn marker(text: &str) -> Result<(), String> {
    let marker: Marker = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if marker.format != FORMAT {
        return Err(format!("its format is `{}`, not `{FORMAT}`", marker.format));
    }
    if marker.version > VERSION {
        return Err(format!(
            "its version is {}, and this program knows versions up to {VERSION}",
            marker.version
        ));
    }
    Ok(())
}
