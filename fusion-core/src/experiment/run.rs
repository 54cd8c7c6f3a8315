//! Runs the steps of an experiment: what is due, in order, independent trainings side by side; everything else finds its results in the
//! store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use fusion_data::Dataset;
use fusion_dsl::graph::NodeId;
use fusion_network::{Device, State};
use fusion_sdk::{ErrorKind, MethodError};
use serde::Serialize;

use super::results::Result as StepResult;
use super::{Experiment, Feed, Input, Step, Store, Task, load, stages};
use crate::checkpoint::{Checkpoint, TensorInfo};
use crate::engine::{Access, Event, Listener, RunError, compute};
use crate::method::{DeviceName, Registry};
use crate::plan::facts::binary;
use crate::plan::ir::{Program, View};
use crate::plan::lineage::Used;
use crate::plan::outputs::State as OutputState;
use crate::plan::{Fact, Options, Plan, Verdict};

/// What the steps of a run have come to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Steps in order, those that were due.
    pub steps: Vec<StepRun>,
    /// `expect`s that results decide.
    pub expects: Vec<Verdict>,
    /// Paths that were saved.
    pub paths: Vec<String>,
    /// Files of reports that were written.
    pub reports: Vec<String>,
    #[serde(skip)]
    pub(super) results: BTreeMap<NodeId, StepResult>,
}

/// A step of a run.
#[derive(Clone, Debug, Serialize)]
pub struct StepRun {
    /// Name in the recipe.
    pub name: String,
    /// Verb; empty for a network's first weights.
    pub verb: String,
    /// Method.
    pub method: String,
    /// Its result was in the store.
    pub cached: bool,
    /// Seconds that it took, now or when it ran.
    pub seconds: f64,
    /// What it cost, in words.
    pub cost: String,
    /// Its numbers.
    pub facts: Vec<(String, f64)>,
}

/// All that the steps of a run share.
pub(super) struct Runtime<'a> {
    pub(super) plan: Plan,
    pub(super) registry: &'a Registry,
    pub(super) options: &'a Options,
    pub(super) listener: Listener<'a>,
    pub(super) cancel: &'a AtomicBool,
    pub(super) store: Store,
    pub(super) device: Device,
    datasets: Mutex<BTreeMap<NodeId, Arc<Dataset>>>,
    pub(super) results: BTreeMap<NodeId, StepResult>,
}

/// Runs what is due. Gives the plan back with the models that there are now, for the outputs.
pub(crate) fn execute(
    plan: &Plan,
    registry: &Registry,
    options: &Options,
    listener: Listener<'_>,
    cancel: &AtomicBool,
) -> Result<(Plan, Outcome), RunError> {
    let device = match options.device {
        DeviceName::Cpu => DeviceName::Flex,
        other => other,
    };
    let device = crate::method::device::open(device).ok_or_else(|| RunError::Device {
        device: device.to_string(),
        stage: String::new(),
        message: "this build has no device that networks run on (build with the feature `flex`)".to_owned(),
    })?;
    let mut runtime = Runtime {
        plan: plan.clone(),
        registry,
        options,
        listener,
        cancel,
        store: Store::new(&plan.experiment.store),
        device,
        datasets: Mutex::default(),
        results: BTreeMap::new(),
    };
    let due = due(plan);
    let mut outcome = Outcome::default();
    let steps: Vec<Step> =
        plan.experiment.steps.iter().filter(|step| due.contains(&step.node)).cloned().collect();
    let mut waiting: Vec<&Step> = steps.iter().collect();
    while !waiting.is_empty() {
        let done: BTreeSet<NodeId> = runtime.results.keys().copied().collect();
        let ready = |step: &&Step| needs(&plan.experiment, step).iter().all(|node| done.contains(node));
        let (now, later): (Vec<&Step>, Vec<&Step>) = waiting.into_iter().partition(ready);
        if now.is_empty() {
            return Err(RunError::Threads("steps wait for each other (a bug of the planner)".to_owned()));
        }
        waiting = later;
        for step in &now {
            runtime.between(step)?;
        }
        for (step, run, result) in runtime.side_by_side(&now)? {
            runtime.adopt(step)?;
            runtime.results.insert(step.node, result);
            outcome.steps.push(run);
        }
    }
    outcome.paths = super::save::write(&runtime)?;
    outcome.results = runtime.results.clone();
    outcome.steps.sort_by_key(|run| plan.experiment.place(&run.name));
    Ok((runtime.plan, outcome))
}

/// Steps that must have run: those whose results are asked for, and what they are made from.
fn due(plan: &Plan) -> BTreeSet<NodeId> {
    let experiment = &plan.experiment;
    let fed: BTreeSet<NodeId> = experiment.steps.iter().flat_map(|step| needs(experiment, step)).collect();
    let mut stack: Vec<NodeId> = experiment
        .steps
        .iter()
        // What nobody uses is run for its own sake; first weights alone are of no interest.
        .filter(|step| {
            let saved = plan
                .outputs
                .iter()
                .any(|output| feeds(experiment, &plan.program, &output.view).contains(&step.node));
            !fed.contains(&step.node) && !saved && !matches!(step.task, Task::Network { .. })
                || matches!(step.task, Task::Evaluate)
        })
        .map(|step| step.node)
        .collect();
    for output in plan.outputs.iter().filter(|output| output.state != OutputState::Cached) {
        stack.extend(feeds(experiment, &plan.program, &output.view));
    }
    stack.extend(experiment.saves.iter().map(|save| save.input));
    for report in &experiment.reports {
        stack.extend(report.inputs.iter().filter(|node| experiment.step(**node).is_some()));
    }
    for pending in &experiment.pending {
        collect_nodes(&pending.formula, &mut stack);
    }
    let mut due = BTreeSet::new();
    while let Some(node) = stack.pop() {
        if let Some(step) = experiment.step(node)
            && due.insert(node)
        {
            stack.extend(needs(experiment, step));
        }
    }
    due
}

fn collect_nodes(formula: &fusion_dsl::graph::Formula, found: &mut Vec<NodeId>) {
    use fusion_dsl::graph::Formula;
    match formula {
        Formula::Value(_) => {}
        Formula::Fact { node, .. } => found.push(*node),
        Formula::Unary { operand, .. } => collect_nodes(operand, found),
        Formula::Binary { left, right, .. } => {
            collect_nodes(left, found);
            collect_nodes(right, found);
        }
    }
}

/// The steps whose models a view reads.
fn feeds(experiment: &Experiment, program: &Program, view: &View) -> Vec<NodeId> {
    Used::of(program, view).makers(program, experiment).into_iter().map(|step| step.node).collect()
}

/// The steps that a step is made from.
fn needs(experiment: &Experiment, step: &Step) -> Vec<NodeId> {
    step.needs.iter().copied().filter(|node| experiment.step(*node).is_some()).collect()
}

impl Runtime<'_> {
    /// Computes the models that stages on tensors make for this step.
    fn between(&self, step: &Step) -> Result<(), RunError> {
        for input in &step.inputs {
            let Feed::Model { between: Some(index), .. } = &input.feed else { continue };
            let output = &self.plan.experiment.between[*index];
            if output.state == OutputState::Cached
                || output.target.path().join(crate::plan::outputs::RECORD).is_file()
            {
                continue;
            }
            compute(&self.plan, output, self.registry, self.options, self.cancel)?;
        }
        Ok(())
    }

    /// Runs steps that do not depend on each other: trainings share the threads, anything else has all of them.
    fn side_by_side<'s>(&self, steps: &[&'s Step]) -> Result<Vec<(&'s Step, StepRun, StepResult)>, RunError> {
        // Of stages that compute the same one runs; the others find its result.
        let mut keys = BTreeSet::new();
        let (trainings, others): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| {
            matches!(step.task, Task::Train { .. } | Task::Connect)
                && !self.store.has(&step.key)
                && keys.insert(step.key.as_str())
        });
        let mut done: BTreeMap<NodeId, Result<(StepRun, StepResult), RunError>> = BTreeMap::new();
        let threads = self.options.threads.max(1);
        let workers = threads.min(trainings.len());
        if let Some(each) = threads.checked_div(workers) {
            let next = AtomicUsize::new(0);
            let found = Mutex::new(&mut done);
            std::thread::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(|| {
                        while let Some(step) = trainings.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let result = self.one(step, each);
                            let failed = result.is_err();
                            found.lock().unwrap_or_else(PoisonError::into_inner).insert(step.node, result);
                            if failed {
                                break; // and let those that run come to their end or their stop
                            }
                        }
                    });
                }
            });
        }
        // The twin of a training that failed would only fail again.
        if done.values().all(Result::is_ok) {
            for step in others {
                done.insert(step.node, self.one(step, threads));
            }
        }
        let mut finished = Vec::new();
        for &step in steps {
            match done.remove(&step.node) {
                Some(Ok((run, result))) => finished.push((step, run, result)),
                Some(Err(error)) => return Err(error),
                None => {} // its worker ended with another's error, which comes in its turn
            }
        }
        match finished.len() == steps.len() {
            true => Ok(finished),
            false => Err(done
                .into_values()
                .find_map(Result::err)
                .unwrap_or_else(|| RunError::Threads("a training was not run".to_owned()))),
        }
    }

    /// One step: from the store, or run and stored.
    fn one(&self, step: &Step, threads: usize) -> Result<(StepRun, StepResult), RunError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(RunError::Cancelled);
        }
        let verb = step.verb.map(|verb| verb.word().to_owned()).unwrap_or_default();
        let report = |result: &StepResult, cached: bool| StepRun {
            name: step.name.clone(),
            verb: verb.clone(),
            method: step.method.clone(),
            cached,
            seconds: result.seconds,
            cost: result.cost.clone(),
            facts: result
                .shown
                .iter()
                .filter_map(|name| Some((name.clone(), *result.facts.get(name)?)))
                .collect(),
        };
        if let Ok(result) = self.store.read(&step.key) {
            let run = report(&result, true);
            self.emit(&Event::StepDone { step: run.clone() });
            return Ok((run, result));
        }
        // What cannot be kept is better known before hours of work than after.
        self.store.tried(&step.key).map_err(|error| self.unkept(error))?;
        self.emit(&Event::StepBegins {
            name: step.name.clone(),
            verb: verb.clone(),
            method: step.method.clone(),
        });
        let began = Instant::now();
        let made = stages::run(self, step, threads)?;
        let mut result = made.result;
        result.seconds = began.elapsed().as_secs_f64();
        let files = made.files;
        self.store
            .write(&step.key, &result, |folder| files.into_iter().try_for_each(|file| file.write(folder)))
            .map_err(|error| self.unkept(error))?;
        let run = report(&result, false);
        self.emit(&Event::StepDone { step: run.clone() });
        Ok((run, result))
    }

    /// Opens the models that a step has left, for whom they were only declared. All that was planned since relies on the declaration, so
    /// another model is an error: reading it would give numbers of other places.
    fn adopt(&mut self, step: &Step) -> Result<(), RunError> {
        let folder = self.store.folder(&step.key);
        for source in &mut self.plan.program.sources {
            let Some((own, part)) = source.maker() else { continue };
            if own == step.key {
                let found = Checkpoint::open(&folder.join(stages::file_name(part)))?;
                if let Some(difference) = difference(source.checkpoint.tensors(), found.tensors()) {
                    return Err(RunError::Unplanned { stage: source.name.clone(), difference });
                }
                source.checkpoint = Arc::new(found);
            }
        }
        Ok(())
    }

    /// A data set, read once.
    pub(super) fn dataset(&self, step: &Step, node: NodeId) -> Result<Arc<Dataset>, RunError> {
        let mut datasets = self.datasets.lock().unwrap_or_else(PoisonError::into_inner);
        self.opened(&mut datasets, step, node)
    }

    fn opened(
        &self,
        datasets: &mut BTreeMap<NodeId, Arc<Dataset>>,
        step: &Step,
        node: NodeId,
    ) -> Result<Arc<Dataset>, RunError> {
        if let Some(dataset) = datasets.get(&node) {
            return Ok(dataset.clone());
        }
        let plan = &self.plan.experiment.data[&node];
        let found = if plan.sets.is_empty() {
            let places = fusion_data::Places {
                folders: self.plan.experiment.folders.clone(),
                root: self.plan.experiment.root.clone(),
            };
            let watch = stages::watch::Reading { runtime: self, name: &plan.name };
            Dataset::open(&plan.source, &plan.settings, &places, &watch)
        } else {
            let mut parts = Vec::new();
            for set in &plan.sets {
                let name = self.plan.experiment.data[set].name.as_str();
                parts.push((name, self.opened(datasets, step, *set)?));
            }
            let parts: Vec<(&str, &Dataset)> = parts.iter().map(|(name, data)| (*name, &**data)).collect();
            Dataset::union(&plan.name, &parts, &plan.settings)
        };
        let dataset = found.map_err(|error| match error {
            fusion_data::DataError::Cancelled => RunError::Cancelled,
            error => RunError::Method {
                stage: step.name.clone(),
                method: format!("data {}", plan.name),
                help: None,
                message: error.to_string(),
                span: plan.span,
            },
        })?;
        let dataset = Arc::new(dataset);
        datasets.insert(node, dataset.clone());
        Ok(dataset)
    }

    /// The weights of a model among the inputs.
    pub(super) fn state(&self, step: &Step, input: &Input) -> Result<State, RunError> {
        match &input.feed {
            Feed::Model { view, between } => {
                let network = view.network.map_or(0, |network| network.architecture);
                let architecture = &self.plan.experiment.architectures[network];
                match between {
                    None => load::of_view(&self.plan.program, view, architecture),
                    Some(index) => {
                        let folder = self.plan.experiment.between[*index].target.path();
                        load::of_checkpoint(&Checkpoint::open(folder)?, architecture)
                    }
                }
            }
            Feed::Result(_) | Feed::Alignment(_) => {
                Err(self.failed(step, format!("`{}` is no model", input.name), None))
            }
        }
    }

    /// The store cannot be written to.
    fn unkept(&self, error: std::io::Error) -> RunError {
        RunError::file("the cache folder", self.store.root(), Access::Write, error).advised(
            "results of stages are kept there: make room, allow it to be written, or name another folder in $FUSION_CACHE",
        )
    }

    pub(super) fn emit(&self, event: &Event) {
        (self.listener)(event);
    }

    /// An error of a step at its method.
    pub(super) fn failed(&self, step: &Step, message: impl Into<String>, help: Option<String>) -> RunError {
        let mut error = MethodError::new(ErrorKind::Failed, message);
        error.help = help;
        self.refused(step, error)
    }

    /// A method's error in a step; the user's Ctrl-C is none.
    pub(super) fn refused(&self, step: &Step, error: MethodError) -> RunError {
        if error.kind == ErrorKind::Cancelled || self.cancel.load(Ordering::Relaxed) {
            return RunError::Cancelled;
        }
        RunError::Method {
            stage: step.name.clone(),
            method: step.method.clone(),
            span: step.places.as_ref().map_or(step.span, |places| places.blamed(&error)),
            message: error.message,
            help: error.help,
        }
    }
}

/// How a model's tensors differ from those that were declared; both are sorted by name. `None` if they do not.
fn difference(declared: &[TensorInfo], found: &[TensorInfo]) -> Option<String> {
    let text = |tensor: &TensorInfo| format!("{} {:?}", tensor.dtype, tensor.shape);
    for (declared, found) in declared.iter().zip(found) {
        if declared.name != found.name {
            return Some(format!("it has `{}` where `{}` was expected", found.name, declared.name));
        }
        if (declared.dtype, &declared.shape) != (found.dtype, &found.shape) {
            return Some(format!("`{}` is {} instead of {}", found.name, text(found), text(declared)));
        }
    }
    let (wanted, there) = (declared.len(), found.len());
    (wanted != there).then(|| format!("it has {there} tensors instead of {wanted}"))
}

impl Outcome {
    /// Decides the `expect`s that waited.
    pub(crate) fn decide(&mut self, plan: &Plan) {
        let mut pending: Vec<_> = plan.experiment.pending.iter().collect();
        pending.sort_by_key(|pending| pending.span);
        for pending in pending {
            let mut values = Vec::new();
            let holds = matches!(self.evaluate(plan, &pending.formula, &mut values), Some(Fact::Bool(true)));
            self.expects.push(Verdict { text: pending.text.clone(), holds, values });
        }
    }

    fn evaluate(
        &self,
        plan: &Plan,
        formula: &fusion_dsl::graph::Formula,
        values: &mut Vec<(String, Fact)>,
    ) -> Option<Fact> {
        use fusion_dsl::graph::{Formula, Value};
        match formula {
            Formula::Value(value) => Some(match value {
                Value::Bool(value) => Fact::Bool(*value),
                Value::Number(value) | Value::Quantity { value, .. } => Fact::Number(*value),
                Value::Bytes(bytes) => Fact::Number(*bytes as f64),
                Value::Word(text) | Value::Text(text) => Fact::Text(text.clone()),
                _ => return None,
            }),
            Formula::Fact { node, fact, .. } => {
                let name = format!("{}.{fact}", plan.graph.node(*node).name);
                let value = match self.results.get(node).and_then(|result| result.facts.get(fact)) {
                    Some(value) => Some(*value),
                    None => plan.header_fact(*node, fact),
                };
                // What was not measured fails the condition, and says what was.
                let Some(value) = value else {
                    let known = self.results.get(node).map(|result| result.facts.keys().map(String::as_str));
                    let known: Vec<&str> = known.into_iter().flatten().collect();
                    let near = fusion_dsl::suggest::closest(fact, known.iter().copied());
                    let text = match near {
                        Some(near) => format!("is not known; did you mean `{near}`?"),
                        None => format!("is not known; there are {}", fusion_dsl::suggest::list(known, 12)),
                    };
                    values.push((name, Fact::Text(text)));
                    return None;
                };
                values.push((name, Fact::Number(value)));
                Some(Fact::Number(value))
            }
            Formula::Unary { op, operand } => match (op.as_str(), self.evaluate(plan, operand, values)?) {
                ("-", Fact::Number(number)) => Some(Fact::Number(-number)),
                ("not", Fact::Bool(truth)) => Some(Fact::Bool(!truth)),
                _ => None,
            },
            Formula::Binary { op, left, right } => {
                let (left, right) = (self.evaluate(plan, left, values)?, self.evaluate(plan, right, values)?);
                binary(op, &left, &right)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    #[test]
    fn a_model_that_was_planned_otherwise_is_told_by_its_first_difference() {
        let of = |tensors: &[(&str, Dtype, &[usize])]| -> Vec<TensorInfo> {
            let named =
                tensors.iter().map(|(name, dtype, shape)| ((*name).to_owned(), *dtype, shape.to_vec()));
            Checkpoint::declared("x", named).tensors().to_vec()
        };
        let declared = of(&[("a", Dtype::F32, &[2, 3]), ("b", Dtype::F32, &[3])]);
        assert_eq!(difference(&declared, &declared), None);
        for (found, text) in [
            (
                of(&[("a", Dtype::F32, &[3, 2]), ("b", Dtype::F32, &[3])]),
                "`a` is f32 [3, 2] instead of f32 [2, 3]",
            ),
            (
                of(&[("a", Dtype::BF16, &[2, 3]), ("b", Dtype::F32, &[3])]),
                "`a` is bf16 [2, 3] instead of f32 [2, 3]",
            ),
            (of(&[("a", Dtype::F32, &[2, 3]), ("c", Dtype::F32, &[3])]), "it has `c` where `b` was expected"),
            (of(&[("a", Dtype::F32, &[2, 3])]), "it has 1 tensors instead of 2"),
        ] {
            assert_eq!(difference(&declared, &found).as_deref(), Some(text));
        }
    }
}
