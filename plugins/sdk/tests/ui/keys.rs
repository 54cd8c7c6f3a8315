//! Entries of `#[param(…)]` that are not understood.

use fusion_sdk::Params;

#[derive(Clone, Params)]
struct Settings {
    #[param(ranges = 0..=1)]
    misspelt: f64,
    #[param(varies, default = 1, varies)]
    twice: f64,
    #[param(unit = percent)]
    unit: f64,
    #[param(default =, varies)]
    nothing: f64,
}

fn main() {}
