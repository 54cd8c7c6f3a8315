//! Runs a task as an engine does: plan, observe passes over blocks, then every stretch; the order, the threads and the memory vary.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fusion_abi::{FUSION_KERNEL_ELEMENTWISE, FUSION_KERNEL_MODEL};
use fusion_sdk::rng::Key;

use crate::driver::{
    Action, BLOCK, Call, Host, Instance, Kind, Live, Method, Models, Offer, Plan, STRETCH, Trouble, Violation,
};
use crate::task::{Data, Task};

/// The order in which stretches are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// From the first to the last.
    #[default]
    Forward,
    /// From the last to the first.
    Backward,
    /// By chance.
    Shuffled(u64),
}

/// How a task is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Threads.
    pub(crate) workers: usize,
    /// Order of `apply`.
    pub(crate) order: Order,
    /// Of every stretch, only so many elements are computed.
    pub(crate) prefix: u64,
    /// Every block gets a state of its own; otherwise one state goes through all blocks of a pass.
    pub(crate) fresh: bool,
    /// Memory.
    pub(crate) kind: Kind,
    /// Bytes by which inputs miss an alignment of 64.
    pub(crate) off: usize,
    /// What the host offers.
    pub(crate) offer: Offer,
}

impl Default for How {
    fn default() -> Self {
        How {
            workers: 1,
            order: Order::Forward,
            prefix: STRETCH,
            fresh: true,
            kind: Kind::Canaries,
            off: 0,
            offer: Offer::default(),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// Per member; NaN where nothing was computed.
    pub(crate) values: Vec<Vec<f32>>,
    /// What was mistreated.
    pub(crate) violations: Vec<Violation>,
    /// The longest call.
    pub(crate) longest: Duration,
    /// Per member.
    pub(crate) plans: Vec<Plan>,
}

/// Runs a task on a host of its own.
pub(crate) fn run(method: &Method, task: &Task, data: &Data, how: &How) -> Result<Ran, Trouble> {
    run_on(&Host::new(how.offer, how.workers), method, task, data, how)
}

/// Runs a task on a host.
pub(crate) fn run_on(
    host: &Host,
    method: &Method,
    task: &Task,
    data: &Data,
    how: &How,
) -> Result<Ran, Trouble> {
    let mut instance = Instance::create(method, host, task, how.kind)?;
    let ran = on_instance(&mut instance, host, method, task, data, how);
    let violations = instance.violations();
    let longest = instance.longest();
    drop(instance);
    ran.map(|ran| Ran { violations, longest, ..ran })
}

fn on_instance(
    instance: &mut Instance<'_>,
    host: &Host,
    method: &Method,
    task: &Task,
    data: &Data,
    how: &How,
) -> Result<Ran, Trouble> {
    if method.kernel() == FUSION_KERNEL_MODEL {
        let plan = instance.plan(0)?;
        let metas = (0..task.members.len()).map(|member| task.meta(member, None)).collect();
        host.lend(Models::new(metas, data, how.kind, how.off));
        let call = Call {
            inputs: Vec::new(),
            outputs: Vec::new(),
            settings: Vec::new(),
            scratch: plan.scratch,
            off: 0,
        };
        let done = instance.run(&call);
        let models = host.back();
        done?;
        let (values, found) =
            models.map_or_else(|| Ok(Default::default()), Models::finish).map_err(Trouble::Broken)?;
        instance.note(found);
        return Ok(Ran { values, plans: vec![plan], ..Ran::default() });
    }
    let plans = (0..task.members.len())
        .map(|member| instance.plan(member))
        .collect::<Result<Vec<Plan>, Trouble>>()?;
    let mut values = Vec::with_capacity(plans.len());
    for (member, plan) in plans.iter().enumerate() {
        let copied = match plan.action {
            Action::Apply => None,
            Action::CopyBase => Some(task.base(method).ok_or_else(|| {
                Trouble::Broken("`plan` asks for a copy of the base, which there is not".to_owned())
            })?),
            Action::CopyFirst => Some(0),
        };
        values.push(match copied {
            Some(input) => data[member][input].clone(),
            None => vec![f32::NAN; task.members[member].total() as usize],
        });
    }
    let stage = Stage { method, task, data, how, plans: &plans };
    if method.kernel() == FUSION_KERNEL_ELEMENTWISE {
        stage.passes(instance)?;
        stage.stretches(instance, &mut values)?;
    } else {
        stage.whole(instance, &mut values)?;
    }
    Ok(Ran { values, plans, ..Ran::default() })
}

/// A member, its stretch (all of it without), and its inputs as the method sees them.
type View<'d> = (usize, Option<(u64, u64)>, &'d Vec<Vec<f32>>);

struct Stage<'a> {
    method: &'a Method,
    task: &'a Task,
    data: &'a Data,
    how: &'a How,
    plans: &'a [Plan],
}

impl Stage<'_> {
    fn computed(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.plans.len()).filter(|&member| self.plans[member].action == Action::Apply)
    }

    /// The inputs of a stretch as the method sees them.
    fn seen(&self, member: usize, first: usize, len: usize) -> Vec<Vec<f32>> {
        let inputs = &self.data[member];
        let base = self.task.base(self.method);
        (0..inputs.len())
            .map(|input| {
                let values = &inputs[input][first..first + len];
                match base {
                    Some(base) if self.task.is_delta(self.method, input) => {
                        let base = &inputs[base][first..first + len];
                        values.iter().zip(base).map(|(x, b)| x - b).collect()
                    }
                    _ => values.to_vec(),
                }
            })
            .collect()
    }

    /// Adds the base to what a method of deltas computed.
    fn restored(&self, member: usize, first: usize, out: &mut [f32]) {
        if let Some(base) = self.task.base(self.method)
            && self.task.has_deltas(self.method)
        {
            let base = &self.data[member][base][first..];
            out.iter_mut().zip(base).for_each(|(x, b)| *x += b);
        }
    }

    fn passes(&self, instance: &mut Instance<'_>) -> Result<(), Trouble> {
        if !self.method.observes() {
            return Ok(());
        }
        let mut passes = 0;
        while instance.observing(passes) {
            let blocks: Vec<(usize, u64)> = self
                .computed()
                .flat_map(|member| {
                    let total = self.task.members[member].total();
                    (0..total.div_ceil(BLOCK)).map(move |block| (member, block * BLOCK))
                })
                .collect();
            let mut kept = None;
            for batch in blocks.chunks(if self.how.fresh { self.how.workers } else { 1 }) {
                let state = kept.take();
                let states = self.observe(instance, batch, state);
                let mut outcome = Ok(());
                for state in states {
                    match state {
                        Ok(mut state) => {
                            if outcome.is_ok() {
                                outcome = instance.absorb(&mut state);
                            }
                            if self.how.fresh || outcome.is_err() {
                                instance.free(state);
                            } else {
                                kept = Some(state);
                            }
                        }
                        Err(trouble) => outcome = outcome.and(Err(trouble)),
                    }
                }
                outcome?;
            }
            if let Some(state) = kept {
                instance.free(state);
            }
            instance.pass_end()?;
            passes += 1;
        }
        Ok(())
    }

    /// States of blocks, side by side where there are several.
    fn observe(
        &self,
        instance: &Instance<'_>,
        batch: &[(usize, u64)],
        kept: Option<Live>,
    ) -> Vec<Result<Live, Trouble>> {
        if let [(member, block)] = batch {
            return vec![self.block(instance, *member, *block, kept)];
        }
        std::thread::scope(|scope| {
            let running: Vec<_> = batch
                .iter()
                .map(|&(member, block)| scope.spawn(move || self.block(instance, member, block, None)))
                .collect();
            running
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(Trouble::Broken("the kit's own thread panicked".to_owned())))
                })
                .collect()
        })
    }

    fn block(
        &self,
        instance: &Instance<'_>,
        member: usize,
        block: u64,
        kept: Option<Live>,
    ) -> Result<Live, Trouble> {
        let mut state = kept.map_or_else(|| instance.state(), Ok)?;
        let total = self.task.members[member].total();
        for first in (block..total.min(block + BLOCK)).step_by(STRETCH as usize) {
            if !instance.wants(member, first / STRETCH) {
                continue;
            }
            let len = STRETCH.min(total - first);
            let seen = self.seen(member, first as usize, len as usize);
            let call = self.call(&[(member, Some((first, len)), &seen)], false);
            if let Err(trouble) = instance.observe(&call, &mut state) {
                instance.free(state);
                return Err(trouble);
            }
        }
        Ok(state)
    }

    fn call<'d>(&self, views: &[View<'d>], outputs: bool) -> Call<'d> {
        Call {
            inputs: views
                .iter()
                .flat_map(|(member, stretch, seen)| {
                    seen.iter().map(|data| (self.task.meta(*member, *stretch), data.as_slice()))
                })
                .collect(),
            outputs: if outputs {
                views.iter().map(|(member, stretch, _)| self.task.meta(*member, *stretch)).collect()
            } else {
                Vec::new()
            },
            settings: views.iter().flat_map(|(member, ..)| self.task.table(self.method, *member)).collect(),
            scratch: self.plans.iter().map(|plan| plan.scratch).max().unwrap_or(0),
            off: self.how.off,
        }
    }

    fn stretches(&self, instance: &Instance<'_>, values: &mut [Vec<f32>]) -> Result<(), Trouble> {
        let mut stretches: Vec<(usize, u64)> = self
            .computed()
            .flat_map(|member| {
                let total = self.task.members[member].total();
                (0..total).step_by(STRETCH as usize).map(move |first| (member, first))
            })
            .collect();
        match self.how.order {
            Order::Forward => {}
            Order::Backward => stretches.reverse(),
            Order::Shuffled(seed) => {
                let key = Key::new(seed, "order", 0);
                stretches.sort_by_key(|(member, first)| key.bits(first ^ ((*member as u64) << 40)));
            }
        }
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        let work = || -> Result<(), Trouble> {
            while let Some(&(member, first)) = stretches.get(next.fetch_add(1, Ordering::SeqCst)) {
                let len = STRETCH.min(self.task.members[member].total() - first).min(self.how.prefix);
                let seen = self.seen(member, first as usize, len as usize);
                let call = self.call(&[(member, Some((first, len)), &seen)], true);
                let mut done = instance.apply(&call)?;
                let mut out = done.outputs.pop().unwrap_or_default();
                self.restored(member, first as usize, &mut out);
                results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((member, first, out));
            }
            Ok(())
        };
        if self.how.workers == 1 {
            work()?;
        } else {
            std::thread::scope(|scope| {
                let running: Vec<_> = (0..self.how.workers).map(|_| scope.spawn(work)).collect();
                running.into_iter().try_for_each(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(Trouble::Broken("the kit's own thread panicked".to_owned())))
                })
            })?;
        }
        for (member, first, out) in results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            values[member][first as usize..first as usize + out.len()].copy_from_slice(&out);
        }
        Ok(())
    }

    fn whole(&self, instance: &Instance<'_>, values: &mut [Vec<f32>]) -> Result<(), Trouble> {
        let members: Vec<usize> = self.computed().collect();
        if members.is_empty() {
            return Ok(());
        }
        let seen: Vec<Vec<Vec<f32>>> = members
            .iter()
            .map(|&member| self.seen(member, 0, self.task.members[member].total() as usize))
            .collect();
        let views: Vec<_> = members.iter().zip(&seen).map(|(&member, seen)| (member, None, seen)).collect();
        let done = instance.apply(&self.call(&views, true))?;
        for (&member, mut out) in members.iter().zip(done.outputs) {
            self.restored(member, 0, &mut out);
            values[member] = out;
        }
        Ok(())
    }
}
