//! Stages on networks and data: what the planner has found out about them, and how they run.
//!
//! A stage here trains, connects, repairs, combines outputs or measures. It runs as a whole, and its result lies in a folder named
//! by its key, so a stage that has not changed is not run again. Models that it makes are checkpoints like any other: to the rest of the
//! planner and the engine a trained network is a stored model whose headers are known and whose file comes later.

pub mod data;
pub(crate) mod frozen;
mod key;
mod load;
mod results;
mod run;
pub(crate) mod save;
mod show;
pub(crate) mod stages;
mod store;
mod tables;
mod together;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fusion_dsl::descriptor::Verb;
use fusion_dsl::graph::{Formula, NodeId};
use fusion_dsl::span::Span;
use fusion_network::{Architecture, Init};
use fusion_sdk::symmetry::Symmetries;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::plan::ir::{Source, View};
use crate::plan::lineage::loop_index;
use crate::plan::{Output, Places, SettingReport};

pub(crate) use key::{data_key, file_key, step_key, union_key};
pub use results::{Facts, Result as StageResult};
pub(crate) use run::execute;
pub use run::{Outcome, StepRun};
pub(crate) use show::write_reports;
pub use stages::methods;
pub(crate) use store::Store;
pub use tables::{Tables, tables};

/// All of a recipe that runs on networks and data.
#[derive(Clone, Default)]
pub struct Experiment {
    /// Architectures, each once.
    pub architectures: Vec<Architecture>,
    /// Data sets by node.
    pub data: BTreeMap<NodeId, DataPlan>,
    /// Stages in topological order.
    pub steps: Vec<Step>,
    /// Models that stages on tensors compute for stages here: written to the store first.
    pub between: Vec<Output>,
    /// `report` items.
    pub reports: Vec<ReportPlan>,
    /// `save` items of paths.
    pub saves: Vec<SavePlan>,
    /// `expect`s that only results can decide.
    pub pending: Vec<Pending>,
    /// Where results are kept.
    pub store: PathBuf,
    /// Where named data sets are looked for.
    pub folders: Vec<PathBuf>,
    /// Relative paths of data start here.
    pub root: PathBuf,
}

impl Experiment {
    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.reports.is_empty() && self.pending.is_empty() && self.saves.is_empty()
    }

    /// Where a step stands in the recipe: by item, then by the index of its loop. The graph's own order goes by content.
    pub(crate) fn place(&self, name: &str) -> (Span, u64) {
        let span = self.steps.iter().find(|step| step.name == name).map_or(Span::NONE, |step| step.span);
        (span, loop_index(name))
    }

    /// The step that makes a source, if one does.
    pub(crate) fn maker(&self, source: &Source) -> Option<&Step> {
        let (key, _) = source.maker()?;
        self.steps.iter().find(|step| step.key == key)
    }

    /// The step of a node.
    pub fn step(&self, node: NodeId) -> Option<&Step> {
        self.steps.iter().find(|step| step.node == node)
    }
}

/// A data set, as far as its headers tell.
#[derive(Clone)]
pub struct DataPlan {
    /// Name in the recipe.
    pub name: String,
    /// As written; empty for one that is made of others.
    pub source: String,
    /// The data sets that it is made of.
    pub sets: Vec<NodeId>,
    /// Its block.
    pub settings: Map<String, Json>,
    /// Examples, shape, classes.
    pub facts: fusion_data::Facts,
    /// Hex BLAKE3 of all that determines its contents.
    pub key: String,
    /// The item.
    pub span: Span,
}

/// What an input of a step is.
#[derive(Clone)]
pub enum Feed {
    /// A model: its tensors, and the index in [`Experiment::between`] where stages on tensors compute it.
    Model {
        /// Its tensors.
        view: Arc<View>,
        /// Where it is computed.
        between: Option<usize>,
    },
    /// The result of another step: a path or an ensemble.
    Result(NodeId),
    /// What an `align` stage has found.
    Alignment(NodeId),
}

/// An input of a step that is no data set.
#[derive(Clone)]
pub struct Input {
    /// The port.
    pub role: String,
    /// What people call it; scores are named after it.
    pub name: String,
    /// What it is.
    pub feed: Feed,
    /// The reference's text.
    pub span: Span,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Task {
    /// Draws the first weights of a network, or takes them over from a file.
    Network {
        /// Starts the draws.
        seed: u64,
        /// How they are made.
        init: Init,
        /// A foreign checkpoint.
        from: Option<PathBuf>,
        /// `theirs = ours`.
        map: Vec<(String, String)>,
    },
    /// `train`, with what it collects and how many models each gives.
    Train {
        /// Name, settings, number of models (`None`: one).
        collects: Vec<(String, Map<String, Json>, Option<usize>)>,
    },
    /// `align`.
    Align(Arc<AlignPlan>),
    /// `connect`.
    Connect,
    /// A point of a path, or the mean of several.
    Point,
    /// `repair`.
    Repair,
    /// `ensemble`.
    Ensemble,
    /// `evaluate`.
    Evaluate,
}

/// What an `align` stage works on.
#[derive(Clone, Debug)]
pub struct AlignPlan {
    /// The models: the reference first, if there is one.
    pub models: Vec<ModelSymmetries>,
    /// Whether there is one.
    pub reference: bool,
    /// Symmetries of the results, as methods see them.
    pub target: Symmetries,
    /// The same in the layout of files.
    pub disk: Symmetries,
    /// Architecture of the results; none for checkpoints without a network.
    pub architecture: Option<usize>,
    /// A file with an alignment that is applied.
    pub stored: Option<PathBuf>,
}

/// The symmetries of a model.
#[derive(Clone, Debug)]
pub struct ModelSymmetries {
    /// As methods see them: for networks in the layout of flat vectors.
    pub symmetries: Symmetries,
    /// In the layout of files.
    pub disk: Symmetries,
    /// Its architecture; none for checkpoints without a network.
    pub architecture: Option<usize>,
    /// Whether the recipe declares them.
    pub declared: bool,
}

/// A stage.
#[derive(Clone)]
pub struct Step {
    /// Its node.
    pub node: NodeId,
    /// Name in the recipe.
    pub name: String,
    /// Verb; none for a network's first weights.
    pub verb: Option<Verb>,
    /// Method.
    pub method: String,
    /// What it does.
    pub task: Task,
    /// Settings as JSON, as written.
    pub settings: Map<String, Json>,
    /// Seed of its random stream.
    pub seed: u64,
    /// Whether the recipe gives the seed; otherwise it is drawn from the stage's content.
    pub seeded: bool,
    /// Index of the architecture of its models.
    pub architecture: Option<usize>,
    /// Models, paths, ensembles in the order of the method's ports.
    pub inputs: Vec<Input>,
    /// Data sets by port.
    pub data: Vec<(String, NodeId)>,
    /// Other steps that must have run before.
    pub needs: Vec<NodeId>,
    /// Hex BLAKE3 of all that determines its result.
    pub key: String,
    /// Whether its result is in the store.
    pub cached: bool,
    /// Where its errors belong.
    pub places: Option<Arc<Places>>,
    /// The item.
    pub span: Span,
}

/// A `report`.
#[derive(Clone, Debug)]
pub struct ReportPlan {
    /// What is reported.
    pub inputs: Vec<NodeId>,
    /// As written.
    pub path: String,
    /// Where it goes.
    pub target: PathBuf,
    /// Its title, if the recipe gives one.
    pub title: Option<String>,
    /// The item.
    pub span: Span,
}

/// A `save` of a path or an alignment.
#[derive(Clone, Debug)]
pub struct SavePlan {
    /// The step that finds it.
    pub input: NodeId,
    /// As written.
    pub path: String,
    /// Where it goes.
    pub target: PathBuf,
    /// Whether it is an alignment, and so a file.
    pub alignment: bool,
    /// Whether it may replace what is not its own.
    pub overwrite: bool,
    /// The item.
    pub span: Span,
}

/// An `expect` that waits for results.
#[derive(Clone, Debug)]
pub struct Pending {
    /// As written.
    pub text: String,
    /// Must hold.
    pub formula: Formula,
    /// The item.
    pub span: Span,
}

/// A step, for plans, records and model cards.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Its node.
    pub node: NodeId,
    /// Name in the recipe.
    pub name: String,
    /// Verb.
    pub verb: String,
    /// Method.
    pub method: String,
    /// Names of inputs and data sets.
    pub inputs: Vec<String>,
    /// The network that it works on.
    pub network: Option<String>,
    /// Settings, defaults left out.
    pub settings: Map<String, Json>,
    /// Settings with defaults; those of a `collect` are `NAME.SETTING`.
    pub resolved: Vec<SettingReport>,
    /// Seed, of methods that draw, given or derived.
    pub seed: Option<u64>,
    /// Whether its result is there.
    pub cached: bool,
}
