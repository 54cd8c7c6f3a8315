//! Any JSON tree: it is refused, or its text reads back as the same tree.
#![no_main]

use fusion_dsl::{parse, print};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &str| {
    if let Ok(text) = print::text_from_json(json) {
        assert!(parse(&text).1.is_empty(), "{text}");
    }
});
