//! A default of another type: the compiler's own message, once and at the place.

use fusion_sdk::Params;

#[derive(Clone, Params)]
struct Settings {
    #[param(default = 0.5)]
    steps: u32,
}

fn main() {}
