//! How a method takes settings.

use fusion_abi::FUSION_INVALID;
use fusion_dsl::descriptor::ParamSpec;
use serde_json::json;

use crate::driver::{Host, Instance, Kind, Method, Offer, Trouble};
use crate::kit::Kit;
use crate::params::{Breach, Dice, Set, breaches, garbage, odd, tunable, valid};
use crate::task::{Settings, Task};
use crate::verdict::{Check, Stop, fail, skip};

/// How many random sets a method gets.
const SETS: u64 = 500;

fn create(method: &Method, task: &Task) -> Result<(), Trouble> {
    let host = Host::new(Offer::default(), 1);
    Instance::create(method, &host, task, Kind::Canaries).map(drop)
}

/// Whether the method reads nothing but the table of numbers, which has no room for other settings.
fn reads_numbers_alone(method: &Method, specs: &[ParamSpec]) -> bool {
    specs.iter().all(|spec| method.numbers.iter().any(|number| *number == spec.name.as_bytes()))
}

/// Whether a report blames a setting; `input` says on which edge.
fn blames(trouble: &Trouble, task: &Task, input: Option<usize>, name: &str) -> Result<(), String> {
    let expected = match input {
        Some(input) => {
            let inputs = &task.members[0].inputs;
            let place = inputs[..input].iter().filter(|other| other.port == inputs[input].port).count();
            format!("/{}/{place}/{name}", inputs[input].role)
        }
        None => format!("/{name}"),
    };
    match trouble.report() {
        None => Err("there is no report".to_owned()),
        Some(report) if report.pointer == expected => Ok(()),
        Some(report) => Err(format!("the report points at `{}` and not at `{expected}`", report.pointer)),
    }
}

pub(crate) fn unknown_field_rejected(kit: &Kit, method: &Method) -> Check {
    let specs = method.specs()?;
    if reads_numbers_alone(method, &specs) {
        return skip("its settings come by the table of numbers, which has no room for others");
    }
    let (task, ..) = method.fitting(kit)?;
    let inputs = (0..task.members[0].inputs.len()).filter(|&input| tunable(method, &task, input)).map(Some);
    for input in [None].into_iter().chain(inputs) {
        let set = Set::defaults(method, &task, &specs).with(input, "no_such_setting", json!(1));
        let place = input.map_or("the stage".to_owned(), |input| format!("input {input}"));
        match create(method, &set.into_task(&task)) {
            Ok(()) => return fail(format!("`no_such_setting` on {place} is accepted")),
            Err(trouble) if trouble.status() == Some(FUSION_INVALID) => {}
            Err(trouble) => return fail(format!("`no_such_setting` on {place}: {trouble}")),
        }
    }
    Ok(())
}

/// Calls `look` with every breach of a bound and what `create` says to it.
fn each_breach(
    kit: &Kit,
    method: &Method,
    look: impl Fn(&Breach, &Task, Option<usize>, Result<(), Trouble>) -> Check,
) -> Check {
    let specs = method.specs()?;
    let breaches = breaches(&specs);
    if breaches.is_empty() {
        return skip("no parameter has bounds");
    }
    let (task, ..) = method.fitting(kit)?;
    for breach in &breaches {
        let inputs: Vec<Option<usize>> = if breach.per_input {
            let inputs = task.members[0].inputs.len();
            (0..inputs).filter(|&input| tunable(method, &task, input)).map(Some).collect()
        } else {
            vec![None]
        };
        for input in inputs {
            let set = Set::defaults(method, &task, &specs).with(input, &breach.name, breach.value.clone());
            let task = set.into_task(&task);
            look(breach, &task, input, create(method, &task))?;
        }
    }
    Ok(())
}

pub(crate) fn each_bound_enforced(kit: &Kit, method: &Method) -> Check {
    each_breach(kit, method, |breach, _, _, result| match result {
        Ok(()) => fail(format!("`{}` takes {}", breach.name, breach.what)),
        Err(trouble) if trouble.status() == Some(FUSION_INVALID) => Ok(()),
        Err(trouble) => fail(format!("`{}` with {}: {trouble}", breach.name, breach.what)),
    })
}

pub(crate) fn error_pointer_names_field(kit: &Kit, method: &Method) -> Check {
    each_breach(kit, method, |breach, task, input, result| match result {
        Ok(()) => fail(format!("`{}` takes {}, and so reports nothing", breach.name, breach.what)),
        Err(trouble) => match blames(&trouble, task, input, &breach.name) {
            Ok(()) => Ok(()),
            Err(what) => fail(format!("`{}` with {}: {what}", breach.name, breach.what)),
        },
    })
}

pub(crate) fn random_valid_accepted(kit: &Kit, method: &Method) -> Check {
    let specs = method.specs()?;
    let (task, ..) = method.fitting(kit)?;
    let mut accepted = 0;
    let mut last = String::new();
    for case in 0..SETS {
        let mut dice = Dice::new(kit.seed, "random-valid-accepted", case);
        let set = Set::random(method, &task, &specs, &mut dice);
        match create(method, &set.clone().into_task(&task)) {
            Ok(()) => accepted += 1,
            Err(trouble) if trouble.status() == Some(FUSION_INVALID) && trouble.refuses() => {
                last = trouble.to_string();
            }
            Err(trouble) => return fail(format!("case {case}, {}: {trouble}", shown(&set))),
        }
    }
    match accepted {
        0 => fail(format!("none of {SETS} sets is accepted, the last time because {last}")),
        _ => Ok(()),
    }
}

/// Settings in a message.
fn shown(set: &Set) -> String {
    let mut text = json!({ "stage": set.stage, "inputs": set.inputs }).to_string();
    if text.len() > 400 {
        let end = (0..=400).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

pub(crate) fn random_invalid_never_crashes(kit: &Kit, method: &Method) -> Check {
    let specs = method.specs()?;
    let (task, ..) = method.fitting(kit)?;
    for case in 0..SETS {
        let mut dice = Dice::new(kit.seed, "random-invalid-never-crashes", case);
        let set = Set::random(method, &task, &specs, &mut dice);
        let broken = broken(&task, &specs, set, &mut dice);
        match create(method, &broken) {
            Ok(()) => {}
            Err(trouble) if trouble.orderly() => {}
            Err(trouble) => {
                let text = String::from_utf8_lossy(&broken.members[0].settings.text)
                    .chars()
                    .take(200)
                    .collect::<String>();
                return fail(format!("case {case}, settings `{text}`: {trouble}"));
            }
        }
    }
    Ok(())
}

/// A task with something wrong in its settings.
pub(crate) fn broken(task: &Task, specs: &[ParamSpec], set: Set, dice: &mut Dice) -> Task {
    let inputs = task.members[0].inputs.len();
    let input = if dice.one_in(2) { Some(dice.below(inputs)) } else { None };
    match dice.below(5) {
        0 => set.with(input, "no_such_setting", odd(dice)).into_task(task),
        1 if !specs.is_empty() => {
            let spec = &specs[dice.below(specs.len())];
            let input = if spec.per_input { Some(dice.below(inputs)) } else { None };
            set.with(input, &spec.name, odd(dice)).into_task(task)
        }
        2 => {
            let all = breaches(specs);
            if all.is_empty() {
                return set.with(input, "no_such_setting", odd(dice)).into_task(task);
            }
            let breach = &all[dice.below(all.len())];
            let input = if breach.per_input { Some(dice.below(inputs)) } else { None };
            set.with(input, &breach.name, breach.value.clone()).into_task(task)
        }
        // A setting in the wrong place.
        3 if !specs.is_empty() => {
            let spec = &specs[dice.below(specs.len())];
            let value = valid(spec, dice);
            let input = if spec.per_input { None } else { Some(dice.below(inputs)) };
            set.with(input, &spec.name, value).into_task(task)
        }
        _ => {
            let mut task = set.into_task(task);
            for member in &mut task.members {
                let of = match input {
                    Some(input) => &mut member.inputs[input].settings,
                    None => &mut member.settings,
                };
                *of = Settings::garbage(garbage(dice, &of.text));
            }
            task
        }
    }
}

/// A task that `create` refuses, if there is one.
pub(crate) fn refused(kit: &Kit, method: &Method, task: &Task) -> Result<Option<Task>, Stop> {
    let specs = method.specs()?;
    let candidates = breaches(&specs).into_iter().filter(|breach| !breach.per_input).map(|breach| {
        Set::defaults(method, task, &specs).with(None, &breach.name, breach.value).into_task(task)
    });
    let chance = (0..60).map(|case| {
        let mut dice = Dice::new(kit.seed, "refused", case);
        let set = Set::defaults(method, task, &specs);
        broken(task, &specs, set, &mut dice)
    });
    Ok(candidates.chain(chance).find(|task| create(method, task).is_err()))
}
