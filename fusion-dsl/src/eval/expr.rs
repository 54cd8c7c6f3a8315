//! Evaluation of expressions. Mistakes are reported where they stand and leave [`Val::Poison`], so nothing is reported twice.

use std::rc::Rc;

use crate::ast::{Expr, ExprKind};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::resolve::build::{Build, Locals, Place};
use crate::span::Span;

use super::value::{self, OpError, Val};

impl Build<'_> {
    /// The value of an expression; [`Val::Poison`] if it has none, which has then been reported.
    pub(crate) fn eval(&mut self, place: &Place, expr: &Expr) -> Val {
        match &expr.kind {
            // The parser has complained about numbers that are too large.
            ExprKind::Number(number) if number.is_finite() => Val::number(*number),
            ExprKind::Quantity { value, unit } if value.is_finite() => {
                value::quantity(*value, unit.word()).unwrap_or(Val::Poison)
            }
            ExprKind::Number(_) | ExprKind::Quantity { .. } => Val::Poison,
            ExprKind::Bool(value) => Val::Bool(*value),
            ExprKind::Text(text) => match self.interpolate(place, text, expr.span) {
                Some(text) => Val::Text(text),
                None => Val::Poison,
            },
            ExprKind::Ref(reference) => self.eval_reference(place, reference),
            _ => self.deeper(expr.span, |build| build.compound(place, expr)),
        }
    }

    fn compound(&mut self, place: &Place, expr: &Expr) -> Val {
        match &expr.kind {
            ExprKind::List(items) => {
                let values: Vec<Val> = items.iter().map(|item| self.eval(place, item)).collect();
                Val::List(values.into())
            }
            ExprKind::Comprehension { body, variable, source } => {
                let over = self.eval(place, source);
                if !self.is_new(place, variable) {
                    return Val::Poison;
                }
                let Some(count) = self.count(place, &over, source) else { return Val::Poison };
                let mut values = Vec::with_capacity(count);
                for index in 0..count {
                    let Some(item) = over.item(index) else { break };
                    let mut locals = Locals::clone(&place.locals);
                    locals.push((variable.text.clone(), item));
                    let inner = Place { unit: place.unit, locals: Rc::new(locals) };
                    let value = self.eval(&inner, body);
                    // The same mistake would be found in every turn.
                    if matches!(value, Val::Poison) || self.overflow {
                        return Val::Poison;
                    }
                    values.push(value);
                }
                Val::List(values.into())
            }
            ExprKind::Call(call) => self.call(place, call),
            ExprKind::Range { start, end, inclusive } => {
                let (left, right) = (self.operand(place, start), self.operand(place, end));
                let result = value::range(*inclusive, &left, &right);
                self.checked(Code::WrongType, expr.span, result)
            }
            ExprKind::Unary { op, operand } => {
                let operand = self.operand(place, operand);
                self.checked(Code::TypeMismatch, expr.span, value::unary(op.word(), &operand))
            }
            ExprKind::Binary { op, left, right } => {
                let (a, b) = if op.word() == "==" || op.word() == "!=" {
                    (self.comparand(place, left, right), self.comparand(place, right, left))
                } else {
                    (self.operand(place, left), self.operand(place, right))
                };
                self.checked(Code::TypeMismatch, expr.span, value::binary(op.word(), &a, &b))
            }
            ExprKind::Conditional { then, condition, otherwise } => {
                match self.branch(place, then, condition, otherwise) {
                    Some(chosen) => self.eval(place, chosen),
                    None => Val::Poison,
                }
            }
            _ => self.eval(place, expr),
        }
    }

    /// The branch that a condition takes; `None` if it is none, which has been reported.
    pub(crate) fn branch<'e>(
        &mut self,
        place: &Place,
        then: &'e Expr,
        condition: &Expr,
        otherwise: &'e Expr,
    ) -> Option<&'e Expr> {
        match self.operand(place, condition) {
            Val::Bool(true) => Some(then),
            Val::Bool(false) => Some(otherwise),
            Val::Poison => None,
            other => {
                let message = format!("a condition is true or false, this is {}", other.kind());
                self.say(Diagnostic::new(Code::TypeMismatch, condition.span, message));
                None
            }
        }
    }

    /// An operand of a calculation: bare words are unknown names here.
    pub(crate) fn operand(&mut self, place: &Place, expr: &Expr) -> Val {
        match self.eval(place, expr) {
            Val::Word(word) if expr.bare().is_some_and(|name| name.text == word) => {
                self.unknown(place, &word, expr.span);
                Val::Poison
            }
            value => value,
        }
    }

    /// Beside `==`, a word may be compared with a value that is a word: `kind == bf16`.
    fn comparand(&mut self, place: &Place, expr: &Expr, other: &Expr) -> Val {
        let bare_word = expr.bare().is_some();
        if bare_word && other.bare().is_some() {
            let value = self.eval(place, expr);
            if matches!(value, Val::Word(_)) && matches!(self.eval(place, other), Val::Word(_)) {
                return value;
            }
        }
        self.operand(place, expr)
    }

    pub(crate) fn checked(&mut self, code: Code, span: Span, result: Result<Val, OpError>) -> Val {
        result.unwrap_or_else(|error| {
            let code = if error.numeric { Code::BadArithmetic } else { code };
            let mut diagnostic = Diagnostic::new(code, span, error.message);
            if let Some(help) = error.help {
                diagnostic = diagnostic.help(help);
            }
            self.say(diagnostic);
            Val::Poison
        })
    }
}
