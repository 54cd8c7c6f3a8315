//! Stopping, failing, threads.

use std::time::{Duration, Instant};

use fusion_abi::{
    FUSION_CANCELLED, FUSION_KERNEL_ELEMENTWISE, FUSION_KERNEL_MODEL, FUSION_THREADING_PARALLEL,
    FUSION_THREADING_PROCESS, FUSION_TRAIT_DETERMINISTIC,
};

use super::memory::no_growth;
use super::parameters::refused;
use crate::driver::{Call, Host, Instance, Kind, Method, Offer};
use crate::kit::{Kit, difference, ran};
use crate::run::{How, run, run_on};
use crate::task::{Data, Task, weights};
use crate::verdict::{Check, Stop, fail, skip};

/// How soon a call must end.
const SOON: Duration = Duration::from_millis(200);

pub(crate) fn cancel_within_200ms(kit: &Kit, method: &Method) -> Check {
    let (usual, data, first) = method.fitting(kit)?;
    if method.kernel() == FUSION_KERNEL_ELEMENTWISE {
        // The engine stops between stretches.
        return match first.longest < SOON {
            true => Ok(()),
            false => fail(format!("a stretch of 2048 elements takes {} ms", first.longest.as_millis())),
        };
    }
    let mut large = usual.clone();
    for member in &mut large.members {
        member.shape.iter_mut().for_each(|n| *n *= 24);
    }
    let many = weights(&large, kit.seed);
    for (task, data) in [(&large, &many), (&usual, &data)] {
        let host = Host::new(Offer::default(), 2);
        let (late, result) = std::thread::scope(|scope| {
            let stopper = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                host.stop();
                Instant::now()
            });
            let result = run_on(&host, method, task, data, &How::default());
            let ended = Instant::now();
            let stopped = stopper.join().unwrap_or(ended);
            (ended.saturating_duration_since(stopped), result)
        });
        if late > SOON {
            return fail(format!("it goes on for {} ms; ask `cancelled` more often", late.as_millis()));
        }
        match result {
            Ok(_) => {}
            Err(trouble) if trouble.status() == Some(FUSION_CANCELLED) || trouble.refuses() => {}
            Err(trouble) => return fail(format!("asked to stop, {trouble}")),
        }
    }
    Ok(())
}

/// The usual task gives the usual bits.
fn unchanged(method: &Method, task: &Task, data: &Data, expected: &[Vec<f32>], when: &str) -> Check {
    let found = match run(method, task, data, &How::default()) {
        Ok(found) => found,
        Err(trouble) => return fail(format!("{when}, {trouble}")),
    };
    match difference(expected, &found.values) {
        Some(place) if method.claims(FUSION_TRAIT_DETERMINISTIC) => fail(format!("{when}, {place}")),
        _ => Ok(()),
    }
}

pub(crate) fn error_then_usable_or_poisoned(kit: &Kit, method: &Method) -> Check {
    let (task, data, usual) = method.fitting(kit)?;
    let mut failures = 0;
    if let Some(broken) = refused(kit, method, &task)? {
        failures += 1;
        // Beside an instance that lives.
        let host = Host::new(Offer::default(), 1);
        let living = Instance::create(method, &host, &task, Kind::Canaries);
        let other = Host::new(Offer::default(), 1);
        drop(Instance::create(method, &other, &broken, Kind::Canaries));
        drop(living);
        unchanged(method, &task, &data, &usual.values, "after a failed `create`")?;
    }
    let offer = Offer { services: false, ..Offer::default() };
    if run(method, &task, &data, &How { offer, ..How::default() }).is_err() {
        failures += 1;
        unchanged(method, &task, &data, &usual.values, "after a call without services")?;
    }
    if method.kernel() != FUSION_KERNEL_ELEMENTWISE {
        let host = Host::new(Offer::default(), 1);
        host.stop();
        if run_on(&host, method, &task, &data, &How::default()).is_err() {
            failures += 1;
            unchanged(method, &task, &data, &usual.values, "after a call that was stopped")?;
        }
    }
    match failures {
        0 => skip("no call of it could be made to fail"),
        _ => Ok(()),
    }
}

pub(crate) fn panic_contained(kit: &Kit, method: &Method) -> Check {
    let info = kit.plugin()?.texts.iter().find(|(name, _)| *name == "build_info");
    if !info.is_some_and(|(_, text)| text.starts_with(b"fusion-sdk")) {
        return skip("it is not built with the Rust kit");
    }
    let (task, data, _) = method.fitting(kit)?;
    // Each breaks the contract on the host's side, which the kit's guards must stand. The status does not matter, the process does.
    let empty = Task { members: Vec::new(), ..task.clone() };
    let mut without = task.clone();
    without.members.iter_mut().for_each(|member| member.inputs.clear());
    for broken in [&empty, &without] {
        let host = Host::new(Offer::default(), 1);
        drop(Instance::create(method, &host, broken, Kind::Canaries));
    }
    if method.kernel() != FUSION_KERNEL_MODEL {
        let host = Host::new(Offer::default(), 1);
        let instance = Instance::create(method, &host, &task, Kind::Canaries)
            .map_err(|trouble| Stop::Fail(trouble.to_string()))?;
        let mut meta = task.meta(0, Some((0, 1)));
        meta.member = 1000;
        let inputs = data[0].iter().map(|values| (meta.clone(), &values[..1])).collect();
        let settings = task.table(method, 0);
        drop(instance.apply(&Call {
            inputs,
            outputs: vec![meta.clone()],
            settings,
            scratch: 1 << 16,
            off: 0,
        }));
    }
    Ok(())
}

pub(crate) fn parallel_calls(kit: &Kit, method: &Method) -> Check {
    if method.threading() == FUSION_THREADING_PROCESS {
        return skip("it allows one call at a time in the process");
    }
    let (task, data, usual) = method.fitting(kit)?;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..8).try_for_each(|_| {
                        unchanged(method, &task, &data, &usual.values, "beside other instances")
                    })
                })
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| fail("the kit's own thread panicked")))
    })?;
    if method.threading() == FUSION_THREADING_PARALLEL && method.kernel() == FUSION_KERNEL_ELEMENTWISE {
        let mut task = task.clone();
        task.members[0].shape = vec![40, 1000];
        let data = weights(&task, kit.seed);
        let Ok(usual) = run(method, &task, &data, &How::default()) else { return Ok(()) };
        for _ in 0..8 {
            let found = ran(run(method, &task, &data, &How { workers: 8, ..How::default() }))?;
            if method.claims(FUSION_TRAIT_DETERMINISTIC)
                && let Some(place) = difference(&usual.values, &found.values)
            {
                return fail(format!("on 8 threads, {place}"));
            }
        }
    }
    Ok(())
}

pub(crate) fn destroy_after_failed_create(kit: &Kit, method: &Method) -> Check {
    let (task, data, usual) = method.fitting(kit)?;
    let Some(broken) = refused(kit, method, &task)? else {
        return skip("its `create` could not be made to fail");
    };
    no_growth("failed calls of `create`", || {
        let host = Host::new(Offer::default(), 1);
        match Instance::create(method, &host, &broken, Kind::Canaries) {
            Ok(_) => fail("`create` accepts what it has refused before"),
            Err(_) => Ok(()),
        }
    })?;
    unchanged(method, &task, &data, &usual.values, "after failed calls of `create`")
}
