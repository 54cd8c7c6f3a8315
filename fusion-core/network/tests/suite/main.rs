//! One suite for all devices that are built in. Tolerances stand where they are used.

mod arguments;
mod devices;
mod fits;
mod gradients;
mod graphs;
mod initial;
mod pure;
mod pytorch;
mod reference;
mod states;
mod symmetry;
mod taps;
