//! Schedules: the functions that make a value vary over layers or over the time of a training.

use crate::graph::{Schedule, Value};

use super::call::{Given, first, number};
use super::value::{OpError, Val};

/// The functions that make a schedule.
pub(super) const NAMES: [&str; 7] = ["ramp", "curve", "steps", "cosine", "cyclic", "triangle", "one_cycle"];

/// Units in which a training can be measured; the singular of a span.
pub(crate) const SPANS: [&str; 3] = ["epoch", "step", "sample"];

/// PyTorch's `OneCycleLR`: the top is 25 times the start, and the start 10 000 times the end.
const ONE_CYCLE_START: f64 = 25.0;
const ONE_CYCLE_END: f64 = 1e4;
const ONE_CYCLE_WARMUP: f64 = 0.3;

/// The schedule of a function of [`NAMES`].
pub(super) fn make(name: &str, given: &Given) -> Result<Val, OpError> {
    let ends = || Ok::<_, OpError>((number(name, given, 0)?, number(name, given, 1)?));
    Ok(Val::Schedule(match name {
        "ramp" => {
            let (from, to) = ends()?;
            Schedule::Ramp { from, to }
        }
        "cosine" => {
            let (from, to) = ends()?;
            Schedule::Cosine { from, to, cycle: cycle(given)? }
        }
        "cyclic" | "triangle" => {
            let (from, to) = ends()?;
            let cycle = cycle(given)?.ok_or_else(|| OpError::new(format!("`{name}` needs `cycle`")))?;
            if name == "cyclic" {
                Schedule::Cyclic { from, to, cycle }
            } else {
                Schedule::Triangle { from, to, cycle }
            }
        }
        "one_cycle" => one_cycle(name, given)?,
        _ => {
            let points = points(name, given)?;
            if name == "curve" { Schedule::Curve(points) } else { Schedule::Steps(points) }
        }
    }))
}

fn is_given(given: &Given, slot: usize) -> bool {
    given.get(slot).is_some_and(Option::is_some)
}

/// Units in which a cycle is counted: it ends with a step.
const CYCLES: [&str; 2] = ["epoch", "step"];

/// The third argument, a span above zero.
fn cycle(given: &Given) -> Result<Option<Box<Value>>, OpError> {
    let value = given.get(2).and_then(Option::as_ref);
    value.map(|(value, _)| span("cycle", value)).transpose()
}

/// A number of epochs or steps above zero.
fn span(name: &str, value: &Val) -> Result<Box<Value>, OpError> {
    let example = "for instance `40 epochs` or `200 steps`";
    match (value, value.lower()) {
        (Val::Quantity { value: length, unit }, Some(lowered)) if CYCLES.contains(unit) => {
            if *length > 0.0 {
                return Ok(Box::new(lowered));
            }
            Err(OpError::new(format!("`{name}` must be above 0, this is {length}")))
        }
        (Val::Quantity { unit, .. }, _) if SPANS.contains(unit) => {
            Err(OpError::new(format!("`{name}` is counted in epochs or steps, not in {unit}s")).help(example))
        }
        (other, _) => {
            Err(OpError::new(format!("`{name}` is a span of training, this is {}", other.kind()))
                .help(example))
        }
    }
}

fn one_cycle(name: &str, given: &Given) -> Result<Schedule, OpError> {
    let or = |slot: usize, default: f64| {
        if is_given(given, slot) { number(name, given, slot) } else { Ok(default) }
    };
    let max = number(name, given, 0)?;
    let start = or(1, max / ONE_CYCLE_START)?;
    let end = or(2, start / ONE_CYCLE_END)?;
    let warmup = match given.get(3).and_then(Option::as_ref) {
        None => Box::new(Value::Number(ONE_CYCLE_WARMUP)),
        Some((Val::Number { value, .. }, _)) if (0.0..=1.0).contains(value) => {
            Box::new(Value::Number(*value))
        }
        Some((Val::Number { value, .. }, _)) => {
            let message = format!("`warmup` is a share of the training, this is {value}");
            return Err(
                OpError::new(message).help("for instance `warmup: 30%`, or a time: `warmup: 5 epochs`")
            );
        }
        Some((value, _)) => span("warmup", value)?,
    };
    Ok(Schedule::OneCycle { max, start, end, warmup })
}

/// A list of at least one number.
fn points(name: &str, given: &Given) -> Result<Vec<f64>, OpError> {
    let Val::List(items) = first(given) else {
        return Err(
            OpError::new(format!("`{name}` takes a list of numbers")).help(format!("`{name}([0, 0.5, 1])`"))
        );
    };
    if items.is_empty() {
        return Err(OpError::new(format!("`{name}` needs at least one number")));
    }
    let points: Option<Vec<f64>> = items
        .iter()
        .map(|item| if let Val::Number { value, .. } = item { Some(*value) } else { None })
        .collect();
    points.ok_or_else(|| OpError::new(format!("`{name}` takes a list of numbers")))
}
