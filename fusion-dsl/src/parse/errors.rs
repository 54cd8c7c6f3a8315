//! Makes messages of what pest reports: what was expected in people's words, what stands there, and the likely slip.

use pest::error::{Error, ErrorVariant, InputLocation};

use super::scan::{Kind, Token, scan};
use super::{Grammar, Rule};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::keywords;
use crate::span::{FileId, Span};
use crate::suggest;

/// Words from other tools and what they are called here.
const SYNONYMS: &[(&str, &str)] = &[
    ("merge", "average"),
    ("blend", "average"),
    ("fuse", "average"),
    ("var", "let"),
    ("const", "let"),
    ("set", "let"),
    ("def", "let"),
    ("dataset", "data"),
    ("models", "model"),
    ("plugin", "use plugin"),
    ("include", "import"),
    ("require", "import"),
    ("assert", "expect"),
    ("output", "save"),
    ("write", "save"),
    ("eval", "evaluate"),
    ("foreach", "for"),
    ("finetune", "train"),
];

/// A line outside of all brackets that does not start with the word of an item.
pub(super) fn no_item(file: FileId, text: &str, tokens: &[Token]) -> Diagnostic {
    let first = tokens[0];
    let span = Span::new(file, first.start as u32, first.end as u32);
    let found = first.text(text);
    if first.kind != Kind::Word {
        let diagnostic = Diagnostic::new(
            Code::UnexpectedText,
            span,
            format!(
                "an item starts with a word such as `model` or `average`, not with {}",
                found_token(text, &first)
            ),
        )
        .label("no item starts like this");
        return if found == "{" {
            diagnostic.help("`{` stands on the line of the item that it belongs to")
        } else {
            diagnostic
                .help("an item ends with its line; inside `( )` and `[ ]` a value may go on on the next line")
        };
    }
    let unknown = Diagnostic::new(Code::UnknownKeyword, span, format!("no item starts with `{found}`"))
        .label("not an item");
    let sets = tokens.get(1).is_some_and(|next| matches!(next.text(text), "=" | ":" | "==" | ":="));
    if sets {
        return unknown
            .help("settings stand inside the `{ }` of a stage")
            .help(format!("`let {found} = …` names a value"));
    }
    if let Some((_, right)) = SYNONYMS.iter().find(|(word, _)| found.eq_ignore_ascii_case(word)) {
        return unknown.help(format!("it is called `{right}` here")).fix(
            format!("use `{right}`"),
            span,
            *right,
        );
    }
    match suggest::closest(found, keywords::ITEMS.iter().copied()) {
        Some(word) => {
            unknown.help(format!("did you mean `{word}`?")).fix(format!("use `{word}`"), span, word)
        }
        None => unknown
            .help(format!("items start with {}", suggest::list(keywords::ITEMS.iter().copied(), usize::MAX))),
    }
}

fn found_token(text: &str, token: &Token) -> String {
    match token.kind {
        Kind::Newline => "the end of the line".into(),
        Kind::Text => format!("the text {}", shorten(token.text(text))),
        Kind::Number => format!("the number `{}`", shorten(token.text(text))),
        _ => format!("`{}`", shorten(token.text(text))),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// One syntax error of a piece. `text` is what pest was given, `base` its place in the file, `within` the part of it that
/// may be cited as found, `rule` the start rule.
pub(super) fn diagnose(file: FileId, base: u32, text: &str, error: &Error<Rule>, rule: Rule) -> Diagnostic {
    let offset = match error.location {
        InputLocation::Pos(at) => at,
        InputLocation::Span((at, _)) => at,
    };
    let ErrorVariant::ParsingError { positives, .. } = &error.variant else {
        let span = Span::new(file, base + offset as u32, base + offset as u32);
        return Diagnostic::new(Code::TooLarge, span, "the item takes too long to parse")
            .help("split it into several items");
    };
    // Offsets may point at blanks before the token.
    let offset =
        text[offset..].find(|c: char| !matches!(c, ' ' | '\t' | '\r')).map_or(text.len(), |at| offset + at);
    let tokens = scan(&text[offset..]);
    let found = tokens.first().filter(|token| token.start == 0).copied();
    let span = match &found {
        Some(token) if token.kind != Kind::Newline => {
            Span::new(file, base + offset as u32, base + (offset + token.end) as u32)
        }
        // Nothing to underline: point just behind the last thing.
        _ => {
            let end = base + text[..offset].trim_end().len() as u32;
            Span::new(file, end, end)
        }
    };
    let rest = &text[offset..];
    let word = found.filter(|token| token.kind == Kind::Word).map(|token| token.text(rest));
    if let Some(word) = word {
        if positives.contains(&Rule::ident) && keywords::is_reserved(word) {
            return Diagnostic::new(
                Code::ReservedWord,
                span,
                format!("expected a name, found the word `{word}` of the language"),
            )
            .label("cannot be a name")
            .help(format!("for example `{word}_`"));
        }
        let wanted: Vec<&'static str> = positives.iter().filter_map(|rule| joiner(*rule)).collect();
        if let Some(right) = suggest::closest(word, wanted.iter().copied()).filter(|right| *right != word) {
            return Diagnostic::new(
                Code::UnknownKeyword,
                span,
                format!("expected `{right}`, found `{word}`"),
            )
            .label(format!("expected `{right}`"))
            .help(format!("did you mean `{right}`?"))
            .fix(format!("use `{right}`"), span, right);
        }
        if separate(&text[..offset], rest, &tokens, rule) {
            let end = base + text[..offset].trim_end().len() as u32;
            return Diagnostic::new(
                Code::MissingSeparator,
                span,
                format!("`{word}` starts another clause on the same line"),
            )
            .label("expected `;` or a new line before this")
            .fix("separate them by `;`", Span::new(file, end, span.start), "; ");
        }
    }
    if hyphenated(text, offset) {
        return Diagnostic::new(Code::UnexpectedText, span, "`-` cannot be part of a name")
            .label("names have letters, digits and `_`")
            .fix("use `_`", span, "_");
    }
    let mut expected: Vec<&'static str> = Vec::new();
    for name in positives.iter().filter_map(|rule| human(*rule)) {
        if !expected.contains(&name) {
            expected.push(name);
        }
    }
    summarise(&mut expected);
    let found_text = match &found {
        Some(token) => found_token(rest, token),
        None if rule == Rule::one_expr => "the end of the value".into(),
        None if rule == Rule::one => "the end of the line".into(),
        None => "the end of the clause".into(),
    };
    let message = match expected.as_slice() {
        [] => format!("did not expect {found_text} here"),
        _ => format!("expected {}, found {found_text}", alternatives(&expected)),
    };
    let mut diagnostic = Diagnostic::new(Code::UnexpectedText, span, message);
    if !expected.is_empty() && expected.len() <= 3 {
        diagnostic = diagnostic.label(format!("expected {}", alternatives(&expected)));
    }
    match found.map(|token| token.text(rest)) {
        Some(".") if tokens.get(1).is_some_and(|next| next.kind == Kind::Number) => {
            diagnostic.help("a number starts with a digit: `0.5`").fix("add a zero", span.before(), "0")
        }
        Some(":") => {
            diagnostic.help("`:` stands before the value of an argument, `=` before the value of a setting")
        }
        _ => diagnostic,
    }
}

/// Whether there is a `-` at `offset` with a name right before and behind it, as in `dare-ties`.
fn hyphenated(text: &str, offset: usize) -> bool {
    let word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = text.as_bytes();
    bytes.get(offset) == Some(&b'-')
        && word(offset.checked_sub(1).and_then(|before| bytes.get(before)))
        && word(bytes.get(offset + 1))
}

/// Fewer words for the same: the many starts of a value are "a value", and what could continue the last value or name is
/// left out where something else is expected.
fn summarise(expected: &mut Vec<&'static str>) {
    const STARTS: &[&str] = &[
        "a value",
        "a name",
        "a number",
        "a quoted text",
        "`true` or `false`",
        "a list",
        "a call",
        "`[`",
        "`(`",
    ];
    const CONTINUE: &[&str] = &["an operator", "`if`", "`[`", "`(`", "`.`", "a unit"];
    if expected.contains(&"a value") || expected.contains(&"a number") && expected.contains(&"a quoted text")
    {
        expected.retain(|name| !STARTS.contains(name));
        expected.insert(0, "a value");
    } else if expected.contains(&"a quoted text") && expected.contains(&"`[`") {
        expected.retain(|name| !STARTS.contains(name));
        expected.insert(0, "a name or a list");
    }
    if expected.iter().any(|name| !CONTINUE.contains(name)) {
        expected.retain(|name| !CONTINUE.contains(name));
    }
}

/// Whether a line of a block holds two clauses: what comes before is a clause, what follows starts like one.
fn separate(head: &str, rest: &str, tokens: &[Token], rule: Rule) -> bool {
    use pest::Parser as _;
    if matches!(rule, Rule::one | Rule::one_expr) {
        return false;
    }
    let starts = tokens.get(1).is_some_and(|next| {
        matches!(next.kind, Kind::Word | Kind::Text | Kind::Number)
            || matches!(next.text(rest), "=" | "[" | ":" | "==")
    });
    starts && Grammar::parse(Rule::one_clause, head).is_ok()
}

fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

/// Words that join the parts of an item, for "did you mean".
fn joiner(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::kw_plugin => "plugin",
        Rule::kw_version => "version",
        Rule::kw_as => "as",
        Rule::kw_with => "with",
        Rule::kw_from => "from",
        Rule::kw_of => "of",
        Rule::kw_to => "to",
        Rule::kw_using => "using",
        Rule::kw_in => "in",
        Rule::kw_else => "else",
        Rule::kw_layers => "layers",
        Rule::kw_and => "and",
        _ => return None,
    })
}

/// What to call a rule in "expected …". Slips and fallbacks are never suggested. The match is exhaustive so that a new rule
/// cannot be forgotten.
fn human(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::EOI => "the end of the line",
        Rule::item | Rule::one | Rule::items | Rule::item_entry => "an item",
        Rule::use_ | Rule::kw_use => "`use`",
        Rule::import | Rule::kw_import => "`import`",
        Rule::param | Rule::kw_param => "`param`",
        Rule::let_ | Rule::kw_let => "`let`",
        Rule::model | Rule::kw_model => "`model`",
        Rule::data | Rule::kw_data => "`data`",
        Rule::stage | Rule::verb => "a stage",
        Rule::save | Rule::kw_save => "`save`",
        Rule::report | Rule::kw_report => "`report`",
        Rule::expect | Rule::kw_expect => "`expect`",
        Rule::sweep | Rule::kw_sweep => "`sweep`",
        Rule::for_each | Rule::each | Rule::kw_for => "`for`",
        Rule::head | Rule::kw_fusion => "`fusion 1`",
        Rule::type_ => "a type",
        Rule::source | Rule::string => "a quoted text",
        Rule::block | Rule::lbrace => "`{`",
        Rule::rbrace => "`}`",
        Rule::lbracket | Rule::index => "`[`",
        Rule::rbracket => "`]`",
        Rule::lparen => "`(`",
        Rule::rparen => "`)`",
        Rule::comma => "`,`",
        Rule::colon => "`:`",
        Rule::clause | Rule::one_clause | Rule::entry => "a setting, an input or a rule",
        Rule::field | Rule::edge => "a setting or an input",
        Rule::equals => "`=`",
        Rule::on | Rule::kw_on => "`on`",
        Rule::selector | Rule::glob_sel => "a pattern in quotes",
        Rule::layers_sel | Rule::kw_layers => "`layers`",
        Rule::tensors_sel | Rule::kw_tensors => "`tensors`",
        Rule::one_on | Rule::one_take | Rule::one_rest | Rule::one_between | Rule::one_collect => "a clause",
        Rule::optional => "`?`",
        Rule::take | Rule::kw_take => "`take`",
        Rule::rest | Rule::kw_rest => "`rest`",
        Rule::between | Rule::kw_between => "`between`",
        Rule::collect | Rule::kw_collect => "`collect`",
        Rule::operand => "a name or a list",
        Rule::expr | Rule::one_expr | Rule::chain | Rule::unary | Rule::primary | Rule::paren | Rule::arg => {
            "a value"
        }
        Rule::quantity | Rule::number | Rule::int => "a number",
        Rule::boolean => "`true` or `false`",
        Rule::list => "a list",
        Rule::call => "a call",
        Rule::refer | Rule::path | Rule::ident | Rule::plain => "a name",
        Rule::tail => "`.`",
        Rule::all => "`*`",
        Rule::unit => "a unit",
        Rule::kw_plugin => "`plugin`",
        Rule::kw_version => "`version`",
        Rule::kw_as => "`as`",
        Rule::kw_with => "`with`",
        Rule::kw_from => "`from`",
        Rule::kw_of => "`of`",
        Rule::kw_to => "`to`",
        Rule::kw_using => "`using`",
        Rule::kw_in => "`in`",
        Rule::kw_if => "`if`",
        Rule::kw_else => "`else`",
        Rule::kw_and => "`and`",
        Rule::infix
        | Rule::range
        | Rule::range_eq
        | Rule::le
        | Rule::ge
        | Rule::eq
        | Rule::ne
        | Rule::lt
        | Rule::gt => "an operator",
        Rule::add | Rule::sub | Rule::mul | Rule::div | Rule::and | Rule::or => "an operator",
        Rule::neg | Rule::not => "a value",
        Rule::sep => "the end of the line",
        Rule::WHITESPACE
        | Rule::blank
        | Rule::word
        | Rule::keyword
        | Rule::unit_word
        | Rule::after_number => return None,
        Rule::assign | Rule::double_slip | Rule::colon_slip | Rule::arg_slip | Rule::comma_slip => {
            return None;
        }
        Rule::from_slip | Rule::to_slip | Rule::using_slip | Rule::field_slip | Rule::unit_slip => {
            return None;
        }
        Rule::unquoted | Rule::junk | Rule::raw_text | Rule::raw_group => return None,
    })
}
