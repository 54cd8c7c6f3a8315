//! The kit's own host: it speaks the raw contract, so that it can offer less than the real host does, watch every border of the
//! memory that it lends, and take it away after a call.
//!
//! The only place of the kit with `unsafe`. Everything above it calls safe functions.
#![allow(unsafe_code)]

mod call;
mod host;
mod instance;
mod library;
mod memory;
mod model;
mod services;

pub(crate) use call::{Call, Meta};
pub(crate) use host::{Host, Offer, Told};
pub(crate) use instance::{Action, Instance, Live, Plan, Trouble, scope};
pub(crate) use library::{Library, Method, OpenError, Plugin, PortFacts};
pub(crate) use memory::{Fault, Kind, Violation};
pub(crate) use model::Models;

/// Elements of a stretch: where stretches may start, and the most that one has.
pub(crate) const STRETCH: u64 = 2048;

/// Elements of a block of statistics.
pub(crate) const BLOCK: u64 = 1 << 20;
