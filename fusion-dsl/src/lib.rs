//! The recipe language of fusion: text in, checked graph out, and nothing but text and descriptors in between.
//!
//! The front end never fails: every step gives its result and what it has to say about the recipe. It reads no file and
//! knows no tensor; it sees the outside through [`world::World`].

pub mod ast;
mod check;
pub mod codes;
pub mod compile;
pub mod descriptor;
pub mod diag;
mod eval;
pub mod fmt;
pub mod glob;
pub mod graph;
pub mod hash;
mod import;
pub mod keywords;
mod lower;
mod params;
pub mod parse;
pub mod print;
pub mod recipes;
pub mod render;
mod resolve;
pub mod span;
pub mod suggest;
mod sweep;
pub mod world;

pub use codes::Code;
pub use compile::{Compiled, Variant, compile};
pub use diag::{Diagnostic, Edit, Fix, Label, Severity};
pub use parse::{parse, parse_expr, parse_file};
pub use span::{FileId, LineColumn, Source, SourceMap, Span, Spanned};
