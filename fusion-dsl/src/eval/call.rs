//! The functions of the value grammar: schedules, deterministic draws and a little arithmetic. There are no user functions.

use crate::ast::{Arg, Call};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::resolve::build::{Build, Place};
use crate::span::Span;
use crate::suggest;

use super::random;
use super::schedule;
use super::value::{OpError, Val, binary, whole};

/// A function's name, its parameters in order, and how many of them must be given.
struct Function {
    name: &'static str,
    parameters: &'static [&'static str],
    required: usize,
    example: &'static str,
}

const FUNCTIONS: [Function; 15] = [
    Function { name: "ramp", parameters: &["from", "to"], required: 2, example: "ramp(0.2, 0.6)" },
    Function { name: "curve", parameters: &["points"], required: 1, example: "curve([0, 0.5, 1])" },
    Function { name: "steps", parameters: &["values"], required: 1, example: "steps([0.1, 0.5])" },
    Function {
        name: "cosine",
        parameters: &["from", "to", "cycle"],
        required: 2,
        example: "cosine(from: 0.1, to: 0)",
    },
    Function {
        name: "cyclic",
        parameters: &["from", "to", "cycle"],
        required: 3,
        example: "cyclic(from: 0.05, to: 0.001, cycle: 4 epochs)",
    },
    Function {
        name: "triangle",
        parameters: &["from", "to", "cycle"],
        required: 3,
        example: "triangle(from: 0.05, to: 0.001, cycle: 4 epochs)",
    },
    Function {
        name: "one_cycle",
        parameters: &["max", "start", "end", "warmup"],
        required: 1,
        example: "one_cycle(max: 0.1)",
    },
    Function {
        name: "uniform",
        parameters: &["low", "high", "seed"],
        required: 3,
        example: "uniform(0, 1, seed: i)",
    },
    Function {
        name: "log_uniform",
        parameters: &["low", "high", "seed"],
        required: 3,
        example: "log_uniform(1e-6, 1e-4, seed: i)",
    },
    Function { name: "len", parameters: &["list"], required: 1, example: "len(xs)" },
    Function { name: "min", parameters: &[], required: 1, example: "min(a, b)" },
    Function { name: "max", parameters: &[], required: 1, example: "max(a, b)" },
    Function { name: "abs", parameters: &["x"], required: 1, example: "abs(x)" },
    Function { name: "sqrt", parameters: &["x"], required: 1, example: "sqrt(x)" },
    Function { name: "round", parameters: &["x"], required: 1, example: "round(x)" },
];

/// Names of all functions, for completion and suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

pub(super) type Given = Vec<Option<(Val, Span)>>;

impl Build<'_> {
    pub(crate) fn call(&mut self, place: &Place, call: &Call) -> Val {
        let name = call.function.dotted();
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            // The arguments may use names; they are not the mistake.
            for arg in &call.args {
                self.eval(place, &arg.value);
            }
            let span = call.function.span;
            let mut diagnostic =
                Diagnostic::new(Code::UnknownFunction, span, format!("there is no function `{name}`"));
            diagnostic = match suggest::closest(&name, names()) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                    format!("change it to `{near}`"),
                    span,
                    near,
                ),
                None => diagnostic.help(format!("functions are {}", suggest::list(names(), 20))),
            };
            self.say(diagnostic);
            return Val::Poison;
        };
        let before = self.diagnostics.len();
        let Some(given) = self.arguments(place, call, function) else { return Val::Poison };
        if given.iter().flatten().any(|(value, _)| matches!(value, Val::Poison)) {
            debug_assert!(self.diagnostics.len() >= before);
            return Val::Poison;
        }
        let result = match function.name {
            name if schedule::NAMES.contains(&name) => schedule::make(name, &given),
            "uniform" | "log_uniform" => draw(function.name, &given),
            "min" | "max" => extreme(function.name, &given),
            "len" => match first(&given) {
                Val::List(items) => Ok(Val::number(items.len() as f64)),
                value if value.count().is_some() => Ok(Val::number(value.count().unwrap_or(0) as f64)),
                other => {
                    Err(OpError::new(format!("`len` takes a list or a range, this is {}", other.kind())))
                }
            },
            name => unary(name, &first(&given)),
        };
        let code =
            if schedule::NAMES.contains(&function.name) { Code::BadSchedule } else { Code::BadArgument };
        self.checked(code, call.span, result)
    }

    /// Arguments in the order of the function's parameters.
    fn arguments(&mut self, place: &Place, call: &Call, function: &Function) -> Option<Given> {
        let count = function.parameters.len();
        let mut given: Given = vec![None; count];
        let mut position = 0;
        let mut good = true;
        for Arg { name, value } in &call.args {
            let span = value.span;
            let result = self.operand(place, value);
            let result = (result, span);
            match name {
                None if count == 0 => given.push(Some(result)),
                None if position < count => {
                    given[position] = Some(result);
                    position += 1;
                }
                None => {
                    self.misused(function, span, format!("`{}` takes {count} arguments", function.name));
                    good = false;
                }
                Some(name) => match function.parameters.iter().position(|known| *known == name.text) {
                    Some(slot) if given[slot].is_none() => given[slot] = Some(result),
                    Some(_) => {
                        self.misused(function, name.span, format!("`{}` is given twice", name.text));
                        good = false;
                    }
                    None => {
                        let message = format!("`{}` has no argument `{}`", function.name, name.text);
                        self.misused(function, name.span, message);
                        good = false;
                    }
                },
            }
        }
        if !good {
            return None;
        }
        let missing = if count == 0 {
            given.is_empty().then_some("a value")
        } else {
            (0..function.required).find(|slot| given[*slot].is_none()).map(|slot| function.parameters[slot])
        };
        if let Some(missing) = missing {
            self.misused(function, call.span, format!("`{}` needs `{missing}`", function.name));
            return None;
        }
        Some(given)
    }

    fn misused(&mut self, function: &Function, span: Span, message: String) {
        let diagnostic = Diagnostic::new(Code::BadArgument, span, message)
            .help(format!("for instance `{}`", function.example));
        self.say(diagnostic);
    }
}

pub(super) fn first(given: &Given) -> Val {
    given.first().and_then(Option::as_ref).map_or(Val::Poison, |(value, _)| value.clone())
}

pub(super) fn number(name: &str, given: &Given, slot: usize) -> Result<f64, OpError> {
    match given.get(slot).and_then(Option::as_ref) {
        Some((Val::Number { value, .. }, _)) => Ok(*value),
        Some((other, _)) => Err(OpError::new(format!("`{name}` takes numbers, this is {}", other.kind()))),
        None => Err(OpError::new(format!("`{name}` needs another number"))),
    }
}

fn draw(name: &str, given: &Given) -> Result<Val, OpError> {
    let (low, high, seed) = (number(name, given, 0)?, number(name, given, 1)?, number(name, given, 2)?);
    if low > high {
        return Err(OpError::new(format!("`{name}` draws from {low} to {high}, which is backwards")));
    }
    if !whole(seed) || seed < 0.0 {
        return Err(OpError::new("a seed is a whole number, not negative"));
    }
    if name == "uniform" {
        if !(high - low).is_finite() {
            return Err(OpError::numeric("the result is not a finite number"));
        }
        return Ok(Val::number(random::uniform(low, high, seed as u64)));
    }
    if low <= 0.0 {
        return Err(OpError::new("`log_uniform` needs bounds above zero: it draws between their logarithms"));
    }
    Ok(Val::number(random::log_uniform(low, high, seed as u64)))
}

fn extreme(name: &str, given: &Given) -> Result<Val, OpError> {
    let values: Vec<Val> = match given.as_slice() {
        [Some((Val::List(items), _))] => items.to_vec(),
        several => several.iter().flatten().map(|(value, _)| value.clone()).collect(),
    };
    let mut values = values.into_iter();
    let Some(mut best) = values.next() else {
        return Err(OpError::new(format!("`{name}` of nothing")));
    };
    if best
        .lower()
        .is_some_and(|_| !matches!(best, Val::Number { .. } | Val::Bytes(_) | Val::Quantity { .. }))
    {
        return Err(OpError::new(format!("`{name}` takes numbers, this is {}", best.kind())));
    }
    let op = if name == "min" { "<" } else { ">" };
    for value in values {
        if binary(op, &value, &best)? == Val::Bool(true) {
            best = value;
        }
    }
    Ok(best)
}

fn unary(name: &str, value: &Val) -> Result<Val, OpError> {
    let apply = |x: f64| match name {
        "abs" => x.abs(),
        "round" => x.round(),
        _ => x.sqrt(),
    };
    match value {
        Val::Number { value, percent } => {
            if name == "sqrt" && *value < 0.0 {
                return Err(OpError::numeric("`sqrt` of a negative number has no value"));
            }
            Ok(Val::Number { value: apply(*value) + 0.0, percent: *percent && name == "abs" })
        }
        Val::Bytes(value) if name != "sqrt" => Ok(Val::Bytes(apply(*value))),
        Val::Quantity { value, unit } if name != "sqrt" => Ok(Val::Quantity { value: apply(*value), unit }),
        other => Err(OpError::new(format!("`{name}` takes a number, this is {}", other.kind()))),
    }
}
