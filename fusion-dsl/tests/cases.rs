//! Literate cases: `tests/cases/*.md` are prose with recipes in ```` ```fusion ```` blocks. What the front end has to say
//! about a recipe stands in it:
//!
//! ```text
//! densty = keep   # error: [F0203] no parameter `densty`
//! # error: 3:5 [F0203] part of the message
//! # warning: [F0208] hidden
//! ```
//!
//! An expectation on a line of code is about that line; one with `line:column` names its place; one on a line of its own
//! without a place is about the next line of code. The comments stay in the text that is compiled. Every diagnostic of a
//! recipe must be expected and every expectation must be met; a recipe without any must be clean. After a ```` ```fixed ````
//! block the machine-applicable fixes must give that text.

mod common;
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use fusion_dsl::{Code, Diagnostic, Severity, Source, diag};

/// Compiles a recipe of a case as far as the case's folder asks for.
type Compile = fn(&str) -> Vec<Diagnostic>;

/// A folder of cases and what compiles them. The checker's cases go into a folder of their own.
const SUITES: &[(&str, Compile)] =
    &[("tests/cases/syntax", |text| fusion_dsl::parse(text).1), ("tests/cases/semantics", common::diagnose)];

#[derive(Debug)]
struct Expected {
    line: u32,
    column: Option<u32>,
    severity: Severity,
    code: String,
    message: String,
}

#[derive(Debug)]
struct Recipe {
    line: usize,
    text: String,
    fixed: Option<String>,
}

fn recipes(markdown: &str) -> Vec<Recipe> {
    let mut recipes: Vec<Recipe> = Vec::new();
    let mut open: Option<(&str, usize, String)> = None;
    for (index, line) in markdown.lines().enumerate() {
        match (&mut open, line.trim_end()) {
            (None, "```fusion") => open = Some(("fusion", index + 2, String::new())),
            (None, "```fixed") => open = Some(("fixed", index + 2, String::new())),
            (None, other) if other.starts_with("```") => open = Some(("other", index + 2, String::new())),
            (Some(_), "```") => match open.take() {
                Some(("fusion", line, text)) => recipes.push(Recipe { line, text, fixed: None }),
                Some(("fixed", _, text)) => {
                    recipes.last_mut().expect("a recipe before `fixed`").fixed = Some(text)
                }
                _ => {}
            },
            (Some((_, _, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    assert!(open.is_none(), "a code block is not closed");
    recipes
}

/// The expectations in a recipe's comments.
fn expected(text: &str) -> Vec<Expected> {
    let mut found = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let comment =
            ["# error: ", "# warning: "].iter().find_map(|mark| line.find(mark).map(|at| (at, *mark)));
        let code = comment.map_or(line, |(at, _)| &line[..at]);
        let bare = code.trim().is_empty();
        if !bare {
            for index_of in waiting.drain(..) {
                let expected: &mut Expected = &mut found[index_of];
                expected.line = index as u32 + 1;
            }
        }
        let Some((at, mark)) = comment else { continue };
        for part in line[at + 2..].split(" # ") {
            let severity = if part.starts_with("error: ") { Severity::Error } else { Severity::Warning };
            let rest = part.trim_start_matches("error: ").trim_start_matches("warning: ");
            let (place, rest) =
                rest.split_once('[').unwrap_or_else(|| panic!("no code in `{line}` ({mark})"));
            let (code, message) = rest.split_once(']').unwrap_or_else(|| panic!("no code in `{line}`"));
            let place = place.trim().split_once(':').map(|(line, column)| {
                (line.parse().expect("a line"), column.trim_end_matches(':').parse().expect("a column"))
            });
            let (line, column) = match place {
                Some((line, column)) => (line, Some(column)),
                None => (index as u32 + 1, None),
            };
            if bare && column.is_none() {
                waiting.push(found.len());
            }
            found.push(Expected {
                line,
                column,
                severity,
                code: code.to_owned(),
                message: message.trim().to_owned(),
            });
        }
    }
    found
}

/// What differs between a recipe's diagnostics and its expectations.
fn differences(text: &str, compile: Compile) -> String {
    let source = Source::new("case", text);
    let mut wanted = expected(text);
    let mut out = String::new();
    for diagnostic in compile(text) {
        support::assert_well_formed(&diagnostic, text);
        let place = source.position(diagnostic.primary.span.start);
        let met = wanted.iter().position(|expected| {
            expected.code == diagnostic.code.as_str()
                && expected.severity == diagnostic.severity
                && expected.line == place.line
                && expected.column.is_none_or(|column| column == place.column)
                && diagnostic.message.contains(&expected.message)
        });
        match met {
            Some(index) => {
                wanted.remove(index);
            }
            None => {
                let _ = writeln!(out, "  not expected: {place} {diagnostic}");
            }
        }
    }
    for expected in wanted {
        let _ = writeln!(out, "  missing: {expected:?}");
    }
    out
}

#[test]
fn every_case_says_what_is_wrong_with_it() {
    let mut failures = String::new();
    for (folder, compile) in SUITES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files: Vec<_> =
            fs::read_dir(&folder).expect("a folder of cases").map(|it| it.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty());
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "md")) {
            let markdown = fs::read_to_string(file).unwrap();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let recipes = recipes(&markdown);
            assert!(!recipes.is_empty(), "{name} has no recipe");
            for recipe in recipes {
                let mut problems = differences(&recipe.text, *compile);
                if let Some(fixed) = recipe.fixed {
                    let (text, _) = diag::apply_fixes(&recipe.text, &compile(&recipe.text));
                    // The expectations are comments; they do not belong to the result.
                    let plain: String = text
                        .lines()
                        .map(|line| {
                            line.split("# error: ").next().unwrap_or_default().trim_end().to_owned() + "\n"
                        })
                        .collect();
                    if plain != fixed {
                        let _ = writeln!(problems, "  fixes give:\n{plain}");
                    }
                    if compile(&text).iter().any(Diagnostic::is_error) {
                        let _ = writeln!(problems, "  the fixed text is still wrong: {:#?}", compile(&text));
                    }
                }
                if !problems.is_empty() {
                    let _ = writeln!(failures, "{name}:{}\n{problems}", recipe.line);
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn the_harness_sees_what_is_missing_and_what_is_too_much() {
    let compile: Compile = |text| fusion_dsl::parse(text).1;
    assert!(differences("fusion 1\nlet x = 1\n", compile).is_empty());
    assert!(differences("fusion 1\nlet x = 1 # error: [F0105] x\n", compile).contains("missing"));
    assert!(differences("fusion 1\nlet x : 1\n", compile).contains("not expected"));
    assert!(differences("fusion 1\nlet x : 1 # error: [F0105] `:`\n", compile).is_empty());
    assert!(differences("fusion 1\n# error: [F0105] `=`\nlet x : 1\n", compile).is_empty());
    assert!(differences("# error: 3:7 [F0105] `=`\nfusion 1\nlet x : 1\n", compile).is_empty());
    assert!(!differences("# error: 3:6 [F0105] `=`\nfusion 1\nlet x : 1\n", compile).is_empty());
    assert!(!differences("fusion 1\nlet x : 1 # warning: [F0105] `=`\n", compile).is_empty());
}

/// Every code that the checker's sources use has a case.
#[test]
fn every_semantic_code_has_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = std::collections::BTreeSet::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            if entry.is_dir() {
                // The parser has suites of its own; `codes` is the table.
                if !matches!(name.as_str(), "parse" | "fmt" | "codes") {
                    folders.push(entry);
                }
            } else if name.ends_with(".rs") && !matches!(name.as_str(), "render.rs" | "diag.rs" | "lib.rs") {
                let text = fs::read_to_string(&entry).unwrap();
                for part in text.split("Code::").skip(1) {
                    let word: String = part.chars().take_while(char::is_ascii_alphanumeric).collect();
                    used.extend(Code::ALL.iter().copied().filter(|code| format!("{code:?}") == word));
                }
            }
        }
    }
    assert!(used.len() > 50, "{used:?}");
    // Some take a recipe too long to write down.
    let mut cases: String = include_str!("compile.rs")
        .split("Code::")
        .flat_map(|part| Code::ALL.iter().filter(move |code| part.starts_with(&format!("{code:?}"))))
        .map(|code| format!("[{code}]"))
        .collect();
    for file in fs::read_dir(root.join("tests/cases/semantics")).unwrap() {
        cases.push_str(&fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let missing: Vec<&Code> = used.iter().filter(|code| !cases.contains(&format!("[{code}]"))).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn every_syntax_code_has_a_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/syntax");
    let all: String =
        fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for code in fusion_dsl::Code::ALL.iter().map(|code| code.as_str()).filter(|code| code.starts_with("F01"))
    {
        // A file that is too large is made by a test of its own.
        assert!(code == "F0118" || all.contains(&format!("[{code}]")), "no case for {code}");
    }
}
