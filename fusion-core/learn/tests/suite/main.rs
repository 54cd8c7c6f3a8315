//! Training of real networks, against loops and optimisers that are written down or come from burn.

mod networks;
mod objective;
mod optimizers;
