//! Ranges that cannot be meant.

use fusion_sdk::Params;

#[derive(Clone, Params)]
struct Settings {
    #[param(range = 0..1)]
    half_open: f64,
    #[param(range = 1..=0)]
    empty: u32,
    #[param(range = 0.., above = 0)]
    twice: f64,
    #[param(range = 0..=1)]
    text: String,
    #[param(above = 0)]
    flag: Option<bool>,
}

fn main() {}
