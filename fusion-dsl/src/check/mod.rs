//! Checks of items against what is known without reading a weight: types, units, methods, ports, parameters.

pub(crate) mod edges;
pub(crate) mod expect;
pub(crate) mod facts;
pub(crate) mod fit;
pub(crate) mod items;
pub(crate) mod kinds;
pub(crate) mod methods;
pub(crate) mod network;
pub(crate) mod parameters;
pub(crate) mod rules;
pub(crate) mod settings;
pub(crate) mod stage;
pub(crate) mod tables;
pub(crate) mod unused;
pub(crate) mod vary;
