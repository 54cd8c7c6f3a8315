//! `expect`: what headers can decide is decided in the plan.

use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Formula, Node, NodeId, NodeKind, Value};
use serde::Serialize;

use super::build::Builder;

/// A value in an `expect`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Fact {
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A word or text.
    Text(String),
}

/// An `expect` with its verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// As written.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
    /// The facts in it with their values.
    pub values: Vec<(String, Fact)>,
}

impl Builder<'_> {
    pub(super) fn expect(&mut self, node: &Node, formula: &Formula, text: &str) {
        #[cfg(feature = "learn")]
        if self.pending(node, formula, text) {
            return;
        }
        let mut values = Vec::new();
        let holds = match self.evaluate(formula, &mut values) {
            Some(Fact::Bool(holds)) => holds,
            Some(_) => {
                let diagnostic = Diagnostic::new(
                    Code::NotACondition,
                    node.span,
                    format!("`{text}` is neither true nor false"),
                )
                .help("compare with `==`, `<`, …");
                return self.error(diagnostic);
            }
            None => return, // reported, or its model failed
        };
        if !holds {
            let shown: Vec<String> =
                values.iter().map(|(name, value)| format!("{name} = {}", show(value))).collect();
            let diagnostic =
                Diagnostic::new(Code::ExpectationFailed, node.span, format!("`{text}` does not hold"))
                    .note(shown.join(", "))
                    .note("decided by the headers; no weights were read");
            self.error(diagnostic);
        }
        self.verdicts.push(Verdict { text: text.to_owned(), holds, values });
    }

    fn evaluate(&mut self, formula: &Formula, values: &mut Vec<(String, Fact)>) -> Option<Fact> {
        match formula {
            Formula::Value(value) => Some(match value {
                Value::Bool(b) => Fact::Bool(*b),
                Value::Number(n) => Fact::Number(*n),
                Value::Bytes(bytes) => Fact::Number(*bytes as f64),
                Value::Quantity { value, .. } => Fact::Number(*value),
                Value::Word(text) | Value::Text(text) => Fact::Text(text.clone()),
                _ => return None,
            }),
            Formula::Fact { node, fact, span } => {
                let name = format!("{}.{fact}", self.graph.node(*node).name);
                match self.fact(*node, fact) {
                    Some(Some(value)) => {
                        values.push((name, value.clone()));
                        Some(value)
                    }
                    Some(None) => None,
                    None => {
                        let diagnostic = Diagnostic::new(
                            Code::UnknownFact,
                            *span,
                            format!("nothing is known as `{name}`"),
                        )
                        .help("models have `parameters`, `layers`, `tensors`, `bytes`");
                        self.error(diagnostic);
                        None
                    }
                }
            }
            Formula::Unary { op, operand } => match (op.as_str(), self.evaluate(operand, values)?) {
                ("-", Fact::Number(n)) => Some(Fact::Number(-n)),
                ("not", Fact::Bool(b)) => Some(Fact::Bool(!b)),
                _ => None,
            },
            Formula::Binary { op, left, right } => {
                let (a, b) = (self.evaluate(left, values)?, self.evaluate(right, values)?);
                binary(op, &a, &b)
            }
        }
    }

    /// `None`: no such fact; `Some(None)`: its model failed.
    fn fact(&self, node: NodeId, fact: &str) -> Option<Option<Fact>> {
        if !matches!(self.graph.node(node).kind, NodeKind::Model { .. } | NodeKind::Stage(_)) {
            return None;
        }
        let Some(view) = self.views.get(&node) else { return Some(None) };
        let entries = || view.tensors.values().map(|entry| self.program.tensor(entry.tensor));
        let value = match fact {
            "parameters" => entries().map(|tensor| tensor.len()).sum::<u64>(),
            "layers" => u64::from(view.layers),
            "tensors" => view.tensors.len() as u64,
            "bytes" => entries().map(|tensor| tensor.bytes()).sum::<u64>(),
            _ => return None,
        };
        Some(Some(Fact::Number(value as f64)))
    }
}

impl super::Plan {
    /// What headers tell of a model, if they do.
    #[cfg(feature = "learn")]
    pub(crate) fn header_fact(&self, node: NodeId, fact: &str) -> Option<f64> {
        let view = self.views.get(&node)?;
        let tensors = || view.tensors.values().map(|entry| self.program.tensor(entry.tensor));
        Some(match fact {
            "parameters" => tensors().map(|tensor| tensor.len()).sum::<u64>() as f64,
            "layers" => f64::from(view.layers),
            "tensors" => view.tensors.len() as f64,
            "bytes" => tensors().map(|tensor| tensor.bytes()).sum::<u64>() as f64,
            _ => return None,
        })
    }
}

pub(crate) fn show(fact: &Fact) -> String {
    match fact {
        Fact::Number(n) => n.to_string(),
        Fact::Bool(b) => b.to_string(),
        Fact::Text(text) => format!("{text:?}"),
    }
}

pub(crate) fn binary(op: &str, a: &Fact, b: &Fact) -> Option<Fact> {
    Some(match (op, a, b) {
        ("==", _, _) => Fact::Bool(a == b),
        ("!=", _, _) => Fact::Bool(a != b),
        ("and", Fact::Bool(a), Fact::Bool(b)) => Fact::Bool(*a && *b),
        ("or", Fact::Bool(a), Fact::Bool(b)) => Fact::Bool(*a || *b),
        (_, Fact::Number(a), Fact::Number(b)) => match op {
            "+" => Fact::Number(a + b),
            "-" => Fact::Number(a - b),
            "*" => Fact::Number(a * b),
            "/" => Fact::Number(a / b),
            "<" => Fact::Bool(a < b),
            "<=" => Fact::Bool(a <= b),
            ">" => Fact::Bool(a > b),
            ">=" => Fact::Bool(a >= b),
            _ => return None,
        },
        _ => return None,
    })
}
