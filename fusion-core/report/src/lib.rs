//! What people look at after a run: SVG plots, tables, one HTML page.
//!
//! The engine fills a [`Report`]; [`write()`] turns it into files, [`text`] into lines for a terminal. Nothing here knows models
//! or recipes, so whatever has numbers to show can use it.

pub mod csv;
mod error;
mod escape;
pub mod html;
pub mod json;
pub mod model;
pub mod number;
mod plots;
pub mod svg;
pub mod text;
mod write;

pub use error::ReportError;
pub use model::Report;
pub use write::write;
