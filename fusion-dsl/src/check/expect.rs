//! `expect`: a condition over facts that are known later, with everything that is known now already computed.

use crate::ast::{self, Expr, ExprKind};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::eval::value::{Val, binary, unary};
use crate::graph::{Formula, NodeKind, Value};
use crate::resolve::build::{Build, Place};
use crate::resolve::names::Target;
use crate::span::Span;

/// What a formula gives.
#[derive(Clone, Debug)]
pub(crate) enum Typed {
    /// Known now.
    Known(Val),
    /// A number known later; `bytes` may be compared with sizes.
    Number {
        formula: Formula,
        bytes: bool,
    },
    /// True or false, known later.
    /// A number of each of several results (`tuned[*].layers`), known later. A comparison holds if it holds for all of them.
    Each {
        formulas: Vec<Formula>,
        bytes: bool,
    },
    Truth(Formula),
    Poison,
}

impl Build<'_> {
    pub(crate) fn expect(&mut self, place: &Place, it: &ast::Expect) -> Option<NodeKind> {
        let span = it.condition.span;
        let text = self.source(span).to_owned();
        let formula = match self.formula(place, &it.condition) {
            Typed::Poison | Typed::Known(Val::Poison) => return None,
            Typed::Truth(formula) => formula,
            Typed::Known(Val::Bool(true)) => Formula::Value(Value::Bool(true)),
            Typed::Known(Val::Bool(false)) => {
                let diagnostic = Diagnostic::new(Code::ExpectationFailed, span, "this does not hold")
                    .label("known to be false before anything runs");
                self.say(diagnostic);
                return None;
            }
            Typed::Known(other) => {
                let message = format!("`expect` needs something true or false, this is {}", other.kind());
                self.say(Diagnostic::new(Code::NotACondition, span, message));
                return None;
            }
            Typed::Number { .. } | Typed::Each { .. } => {
                let diagnostic = Diagnostic::new(
                    Code::NotACondition,
                    span,
                    "`expect` needs something true or false, this is a number",
                )
                .help(format!("compare it with something: `{text} == …`"));
                self.say(diagnostic);
                return None;
            }
        };
        Some(NodeKind::Expect { formula, text })
    }

    fn formula(&mut self, place: &Place, expr: &Expr) -> Typed {
        if self.enter(expr.span) {
            let typed = self.formula_of(place, expr);
            self.depth -= 1;
            typed
        } else {
            Typed::Poison
        }
    }

    fn enter(&mut self, span: Span) -> bool {
        let entered = self.deeper(span, |_| Val::Bool(true)) != Val::Poison;
        if entered {
            self.depth += 1;
        }
        entered
    }

    fn formula_of(&mut self, place: &Place, expr: &Expr) -> Typed {
        match &expr.kind {
            ExprKind::Ref(reference) => self.named(place, reference),
            ExprKind::Unary { op, operand } => {
                let operand = self.formula(place, operand);
                match (op.word(), operand) {
                    (_, Typed::Poison) => Typed::Poison,
                    (word, Typed::Known(value)) => {
                        Typed::Known(self.checked(Code::TypeMismatch, expr.span, unary(word, &value)))
                    }
                    ("-", Typed::Number { formula, bytes }) => {
                        Typed::Number { formula: prefix("-", formula), bytes }
                    }
                    ("-", Typed::Each { formulas, bytes }) => {
                        let formulas = formulas.into_iter().map(|formula| prefix("-", formula)).collect();
                        Typed::Each { formulas, bytes }
                    }
                    ("not", Typed::Truth(formula)) => Typed::Truth(prefix("not", formula)),
                    (word, _) => {
                        let message = format!("`{word}` does not work on this");
                        self.say(Diagnostic::new(Code::TypeMismatch, expr.span, message));
                        Typed::Poison
                    }
                }
            }
            ExprKind::Binary { op, left, right } => {
                let (a, b) = (self.formula(place, left), self.formula(place, right));
                self.combine(op.word(), a, b, expr.span)
            }
            ExprKind::Call(call) if self.has_fact(place, expr) => {
                let message = format!("`{}` of something that is known only later", call.function.dotted());
                let diagnostic = Diagnostic::new(Code::NotKnownAtPlanTime, expr.span, message)
                    .help("facts can be compared and calculated with, not passed to functions");
                self.say(diagnostic);
                Typed::Poison
            }
            _ => Typed::Known(self.eval(place, expr)),
        }
    }

    /// Whether an argument of a call is a fact; asked quietly.
    fn has_fact(&mut self, place: &Place, expr: &Expr) -> bool {
        let ExprKind::Call(call) = &expr.kind else { return false };
        call.args.iter().any(|arg| {
            let ExprKind::Ref(reference) = &arg.value.kind else { return false };
            let before = self.diagnostics.len();
            let target = self.resolve(place, reference);
            self.diagnostics.truncate(before);
            matches!(target, Target::Node(..))
        })
    }

    fn combine(&mut self, op: &str, left: Typed, right: Typed, span: Span) -> Typed {
        let binary_formula = |left: Formula, right: Formula| Formula::Binary {
            op: op.to_owned(),
            left: Box::new(left),
            right: Box::new(right),
        };
        let (left, right) = match (left, right) {
            (Typed::Poison, _) | (_, Typed::Poison) => return Typed::Poison,
            (Typed::Known(a), Typed::Known(b)) => {
                return Typed::Known(self.checked(Code::TypeMismatch, span, binary(op, &a, &b)));
            }
            pair => pair,
        };
        let logical = matches!(op, "and" | "or");
        let compares = matches!(op, "==" | "!=" | "<" | "<=" | ">" | ">=");
        if logical {
            if let (Some(a), Some(b)) = (truth(&left), truth(&right)) {
                return Typed::Truth(binary_formula(a, b));
            }
        } else if let (Some((a, a_bytes)), Some((b, b_bytes))) = (amounts(&left), amounts(&right)) {
            // A fact in bytes goes with sizes and plain numbers, other facts with plain numbers only.
            let size = |typed: &Typed| matches!(typed, Typed::Known(Val::Bytes(_)));
            let fits = (b_bytes || !size(&left)) && (a_bytes || !size(&right));
            let zero =
                op == "/" && matches!(&right, Typed::Known(Val::Number { value, .. }) if *value == 0.0);
            if zero {
                self.say(Diagnostic::new(Code::BadArithmetic, span, "division by zero"));
                return Typed::Poison;
            }
            if a.len() != b.len() && a.len() != 1 && b.len() != 1 {
                let message =
                    format!("`{op}` goes over {} results on the left, {} on the right", a.len(), b.len());
                self.say(Diagnostic::new(Code::TypeMismatch, span, message));
                return Typed::Poison;
            }
            if fits {
                // One number stands for as many as there are on the other side, which may be none: then all of them hold.
                let count = if a.is_empty() || b.is_empty() { 0 } else { a.len().max(b.len()) };
                let at =
                    |list: &[Formula], index: usize| list[if list.len() == 1 { 0 } else { index }].clone();
                let mut formulas: Vec<Formula> =
                    (0..count).map(|index| binary_formula(at(&a, index), at(&b, index))).collect();
                let bytes = (a_bytes || b_bytes) && op != "/";
                let several = matches!(left, Typed::Each { .. }) || matches!(right, Typed::Each { .. });
                return match (compares, several) {
                    (true, _) => Typed::Truth(all(formulas)),
                    (false, true) => Typed::Each { formulas, bytes },
                    (false, false) => Typed::Number { formula: formulas.swap_remove(0), bytes },
                };
            }
        }
        let message = format!("`{op}` does not work on {} and {}", shown(&left), shown(&right));
        self.say(Diagnostic::new(Code::TypeMismatch, span, message));
        Typed::Poison
    }
}

fn prefix(op: &str, operand: Formula) -> Formula {
    Formula::Unary { op: op.to_owned(), operand: Box::new(operand) }
}

fn truth(typed: &Typed) -> Option<Formula> {
    match typed {
        Typed::Truth(formula) => Some(formula.clone()),
        Typed::Known(Val::Bool(value)) => Some(Formula::Value(Value::Bool(*value))),
        _ => None,
    }
}

/// That all conditions hold. Pairs of pairs, since a loop may make more of them than a chain could be deep.
fn all(mut formulas: Vec<Formula>) -> Formula {
    while formulas.len() > 1 {
        let mut pairs = Vec::with_capacity(formulas.len().div_ceil(2));
        let mut rest = formulas.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => {
                    Formula::Binary { op: "and".to_owned(), left: Box::new(left), right: Box::new(right) }
                }
                None => left,
            });
        }
        formulas = pairs;
    }
    formulas.pop().unwrap_or(Formula::Value(Value::Bool(true)))
}

/// The formulas of one number or of each of several, and whether they count bytes.
fn amounts(typed: &Typed) -> Option<(Vec<Formula>, bool)> {
    match typed {
        Typed::Number { formula, bytes } => Some((vec![formula.clone()], *bytes)),
        Typed::Each { formulas, bytes } => Some((formulas.clone(), *bytes)),
        Typed::Known(value @ Val::Number { .. }) => Some((vec![Formula::Value(value.lower()?)], false)),
        Typed::Known(value @ Val::Bytes(_)) => Some((vec![Formula::Value(value.lower()?)], true)),
        _ => None,
    }
}

fn shown(typed: &Typed) -> String {
    match typed {
        Typed::Known(value) => value.kind(),
        Typed::Number { bytes: true, .. } => "a number of bytes".into(),
        Typed::Number { .. } => "a number".into(),
        Typed::Each { .. } => "several numbers".into(),
        Typed::Truth(_) => "a condition".into(),
        Typed::Poison => "a broken value".into(),
    }
}
