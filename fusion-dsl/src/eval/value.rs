//! Evaluated values with their units, and arithmetic on them: a byte count plus an epoch count must not become a number.

use std::rc::Rc;

use crate::graph::{Ref, Schedule, Value};

/// A value and what is known of how it was written, which the checker needs for units.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val {
    Bool(bool),
    /// `percent` remembers that it was written with `%`; the value is already divided.
    Number {
        value: f64,
        percent: bool,
    },
    Text(String),
    /// A bare word that names nothing in the recipe: `bf16`, or a misspelt name; who uses it can tell.
    Word(String),
    /// Bytes, not yet rounded to whole ones.
    Bytes(f64),
    /// A number of some other unit, singular.
    Quantity {
        value: f64,
        unit: &'static str,
    },
    /// Half-open.
    Range {
        start: f64,
        end: f64,
        percent: bool,
    },
    /// Shared, since a long list may be looked into thousands of times.
    List(Rc<Vec<Val>>),
    Schedule(Schedule),
    Node(Ref),
    /// Something that has already been complained about: everything accepts it silently.
    Poison,
}

impl Val {
    pub(crate) fn number(value: f64) -> Val {
        Val::Number { value, percent: false }
    }

    /// How messages call it.
    pub(crate) fn kind(&self) -> String {
        match self {
            Val::Bool(_) => "a bool".into(),
            Val::Number { percent: true, .. } => "a percentage".into(),
            Val::Number { .. } => "a number".into(),
            Val::Text(_) => "a text".into(),
            Val::Word(word) => format!("the word `{word}`"),
            Val::Bytes(_) => "a size in bytes".into(),
            Val::Quantity { unit, .. } => format!("a number of {unit}s"),
            Val::Range { .. } => "a range".into(),
            Val::List(_) => "a list".into(),
            Val::Schedule(_) => "a schedule".into(),
            Val::Node(_) => "a reference".into(),
            Val::Poison => "a broken value".into(),
        }
    }

    /// The graph's form. Broken values have none.
    pub(crate) fn lower(&self) -> Option<Value> {
        Some(match self {
            Val::Bool(value) => Value::Bool(*value),
            Val::Number { value, .. } => Value::Number(value + 0.0),
            Val::Text(text) => Value::Text(text.clone()),
            Val::Word(word) => Value::Word(word.clone()),
            Val::Bytes(bytes) => Value::Bytes(bytes.round() as u64),
            Val::Quantity { value, unit } => Value::Quantity { value: *value, unit: (*unit).to_owned() },
            Val::Range { start, end, .. } => Value::Range { start: *start, end: *end },
            Val::List(items) => Value::List(items.iter().map(Val::lower).collect::<Option<_>>()?),
            Val::Schedule(schedule) => Value::Schedule(schedule.clone()),
            Val::Node(reference) => Value::Node(reference.clone()),
            Val::Poison => return None,
        })
    }

    /// Text for `"{name}"`; `None` for what has no text (references, schedules).
    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            Val::Bool(value) => value.to_string(),
            Val::Number { value, percent: true } => format!("{}%", tidy(value * 100.0)),
            Val::Number { value, .. } => value.to_string(),
            Val::Text(text) => text.clone(),
            Val::Word(word) => word.clone(),
            Val::Bytes(bytes) => bytes.to_string(),
            Val::Quantity { value, unit } => format!("{value}-{unit}"),
            Val::Range { .. } | Val::List(_) | Val::Schedule(_) | Val::Node(_) | Val::Poison => return None,
        })
    }

    /// How many things [`Val::item`] gives: the elements of a list, the numbers of a range of whole numbers.
    pub(crate) fn count(&self) -> Option<usize> {
        match self {
            Val::List(items) => Some(items.len()),
            Val::Range { start, end, percent: false } if whole(*start) && whole(*end) => {
                Some((end - start).max(0.0) as usize)
            }
            _ => None,
        }
    }

    /// The thing at an index below [`Val::count`].
    pub(crate) fn item(&self, index: usize) -> Option<Val> {
        match self {
            Val::List(items) => items.get(index).cloned(),
            Val::Range { start, .. } => Some(Val::number(start + index as f64)),
            _ => None,
        }
    }
}

/// Takes the noise of `x * 100` off again: `0.07 * 100` is `7`, not `7.000000000000001`.
fn tidy(value: f64) -> f64 {
    let rounded = (value * 1e9).round() / 1e9;
    if rounded.is_finite() { rounded } else { value }
}

/// Whether a number is a whole one that `f64` holds exactly.
pub(crate) fn whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0
}

/// Units other than `%` and sizes, singular.
pub(crate) const UNITS: [&str; 6] = ["epoch", "step", "sample", "token", "minute", "hour"];

/// Bytes in a size unit.
pub(crate) fn bytes_in(unit: &str) -> Option<f64> {
    Some(match unit {
        "B" => 1.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    })
}

/// The singular of a unit word.
pub(crate) fn unit_named(word: &str) -> Option<&'static str> {
    UNITS.into_iter().find(|unit| word == *unit || word.strip_suffix('s') == Some(*unit))
}

/// A literal with a unit. `None` for a unit that there is not.
pub(crate) fn quantity(value: f64, unit: &str) -> Option<Val> {
    if unit == "%" {
        // Through decimal text, so that `12.3%` is exactly the double that `0.123` is.
        let fraction = format!("{value:e}").split_once('e').and_then(|(mantissa, exponent)| {
            let exponent: i32 = exponent.parse().ok()?;
            format!("{mantissa}e{}", exponent - 2).parse().ok()
        });
        return Some(Val::Number { value: fraction.unwrap_or(value / 100.0), percent: true });
    }
    if let Some(size) = bytes_in(unit) {
        return Some(Val::Bytes(value * size));
    }
    unit_named(unit).map(|unit| Val::Quantity { value, unit })
}

/// Why an operation has no value, and what would help.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpError {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The types fit; the numbers have no result.
    pub(crate) numeric: bool,
}

impl OpError {
    pub(crate) fn new(message: impl Into<String>) -> OpError {
        OpError { message: message.into(), help: None, numeric: false }
    }

    pub(crate) fn numeric(message: impl Into<String>) -> OpError {
        OpError { numeric: true, ..OpError::new(message) }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> OpError {
        self.help = Some(help.into());
        self
    }
}

fn finite(value: f64, build: impl FnOnce(f64) -> Val) -> Result<Val, OpError> {
    if value.is_finite() {
        Ok(build(value + 0.0))
    } else {
        Err(OpError::numeric("the result is not a finite number"))
    }
}

fn scaled(schedule: &Schedule, f: impl Fn(f64) -> f64) -> Val {
    Val::Schedule(match schedule {
        Schedule::Ramp { from, to } => Schedule::Ramp { from: f(*from), to: f(*to) },
        Schedule::Curve(points) => Schedule::Curve(points.iter().map(|x| f(*x)).collect()),
        Schedule::Steps(values) => Schedule::Steps(values.iter().map(|x| f(*x)).collect()),
        Schedule::Cosine { from, to, cycle } => {
            Schedule::Cosine { from: f(*from), to: f(*to), cycle: cycle.clone() }
        }
        Schedule::Cyclic { from, to, cycle } => {
            Schedule::Cyclic { from: f(*from), to: f(*to), cycle: cycle.clone() }
        }
        Schedule::Triangle { from, to, cycle } => {
            Schedule::Triangle { from: f(*from), to: f(*to), cycle: cycle.clone() }
        }
        Schedule::OneCycle { max, start, end, warmup } => {
            Schedule::OneCycle { max: f(*max), start: f(*start), end: f(*end), warmup: warmup.clone() }
        }
    })
}

/// The smallest and the largest value that a schedule takes.
pub(crate) fn bounds(schedule: &Schedule) -> (f64, f64) {
    let fold = |values: &[f64]| {
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)))
    };
    match schedule {
        Schedule::Ramp { from, to }
        | Schedule::Cosine { from, to, .. }
        | Schedule::Cyclic { from, to, .. }
        | Schedule::Triangle { from, to, .. } => fold(&[*from, *to]),
        Schedule::OneCycle { max, start, end, .. } => fold(&[*max, *start, *end]),
        Schedule::Curve(values) | Schedule::Steps(values) => fold(values),
    }
}

/// `-x`, `not x`
pub(crate) fn unary(op: &str, operand: &Val) -> Result<Val, OpError> {
    Ok(match (op, operand) {
        (_, Val::Poison) => Val::Poison,
        ("-", Val::Number { value, percent }) => Val::Number { value: -value + 0.0, percent: *percent },
        ("-", Val::Bytes(value)) => Val::Bytes(-value),
        ("-", Val::Quantity { value, unit }) => Val::Quantity { value: -value, unit },
        ("-", Val::Schedule(schedule)) => scaled(schedule, |x| -x),
        ("not", Val::Bool(value)) => Val::Bool(!value),
        ("not", other) => return Err(OpError::new(format!("`not` takes a bool, this is {}", other.kind()))),
        (_, other) => return Err(OpError::new(format!("`{op}` takes a number, this is {}", other.kind()))),
    })
}

/// Everything between two operands except ranges.
pub(crate) fn binary(op: &str, left: &Val, right: &Val) -> Result<Val, OpError> {
    if matches!(left, Val::Poison) || matches!(right, Val::Poison) {
        return Ok(Val::Poison);
    }
    match op {
        "and" | "or" => match (left, right) {
            (Val::Bool(a), Val::Bool(b)) => Ok(Val::Bool(if op == "and" { *a && *b } else { *a || *b })),
            _ => Err(OpError::new(format!(
                "`{op}` takes two bools, these are {} and {}",
                left.kind(),
                right.kind()
            ))),
        },
        "==" | "!=" | "<" | "<=" | ">" | ">=" => compare(op, left, right),
        _ => arithmetic(op, left, right),
    }
}

/// Two values as numbers of the same dimension.
fn same_dimension(left: &Val, right: &Val) -> Option<(f64, f64)> {
    match (left, right) {
        (Val::Number { value: a, .. }, Val::Number { value: b, .. }) | (Val::Bytes(a), Val::Bytes(b)) => {
            Some((*a, *b))
        }
        (Val::Quantity { value: a, unit: u }, Val::Quantity { value: b, unit: v }) if u == v => {
            Some((*a, *b))
        }
        _ => None,
    }
}

fn compare(op: &str, left: &Val, right: &Val) -> Result<Val, OpError> {
    if let Some((a, b)) = same_dimension(left, right) {
        return Ok(Val::Bool(match op {
            "==" => a == b,
            "!=" => a != b,
            "<" => a < b,
            "<=" => a <= b,
            ">" => a > b,
            _ => a >= b,
        }));
    }
    let comparable = matches!(
        (left, right),
        (Val::Bool(_), Val::Bool(_))
            | (Val::Text(_), Val::Text(_))
            | (Val::Word(_), Val::Word(_))
            | (Val::List(_), Val::List(_))
    );
    match op {
        "==" if comparable => Ok(Val::Bool(left == right)),
        "!=" if comparable => Ok(Val::Bool(left != right)),
        _ => Err(OpError::new(format!("`{op}` cannot compare {} with {}", left.kind(), right.kind()))),
    }
}

fn arithmetic(op: &str, left: &Val, right: &Val) -> Result<Val, OpError> {
    use Val::{Bytes, Number, Quantity};
    let mismatch = || {
        let error = OpError::new(format!("`{op}` does not work on {} and {}", left.kind(), right.kind()));
        match (left, right) {
            (Val::Text(_), _) | (_, Val::Text(_)) => {
                error.help("texts are put together with braces: `\"{a}-{b}\"`")
            }
            (Val::Node(_), _) | (_, Val::Node(_)) => {
                error.help("models are combined by a stage: `average NAME using linear { … }`")
            }
            _ => error,
        }
    };
    if op == "/"
        && matches!(right, Number { value, .. } | Bytes(value) | Quantity { value, .. } if *value == 0.0)
    {
        return Err(OpError::numeric("division by zero"));
    }
    match (op, left, right) {
        ("+" | "-", Number { value: a, percent: p }, Number { value: b, percent: q }) => {
            let percent = *p && *q;
            finite(if op == "+" { a + b } else { a - b }, |value| Number { value, percent })
        }
        ("*", Number { value: a, percent: p }, Number { value: b, percent: q }) => {
            let percent = *p && *q;
            finite(a * b, |value| Number { value, percent })
        }
        ("/", Number { value: a, percent: p }, Number { value: b, percent: q }) => {
            let percent = *p && !*q;
            finite(a / b, |value| Number { value, percent })
        }
        ("+" | "-", Bytes(a), Bytes(b)) => finite(if op == "+" { a + b } else { a - b }, Bytes),
        ("+" | "-", Quantity { value: a, unit }, Quantity { value: b, unit: other }) if unit == other => {
            finite(if op == "+" { a + b } else { a - b }, |value| Quantity { value, unit })
        }
        ("*", Number { value: a, .. }, Bytes(b)) | ("*", Bytes(b), Number { value: a, .. }) => {
            finite(a * b, Bytes)
        }
        ("/", Bytes(a), Number { value: b, .. }) => finite(a / b, Bytes),
        ("*", Number { value: a, .. }, Quantity { value: b, unit })
        | ("*", Quantity { value: b, unit }, Number { value: a, .. }) => {
            finite(a * b, |value| Quantity { value, unit })
        }
        ("/", Quantity { value: a, unit }, Number { value: b, .. }) => {
            finite(a / b, |value| Quantity { value, unit })
        }
        ("/", _, _) if same_dimension(left, right).is_some() => {
            let (a, b) = same_dimension(left, right).unwrap_or((0.0, 1.0));
            finite(a / b, Val::number)
        }
        ("+" | "-" | "*" | "/", Val::Schedule(schedule), Number { value, .. }) => {
            checked(scaled(schedule, |x| apply(op, x, *value)))
        }
        ("+" | "-" | "*", Number { value, .. }, Val::Schedule(schedule)) => {
            checked(scaled(schedule, |x| apply(op, *value, x)))
        }
        _ => Err(mismatch()),
    }
}

fn apply(op: &str, a: f64, b: f64) -> f64 {
    match op {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        _ => a / b,
    }
}

fn checked(value: Val) -> Result<Val, OpError> {
    match &value {
        Val::Schedule(schedule) => {
            let (low, high) = bounds(schedule);
            if low.is_finite() && high.is_finite() {
                Ok(value)
            } else {
                Err(OpError::numeric("the result is not a finite number"))
            }
        }
        _ => Ok(value),
    }
}

/// `a..b`, `a..=b`
pub(crate) fn range(inclusive: bool, left: &Val, right: &Val) -> Result<Val, OpError> {
    match (left, right) {
        (Val::Poison, _) | (_, Val::Poison) => Ok(Val::Poison),
        (Val::Number { value: start, percent: p }, Val::Number { value: end, percent: q }) => {
            // `0..100%` is a range of fractions too.
            let percent = *p || *q;
            if inclusive && (percent || !whole(*start) || !whole(*end)) {
                return Err(OpError::new("`..=` is for whole numbers").help("use `..`"));
            }
            Ok(Val::Range { start: *start, end: if inclusive { end + 1.0 } else { *end }, percent })
        }
        _ => Err(OpError::new(format!(
            "a range goes from number to number, not from {} to {}",
            left.kind(),
            right.kind()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(value: f64) -> Val {
        quantity(value, "%").expect("% is a unit")
    }

    #[test]
    fn percent_is_exactly_the_fraction() {
        for (written, fraction) in [(60.0, 0.6), (12.3, 0.123), (0.1, 0.001), (7.0, 0.07), (0.0, 0.0)] {
            assert_eq!(percent(written), Val::Number { value: fraction, percent: true });
        }
    }

    #[test]
    fn units_take_part_in_arithmetic() {
        let gb = |n| quantity(n, "GB").unwrap();
        assert_eq!(binary("+", &gb(1.0), &quantity(500.0, "MB").unwrap()), Ok(Val::Bytes(1.5e9)));
        assert_eq!(binary("*", &Val::number(2.0), &gb(1.0)), Ok(gb(2.0)));
        assert_eq!(binary("/", &gb(3.0), &gb(2.0)), Ok(Val::number(1.5)));
        let epochs = quantity(4.0, "epochs").unwrap();
        assert_eq!(binary("*", &percent(50.0), &epochs), Ok(quantity(2.0, "epoch").unwrap()));
        assert!(binary("+", &epochs, &quantity(2.0, "steps").unwrap()).is_err());
        assert!(binary("+", &epochs, &Val::number(2.0)).is_err());
        assert!(binary("/", &epochs, &Val::number(0.0)).is_err());
        assert!(binary("*", &Val::number(1e308), &Val::number(1e308)).is_err());
    }

    #[test]
    fn schedules_scale() {
        let ramp = Val::Schedule(Schedule::Ramp { from: 0.0, to: 1.0 });
        assert_eq!(
            binary("*", &Val::number(0.5), &ramp),
            Ok(Val::Schedule(Schedule::Ramp { from: 0.0, to: 0.5 }))
        );
    }

    #[test]
    fn ranges() {
        assert_eq!(range(true, &Val::number(0.0), &Val::number(3.0)).unwrap().count(), Some(4));
        assert!(range(true, &percent(90.0), &percent(100.0)).is_err());
        assert!(range(false, &Val::Text("a".into()), &Val::number(1.0)).is_err());
    }
}
