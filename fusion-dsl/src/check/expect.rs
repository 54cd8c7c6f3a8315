//! `expect`: a condition over facts that are known later, with everything that is known now already computed.

use crate::ast::{self, Expr, ExprKind};
use crate::codes::Code;
use crate::descriptor::Space;
use crate::diag::Diagnostic;
use crate::eval::value::{Val, binary, unary};
use crate::graph::{Formula, NodeKind, Ref, Value};
use crate::resolve::build::{Build, Place};
use crate::resolve::names::Target;
use crate::resolve::statics::MODEL_FACTS;
use crate::span::Span;
use crate::suggest;

/// What a formula gives.
#[derive(Clone, Debug)]
enum Typed {
    /// Known now.
    Known(Val),
    /// A number known later; `bytes` may be compared with sizes.
    Number {
        formula: Formula,
        bytes: bool,
    },
    /// True or false, known later.
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
            Typed::Number { .. } => {
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
            ExprKind::Ref(reference) => match self.resolve(place, reference) {
                Target::Poison => Typed::Poison,
                Target::Value(value) => Typed::Known(value),
                Target::Word(word) => {
                    self.unknown(place, &word, expr.span);
                    Typed::Poison
                }
                Target::Node(node, rest) => {
                    let words: Vec<&str> = rest.iter().map(|name| name.text.as_str()).collect();
                    let last = rest.last().map_or(expr.span, |name| name.span);
                    self.fact(&node, &words, expr.span, last)
                }
            },
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

    fn fact(&mut self, node: &Ref, words: &[&str], span: Span, last: Span) -> Typed {
        let name = self.raw(node.node).name.clone();
        // A part stands before the fact: `soup.best_single.layers`.
        let mut of = node.clone();
        let mut rest = words;
        if of.part.is_none()
            && let Some(first) = words.first()
            && self.parts(node.node).contains(first)
        {
            of.part = Some((*first).to_owned());
            rest = &words[1..];
        }
        let mut fact: Vec<&str> = of.part.as_deref().into_iter().collect();
        fact.extend_from_slice(rest);
        let formula = Formula::Fact { node: node.node, fact: fact.join("."), span };
        let space = self.space(&of);
        let Some(word) = rest.last().copied() else {
            let diagnostic =
                Diagnostic::new(Code::UnknownFact, span, format!("{} is not a number", self.describe(&of)));
            let diagnostic = match space {
                Space::Model => diagnostic.help(format!(
                    "name a fact of it: {}",
                    suggest::list(
                        MODEL_FACTS
                            .iter()
                            .map(|fact| format!("{name}.{fact}"))
                            .collect::<Vec<_>>()
                            .iter()
                            .map(String::as_str),
                        8
                    )
                )),
                Space::Scores => diagnostic.help(format!("name a score: `{name}.INPUT`")),
                _ => diagnostic,
            };
            self.say(diagnostic);
            return Typed::Poison;
        };
        match space {
            Space::Scores => Typed::Number { formula, bytes: false },
            Space::Model if rest.len() == 1 && MODEL_FACTS.contains(&word) => {
                Typed::Number { formula, bytes: word == "bytes" }
            }
            Space::Model => {
                let mut diagnostic = Diagnostic::new(
                    Code::UnknownFact,
                    last,
                    format!("nothing called `{}` is known of {}", rest.join("."), self.describe(&of)),
                );
                diagnostic = match suggest::closest(word, MODEL_FACTS) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                        format!("change it to `{near}`"),
                        last,
                        near,
                    ),
                    None => diagnostic
                        .help(format!("known are {}", suggest::list(MODEL_FACTS, 8)))
                        .note("what a model scores is measured by `evaluate`"),
                };
                self.say(diagnostic);
                Typed::Poison
            }
            _ => {
                let diagnostic = Diagnostic::new(
                    Code::UnknownFact,
                    last,
                    format!("nothing is known of {} without measuring it", self.describe(&of)),
                )
                .help("measure it with an `evaluate` stage");
                self.say(diagnostic);
                Typed::Poison
            }
        }
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
        } else if let (Some((a, a_bytes)), Some((b, b_bytes))) = (amount(&left), amount(&right)) {
            // A fact in bytes goes with sizes and plain numbers, other facts with plain numbers only.
            let size = |typed: &Typed| matches!(typed, Typed::Known(Val::Bytes(_)));
            let fits = (b_bytes || !size(&left)) && (a_bytes || !size(&right));
            let zero =
                op == "/" && matches!(&right, Typed::Known(Val::Number { value, .. }) if *value == 0.0);
            if zero {
                self.say(Diagnostic::new(Code::BadArithmetic, span, "division by zero"));
                return Typed::Poison;
            }
            if fits {
                let formula = binary_formula(a, b);
                return if compares {
                    Typed::Truth(formula)
                } else {
                    Typed::Number { formula, bytes: (a_bytes || b_bytes) && op != "/" }
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

/// A number's formula, and whether it counts bytes.
fn amount(typed: &Typed) -> Option<(Formula, bool)> {
    match typed {
        Typed::Number { formula, bytes } => Some((formula.clone(), *bytes)),
        Typed::Known(value @ Val::Number { .. }) => Some((Formula::Value(value.lower()?), false)),
        Typed::Known(value @ Val::Bytes(_)) => Some((Formula::Value(value.lower()?), true)),
        _ => None,
    }
}

fn shown(typed: &Typed) -> String {
    match typed {
        Typed::Known(value) => value.kind(),
        Typed::Number { bytes: true, .. } => "a number of bytes".into(),
        Typed::Number { .. } => "a number".into(),
        Typed::Truth(_) => "a condition".into(),
        Typed::Poison => "a broken value".into(),
    }
}
