//! pest's pairs to syntax tree: items and clauses. Slips that the grammar accepts are named here.

use pest::Parser as _;
use pest::error::Error;
use pest::iterators::Pair;

use super::{Grammar, Rule, errors};
use crate::ast::*;
use crate::codes::Code;
use crate::descriptor::Verb;
use crate::diag::Diagnostic;
use crate::keywords;
use crate::span::{FileId, Span};
use crate::suggest;

/// Lowers one item.
pub(super) struct Lower<'a> {
    file: FileId,
    /// Where the text starts in the file.
    base: u32,
    /// What pest was given.
    text: &'a str,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Whether an error lost part of the item's meaning.
    pub(super) lost: bool,
}

impl<'a> Lower<'a> {
    pub(super) fn new(file: FileId, base: u32, text: &'a str) -> Self {
        Lower { file, base, text, diagnostics: Vec::new(), lost: false }
    }

    /// The pair's place. pest counts blanks before an absent optional part as part of a rule; they are cut off.
    pub(super) fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        let end = span.start() + pair.as_str().trim_end().len();
        Span::new(self.file, self.base + span.start() as u32, self.base + end as u32)
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports an error that pest found in `text[start..end]`.
    pub(super) fn syntax_error(&mut self, error: &Error<Rule>, start: usize, end: usize, rule: Rule) {
        self.lost = true;
        let part = &self.text[start..end];
        self.diagnostics.push(errors::diagnose(self.file, self.base + start as u32, part, error, rule));
    }

    pub(super) fn name(&self, pair: &Pair<'_, Rule>) -> Name {
        Name::new(pair.as_str(), self.span(pair))
    }

    /// An item; `top` if not inside a `for`.
    pub(super) fn item(&mut self, pair: Pair<'_, Rule>, top: bool) -> Option<Item> {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        if !top && matches!(rule, Rule::use_ | Rule::import | Rule::param | Rule::sweep) {
            let word = pair.as_str().split_whitespace().next().unwrap_or_default().to_owned();
            let place = Span { end: span.start + word.len() as u32, ..span };
            self.lost = true;
            self.report(
                Diagnostic::new(
                    Code::ClauseNotAllowed,
                    place,
                    format!("`{word}` cannot stand inside a `for`"),
                )
                .label("belongs at the top of the recipe"),
            );
            return None;
        }
        let mut parts = Parts::default();
        let mut items = Vec::new();
        let mut fields = Vec::new();
        let mut clauses = Vec::new();
        let mut block = Span::NONE;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::ident => parts.names.push(self.name(&part)),
                Rule::string => parts.texts.push(self.text(&part)),
                Rule::unquoted => parts.texts.push(self.unquoted(&part)),
                Rule::from_slip => parts.texts.extend(self.word_slip(part, "from")),
                Rule::to_slip => parts.texts.extend(self.word_slip(part, "to")),
                Rule::type_ => parts.kind = Some(self.type_name(part)),
                Rule::expr => parts.exprs.push(self.expr(part, 0)),
                Rule::index => parts.index = self.index(part, 0),
                Rule::call => parts.call = Some(self.call(part, 0)),
                Rule::refer => parts.reference = Some(self.reference(part, 0)),
                Rule::list => parts.list = Some(self.list(part, 0)),
                Rule::path => parts.path = Some(self.path(&part)),
                Rule::using_slip => parts.path = self.using_slip(part),
                Rule::verb => {
                    parts.verb = Verb::parse(part.as_str()).map(|verb| (verb, self.span(&part)));
                }
                Rule::double_slip | Rule::colon_slip => self.assign_slip(&part),
                Rule::items => items = self.items(part),
                Rule::block => {
                    block = self.span(&part);
                    match rule {
                        Rule::stage => clauses = self.clauses(part),
                        Rule::import => fields = self.fields(part, "after `with`"),
                        Rule::sweep => fields = self.fields(part, "of a `sweep`"),
                        Rule::model => fields = self.fields(part, "of a `model`"),
                        Rule::data => fields = self.fields(part, "of `data`"),
                        Rule::save => fields = self.fields(part, "of a `save`"),
                        _ => fields = self.fields(part, "of a `report`"),
                    }
                }
                _ => {}
            }
        }
        parts.build(rule, span, items, fields, clauses, block)
    }

    /// `zoo.llama`
    pub(super) fn path(&self, pair: &Pair<'_, Rule>) -> Path {
        let span = self.span(pair);
        let mut start = span.start;
        let segments = pair
            .as_str()
            .trim_end()
            .split('.')
            .map(|text| {
                let name = Name::new(text, Span::new(self.file, start, start + text.len() as u32));
                start += text.len() as u32 + 1;
                name
            })
            .collect();
        Path { segments, span }
    }

    fn type_name(&self, pair: Pair<'_, Rule>) -> Name {
        let span = self.span(&pair);
        let words: Vec<&str> = pair.as_str().split_whitespace().collect();
        Name::new(words.join(" "), span)
    }

    /// A quoted text with its escapes resolved.
    pub(super) fn text(&mut self, pair: &Pair<'_, Rule>) -> Text {
        let span = self.span(pair);
        let raw = pair.as_str();
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        let mut value = String::with_capacity(inner.len());
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            if c != '\\' {
                value.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, same @ ('"' | '\\'))) => value.push(same),
                Some((_, other)) => {
                    let start = span.start + 1 + at as u32;
                    let place = Span::new(self.file, start, start + 1 + other.len_utf8() as u32);
                    self.lost = true;
                    self.report(
                        Diagnostic::new(Code::BadEscape, place, format!("`\\{other}` is not an escape"))
                            .label("`\\` starts an escape")
                            .help("there are `\\\"`, `\\\\`, `\\n`, `\\r` and `\\t`; paths are written with `/`")
                            .fix("escape the backslash", place.before(), "\\"),
                    );
                }
                None => {}
            }
        }
        Text { value, span }
    }

    fn unquoted(&mut self, pair: &Pair<'_, Rule>) -> Text {
        let span = self.span(pair);
        let raw = pair.as_str();
        let quoted = quote(raw);
        self.report(
            Diagnostic::new(Code::UnquotedText, span, "paths and patterns stand in double quotes")
                .label("not quoted")
                .fix("quote it", span, quoted),
        );
        Text { value: raw.to_owned(), span }
    }

    /// `model a form "x"`, `model a = "x"`, `model a "x"`.
    fn word_slip(&mut self, pair: Pair<'_, Rule>, right: &'static str) -> Option<Text> {
        let text = pair.clone().into_inner().find(|part| part.as_rule() == Rule::string)?;
        let value = self.text(&text);
        let whole = self.span(&pair);
        let between = pair.as_str()[..text.as_span().start() - pair.as_span().start()].trim_end().to_owned();
        let place = Span { end: whole.start + between.len() as u32, ..whole };
        let diagnostic = if between.is_empty() {
            Diagnostic::new(Code::UnexpectedText, value.span, format!("`{right}` is missing before the path"))
                .label(format!("expected `{right}` before this"))
                .fix(format!("insert `{right}`"), value.span.before(), format!("{right} "))
        } else {
            Diagnostic::new(Code::UnknownKeyword, place, format!("expected `{right}`, found `{between}`"))
                .label(format!("use `{right}`"))
                .fix(format!("use `{right}`"), place, right)
        };
        self.report(diagnostic);
        Some(value)
    }

    /// `average merged ties {`, `average merged usng ties {`.
    fn using_slip(&mut self, pair: Pair<'_, Rule>) -> Option<Path> {
        let span = self.span(&pair);
        let paths: Vec<Path> = pair.into_inner().map(|path| self.path(&path)).collect();
        let (method, diagnostic) = match paths.as_slice() {
            [method] => {
                let diagnostic = Diagnostic::new(
                    Code::MissingUsing,
                    span,
                    format!("`using` is missing before the method `{method}`"),
                )
                .label("expected `using` before this")
                .fix("insert `using`", span.before(), "using ");
                (method.clone(), diagnostic)
            }
            [word, method] => {
                let message = format!("expected `using`, found `{word}`");
                let diagnostic = Diagnostic::new(Code::MissingUsing, word.span, message)
                    .label("use `using`")
                    .fix("use `using`", word.span, "using");
                (method.clone(), diagnostic)
            }
            _ => return None,
        };
        self.report(diagnostic);
        Some(method)
    }

    fn assign_slip(&mut self, pair: &Pair<'_, Rule>) {
        let span = self.span(pair);
        let found = pair.as_str();
        let (code, message) = if pair.as_rule() == Rule::double_slip {
            (Code::DoubleEqualsForEquals, "`==` compares; a value is set with `=`".to_owned())
        } else {
            (Code::ColonForEquals, format!("parameters are set with `=`, not with `{found}`"))
        };
        self.report(Diagnostic::new(code, span, message).label("use `=`").fix("use `=`", span, "="));
    }

    /// The body of a `for`.
    fn items(&mut self, pair: Pair<'_, Rule>) -> Vec<Item> {
        let mut items = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::lbrace | Rule::rbrace => {}
                Rule::comma_slip => self.comma_slip(&part),
                Rule::junk => self.junk(&part, Rule::one),
                _ => items.extend(self.item(part, false)),
            }
        }
        items
    }

    fn comma_slip(&mut self, pair: &Pair<'_, Rule>) {
        let span = self.span(pair);
        self.report(
            Diagnostic::new(
                Code::CommaForSemicolon,
                span,
                "clauses are separated by `;` or a new line, not by `,`",
            )
            .label("use `;`")
            .fix("use `;`", span, ";"),
        );
    }

    /// A broken clause or item in a block that is otherwise fine: parse it alone to learn what is wrong.
    fn junk(&mut self, pair: &Pair<'_, Rule>, rule: Rule) {
        self.lost = true;
        let span = self.span(pair);
        let raw = pair.as_str().trim_end();
        let start = pair.as_span().start();
        let word_end = raw.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(raw.len());
        let word = &raw[..word_end];
        let known: &[&str] = if rule == Rule::one { keywords::ITEMS } else { keywords::CLAUSES };
        if !word.is_empty() && !known.contains(&word) {
            let place = Span { end: span.start + word.len() as u32, ..span };
            let what = if rule == Rule::one { "item" } else { "clause" };
            if let Some(right) = suggest::closest(word, known.iter().copied()) {
                let diagnostic =
                    Diagnostic::new(Code::UnknownKeyword, place, format!("no {what} starts with `{word}`"))
                        .help(format!("did you mean `{right}`?"))
                        .fix(format!("use `{right}`"), place, right);
                self.report(diagnostic);
                return;
            }
        }
        // A word with its own grammar: as a plain input it would fail further on, and the message would be about that.
        let rule = match word {
            "on" if rule != Rule::one => Rule::one_on,
            "take" if rule != Rule::one => Rule::one_take,
            "rest" if rule != Rule::one => Rule::one_rest,
            "between" if rule != Rule::one => Rule::one_between,
            "collect" if rule != Rule::one => Rule::one_collect,
            _ => rule,
        };
        match Grammar::parse(rule, raw) {
            Err(error) => self.syntax_error(&error, start, start + raw.len(), rule),
            Ok(_) => self.report(
                Diagnostic::new(Code::UnexpectedText, span.after(), "expected the end of the line")
                    .label("something else follows here"),
            ),
        }
    }

    /// A stage's block.
    fn clauses(&mut self, pair: Pair<'_, Rule>) -> Vec<Clause> {
        let mut clauses = Vec::new();
        for part in pair.into_inner() {
            let span = self.span(&part);
            match part.as_rule() {
                Rule::lbrace | Rule::rbrace => {}
                Rule::comma_slip => self.comma_slip(&part),
                Rule::junk => self.junk(&part, Rule::one_clause),
                Rule::field | Rule::field_slip => clauses.extend(self.field(part).map(Clause::Field)),
                Rule::edge => clauses.extend(self.edge(part).map(Clause::Edge)),
                Rule::on => clauses.extend(self.on(part).map(Clause::On)),
                _ => clauses.extend(self.special(part, span)),
            }
        }
        clauses
    }

    /// A block of settings only.
    fn fields(&mut self, pair: Pair<'_, Rule>, of: &str) -> Vec<Field> {
        let mut fields = Vec::new();
        for clause in self.clauses(pair) {
            match clause {
                Clause::Field(field) => fields.push(field),
                other => self.misplaced(&other, of, "only settings, `name = value`"),
            }
        }
        fields
    }

    fn misplaced(&mut self, clause: &Clause, of: &str, allowed: &str) {
        self.lost = true;
        let what = match clause {
            Clause::Field(_) => "a setting",
            Clause::Edge(_) => "an input",
            Clause::On(_) => "an `on` rule",
            Clause::Take(_) => "`take`",
            Clause::Rest(_) => "`rest`",
            Clause::Between(_) => "`between`",
            Clause::Collect(_) => "`collect`",
        };
        let mut diagnostic = Diagnostic::new(
            Code::ClauseNotAllowed,
            clause.span(),
            format!("{what} cannot stand in the block {of}"),
        )
        .label("not allowed here")
        .note(format!("this block holds {allowed}"));
        if let Clause::Edge(edge) = clause {
            diagnostic = diagnostic.help(format!("to set a parameter write `{} = …`", edge.role));
        }
        self.report(diagnostic);
    }

    fn field(&mut self, pair: Pair<'_, Rule>) -> Option<Field> {
        let span = self.span(&pair);
        let slip = pair.as_rule() == Rule::field_slip;
        let (mut name, mut value) = (None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::ident => name = Some(self.name(&part)),
                Rule::expr => value = Some(self.expr(part, 0)),
                Rule::double_slip | Rule::colon_slip => self.assign_slip(&part),
                _ => {}
            }
        }
        let name = name?;
        if slip {
            self.report(
                Diagnostic::new(
                    Code::UnexpectedText,
                    name.span.after(),
                    format!("`=` is missing after `{name}`"),
                )
                .label("expected `=` here")
                .fix("insert `=`", name.span.after(), " ="),
            );
        }
        Some(Field { name, value: value?, span })
    }

    fn edge(&mut self, pair: Pair<'_, Rule>) -> Option<Edge> {
        let span = self.span(&pair);
        let (mut role, mut operand) = (None, None);
        let (mut settings, mut rules) = (Vec::new(), Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::ident => role = Some(self.name(&part)),
                Rule::block => {
                    for clause in self.clauses(part) {
                        match clause {
                            Clause::Field(field) => settings.push(field),
                            Clause::On(on) => rules.push(on),
                            other => self.misplaced(&other, "of an input", "settings and `on` rules"),
                        }
                    }
                }
                _ => operand = self.operand(part),
            }
        }
        Some(Edge { role: role?, operand: operand?, settings, rules, span })
    }

    fn operand(&mut self, pair: Pair<'_, Rule>) -> Option<Expr> {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::list => return Some(self.list(pair, 0)),
            Rule::call => ExprKind::Call(self.call(pair, 0)),
            Rule::refer => ExprKind::Ref(self.reference(pair, 0)),
            Rule::string => ExprKind::Text(self.text(&pair).value),
            _ => return None,
        };
        Some(Expr::new(kind, span))
    }

    fn on(&mut self, pair: Pair<'_, Rule>) -> Option<On> {
        let span = self.span(&pair);
        let mut optional = false;
        let (mut selector, mut settings) = (None, Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::optional => optional = true,
                Rule::layers_sel => {
                    let expr = part.into_inner().find(|inner| inner.as_rule() == Rule::expr);
                    selector = expr.map(|expr| Selector::Layers(self.expr(expr, 0)));
                }
                Rule::tensors_sel => selector = self.pattern(part).map(Selector::Tensors),
                Rule::glob_sel => selector = self.pattern(part).map(Selector::Glob),
                Rule::block => settings = self.fields(part, "of an `on` rule"),
                _ => {}
            }
        }
        Some(On { optional, selector: selector?, settings, span })
    }

    fn pattern(&mut self, pair: Pair<'_, Rule>) -> Option<Text> {
        pair.into_inner().find_map(|part| match part.as_rule() {
            Rule::string => Some(self.text(&part)),
            Rule::unquoted => Some(self.unquoted(&part)),
            _ => None,
        })
    }

    /// `take`, `rest`, `between`, `collect`.
    fn special(&mut self, pair: Pair<'_, Rule>, span: Span) -> Option<Clause> {
        let rule = pair.as_rule();
        let (mut name, mut layers, mut of) = (None, None, None);
        let mut operands = Vec::new();
        let mut settings = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::ident => name = Some(self.name(&part)),
                Rule::expr => layers = Some(self.expr(part, 0)),
                Rule::refer if rule != Rule::between => of = Some(self.reference(part, 0)),
                Rule::block if rule == Rule::take => settings = self.fields(part, "of a `take`"),
                Rule::block => settings = self.fields(part, "of a `collect`"),
                Rule::kw_take | Rule::kw_layers | Rule::kw_of | Rule::kw_rest => {}
                Rule::kw_between | Rule::kw_and | Rule::kw_collect => {}
                _ => operands.extend(self.operand(part)),
            }
        }
        Some(match rule {
            Rule::take => Clause::Take(Take { layers: layers?, of: of?, settings, span }),
            Rule::rest => Clause::Rest(Rest { of: of?, span }),
            Rule::collect => Clause::Collect(Collect { name: name?, settings, span }),
            _ => {
                let mut ends = operands.into_iter();
                Clause::Between(Between { from: ends.next()?, to: ends.next()?, span })
            }
        })
    }
}

/// A text in quotes, escaped.
pub(crate) fn quote(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// What stands in a list; one that is made by a loop is its only element.
fn elements(list: Expr) -> Vec<Expr> {
    match list.kind {
        ExprKind::List(elements) => elements,
        kind => vec![Expr { kind, ..list }],
    }
}

/// What an item is made of, in the order in which the grammar has it.
#[derive(Default)]
struct Parts {
    names: Vec<Name>,
    texts: Vec<Text>,
    exprs: Vec<Expr>,
    kind: Option<Name>,
    index: Option<Index>,
    call: Option<Call>,
    reference: Option<Reference>,
    list: Option<Expr>,
    path: Option<Path>,
    verb: Option<(Verb, Span)>,
}

impl Parts {
    fn build(
        self,
        rule: Rule,
        span: Span,
        items: Vec<Item>,
        settings: Vec<Field>,
        clauses: Vec<Clause>,
        block: Span,
    ) -> Option<Item> {
        let mut names = self.names.into_iter();
        let mut texts = self.texts.into_iter();
        let mut exprs = self.exprs.into_iter();
        let index = match self.index {
            Some(Index::At(expr)) => Some(*expr),
            _ => None,
        };
        Some(match rule {
            Rule::use_ => {
                let plugin = texts.next()?;
                Item::Use(Use { plugin, version: texts.next(), alias: names.next(), span })
            }
            Rule::import => {
                Item::Import(Import { path: texts.next()?, alias: names.next(), with: settings, span })
            }
            Rule::param => Item::Param(Param {
                name: names.next()?,
                kind: self.kind?,
                default: exprs.next(),
                doc: texts.next(),
                span,
            }),
            Rule::let_ => Item::Let(Let { name: names.next()?, value: exprs.next()?, span }),
            Rule::model => {
                let source = match (self.call, texts.next()) {
                    (Some(of), Some(from)) => ModelSource::OfFrom { of, from },
                    (Some(call), None) => ModelSource::Of(call),
                    (None, from) => ModelSource::From(from?),
                };
                Item::Model(Model { name: names.next()?, index, source, settings, span })
            }
            Rule::data => {
                let from = match self.list {
                    Some(list) => DataSource::Sets(elements(list)),
                    None => DataSource::Source(texts.next()?),
                };
                Item::Data(Data { name: names.next()?, from, settings, span })
            }
            Rule::stage => {
                let (verb, verb_span) = self.verb?;
                let name = names.next()?;
                Item::Stage(Stage { verb, verb_span, name, index, using: self.path, clauses, block, span })
            }
            Rule::save => Item::Save(Save { what: self.reference?, to: texts.next()?, settings, span }),
            Rule::report => {
                let what = match (self.list, self.reference) {
                    (Some(list), _) => elements(list),
                    (None, reference) => {
                        let reference = reference?;
                        let span = reference.span;
                        vec![Expr::new(ExprKind::Ref(reference), span)]
                    }
                };
                Item::Report(Report { what, to: texts.next()?, settings, span })
            }
            Rule::expect => Item::Expect(Expect { condition: exprs.next()?, span }),
            Rule::sweep => Item::Sweep(Sweep { axes: settings, span }),
            Rule::for_each => Item::For(For { variable: names.next()?, over: exprs.next()?, items, span }),
            _ => return None,
        })
    }
}
