//! `reference.json`: results that an author promises, beside the library.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::driver::Method;
use crate::params::{Set, tunable};
use crate::task::{Data, Input, Member, Settings, Task};

/// The file's format, for the reference page.
pub(crate) const GUIDE: &str = r#"
## Results that an author promises

`reference-vectors` reads `reference.json` beside the library, if there is one: a list of results that must come out.

```json
[
  {
    "method": "median",
    "params": {},
    "seed": 0,
    "inputs": [{ "port": "from" }, { "port": "from", "params": { "weight": 0.5 } }],
    "tensors": [
      { "name": "w", "shape": [2], "layer": 0, "inputs": [[1.0, 2.0], [3.0, 4.0]], "expected": [2.0, 3.0] }
    ],
    "tolerance": 1e-6
  }
]
```

`params` (of the stage, and of an input) add to the defaults; `params`, `seed`, `layer` and `tolerance` (0 without) may be left out. All
tensors of a vector share an instance.
"#;

/// Why a file of vectors cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VectorError {
    /// It cannot be read.
    #[error("`reference.json` cannot be read: {0}")]
    Read(std::io::Error),
    /// It is not what it should be.
    #[error("`reference.json` is not a list of vectors: {0}")]
    Json(serde_json::Error),
    /// A port is unknown.
    #[error("there is no port `{0}`")]
    Port(String),
    /// Inputs are not in port order.
    #[error("the inputs are not in the order of the ports")]
    Order,
    /// There is nothing to compute.
    #[error("it needs at least one tensor and one input")]
    Empty,
    /// Numbers are missing.
    #[error("tensor `{name}`: its shape, inputs and expected values do not fit each other")]
    Shape {
        /// The tensor.
        name: String,
    },
}

/// One promised result.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    /// The method's id.
    pub(crate) method: String,
    #[serde(default)]
    params: Map<String, Json>,
    #[serde(default)]
    seed: u64,
    inputs: Vec<Given>,
    tensors: Vec<Tensor>,
    /// How far a value may be off.
    #[serde(default)]
    pub(crate) tolerance: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    port: String,
    #[serde(default)]
    params: Map<String, Json>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    name: String,
    shape: Vec<i64>,
    #[serde(default)]
    layer: Option<u32>,
    inputs: Vec<Vec<f32>>,
    expected: Vec<f32>,
}

/// The vectors beside a library, if there are any.
pub(crate) fn load(library: &Path) -> Result<Option<Vec<Vector>>, VectorError> {
    let path = library.with_file_name("reference.json");
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(VectorError::Json),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(VectorError::Read(error)),
    }
}

impl Vector {
    /// The task, its data and what must come out.
    pub(crate) fn task(&self, method: &Method) -> Result<(Task, Data, Vec<Vec<f32>>), VectorError> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for given in &self.inputs {
            let port = method.ports.iter().position(|port| port.word() == given.port);
            let port = port.ok_or_else(|| VectorError::Port(given.port.clone()))?;
            inputs.push(Input { port, role: given.port.clone(), settings: Settings::default() });
        }
        if !inputs.is_sorted_by_key(|input| input.port) {
            return Err(VectorError::Order);
        }
        for tensor in &self.tensors {
            let n = tensor.shape.iter().product::<i64>() as usize;
            let fits = tensor.inputs.len() == inputs.len()
                && tensor.inputs.iter().all(|values| values.len() == n)
                && tensor.expected.len() == n;
            if !fits {
                return Err(VectorError::Shape { name: tensor.name.clone() });
            }
        }
        if self.tensors.is_empty() || inputs.is_empty() {
            return Err(VectorError::Empty);
        }
        let member = |tensor: &Tensor| Member {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            layer: tensor.layer,
            settings: Settings::default(),
            inputs: inputs.clone(),
        };
        let layers = self.tensors.iter().filter_map(|tensor| tensor.layer).max().map_or(0, |last| last + 1);
        let task = Task { members: self.tensors.iter().map(member).collect(), layers, seed: self.seed };
        let mut set = Set::defaults(method, &task, &method.parameters());
        set.stage.extend(self.params.clone());
        for (input, given) in self.inputs.iter().enumerate() {
            if tunable(method, &task, input) || !given.params.is_empty() {
                set.inputs[input].extend(given.params.clone());
            }
        }
        let data = self.tensors.iter().map(|tensor| tensor.inputs.clone()).collect();
        let expected = self.tensors.iter().map(|tensor| tensor.expected.clone()).collect();
        Ok((set.into_task(&task), data, expected))
    }
}
