//! The code in `docs/plugins.md` that is not a test by itself: each block stands, word for word, in one of the samples, which are.

use std::fs;
use std::path::Path;

const SAMPLES: [&str; 5] = [
    "rust/src/lib.rs",
    "rust/src/consensus.rs",
    "rust/src/geometric_median.rs",
    "c/median.c",
    "cpp/rms_match.cpp",
];

#[test]
fn quoted_code_is_that_of_the_samples() {
    let samples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let sources = SAMPLES.map(|path| fs::read_to_string(samples.join(path)).unwrap());
    let book = fs::read_to_string(samples.join("../../docs/plugins.md")).unwrap();
    let mut blocks = 0;
    let mut rest = book.as_str();
    while let Some((_, after)) = rest.split_once("\n```") {
        let (kind, body) = after.split_once('\n').unwrap();
        let (block, next) = body.split_once("\n```").expect("every block ends");
        match kind {
            "rust,ignore" | "c" | "cpp" => {
                blocks += 1;
                assert!(sources.iter().any(|source| source.contains(block)), "in no sample:\n{block}");
            }
            // Compiled and run as a test of the library's documentation; shown commands and recipes.
            "rust" | "console" | "text" => {}
            other => panic!("a block of `{other}` is tested by nobody"),
        }
        rest = next;
    }
    assert!(blocks >= 5, "{blocks} blocks");
}
