//! The planner: it checks a recipe's graph against the headers of the models and compiles it into an execution graph.
//!
//! It never reads a weight. Everything that headers can tell is a [`Diagnostic`] here; what it returns without errors can
//! only fail for reasons of the machine (disk, memory, a file that changes) or of the values (NaN).

mod build;
mod computed;
mod cost;
#[cfg(feature = "learn")]
pub(crate) mod experiment;
mod explain;
pub(crate) mod facts;
mod graph_view;
pub mod ir;
pub(crate) mod lineage;
mod models;
pub mod outputs;
mod places;
mod report;
mod settings;
mod stitch;
mod targets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::{Graph, NodeId};

use crate::method::{DeviceName, Registry};

pub use explain::{Explained, explain};
pub use facts::{Fact, Verdict};
pub use graph_view::{GraphEdge, GraphView, graph_view};
pub use models::checkpoint_code;
pub use outputs::{Output, OutputTensor};
pub use places::Places;
pub use report::{
    CopyReport, Cost, ExceptionReport, InputReport, OutputReport, PlanReport, SettingReport, StageReport,
};
pub use settings::Traced;

/// What a run may use, and where it stands.
#[derive(Clone, Debug)]
pub struct Options {
    /// The recipe's folder: relative paths start here.
    pub root: PathBuf,
    /// The files that the recipe is written in: nothing may be written onto them.
    pub recipe: Vec<PathBuf>,
    /// Where apply passes run.
    pub device: DeviceName,
    /// Bytes for our own buffers.
    pub memory: u64,
    /// Worker threads.
    pub threads: usize,
    /// Replace outputs that are there.
    pub overwrite: bool,
    /// NaN and infinity are warnings rather than errors.
    pub allow_non_finite: bool,
    /// Folder for content hashes of inputs, remembered between runs; `None` remembers nothing.
    pub cache: Option<PathBuf>,
    /// Elements that a worker writes at once; a multiple of 64 Ki. The result does not depend on it.
    pub chunk: usize,
    /// Folders in which named data sets are looked for, in this order.
    pub data: Vec<PathBuf>,
}

impl Options {
    /// Defaults of the command for a recipe in `root`: fused CPU kernels, 512 MB, all processors.
    pub fn new(root: impl Into<PathBuf>) -> Options {
        Options {
            root: root.into(),
            recipe: Vec::new(),
            device: DeviceName::Cpu,
            memory: 512 << 20,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            overwrite: false,
            allow_non_finite: false,
            cache: None,
            chunk: 256 << 10,
            data: Vec::new(),
        }
    }

    /// Where results of stages on networks and data are kept.
    pub fn store(&self) -> PathBuf {
        match &self.cache {
            Some(cache) => cache.join("stages"),
            None => self.root.join(".fusion").join("stages"),
        }
    }
}

/// A plan: the execution graph, and what it amounts to.
#[derive(Clone)]
pub struct Plan {
    /// The graph it was made from.
    pub graph: Graph,
    /// The execution graph.
    pub program: ir::Program,
    /// Models by node.
    pub views: BTreeMap<NodeId, Arc<ir::View>>,
    /// One per `save`.
    pub outputs: Vec<Output>,
    /// What people and machines read.
    pub report: PlanReport,
    /// Stages on networks and data.
    #[cfg(feature = "learn")]
    pub experiment: crate::experiment::Experiment,
}

/// Plans a graph. The plan is there only if no diagnostic is an error.
pub fn plan(graph: &Graph, registry: &Registry, options: &Options) -> (Option<Plan>, Vec<Diagnostic>) {
    #[cfg(feature = "learn")]
    let graph = &experiment::expand(graph, options);
    let mut builder = build::Builder::new(graph, registry, options);
    builder.walk();
    builder.finish()
}
