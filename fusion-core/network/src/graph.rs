//! Records a network's graph of operations on burn's capture device, which computes nothing; alignment infers symmetries from it.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_capture::CaptureBackend;
use burn_ir::{GraphIr, IrVisitorMut, TensorId, TensorIr};
use fusion_sdk::align::When;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::architecture::{Architecture, Reads};
use crate::error::NetworkError;
use crate::layers::{Input, List, Listed, Pass, Taps};
use crate::layout::Slot;
use crate::network::Norm;

/// Examples in the recorded batch: not 1, since axes of length 1 say nothing.
const EXAMPLES: usize = 2;

/// The device for modules that never compute. There is one for all, since burn's capture devices are numbered and run out.
pub(crate) fn off() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(Device::capture).clone()
}

/// A recorded graph in evaluation mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapturedNetwork {
    /// burn's `GraphIr` as JSON. Tensors are numbered in order of first appearance, so the same network gives the same graph.
    pub graph: Json,
    /// The tensors of the network among those of the graph, in flat order.
    pub tensors: Vec<CapturedTensor>,
    /// Tensors with given values (masks, rotary tables).
    pub constants: BTreeMap<u64, Constant>,
    /// The batch: [2, …].
    pub input: u64,
    /// The outputs: [predictions, outputs].
    pub output: u64,
    /// Where units can be watched, in the order of the forward pass.
    #[serde(default)]
    pub taps: Vec<CapturedTap>,
}

/// A place where units can be watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedTap {
    /// The layer, named as its tensors are, without `.weight`; blocks by their own names.
    pub layer: String,
    /// In front of normalisation and activation, or what the next layer takes in.
    pub when: When,
    /// The tensor's number in the graph; of a recurrent layer the last state's.
    pub id: u64,
    /// Which axis of that tensor is the units'.
    pub axis: usize,
    /// Units.
    pub width: usize,
    /// Whether BatchNorm follows, which makes up for any scale and shift of the units.
    pub batch_norm: bool,
}

/// A tensor of the network in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedTensor {
    /// Its number in the graph.
    pub id: u64,
    /// Its name on disk.
    pub name: String,
    /// Its shape in the graph.
    pub shape: Vec<usize>,
    /// Whether the file has the transpose.
    pub transposed: bool,
}

/// A tensor with given values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f64>,
}

/// Records a network.
pub(crate) fn capture(architecture: &Architecture) -> Result<CapturedNetwork, NetworkError> {
    let (graph, mut captured) = record(architecture)?;
    captured.graph =
        serde_json::to_value(&graph).map_err(|error| NetworkError::Device { message: error.to_string() })?;
    Ok(captured)
}

/// The graph as burn has it, and what belongs to it; its `graph` is still empty.
pub(crate) fn record(architecture: &Architecture) -> Result<(GraphIr, CapturedNetwork), NetworkError> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let device = off();
    let mut ids = Ids::default();
    let mut slots = Vec::new();
    let (mut input, mut output) = (0, 0);
    let mut taps = List::default();
    let mut trouble = None;
    let captured = device.capture_scope(|scope| {
        let (model, layout) = architecture.build(&device);
        slots = layout.slots;
        let batch = match architecture.reads() {
            Reads::Numbers => {
                let features = architecture.input().iter().product();
                let zeros = TensorData::zeros::<f32, _>([EXAMPLES, features]);
                let rows = Tensor::<2>::from_data(zeros, &device);
                input = id(rows.clone(), &mut trouble);
                Input::Numbers(rows, architecture.input().to_vec())
            }
            Reads::Tokens(_) => {
                let zeros = TensorData::zeros::<i64, _>([EXAMPLES, architecture.input()[0]]);
                let tokens = Tensor::<2, Int>::from_data(zeros, &device);
                match tokens.clone().try_into_primitive::<CaptureBackend>() {
                    Ok(primitive) => input = primitive.id().value(),
                    Err(error) => trouble = Some(format!("{error:?}")),
                }
                Input::Tokens(tokens)
            }
        };
        let mut pass = Pass::new(Norm::Running);
        pass.taps = Taps::List(List::default());
        let outputs = model.forward(batch, &mut pass);
        output = id(outputs, &mut trouble);
        if let Taps::List(list) = pass.taps {
            taps = list;
        }
        model.visit(&mut ids);
        scope.complete([TensorId::new(input)], [TensorId::new(output)])
    });
    let failed = |message: String| NetworkError::Device { message };
    if let Some(message) = trouble.or(ids.trouble).or(taps.trouble) {
        return Err(failed(message));
    }
    let captured = captured.map_err(|error| failed(error.to_string()))?;
    Ok(renumbered(captured.graph, captured.values, &slots, &ids.found, [input, output], taps.found))
}

/// A tensor's number on the capture device.
pub(crate) fn id<const D: usize>(tensor: Tensor<D>, trouble: &mut Option<String>) -> u64 {
    match tensor.try_into_primitive::<CaptureBackend>() {
        Ok(primitive) => primitive.id().value(),
        Err(error) => {
            *trouble = Some(format!("{error:?}"));
            0
        }
    }
}

/// The numbers of a module's parameters in visiting order.
#[derive(Default)]
struct Ids {
    found: Vec<u64>,
    trouble: Option<String>,
}

impl ModuleVisitor for Ids {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let id = id(param.val(), &mut self.trouble);
        self.found.push(id);
    }
}

/// Numbers tensors in order of first appearance.
#[derive(Default)]
struct Numbers {
    given: BTreeMap<u64, u64>,
}

impl Numbers {
    fn of(&mut self, id: u64) -> u64 {
        let next = self.given.len() as u64;
        *self.given.entry(id).or_insert(next)
    }
}

impl IrVisitorMut for Numbers {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.id = TensorId::new(self.of(tensor.id.value()));
    }
}

fn renumbered(
    mut graph: GraphIr,
    values: BTreeMap<TensorId, TensorData>,
    slots: &[Slot],
    ids: &[u64],
    [input, output]: [u64; 2],
    taps: Vec<Listed>,
) -> (GraphIr, CapturedNetwork) {
    let mut numbers = Numbers::default();
    for operation in &mut graph.operations {
        operation.visit_mut(&mut numbers);
    }
    for id in graph.inputs.iter_mut().chain(&mut graph.outputs) {
        *id = TensorId::new(numbers.of(id.value()));
    }
    let tensors = slots.iter().zip(ids).map(|(slot, &id)| CapturedTensor {
        id: numbers.of(id),
        name: slot.name.clone(),
        shape: slot.shape.clone(),
        transposed: slot.transposed,
    });
    let tensors: Vec<CapturedTensor> = tensors.collect();
    let (input, output) = (numbers.of(input), numbers.of(output));
    let taps = taps.into_iter().map(|tap| CapturedTap {
        id: numbers.of(tap.id),
        layer: tap.layer,
        when: tap.when,
        axis: tap.axis,
        width: tap.width,
        batch_norm: tap.batch_norm,
    });
    let taps = taps.collect();
    let mut constants = BTreeMap::new();
    for (id, data) in values {
        let id = numbers.of(id.value());
        if id != input {
            let constant = Constant { shape: data.shape().to_vec(), values: data.iter::<f64>().collect() };
            constants.insert(id, constant);
        }
    }
    (graph, CapturedNetwork { graph: Json::Null, tensors, constants, input, output, taps })
}
