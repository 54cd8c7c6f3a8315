//! What is no set of settings.

use fusion_sdk::Params;

#[derive(Clone, Params)]
struct Tuple(f64);

#[derive(Clone, Params)]
enum Choice {
    One,
}

#[derive(Clone, Params)]
struct Generic<T> {
    value: Option<T>,
}

fn main() {}
