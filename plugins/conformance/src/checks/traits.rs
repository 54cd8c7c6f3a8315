//! The claims that a method may make: each is held against its defaults and against settings by chance.

use fusion_abi::{
    FUSION_TRAIT_AFFINE, FUSION_TRAIT_COMMUTATIVE, FUSION_TRAIT_IDEMPOTENT, FUSION_TRAIT_SCALE_EQUIVARIANT,
};

use crate::driver::Method;
use crate::kit::{Kit, differs};
use crate::params::{Dice, Set};
use crate::run::{How, run};
use crate::task::{Data, Task, filled};
use crate::verdict::{Check, Stop, fail, skip};

/// Sets of settings beside the defaults.
const SETS: u64 = 8;

/// How far rounding may lead, against the largest number around.
const NEAR: f32 = 2e-5;

/// Holds a claim against several settings; `body` says what it finds, if anything.
fn claimed(
    kit: &Kit,
    method: &Method,
    claim: u64,
    body: impl Fn(&Task, &Data) -> Result<Option<String>, Stop>,
) -> Check {
    if !method.claims(claim) {
        return skip("it does not claim that");
    }
    let specs = method.specs()?;
    let (task, data, _) = method.fitting(kit)?;
    for case in 0..=SETS {
        let mut dice = Dice::new(kit.seed, "claims", case);
        let task = match case {
            0 => task.clone(),
            _ => Set::random(method, &task, &specs, &mut dice).into_task(&task),
        };
        if let Some(place) = body(&task, &data)? {
            let text = String::from_utf8_lossy(&task.members[0].settings.text).into_owned();
            return fail(format!("with settings {text}, {place}"));
        }
    }
    Ok(())
}

/// A result, `None` where the settings are refused.
fn computed(method: &Method, task: &Task, data: &Data) -> Result<Option<Vec<Vec<f32>>>, Stop> {
    match run(method, task, data, &How::default()) {
        Ok(ran) => Ok(Some(ran.values)),
        Err(trouble) if trouble.refuses() => Ok(None),
        Err(trouble) => fail(trouble.to_string()),
    }
}

/// Where two results are further apart than rounding explains.
fn apart(a: &[Vec<f32>], b: &[Vec<f32>], data: &Data) -> Option<String> {
    let inputs = data.iter().flatten().flatten();
    let scale = inputs.chain(a.iter().flatten()).fold(0.0_f32, |most, x| most.max(x.abs()));
    differs(a, b, |_, x, y| (x - y).abs() <= NEAR * scale)
}

pub(crate) fn commutative(kit: &Kit, method: &Method) -> Check {
    claimed(kit, method, FUSION_TRAIT_COMMUTATIVE, |task, data| {
        let inputs = &task.members[0].inputs;
        let last = inputs.last().map_or(0, |input| input.port);
        let first = inputs.iter().position(|input| input.port == last).unwrap_or(0);
        let Some(before) = computed(method, task, data)? else { return Ok(None) };
        let (mut task, mut turned) = (task.clone(), data.clone());
        for (member, data) in task.members.iter_mut().zip(&mut turned) {
            member.inputs[first..].rotate_left(1);
            data[first..].rotate_left(1);
        }
        Ok(match computed(method, &task, &turned)? {
            Some(after) => apart(&before, &after, data).map(|place| format!("in another order, {place}")),
            None => Some("the inputs in another order are refused".to_owned()),
        })
    })
}

pub(crate) fn idempotent(kit: &Kit, method: &Method) -> Check {
    claimed(kit, method, FUSION_TRAIT_IDEMPOTENT, |task, data| {
        let equal = filled(task, |member, _, i| data[member][0][i]);
        let expected: Vec<Vec<f32>> = data.iter().map(|inputs| inputs[0].clone()).collect();
        let found = computed(method, task, &equal)?;
        Ok(found
            .and_then(|found| apart(&expected, &found, &equal).map(|place| format!("equal inputs: {place}"))))
    })
}

/// Compares f(g(inputs)) with g(f(inputs)).
fn commutes(kit: &Kit, method: &Method, claim: u64, what: &str, change: impl Fn(f32, usize) -> f32) -> Check {
    claimed(kit, method, claim, |task, data| {
        let changed = filled(task, |member, input, i| change(data[member][input][i], i));
        let Some(mut expected) = computed(method, task, data)? else { return Ok(None) };
        for values in &mut expected {
            values.iter_mut().enumerate().for_each(|(i, x)| *x = change(*x, i));
        }
        let found = computed(method, task, &changed)?;
        Ok(found.and_then(|found| apart(&expected, &found, &changed).map(|place| format!("{what}: {place}"))))
    })
}

pub(crate) fn affine(kit: &Kit, method: &Method) -> Check {
    commutes(kit, method, FUSION_TRAIT_AFFINE, "one tensor added to all inputs", |x, i| {
        x + 0.25 + (i % 5) as f32 * 0.125
    })
}

pub(crate) fn scale_equivariant(kit: &Kit, method: &Method) -> Check {
    commutes(kit, method, FUSION_TRAIT_SCALE_EQUIVARIANT, "all inputs tripled", |x, _| 3.0 * x)
}
