//! How diagnostics look, for people and for machines.

use fusion_dsl::{Code, Diagnostic, FileId, SourceMap, Span, parse, render};

const TEXT: &str = "fusion 1

model llama from \"models/llama\"
modle chat from \"models/chat\"
average merged using ties {
  base llama
  from chat { weight = }
  density : 60%
  t = 5 Gb
  from a from b
  take layrs 0..4 of b
}
save merged to \"out\" { dtype = bf16, shard = 5 GB
";

#[test]
fn a_terminal_shows_the_place_the_reason_and_the_fix() {
    let sources = SourceMap::single("ties.fusion", TEXT);
    let (_, diagnostics) = parse(TEXT);
    insta::assert_snapshot!(render::terminal(&diagnostics, &sources, false));
    let coloured = render::terminal(&diagnostics, &sources, true);
    assert!(coloured.contains("\u{1b}["));
}

#[test]
fn labels_in_two_files_and_nowhere() {
    let mut sources = SourceMap::single("a.fusion", "fusion 1\nlet ä = 1\n");
    let other = sources.add("b.fusion", "fusion 1\n\n\nlet a = 1");
    let diagnostics = [
        Diagnostic::new(Code::DuplicateName, Span::new(FileId::MAIN, 13, 15), "`ä` is bound twice")
            .label("here")
            .secondary(Span::new(other, 15, 16), "and here")
            .note("a note")
            .help("a help"),
        Diagnostic::global(Code::UnknownSetParameter, "`--set keep` names no parameter")
            .help("there is `density`"),
    ];
    insta::assert_snapshot!(render::terminal(&diagnostics, &sources, false));
    assert_eq!(render::terminal(&[], &sources, false), "");
}

#[test]
fn machines_get_the_same_with_lines_and_columns() {
    let sources = SourceMap::single("ties.fusion", TEXT);
    let (_, diagnostics) = parse(TEXT);
    let json = render::json(&diagnostics[..1], &sources);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
    let schema = serde_json::to_string(&render::json_schema()).unwrap();
    assert!(schema.contains("end_column"));
    let read: Vec<render::JsonDiagnostic> =
        serde_json::from_str(&serde_json::to_string(&json).unwrap()).unwrap();
    assert_eq!(read, json);
}
