//! The whole command, as its users meet it: arguments in; files, text and exit codes out.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

mod align;
mod align_faults;
mod check;
mod checkpoints;
mod experiments;
mod faults;
mod formats;
mod inspect;
mod interrupt;
mod language;
mod other;
mod plan;
mod plugins;
mod repair;
mod run;
mod same_bytes;
mod symmetries;
