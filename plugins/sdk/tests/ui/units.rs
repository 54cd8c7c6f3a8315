//! Units that the type cannot have.

use fusion_sdk::Params;

#[derive(Clone, Params)]
struct Settings {
    #[param(unit = fraction)]
    share: u32,
    #[param(unit = bytes)]
    memory: f64,
    #[param(unit = seed)]
    seed: Option<String>,
}

fn main() {}
