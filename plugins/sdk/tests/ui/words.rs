//! What is no list of words.

use fusion_sdk::Words;

#[derive(Words)]
enum Payload {
    Plain,
    Tuple(f64),
    Named { share: f64 },
}

#[derive(Words)]
struct Struct;

#[derive(Words)]
enum Empty {}

#[derive(Words)]
enum Generic<const N: usize> {
    One,
}

fn main() {}
