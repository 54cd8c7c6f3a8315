//! The recipe language of fusion: text in, checked graph out, and nothing but text and descriptors in between.
//!
//! The front end never fails: every step gives its result and what it has to say about the recipe. It reads no file and
//! knows no tensor; it sees the outside through [`world::World`].

pub mod ast;
pub mod codes;
pub mod descriptor;
pub mod diag;
pub mod span;
pub mod suggest;

pub use codes::Code;
pub use diag::{Diagnostic, Edit, Fix, Label, Severity};
pub use span::{FileId, LineColumn, Source, SourceMap, Span, Spanned};
