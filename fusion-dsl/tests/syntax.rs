//! The parser on whole recipes: it reads the seven of the reference, and cutting or dropping any token never panics and
//! never goes unnoticed where the rest is no recipe.

mod support;

use fusion_dsl::{Code, Severity, ast, parse};
use support::{RECIPES, json, tokens};

#[test]
fn the_seven_recipes_have_no_syntax_error() {
    for (name, text) in RECIPES {
        let (file, diagnostics) = parse(text);
        assert!(diagnostics.is_empty(), "{name}: {diagnostics:#?}");
        assert!(file.items.len() >= 5, "{name}");
    }
}

#[test]
fn every_prefix_is_read_without_a_panic() {
    for (name, text) in RECIPES {
        let whole = parse(text).0.items.len();
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let (file, diagnostics) = parse(&text[..end]);
            assert!(file.items.len() <= whole, "{name} cut at {end}");
            // What is not in the tree has been reported, and what has not been reported prints and reads back.
            assert!(file.broken.is_empty() || !diagnostics.is_empty(), "{name} cut at {end}");
            if diagnostics.is_empty() {
                support::assert_round_trip(&file, &format!("{name} cut at {end}"));
            }
            for diagnostic in &diagnostics {
                support::assert_well_formed(diagnostic, &text[..end]);
            }
        }
    }
}

#[test]
fn a_cut_inside_a_bracket_or_a_text_is_an_error() {
    for (name, text) in RECIPES {
        let mut open = 0i32;
        for token in tokens(text) {
            match token.text {
                "{" | "[" | "(" => open += 1,
                "}" | "]" | ")" => open -= 1,
                _ => {}
            }
            if open > 0 || token.text.starts_with('"') && token.text.len() > 1 {
                let end = if open > 0 { token.end } else { token.end - 1 };
                let (_, diagnostics) = parse(&text[..end]);
                assert!(!diagnostics.is_empty(), "{name} cut at {end}");
            }
        }
    }
}

#[test]
fn dropping_any_token_is_noticed_or_leaves_another_recipe() {
    for (name, text) in RECIPES {
        let original = json(&parse(text).0);
        for token in tokens(text) {
            let broken = format!("{}{}", &text[..token.start], &text[token.end..]);
            let (file, diagnostics) = parse(&broken);
            if diagnostics.is_empty() {
                // `;` and `,` before a closing bracket may go; anything else must change the meaning.
                let spare = matches!(token.text, "," | ";");
                assert!(
                    spare || json(&file) != original,
                    "{name}: dropping `{}` at {}",
                    token.text,
                    token.start
                );
                support::assert_round_trip(&file, name);
            }
            let structural = matches!(token.text, "{" | "}" | "[" | "]" | "(" | ")" | "using" | "to");
            if structural {
                assert!(!diagnostics.is_empty(), "{name}: dropping `{}` at {}", token.text, token.start);
            }
        }
    }
}

#[test]
fn all_broken_items_are_reported_in_one_run() {
    let text = "fusion 1\nmodel a form \"x\"\nmodle b from \"y\"\naverage c using mean { from a\n\nsave c to \"z\" { dtype : bf16 }\n";
    let (file, diagnostics) = parse(text);
    let codes: Vec<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    assert_eq!(
        codes,
        [Code::UnknownKeyword, Code::UnknownKeyword, Code::UnclosedBracket, Code::ColonForEquals],
        "{diagnostics:#?}"
    );
    assert_eq!(file.items.len(), 2, "the two slips with a clear meaning are kept");
    let names: Vec<&str> =
        file.broken.iter().filter_map(|broken| broken.name.as_ref()).map(|name| name.text.as_str()).collect();
    assert_eq!(names, ["b", "c"], "later steps know what the broken items bind");
}

#[test]
fn all_broken_clauses_of_a_block_are_reported_in_one_run() {
    let text = "fusion 1\naverage c using mean {\n  from a b\n  weight = \n  on layers { x = 1 }\n  from d { weight = ) }\n}\n";
    let (_, diagnostics) = parse(text);
    assert!(!diagnostics.is_empty());
    let text = text.replace(')', "*");
    let (_, diagnostics) = parse(&text);
    assert_eq!(diagnostics.len(), 4, "{diagnostics:#?}");
}

#[test]
fn nesting_is_refused_in_linear_time_and_without_overflowing_the_stack() {
    for (open, close) in
        [("[", "]"), ("(", ")"), ("f(", ")"), ("x[", "]"), ("- ", ""), ("not ", ""), ("1 + ", "")]
    {
        for depth in [10usize, 60, 200, 100_000] {
            let text = format!("fusion 1\nlet x = {}1{}\n", open.repeat(depth), close.repeat(depth));
            let (file, diagnostics) = parse(&text);
            if depth <= 10 {
                assert!(diagnostics.is_empty(), "{open} {depth}: {diagnostics:#?}");
                support::assert_round_trip(&file, open);
            }
            if depth > 64 {
                assert_eq!(diagnostics.len(), 1, "{open} {depth}");
                assert_eq!(diagnostics[0].code, Code::NestingTooDeep, "{open} {depth}");
            }
        }
        let unclosed = format!("fusion 1\nlet x = {}", open.repeat(100_000));
        assert!(!parse(&unclosed).1.is_empty());
    }
    let nested = format!("fusion 1\naverage x using y {}{}\n", "{ a b { ".repeat(5000), "}".repeat(10_000));
    assert!(!parse(&nested).1.is_empty());
    let loops = format!("fusion 1\n{}{}\n", "for i in 0..2 {\n ".repeat(40), "}\n".repeat(40));
    let (file, diagnostics) = parse(&loops);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    support::assert_round_trip(&file, "loops");
    let choices = format!("fusion 1\nlet x = {}1\n", "1 if a else ".repeat(100_000));
    assert_eq!(parse(&choices).1[0].code, Code::NestingTooDeep);
}

#[test]
fn an_odd_file_is_still_a_file() {
    assert_eq!(parse("").1[0].code, Code::MissingHeader);
    assert!(parse("\u{feff}fusion 1\r\nmodel a from \"x\"\r\n").1.is_empty(), "byte-order mark and CRLF");
    assert!(parse("fusion 1; model a from \"x\"; save a to \"y\"").1.is_empty(), "one line");
    let (file, diagnostics) = parse("fusion 1\naverage a using mean {\n\tfrom b # äöü\n\tfrom c\n}");
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    assert_eq!(file.items.len(), 1);
    let many = format!("fusion 1\n{}", "wrong\n".repeat(50_000));
    assert!(parse(&many).1.len() <= 1002);
    let large = " ".repeat((16 << 20) + 1);
    assert_eq!(parse(&large).1[0].code, Code::TooLarge);
}

#[test]
fn operators_bind_as_in_arithmetic() {
    let value = |text: &str| {
        let (file, diagnostics) = parse(&format!("fusion 1\nlet x = {text}\n"));
        assert!(diagnostics.is_empty(), "{text}: {diagnostics:#?}");
        match file.items.into_iter().next() {
            Some(ast::Item::Let(binding)) => json(&binding.value),
            other => panic!("{other:?}"),
        }
    };
    for op in ast::BinaryOp::ALL {
        let word = op.word();
        assert_eq!(
            value(&format!("a {word} b {word} c")),
            value(&format!("(a {word} b) {word} c")),
            "{word}"
        );
    }
    for (bare, grouped) in [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a < b + 1 and c", "(a < (b + 1)) and c"),
        ("a or b and c", "a or (b and c)"),
        ("0..n - 1", "0..(n - 1)"),
        ("-a * b", "(-a) * b"),
        ("not a and b", "(not a) and b"),
        ("a if b else c if d else e", "a if b else (c if d else e)"),
        ("1 + 2 if b else 3", "(1 + 2) if b else 3"),
    ] {
        assert_eq!(value(bare), value(grouped), "{bare}");
    }
    assert_eq!(value("-1"), serde_json::json!({ "number": -1.0 }));
    assert_eq!(value("60 %"), serde_json::json!({ "quantity": { "value": 60.0, "unit": "%" } }));
    assert_eq!(value("2 epochs"), serde_json::json!({ "quantity": { "value": 2.0, "unit": "epoch" } }));
}

#[test]
fn every_unit_word_is_in_the_grammar_and_the_table() {
    for word in ast::Unit::WORDS {
        let (file, diagnostics) = parse(&format!("fusion 1\nlet x = 3 {word}\n"));
        assert!(diagnostics.is_empty(), "{word}: {diagnostics:#?}");
        support::assert_round_trip(&file, word);
    }
}

#[test]
fn spans_are_where_things_stand() {
    let text = "fusion 1\n\nmodel chat from \"m\" { adapter = \"l\" }  # comment\n";
    let (file, _) = parse(text);
    let Some(ast::Item::Model(model)) = file.items.first() else { panic!("no model") };
    assert_eq!(&text[model.span.range()], "model chat from \"m\" { adapter = \"l\" }");
    assert_eq!(&text[model.name.span.range()], "chat");
    assert_eq!(&text[model.settings[0].span.range()], "adapter = \"l\"");
    assert_eq!(&text[model.settings[0].value.span.range()], "\"l\"");
    let text = "fusion 1\nexpect a.b[ 3 ].c + 1 < 2 if x else y\n";
    let (file, _) = parse(text);
    let Some(ast::Item::Expect(expect)) = file.items.first() else { panic!("no expect") };
    let ast::ExprKind::Conditional { then, .. } = &expect.condition.kind else { panic!("no choice") };
    assert_eq!(&text[then.span.range()], "a.b[ 3 ].c + 1 < 2");
}

#[test]
fn severities_follow_the_table() {
    let (_, diagnostics) = parse("model a from x");
    assert!(diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Error));
}

#[test]
fn ten_thousand_stages_cost_ten_times_a_thousand() {
    let recipe = |stages: usize| {
        let mut text = String::from("fusion 1\n");
        for i in 0..stages {
            text.push_str(&format!(
                "average m{i} using ties {{\n  base llama\n  from chat {{ weight = ramp(0.2, 0.6) }}\n  density = 60%\n  \
                 on \"*.mlp.*\" {{ density = 75% }}\n}}\n"
            ));
        }
        text
    };
    let time = |stages: usize| {
        let text = recipe(stages);
        let runs = (0..3).map(|_| {
            let start = std::time::Instant::now();
            let (file, diagnostics) = parse(&text);
            assert!(diagnostics.is_empty() && file.items.len() == stages);
            start.elapsed()
        });
        runs.min().expect("three runs")
    };
    // Quadratic time would make it a hundred times; the margin is for a busy machine. `benches/` measures it.
    let (small, large) = (time(1000), time(10_000));
    assert!(large < small * 40, "1000 stages {small:?}, 10000 stages {large:?}");
}
