//! The front end on anything: no panic, spans inside the text, formatting settles after one round, trees survive JSON.

mod support;

use fusion_dsl::{SourceMap, diag, fmt, parse, parse_expr, render};
use proptest::prelude::*;
use support::{RECIPES, json};

const WORDS: &[&str] = &[
    "fusion 1",
    "\n",
    "\n",
    "\n  ",
    " ",
    ";",
    ",",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    "==",
    ":",
    "..",
    "..=",
    "+",
    "-",
    "*",
    "/",
    "<",
    "%",
    "?",
    ".",
    "\"x\"",
    "\"",
    "'",
    "#",
    "# c\n",
    "0",
    "1e-3",
    "60%",
    "5 GB",
    "40 epochs",
    "3 bananas",
    "true",
    "use plugin",
    "import",
    "param",
    "let",
    "model",
    "data",
    "average",
    "stitch",
    "train",
    "save",
    "report",
    "expect",
    "sweep",
    "for",
    "in",
    "if",
    "else",
    "not",
    "and",
    "or",
    "on",
    "layers",
    "tensors",
    "take",
    "rest",
    "of",
    "mlp(784, [64], 10)",
    "between",
    "collect",
    "using",
    "from",
    "to",
    "as",
    "with",
    "a",
    "b.c",
    "tuned[*]",
    "ramp(",
    "é",
    "\t",
    "\r\n",
    "&&",
    "“q”",
    "\\",
];

fn survives(text: &str) -> Result<(), TestCaseError> {
    let (file, diagnostics) = parse(text);
    for diagnostic in &diagnostics {
        support::assert_well_formed(diagnostic, text);
    }
    let sources = SourceMap::single("x.fusion", text);
    let shown = render::terminal(&diagnostics, &sources, false);
    prop_assert_eq!(shown.is_empty(), diagnostics.is_empty());
    render::json(&diagnostics, &sources);
    let (fixed, _) = diag::apply_fixes(text, &diagnostics);
    parse(&fixed);
    let _ = parse_expr(fusion_dsl::FileId::NONE, text);
    let (once, errors) = fmt::format(text);
    let (twice, _) = fmt::format(&once);
    prop_assert_eq!(&once, &twice);
    if errors.is_empty() {
        prop_assert_eq!(json(&parse(&once).0), json(&file));
        support::assert_round_trip(&file, text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        survives(&text)?;
    }

    #[test]
    fn any_bytes_that_are_text(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        survives(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn any_words(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        survives(&words.join(" "))?;
        survives(&words.concat())?;
        survives(&format!("fusion 1\n{}", words.join(" ")))?;
    }

    #[test]
    fn any_splice_of_recipes(which in 0..RECIPES.len(), at in any::<prop::sample::Index>(), length in 0usize..40,
                             words in proptest::collection::vec(proptest::sample::select(WORDS), 0..4)) {
        let text = RECIPES[which].1;
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        if text.is_char_boundary(start) && text.is_char_boundary(end) {
            survives(&format!("{}{}{}", &text[..start], words.join(" "), &text[end..]))?;
        }
    }

    #[test]
    fn any_tree_value(value in expr()) {
        let tree = serde_json::json!({ "edition": 1, "items": [{ "item": "let", "name": "x", "value": value }] });
        let Ok(file) = fusion_dsl::print::file_from_json(&tree.to_string()) else {
            return Err(TestCaseError::fail("a tree of the right shape is refused"));
        };
        support::assert_round_trip(&file, "value");
        survives(&fusion_dsl::print::print(&file))?;
    }
}

/// JSON trees of values.
fn expr() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    let leaf = prop_oneof![
        prop_oneof![any::<u32>().prop_map(f64::from), -1e3..1e3, Just(1e300), Just(-0.0)]
            .prop_map(|n| json!({ "number": n })),
        (0.0..1e6, prop::sample::select(vec!["%", "GB", "epoch", "hour"]))
            .prop_map(|(value, unit)| json!({ "quantity": { "value": value, "unit": unit } })),
        "[ -~é\n\t]{0,8}".prop_map(|text| json!({ "text": text })),
        any::<bool>().prop_map(|value| json!({ "bool": value })),
        prop::sample::select(vec!["a", "b.c", "run.points"])
            .prop_map(|path| json!({ "ref": { "path": path } })),
        Just(json!({ "ref": { "path": "t", "index": "all", "tail": ["best"] } })),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!({ "list": list })),
            pair.clone().prop_map(|(a, b)| json!({ "comprehension": { "body": a, "variable": "i", "in": b } })),
            pair.clone().prop_map(|(a, b)| json!({ "call": { "function": "f", "args": [{ "value": a }, { "name": "n", "value": b }] } })),
            pair.clone().prop_map(|(a, b)| json!({ "range": { "start": a, "end": b, "inclusive": true } })),
            (inner.clone(), prop::sample::select(vec!["-", "not"])).prop_map(|(a, op)| json!({ "unary": { "op": op, "operand": a } })),
            (pair, prop::sample::select(vec!["or", "and", "==", "<", "+", "-", "*", "/"]))
                .prop_map(|((a, b), op)| json!({ "binary": { "op": op, "left": a, "right": b } })),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| json!({ "conditional": { "then": a, "if": b, "else": c } })),
            inner.prop_map(|a| json!({ "ref": { "path": "t", "index": { "at": a } } })),
        ]
    })
}
