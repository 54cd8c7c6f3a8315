//! Defaults outside their range, and where none can be.

use fusion_sdk::Params;

#[derive(Clone, Params)]
struct Settings {
    #[param(range = 0.0..=1.0, default = 1.5)]
    high: f64,
    #[param(range = 0.., default = -1)]
    low: i32,
    #[param(above = 0, default = 0)]
    excluded: f32,
    #[param(default = 0.5)]
    optional: Option<f64>,
}

fn main() {}
