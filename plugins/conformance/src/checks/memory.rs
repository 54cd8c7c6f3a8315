//! How a method treats memory that is lent to it.

use std::time::{Duration, Instant};

use fusion_abi::FUSION_KERNEL_MODEL;

use crate::driver::{Fault, Kind, Method, Violation};
use crate::kit::{Kit, difference, ran};
use crate::run::{How, run};
use crate::task::weights;
use crate::verdict::{Check, Stop, fail, skip};

/// What runs over several sizes mistreat.
fn violations(kit: &Kit, method: &Method) -> Result<Vec<Violation>, Stop> {
    let (usual, data, _) = method.fitting(kit)?;
    let mut found = ran(run(method, &usual, &data, &How::default()))?.violations;
    for length in [1, 7, 63, 2047, 2049] {
        let mut task = usual.clone();
        for member in &mut task.members {
            member.shape = vec![length];
        }
        let data = weights(&task, kit.seed);
        match run(method, &task, &data, &How { off: 4, ..How::default() }) {
            Ok(ran) => found.extend(ran.violations),
            Err(trouble) if trouble.refuses() => {}
            Err(trouble) => return fail(format!("tensors of {length} elements: {trouble}")),
        }
    }
    Ok(found)
}

fn none(kit: &Kit, method: &Method, of: impl Fn(&Violation) -> bool) -> Check {
    match violations(kit, method)?.into_iter().find(of) {
        Some(violation) => fail(violation.to_string()),
        None => Ok(()),
    }
}

pub(crate) fn inputs_unchanged(kit: &Kit, method: &Method) -> Check {
    none(kit, method, |violation| {
        matches!(violation.fault, Fault::Changed(_)) || !matches!(violation.what, "output" | "scratch")
    })
}

pub(crate) fn canary_around_outputs(kit: &Kit, method: &Method) -> Check {
    if method.kernel() == FUSION_KERNEL_MODEL {
        return skip("its outputs are copied from it");
    }
    none(kit, method, |violation| violation.what == "output")
}

pub(crate) fn canary_around_scratch(kit: &Kit, method: &Method) -> Check {
    let (_, _, usual) = method.fitting(kit)?;
    if usual.plans.iter().all(|plan| plan.scratch == 0) {
        return skip("it asks for no scratch");
    }
    none(kit, method, |violation| violation.what == "scratch")
}

/// Bytes of this process that are in memory, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * rustix::param::page_size() as u64)
}

/// Growth that 1000 calls may show: the allocator keeps some for itself.
const SLACK: u64 = 2 << 20;

/// Repeats a call 1000 times and fails if the process grows, and grows again.
pub(crate) fn no_growth(what: &str, mut call: impl FnMut() -> Check) -> Check {
    let started = Instant::now();
    let mut repeat = |times: usize| -> Result<usize, Stop> {
        for done in 0..times {
            if started.elapsed() > Duration::from_secs(12) {
                return Ok(done);
            }
            call()?;
        }
        Ok(times)
    };
    repeat(100)?;
    for round in 0.. {
        let before = resident();
        let times = repeat(1000)?;
        let (Some(before), Some(after)) = (before, resident()) else {
            return skip("this system does not tell how large a process is");
        };
        if after <= before + SLACK {
            return Ok(());
        }
        if round == 1 || times < 1000 {
            return fail(format!("{times} {what} grow the process by {} KiB", (after - before) >> 10));
        }
    }
    Ok(())
}

pub(crate) fn no_growth_over_1000_calls(kit: &Kit, method: &Method) -> Check {
    let (task, data, _) = method.fitting(kit)?;
    no_growth("instances", || ran(run(method, &task, &data, &How::default())).map(drop))
}

pub(crate) fn no_pointer_kept_after_call(kit: &Kit, method: &Method) -> Check {
    let (task, data, expected) = method.fitting(kit)?;
    for _ in 0..3 {
        let found = ran(run(method, &task, &data, &How { kind: Kind::Fenced, ..How::default() }))?;
        if method.claims(fusion_abi::FUSION_TRAIT_DETERMINISTIC)
            && let Some(place) = difference(&expected.values, &found.values)
        {
            return fail(format!("in memory that is taken away after each call, {place}"));
        }
    }
    Ok(())
}
