//! pest's pairs to syntax tree: values. Precedence comes from [`BinaryOp::level`], the one place that states it.

use pest::iterators::Pair;

use super::lower::Lower;
use super::{MAX_DEPTH, Rule};
use crate::ast::*;
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::span::Span;
use crate::suggest;

/// An operator between two operands, with the range that binds between comparisons and sums.
#[derive(Clone, Copy)]
enum Infix {
    Op(BinaryOp),
    Range { inclusive: bool },
}

impl Infix {
    fn level(self) -> u8 {
        match self {
            Infix::Op(op) => op.level(),
            Infix::Range { .. } => RANGE_LEVEL,
        }
    }
}

/// Between comparisons (3) and sums (5).
pub(crate) const RANGE_LEVEL: u8 = 4;

impl Lower<'_> {
    /// `depth` counts what this value is nested in: brackets and operators above it.
    pub(super) fn expr(&mut self, pair: Pair<'_, Rule>, depth: usize) -> Expr {
        let span = self.span(&pair);
        let chains: Vec<Pair<'_, Rule>> =
            pair.into_inner().filter(|part| part.as_rule() == Rule::chain).collect();
        let depth = depth + chains.len();
        if self.too_deep(depth, span) {
            return placeholder(span);
        }
        // `a if b else c if d else e` is `a if b else (c if d else e)`.
        let mut values: Vec<Expr> = chains.into_iter().map(|chain| self.chain(chain, depth)).collect();
        let Some(mut result) = values.pop() else { return placeholder(span) };
        while let Some(condition) = values.pop() {
            let Some(then) = values.pop() else { break };
            let span = then.span.to(result.span);
            let kind = ExprKind::Conditional {
                then: Box::new(then),
                condition: Box::new(condition),
                otherwise: Box::new(result),
            };
            result = Expr::new(kind, span);
        }
        result
    }

    fn too_deep(&mut self, depth: usize, span: Span) -> bool {
        if depth <= MAX_DEPTH {
            return false;
        }
        self.lost = true;
        // One message for a value is enough, however many of its parts are too deep.
        if !self.diagnostics.iter().any(|old| old.code == Code::NestingTooDeep) {
            self.report(
                Diagnostic::new(
                    Code::NestingTooDeep,
                    span,
                    format!("brackets and operators are nested more than {MAX_DEPTH} deep"),
                )
                .label("too deep here")
                .help("give parts a name with `let`"),
            );
        }
        true
    }

    fn chain(&mut self, pair: Pair<'_, Rule>, depth: usize) -> Expr {
        let span = self.span(&pair);
        let parts: Vec<Pair<'_, Rule>> = pair.into_inner().collect();
        let depth = depth + parts.len() / 2;
        if self.too_deep(depth, span) {
            return placeholder(span);
        }
        let mut operands = Vec::new();
        let mut operators = Vec::new();
        for part in parts {
            if part.as_rule() == Rule::unary {
                operands.push(self.unary(part, depth));
            } else if let Some(infix) = infix(part.as_rule()) {
                operators.push((infix, self.span(&part)));
            }
        }
        self.climb(operands, operators, span)
    }

    /// Operator precedence with two stacks; everything associates to the left.
    fn climb(&mut self, operands: Vec<Expr>, operators: Vec<(Infix, Span)>, span: Span) -> Expr {
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else { return placeholder(span) };
        let mut values = vec![first];
        let mut waiting: Vec<(Infix, Span)> = Vec::new();
        for ((infix, place), operand) in operators.into_iter().zip(operands) {
            while let Some(top) = waiting.pop_if(|(top, _)| top.level() >= infix.level()) {
                if let (Infix::Range { .. }, Infix::Range { .. }) = (top.0, infix) {
                    self.lost = true;
                    self.report(
                        Diagnostic::new(Code::UnexpectedText, place, "a range has two ends")
                            .label("the second `..` of one range")
                            .secondary(top.1, "the first"),
                    );
                }
                join(&mut values, top.0);
            }
            waiting.push((infix, place));
            values.push(operand);
        }
        while let Some((top, _)) = waiting.pop() {
            join(&mut values, top);
        }
        values.pop().unwrap_or_else(|| placeholder(span))
    }

    fn unary(&mut self, pair: Pair<'_, Rule>, depth: usize) -> Expr {
        let whole = self.span(&pair);
        let mut prefixes = Vec::new();
        let mut primary = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::neg => prefixes.push((UnaryOp::Neg, self.span(&part))),
                Rule::not => prefixes.push((UnaryOp::Not, self.span(&part))),
                _ => primary = Some(part),
            }
        }
        let depth = depth + prefixes.len();
        let Some(primary) = primary else { return placeholder(whole) };
        if self.too_deep(depth, whole) {
            return placeholder(whole);
        }
        let mut value = self.primary(primary, depth);
        for (op, place) in prefixes.into_iter().rev() {
            let span = place.to(value.span);
            value = Expr::new(ExprKind::Unary { op, operand: Box::new(value) }.folded(), span);
        }
        value
    }

    fn primary(&mut self, pair: Pair<'_, Rule>, depth: usize) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::quantity => self.quantity(pair),
            Rule::string => ExprKind::Text(self.text(&pair).value),
            Rule::boolean => ExprKind::Bool(pair.as_str().trim() == "true"),
            Rule::list => return self.list(pair, depth),
            Rule::call => ExprKind::Call(self.call(pair, depth)),
            Rule::refer => ExprKind::Ref(self.reference(pair, depth)),
            Rule::paren => {
                let inner = pair.into_inner().find(|part| part.as_rule() == Rule::expr);
                return match inner {
                    Some(inner) => self.expr(inner, depth),
                    None => placeholder(span),
                };
            }
            _ => return placeholder(span),
        };
        Expr::new(kind, span)
    }

    fn quantity(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let (mut value, mut unit) = (0.0, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::number => value = self.number(&part),
                Rule::unit => unit = Unit::parse(part.as_str().trim()),
                Rule::unit_slip => {
                    let span = self.span(&part);
                    let word = part.as_str().trim();
                    self.lost = true;
                    let mut diagnostic =
                        Diagnostic::new(Code::UnknownUnit, span, format!("`{word}` is not a unit"))
                            .label("no such unit");
                    let same_case =
                        Unit::WORDS.iter().copied().find(|known| known.eq_ignore_ascii_case(word));
                    let near = same_case.or_else(|| suggest::closest(word, Unit::WORDS.iter().copied()));
                    diagnostic = match near {
                        Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                            format!("use `{near}`"),
                            span,
                            near,
                        ),
                        None => diagnostic.help(format!(
                            "units are {}",
                            suggest::list(Unit::ALL.iter().map(|unit| unit.word()), usize::MAX)
                        )),
                    };
                    self.report(diagnostic);
                }
                _ => {}
            }
        }
        match unit {
            Some(unit) => ExprKind::Quantity { value, unit },
            None => ExprKind::Number(value),
        }
    }

    fn number(&mut self, pair: &Pair<'_, Rule>) -> f64 {
        let text = pair.as_str().replace('_', "");
        let value: f64 = text.parse().unwrap_or(f64::INFINITY);
        let whole = text.bytes().all(|byte| byte.is_ascii_digit());
        let problem = if !value.is_finite() {
            "larger than any number that can be represented"
        } else if whole && value > 9_007_199_254_740_992.0 {
            "a whole number above 2^53, which cannot be represented exactly"
        } else {
            return value;
        };
        let shown = if text.len() > 24 { format!("{}…", &text[..24]) } else { text };
        self.lost = true;
        self.report(
            Diagnostic::new(Code::NumberTooLarge, self.span(pair), format!("`{shown}` is {problem}"))
                .label("too large"),
        );
        0.0
    }

    pub(super) fn list(&mut self, pair: Pair<'_, Rule>, depth: usize) -> Expr {
        let span = self.span(&pair);
        let mut elements = Vec::new();
        let mut each = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::expr => elements.push(self.expr(part, depth + 1)),
                Rule::each => {
                    let (mut variable, mut source) = (None, None);
                    for inner in part.into_inner() {
                        match inner.as_rule() {
                            Rule::ident => variable = Some(self.name(&inner)),
                            Rule::expr => source = Some(self.expr(inner, depth + 1)),
                            _ => {}
                        }
                    }
                    each = variable.zip(source);
                }
                _ => {}
            }
        }
        let kind = match (each, elements.pop()) {
            (Some((variable, source)), Some(body)) => {
                ExprKind::Comprehension { body: Box::new(body), variable, source: Box::new(source) }
            }
            (_, last) => {
                elements.extend(last);
                ExprKind::List(elements)
            }
        };
        Expr::new(kind, span)
    }

    pub(super) fn call(&mut self, pair: Pair<'_, Rule>, depth: usize) -> Call {
        let span = self.span(&pair);
        let mut function = Path { segments: Vec::new(), span };
        let mut args = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::path => function = self.path(&part),
                Rule::arg => {
                    let (mut name, mut value) = (None, None);
                    for inner in part.into_inner() {
                        match inner.as_rule() {
                            Rule::ident => name = Some(self.name(&inner)),
                            Rule::arg_slip => {
                                let span = self.span(&inner);
                                self.report(
                                    Diagnostic::new(
                                        Code::EqualsForColon,
                                        span,
                                        "arguments are named with `:`, not with `=`",
                                    )
                                    .label("use `:`")
                                    .fix(
                                        "use `:`",
                                        name.as_ref().map_or(span, |name: &Name| name.span.after().to(span)),
                                        ":",
                                    ),
                                );
                            }
                            Rule::expr => value = Some(self.expr(inner, depth + 1)),
                            _ => {}
                        }
                    }
                    args.extend(value.map(|value| Arg { name, value }));
                }
                _ => {}
            }
        }
        Call { function, args, span }
    }

    pub(super) fn reference(&mut self, pair: Pair<'_, Rule>, depth: usize) -> Reference {
        let span = self.span(&pair);
        let mut reference =
            Reference { path: Path { segments: Vec::new(), span }, index: None, tail: Vec::new(), span };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::path => reference.path = self.path(&part),
                Rule::index => reference.index = self.index(part, depth + 1),
                // The tail starts with its dot: the first segment is empty.
                Rule::tail => reference.tail = self.path(&part).segments.split_off(1),
                _ => {}
            }
        }
        reference
    }

    pub(super) fn index(&mut self, pair: Pair<'_, Rule>, depth: usize) -> Option<Index> {
        pair.into_inner().find_map(|part| match part.as_rule() {
            Rule::all => Some(Index::All),
            Rule::expr => Some(Index::At(Box::new(self.expr(part, depth)))),
            _ => None,
        })
    }
}

/// Stands in for a value that has been reported; the item is dropped.
fn placeholder(span: Span) -> Expr {
    Expr::new(ExprKind::Number(0.0), span)
}

fn join(values: &mut Vec<Expr>, infix: Infix) {
    let (Some(right), Some(left)) = (values.pop(), values.pop()) else { return };
    let span = left.span.to(right.span);
    let (left, right) = (Box::new(left), Box::new(right));
    let kind = match infix {
        Infix::Op(op) => ExprKind::Binary { op, left, right },
        Infix::Range { inclusive } => ExprKind::Range { start: left, end: right, inclusive },
    };
    values.push(Expr::new(kind, span));
}

fn infix(rule: Rule) -> Option<Infix> {
    Some(Infix::Op(match rule {
        Rule::range => return Some(Infix::Range { inclusive: false }),
        Rule::range_eq => return Some(Infix::Range { inclusive: true }),
        Rule::or => BinaryOp::Or,
        Rule::and => BinaryOp::And,
        Rule::eq => BinaryOp::Eq,
        Rule::ne => BinaryOp::Ne,
        Rule::le => BinaryOp::Le,
        Rule::ge => BinaryOp::Ge,
        Rule::lt => BinaryOp::Lt,
        Rule::gt => BinaryOp::Gt,
        Rule::add => BinaryOp::Add,
        Rule::sub => BinaryOp::Sub,
        Rule::mul => BinaryOp::Mul,
        Rule::div => BinaryOp::Div,
        _ => return None,
    }))
}
