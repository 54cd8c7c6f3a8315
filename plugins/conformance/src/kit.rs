//! One test in this process: the library, the seed, and what most tests begin with.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fusion_abi::{
    FUSION_KERNEL_GROUP, FUSION_KERNEL_MODEL, FUSION_KERNEL_TENSOR, FUSION_SCOPE_MODEL, FUSION_SCOPE_TENSOR,
    FUSION_SPACE_DATASET,
};
use fusion_dsl::descriptor::ParamSpec;

use crate::driver::{Host, Library, Method, Offer, OpenError, Plugin, Trouble, scope};
use crate::params::Set;
use crate::run::{How, Ran, run};
use crate::table::{Body, Test};
use crate::task::{Data, Input, Member, Settings, Task, weights};
use crate::verdict::{Check, Report, Stop, Verdict, fail, skip};

/// A library under test.
pub(crate) struct Kit {
    pub(crate) path: PathBuf,
    pub(crate) seed: u64,
    plugin: OnceCell<Result<Plugin, OpenError>>,
}

/// Runs one test in this process, which a broken plugin may take down with it: [`supervise`](crate::supervise) runs it in a child.
#[must_use]
pub fn run_in_process(library: &Path, test: &Test, seed: u64) -> Report {
    let kit = Kit { path: library.to_owned(), seed, plugin: OnceCell::new() };
    let started = Instant::now();
    let outcome = match test.body {
        Body::Library(check) => check(&kit),
        Body::Method(check) => kit.each(check),
    };
    let verdict = match outcome {
        Ok(()) => Verdict::Passed,
        Err(Stop::Skip(reason)) => Verdict::Skipped { reason },
        Err(Stop::Fail(reason)) if test.warning => Verdict::Warning { reason },
        Err(Stop::Fail(reason)) => Verdict::Failed { reason },
    };
    Report { test: test.id.to_owned(), verdict, milliseconds: started.elapsed().as_millis() as u64, seed }
}

impl Kit {
    /// The library's description.
    pub(crate) fn plugin(&self) -> Result<&Plugin, Stop> {
        let read = self.plugin.get_or_init(|| Library::described(&self.path));
        read.as_ref().map_err(|error| Stop::Fail(error.to_string()))
    }

    /// Runs a check on every method: it fails if one fails, and is skipped if all are.
    fn each(&self, check: fn(&Kit, &Method) -> Check) -> Check {
        let (mut passed, mut reason) = (false, String::new());
        let methods = &self.plugin()?.methods;
        for method in methods {
            match check(self, method) {
                Ok(()) => passed = true,
                Err(Stop::Skip(why)) => reason = why,
                Err(Stop::Fail(why)) => return fail(format!("`{}`: {why}", method.id)),
            }
        }
        match (passed, methods.len()) {
            (true, _) => Ok(()),
            (false, 1) => skip(reason),
            (false, n) => skip(format!("for none of its {n} methods, the last time because: {reason}")),
        }
    }
}

/// Tensors of a test.
pub(crate) type Shapes<'a> = &'a [(&'a str, &'a [i64], Option<u32>)];

/// How many inputs each port gets: about three where it is free.
fn counts(method: &Method) -> Result<Vec<u32>, Stop> {
    if method.ports.iter().any(|port| port.space == FUSION_SPACE_DATASET && port.min > 0) {
        return skip("it needs examples, which the kit has not");
    }
    let of = |min: u32, max: u32| if min > max { min } else { 3.clamp(min, max) };
    Ok(method
        .ports
        .iter()
        .map(|port| if port.space == FUSION_SPACE_DATASET { 0 } else { of(port.min, port.max) })
        .collect())
}

impl Method {
    /// A task with these tensors and default settings.
    pub(crate) fn task(&self, shapes: Shapes<'_>, seed: u64) -> Result<Task, Stop> {
        let mut inputs = Vec::new();
        for (port, count) in counts(self)?.into_iter().enumerate() {
            for _ in 0..count {
                inputs.push(Input { port, role: self.ports[port].word(), settings: Settings::default() });
            }
        }
        if inputs.is_empty() {
            return skip("it takes no models");
        }
        let members = shapes
            .iter()
            .map(|(name, shape, layer)| Member {
                name: (*name).to_owned(),
                shape: shape.to_vec(),
                layer: *layer,
                settings: Settings::default(),
                inputs: inputs.clone(),
            })
            .collect();
        let task = Task { members, layers: 2, seed };
        let specs = self.specs()?;
        Ok(Set::defaults(self, &task, &specs).into_task(&task))
    }

    /// The parameters, if the schema can be read.
    pub(crate) fn specs(&self) -> Result<Vec<ParamSpec>, Stop> {
        match &self.schema {
            Some(_) => Ok(self.parameters()),
            None => skip("its parameter schema is not JSON"),
        }
    }

    /// A task that it accepts and computes, with its data and its result.
    pub(crate) fn fitting(&self, kit: &Kit) -> Result<(Task, Data, Ran), Stop> {
        let tensor: &[Shapes<'_>] = &[
            &[("layers.0.a.weight", &[24, 16], Some(0))],
            &[("layers.0.a.weight", &[16, 16], Some(0))],
            &[("layers.0.a.bias", &[64], Some(0))],
            &[("layers.0.a.weight", &[8, 4, 3, 3], Some(0))],
        ];
        let layer: &[Shapes<'_>] = &[
            &[
                ("layers.0.a.weight", &[16, 8], Some(0)),
                ("layers.0.a.bias", &[16], Some(0)),
                ("layers.0.b.weight", &[8, 16], Some(0)),
            ],
            &[("layers.0.a.weight", &[16, 16], Some(0)), ("layers.0.b.weight", &[16, 16], Some(0))],
            &[("layers.0.a.weight", &[24, 16], Some(0))],
        ];
        let model: &[Shapes<'_>] = &[&[
            ("embed.weight", &[12, 8], None),
            ("layers.0.w.weight", &[8, 8], Some(0)),
            ("layers.1.w.weight", &[8, 8], Some(1)),
            ("norm.weight", &[8], None),
        ]];
        let streamed: &[Shapes<'_>] = &[&[("layers.0.a.weight", &[3, 1400], Some(0))]];
        let streamed_group: &[Shapes<'_>] =
            &[&[("layers.0.a.weight", &[3, 1400], Some(0)), ("layers.0.a.bias", &[517], Some(0))]];
        let shared = self.shares(self.task(streamed[0], kit.seed)?)?;
        let candidates = match self.kernel() {
            FUSION_KERNEL_TENSOR => tensor,
            FUSION_KERNEL_GROUP if shared => layer,
            FUSION_KERNEL_GROUP => tensor,
            FUSION_KERNEL_MODEL => model,
            _ if shared => streamed_group,
            _ => streamed,
        };
        let mut last = String::new();
        for shapes in candidates {
            let task = self.task(shapes, kit.seed)?;
            let data = weights(&task, kit.seed);
            match run(self, &task, &data, &How::default()) {
                Ok(ran) => return Ok((task, data, ran)),
                Err(trouble) if trouble.refuses() => last = trouble.to_string(),
                Err(trouble) => return fail(trouble.to_string()),
            }
        }
        skip(format!("it refuses all tensors of the kit: {last}"))
    }

    /// Whether several tensors share an instance.
    pub(crate) fn shares(&self, task: Task) -> Result<bool, Stop> {
        if matches!(self.kernel(), FUSION_KERNEL_TENSOR | FUSION_KERNEL_MODEL) {
            return Ok(self.kernel() == FUSION_KERNEL_MODEL);
        }
        let host = Host::new(Offer::default(), 1);
        match scope(self, &host, &task.members[0].settings.text) {
            Ok(None) => Ok(self.kernel() == FUSION_KERNEL_GROUP),
            Ok(Some(FUSION_SCOPE_TENSOR)) => Ok(false),
            Ok(Some(scope)) if scope > FUSION_SCOPE_MODEL.max(fusion_abi::FUSION_SCOPE_LAYER) => {
                fail(format!("`scope` answers {scope}, which there is not"))
            }
            Ok(Some(_)) => Ok(true),
            Err(trouble) => fail(trouble.to_string()),
        }
    }
}

/// Turns what went wrong in a run into a failure.
pub(crate) fn ran(result: Result<Ran, Trouble>) -> Result<Ran, Stop> {
    result.map_err(|trouble| Stop::Fail(trouble.to_string()))
}

/// The first place where two results differ, in words. NaNs are all the same.
pub(crate) fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> Option<String> {
    differs(a, b, |_, x, y| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()))
}

/// The first place where `same` does not hold.
pub(crate) fn differs(
    a: &[Vec<f32>],
    b: &[Vec<f32>],
    same: impl Fn(usize, f32, f32) -> bool,
) -> Option<String> {
    for (member, (a, b)) in a.iter().zip(b).enumerate() {
        for (i, (&x, &y)) in a.iter().zip(b).enumerate() {
            if !same(i, x, y) {
                return Some(format!("element {i} of tensor {member} is {x:e} and {y:e}"));
            }
        }
    }
    None
}
