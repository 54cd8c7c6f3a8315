//! Where each tensor of a module lies in the flat vectors and what it is called on disk.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use fusion_sdk::objective::{Segment, SegmentKind};

use crate::initial::{Fans, Place, Start};

/// What a tensor is in its network; decides how models are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Trained: averaged, interpolated.
    Parameter,
    /// BatchNorm's running mean or variance: recomputed after averaging.
    Statistic,
    /// A count of batches (`num_batches_tracked`): copied.
    Counter,
    /// Anything else that is not trained: copied.
    Buffer,
}

/// A tensor as it stands in a file: PyTorch's name and layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name.
    pub name: String,
    /// Row-major shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: Role,
}

impl TensorSpec {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The flat vector that a tensor lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Weights,
    Statistics,
}

/// A tensor of the module, in visiting order.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub name: String,
    /// As burn has it.
    pub shape: Vec<usize>,
    /// Whether the file has the transpose.
    pub transposed: bool,
    pub part: Part,
    /// First element in its flat vector.
    pub start: usize,
    pub len: usize,
    /// How its initial values are drawn.
    pub initial: Start,
    /// Of a linear layer or convolution.
    pub fans: Option<Fans>,
    /// Whether it has no gradient.
    pub frozen: bool,
    /// Of the parameter in the module.
    pub id: ParamId,
}

impl Slot {
    /// Shape in the file.
    pub(crate) fn disk_shape(&self) -> Vec<usize> {
        match self.transposed {
            true => self.shape.iter().rev().copied().collect(),
            false => self.shape.clone(),
        }
    }

    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }

    /// Whether the file counts batches behind this tensor.
    pub(crate) fn is_counted(&self) -> bool {
        self.part == Part::Statistics && self.name.ends_with(".running_var")
    }

    /// The name of that counter.
    pub(crate) fn counter(&self) -> String {
        self.name.replace(".running_var", ".num_batches_tracked")
    }
}

/// All tensors of a module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub slots: Vec<Slot>,
    pub segments: Vec<Segment>,
    /// Length of the flat weights.
    pub weights: usize,
    /// Length of the flat statistics.
    pub statistics: usize,
}

/// What an architecture says of its tensors.
pub(crate) trait Naming {
    /// The PyTorch name of a module path.
    fn name(&self, path: &str) -> String;
    /// What names the layer that a tensor belongs to; tensors of one layer have the same.
    fn layer(&self, name: &str) -> String;
    /// How a tensor's initial values are drawn.
    fn start(&self, place: &Place<'_>) -> Start;
}

impl Layout {
    /// Walks over a module.
    pub(crate) fn of<M: Module>(module: &M, naming: &dyn Naming) -> Layout {
        let mut walk = Walk {
            naming,
            path: Vec::new(),
            fan_in: 1,
            fan_out: 1,
            layers: Vec::new(),
            layout: Layout::default(),
        };
        module.visit(&mut walk);
        walk.layout
    }

    /// The tensors as they stand in a file.
    pub(crate) fn specs(&self) -> Vec<TensorSpec> {
        let mut specs = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let role = if slot.part == Part::Weights { Role::Parameter } else { Role::Statistic };
            specs.push(TensorSpec { name: slot.name.clone(), shape: slot.disk_shape(), role });
            if slot.is_counted() {
                specs.push(TensorSpec { name: slot.counter(), shape: Vec::new(), role: Role::Counter });
            }
        }
        specs
    }
}

/// Collects slots.
struct Walk<'a> {
    naming: &'a dyn Naming,
    /// Names and types of the modules around.
    path: Vec<(String, String)>,
    /// Of the last weight, for the bias behind it.
    fan_in: usize,
    fan_out: usize,
    /// Names of layers in order.
    layers: Vec<String>,
    layout: Layout,
}

impl ModuleVisitor for Walk<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_owned(), container_type.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path: Vec<&str> = self.path.iter().map(|(name, _)| name.as_str()).collect();
        let container = self.path.last().map_or("", |(_, container)| container.as_str());
        let name = self.naming.name(&path.join("."));
        let shape = param.lazy_shape().to_vec();
        // Saturating: sizes of a recipe are not known to be sane yet.
        let len = shape.iter().fold(1_usize, |len, &n| len.saturating_mul(n));
        let field = path.last().copied().unwrap_or_default();

        let part = if field.starts_with("running_") { Part::Statistics } else { Part::Weights };
        let kind = match container {
            "Struct:Normalization" => SegmentKind::Norm,
            _ if field.starts_with("bias") => SegmentKind::Bias,
            _ => SegmentKind::Weight,
        };
        let transposed = D == 2 && matches!(container, "Struct:Linear" | "Struct:Recurrence");
        match (kind, container) {
            (SegmentKind::Weight, "Struct:Conv2d") => {
                let area = shape[2..].iter().fold(1_usize, |area, &n| area.saturating_mul(n));
                self.fan_in = shape[1].saturating_mul(area);
                self.fan_out = shape[0].saturating_mul(area);
            }
            (SegmentKind::Weight, _) => {
                self.fan_in = shape[0];
                self.fan_out = shape.get(1).copied().unwrap_or(1);
            }
            _ => {}
        }
        let fans = matches!(container, "Struct:Linear" | "Struct:Conv2d").then_some(Fans {
            fan_in: self.fan_in,
            fan_out: self.fan_out,
            bias: kind == SegmentKind::Bias,
        });
        let place = Place { name: &name, container, field, fan_in: self.fan_in };
        let initial = self.naming.start(&place);

        let key = self.naming.layer(&name);
        let layer = match self.layers.iter().position(|layer| *layer == key) {
            Some(layer) => layer,
            None => {
                self.layers.push(key);
                self.layers.len() - 1
            }
        };
        let layer = u32::try_from(layer).unwrap_or(u32::MAX);
        let end = match part {
            Part::Weights => &mut self.layout.weights,
            Part::Statistics => &mut self.layout.statistics,
        };
        let start = *end;
        *end = end.saturating_add(len);
        if part == Part::Weights {
            self.layout.segments.push(Segment { name: name.clone(), start, len, kind, layer });
        }
        let id = param.id;
        let frozen = false;
        self.layout.slots.push(Slot { name, shape, transposed, part, start, len, initial, fans, frozen, id });
    }
}
