//! The conformance kit: what a library must do to be a plugin of fusion, as tests that find out.
//!
//! [`TESTS`] is the list. [`supervise`] runs tests in child processes with a time limit, so that a plugin that crashes or hangs costs one
//! test; [`run_in_process`] is what a child does. The kit brings a host of its own (`driver`) that speaks the raw contract of
//! `fusion-abi`: it can offer less or more than the real one, watches every border of the memory that it lends, and takes it away after
//! a call.
//!
//! `faulty/faulty.c` is a plugin with one fault per test, so that every test is known to fail where it should.
#![deny(unsafe_code)]

mod checks;
mod driver;
mod kit;
mod params;
mod reference;
mod run;
mod supervise;
mod table;
mod task;
mod verdict;

pub use kit::run_in_process;
pub use supervise::{Limits, supervise};
pub use table::{Group, TESTS, Test, markdown};
pub use verdict::{Report, Summary, Verdict};
