//! Any text: parse, render, fix, format. Formatting must settle after one round and keep the tree of a correct recipe.
#![no_main]

use fusion_dsl::{FileId, SourceMap, diag, fmt, parse, parse_expr, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (file, diagnostics) = parse(text);
    let sources = SourceMap::single("fuzz.fusion", text);
    render::terminal(&diagnostics, &sources, true);
    render::json(&diagnostics, &sources);
    let (fixed, _) = diag::apply_fixes(text, &diagnostics);
    parse(&fixed);
    let _ = parse_expr(FileId::NONE, text);
    let (once, errors) = fmt::format(text);
    assert_eq!(once, fmt::format(&once).0);
    if errors.is_empty() {
        let tree = |file| serde_json::to_value(file).expect("a tree is plain data");
        assert_eq!(tree(&parse(&once).0), tree(&file));
    }
});
