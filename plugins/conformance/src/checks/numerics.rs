//! What a method computes, whoever claims what.

use std::hint::black_box;

use fusion_abi::{
    FUSION_KERNEL_ELEMENTWISE, FUSION_KERNEL_MODEL, FUSION_NEEDS_RNG, FUSION_TRAIT_DETERMINISTIC,
};

use crate::driver::{Action, Host, Instance, Kind, Method, Offer, STRETCH};
use crate::kit::{Kit, difference, differs, ran};
use crate::params::{Dice, Set};
use crate::reference;
use crate::run::{How, Order, run};
use crate::task::{Data, Task, filled, weights};
use crate::verdict::{Check, Stop, fail, skip};

fn deterministic(method: &Method) -> Check {
    match method.claims(FUSION_TRAIT_DETERMINISTIC) {
        true => Ok(()),
        false => skip("it does not claim to be deterministic"),
    }
}

/// A task of several blocks where it has statistics of blocks, of many stretches where it has none; else the usual one.
fn large(kit: &Kit, method: &Method) -> Result<(Task, Data, Vec<Vec<f32>>), Stop> {
    let (task, data, usual) = method.fitting(kit)?;
    if method.kernel() == FUSION_KERNEL_ELEMENTWISE {
        let mut task = task.clone();
        task.members[0].shape = if method.observes() { vec![2050, 1024] } else { vec![40, 1000] };
        let data = weights(&task, kit.seed);
        if let Ok(ran) = run(method, &task, &data, &How::default()) {
            return Ok((task, data, ran.values));
        }
    }
    Ok((task, data, usual.values))
}

pub(crate) fn chunk_invariant(kit: &Kit, method: &Method) -> Check {
    if method.kernel() != FUSION_KERNEL_ELEMENTWISE {
        return skip("it gets whole tensors");
    }
    deterministic(method)?;
    let (task, data, expected) = method.fitting(kit)?;
    let orders = [Order::Backward, Order::Shuffled(kit.seed), Order::Forward];
    for (order, prefix) in orders.into_iter().zip([STRETCH, 1000, 1]) {
        let found = ran(run(method, &task, &data, &How { order, prefix, ..How::default() }))?;
        let place = differs(&expected.values, &found.values, |i, x, y| {
            i as u64 % STRETCH >= prefix || x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan())
        });
        if let Some(place) = place {
            return fail(format!("with stretches of at most {prefix} in the order {order:?}, {place}"));
        }
    }
    Ok(())
}

pub(crate) fn worker_invariant(kit: &Kit, method: &Method) -> Check {
    deterministic(method)?;
    let (task, data, expected) = large(kit, method)?;
    for workers in [2, 8] {
        let found = ran(run(method, &task, &data, &How { workers, ..How::default() }))?;
        if let Some(place) = difference(&expected, &found.values) {
            return fail(format!("with 1 and {workers} threads, {place}"));
        }
    }
    Ok(())
}

pub(crate) fn state_blank_after_absorb(kit: &Kit, method: &Method) -> Check {
    if !method.observes() {
        return skip("it has no observe passes");
    }
    deterministic(method)?;
    let (task, data, expected) = large(kit, method)?;
    let found = ran(run(method, &task, &data, &How { fresh: false, ..How::default() }))?;
    match difference(&expected, &found.values) {
        Some(place) => fail(format!("with new states and one that is used again, {place}")),
        None => Ok(()),
    }
}

pub(crate) fn same_seed_same_bits(kit: &Kit, method: &Method) -> Check {
    deterministic(method)?;
    let (task, data, expected) = method.fitting(kit)?;
    for _ in 0..3 {
        let found = ran(run(method, &task, &data, &How::default()))?;
        if let Some(place) = difference(&expected.values, &found.values) {
            return fail(format!("in two runs, {place}"));
        }
    }
    Ok(())
}

pub(crate) fn different_seed_differs(kit: &Kit, method: &Method) -> Check {
    if !method.needs(FUSION_NEEDS_RNG) {
        return skip("it draws no random numbers");
    }
    let specs = method.specs()?;
    let (task, data, _) = method.fitting(kit)?;
    // With some settings nothing is drawn.
    for case in 0..32 {
        let mut dice = Dice::new(kit.seed, "different-seed-differs", case);
        let task = match case {
            0 => task.clone(),
            _ => Set::random(method, &task, &specs, &mut dice).into_task(&task),
        };
        let other = Task { seed: task.seed.wrapping_add(1), ..task.clone() };
        let both = (run(method, &task, &data, &How::default()), run(method, &other, &data, &How::default()));
        if let (Ok(a), Ok(b)) = both
            && difference(&a.values, &b.values).is_some()
        {
            return Ok(());
        }
    }
    fail("two seeds give the same bits, with 32 sets of settings")
}

/// A run that may fail, if it says so in the contract's way.
fn orderly(method: &Method, task: &Task, data: &Data, what: &str) -> Result<Option<Vec<Vec<f32>>>, Stop> {
    match run(method, task, data, &How::default()) {
        Ok(ran) => Ok(Some(ran.values)),
        Err(trouble) if trouble.orderly() => Ok(None),
        Err(trouble) => fail(format!("{what}: {trouble}")),
    }
}

pub(crate) fn nan_and_inf_in(kit: &Kit, method: &Method) -> Check {
    let (task, usual, _) = method.fitting(kit)?;
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN];
    for (place, &value) in odd.iter().enumerate() {
        let data = filled(
            &task,
            |m, input, i| if i % 7 == (place + input) % 7 { value } else { usual[m][input][i] },
        );
        orderly(method, &task, &data, &format!("some inputs are {value}"))?;
        orderly(method, &task, &filled(&task, |_, _, _| value), &format!("all inputs are {value}"))?;
    }
    let mixed = filled(&task, |_, input, i| odd[(input + i) % odd.len()]);
    orderly(method, &task, &mixed, "no input is finite").map(drop)
}

/// Whether this thread computes with denormal numbers as IEEE 754 says.
fn denormals_live() -> bool {
    black_box(f32::MIN_POSITIVE) * black_box(0.5) != 0.0
}

pub(crate) fn denormals(kit: &Kit, method: &Method) -> Check {
    let (task, ..) = method.fitting(kit)?;
    if !denormals_live() {
        return fail("it makes the processor round denormal numbers to 0, also for everybody else");
    }
    let data = filled(&task, |_, input, i| f32::from_bits(1 + ((input + 3 * i) % 0x7f_ffff) as u32));
    let values = orderly(method, &task, &data, "denormal inputs")?;
    if !denormals_live() {
        return fail("it makes the processor round denormal numbers to 0, also for everybody else");
    }
    match values.into_iter().flatten().flatten().find(|value| !value.is_finite()) {
        Some(value) => fail(format!("denormal inputs give {value}")),
        None => Ok(()),
    }
}

pub(crate) fn f32_extremes(kit: &Kit, method: &Method) -> Check {
    let (task, ..) = method.fitting(kit)?;
    let ends = [f32::MAX, f32::MIN, 1e30, -1e30, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 0.0, -0.0];
    for end in ends {
        orderly(method, &task, &filled(&task, |_, _, _| end), &format!("all inputs are {end:e}"))?;
    }
    let mixed = filled(&task, |_, input, i| ends[(3 * input + i) % ends.len()]);
    orderly(method, &task, &mixed, "the largest and smallest numbers").map(drop)
}

/// Runs the usual task with other shapes.
fn shapes(kit: &Kit, method: &Method, all: &[&[i64]]) -> Check {
    let (usual, ..) = method.fitting(kit)?;
    for shape in all {
        for members in [1, usual.members.len()] {
            let mut task = usual.clone();
            for member in task.members.iter_mut().take(members) {
                member.shape = shape.to_vec();
            }
            let data = weights(&task, kit.seed);
            orderly(method, &task, &data, &format!("tensors of shape {shape:?}"))?;
        }
    }
    Ok(())
}

pub(crate) fn zero_sized(kit: &Kit, method: &Method) -> Check {
    shapes(kit, method, &[&[0], &[0, 8], &[8, 0], &[4, 0, 3]])
}

pub(crate) fn one_element(kit: &Kit, method: &Method) -> Check {
    shapes(kit, method, &[&[1], &[1, 1], &[]])?;
    // Once more with a fence right behind the element.
    let (mut task, ..) = method.fitting(kit)?;
    for member in &mut task.members {
        member.shape = vec![1];
    }
    let data = weights(&task, kit.seed);
    match run(method, &task, &data, &How { kind: Kind::Fenced, ..How::default() }) {
        Ok(_) => Ok(()),
        Err(trouble) if trouble.orderly() => Ok(()),
        Err(trouble) => fail(trouble.to_string()),
    }
}

pub(crate) fn least_aligned_inputs(kit: &Kit, method: &Method) -> Check {
    let (task, data, expected) = method.fitting(kit)?;
    for off in [4, 12, 36] {
        let found = ran(run(method, &task, &data, &How { off, ..How::default() }))?;
        if method.claims(FUSION_TRAIT_DETERMINISTIC)
            && let Some(place) = difference(&expected.values, &found.values)
        {
            return fail(format!("with inputs {off} bytes beside an alignment of 64, {place}"));
        }
    }
    Ok(())
}

pub(crate) fn plan_sane(kit: &Kit, method: &Method) -> Check {
    if !method.has("plan") {
        return skip("it has no `plan`");
    }
    let (task, ..) = method.fitting(kit)?;
    let host = Host::new(Offer::default(), 1);
    let trouble = |trouble: crate::driver::Trouble| Stop::Fail(trouble.to_string());
    let instance = Instance::create(method, &host, &task, Kind::Canaries).map_err(trouble)?;
    let members = if method.kernel() == FUSION_KERNEL_MODEL { 1 } else { task.members.len() };
    for member in 0..members {
        let plan = instance.plan(member).map_err(trouble)?;
        if plan != instance.plan(member).map_err(trouble)? {
            return fail("asked twice, it gives two answers");
        }
        if plan.meddled {
            return fail("it changes `struct_size` or `reserved`");
        }
        if plan.action == Action::CopyBase && task.base(method).is_none() {
            return fail("it wants a copy of the base, which there is not");
        }
        if plan.action != Action::Apply && method.kernel() == FUSION_KERNEL_MODEL {
            return fail("a whole-model method may ask for scratch alone");
        }
        let bytes: u64 = task.members.iter().map(|member| 4 * member.total()).sum();
        if plan.scratch > (1 << 30) + 64 * bytes {
            return fail(format!("it wants {} bytes of scratch for tensors of {bytes} bytes", plan.scratch));
        }
    }
    match instance.violations().first() {
        Some(violation) => fail(violation.to_string()),
        None => Ok(()),
    }
}

pub(crate) fn every_member_written(kit: &Kit, method: &Method) -> Check {
    if method.kernel() != FUSION_KERNEL_MODEL {
        return skip("it is no whole-model method");
    }
    method.fitting(kit).map(drop)
}

pub(crate) fn reference_vectors(kit: &Kit, method: &Method) -> Check {
    let vectors: Vec<reference::Vector> = match reference::load(&kit.path) {
        Ok(Some(all)) => all.into_iter().filter(|vector| vector.method == method.id).collect(),
        Ok(None) => return skip("there is no `reference.json` beside it"),
        Err(error) => return fail(error.to_string()),
    };
    if vectors.is_empty() {
        return skip("`reference.json` has no vector for it");
    }
    for (place, vector) in vectors.iter().enumerate() {
        let told = |what: String| Stop::Fail(format!("vector {place}: {what}"));
        let (task, data, expected) = vector.task(method).map_err(|error| told(error.to_string()))?;
        let found =
            run(method, &task, &data, &How::default()).map_err(|trouble| told(trouble.to_string()))?;
        let near = |_, x: f32, y: f32| {
            x == y || (x.is_nan() && y.is_nan()) || f64::from((x - y).abs()) <= vector.tolerance
        };
        if let Some(place) = differs(&expected, &found.values, near) {
            return Err(told(format!("expected and found: {place}")));
        }
    }
    Ok(())
}
