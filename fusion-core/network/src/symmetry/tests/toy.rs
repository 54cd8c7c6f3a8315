//! Runs any burn module twice: on the capture device for its graph, and on a device that computes, with values of ours.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_capture::CaptureBackend;
use burn_ir::TensorId;
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{Symmetries, TensorRole};

use super::super::result::Parameter;
use super::super::{infer, role};

/// A batch.
#[derive(Clone)]
pub(super) enum Batch {
    /// Numbers of this shape.
    Numbers(Vec<usize>),
    /// Tokens below 11.
    Tokens([usize; 2]),
}

/// Tensors of a batch; the one that the module takes is set.
pub(super) struct Input {
    pub rows: Option<Tensor<2>>,
    pub steps: Option<Tensor<3>>,
    pub images: Option<Tensor<4>>,
    pub tokens: Option<Tensor<2, Int>>,
}

/// A module under test.
pub(super) trait Toy: Module + Sized {
    /// The batch's shape.
    fn batch() -> Batch;
    fn new(device: &Device) -> Self;
    /// Outputs, flattened.
    fn forward(&self, input: Input) -> Tensor<1>;
}

fn number<const D: usize>(tensor: &Tensor<D>) -> u64 {
    tensor.clone().try_into_primitive::<CaptureBackend>().map_or(0, |own| own.id().value())
}

fn input(batch: Batch, device: &Device) -> (Input, u64) {
    let mut input = Input { rows: None, steps: None, images: None, tokens: None };
    let key = Key::new(5, "batch", 0);
    let id = match batch {
        Batch::Tokens(shape) => {
            let len = shape.iter().product::<usize>() as u64;
            let values: Vec<i32> = (0..len).map(|at| (key.bits(at) % 11) as i32).collect();
            let tokens = Tensor::<2, Int>::from_data(TensorData::new(values, shape), device);
            let id = tokens.clone().try_into_primitive::<CaptureBackend>().map_or(0, |own| own.id().value());
            input.tokens = Some(tokens);
            id
        }
        Batch::Numbers(shape) => {
            let len = shape.iter().product::<usize>() as u64;
            let values: Vec<f32> = (0..len).map(|at| key.normal(at)).collect();
            let data = TensorData::new(values, shape.clone());
            match shape.len() {
                2 => {
                    let tensor = Tensor::<2>::from_data(data, device);
                    let id = number(&tensor);
                    input.rows = Some(tensor);
                    id
                }
                3 => {
                    let tensor = Tensor::<3>::from_data(data, device);
                    let id = number(&tensor);
                    input.steps = Some(tensor);
                    id
                }
                _ => {
                    let tensor = Tensor::<4>::from_data(data, device);
                    let id = number(&tensor);
                    input.images = Some(tensor);
                    id
                }
            }
        }
    };
    (input, id)
}

#[derive(Default)]
struct Names {
    path: Vec<String>,
    found: Vec<(u64, String)>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((number(&param.val()), self.path.join(".")));
    }
}

/// The symmetries of a module, in its own layout.
pub(super) fn captured<T: Toy>() -> Symmetries {
    let device = Device::capture();
    let mut names = Names::default();
    let (mut from, mut to) = (0, 0);
    let graph = device
        .capture_scope(|scope| {
            let module = T::new(&device);
            module.visit(&mut names);
            let (batch, id) = input(T::batch(), &device);
            from = id;
            let out = module.forward(batch);
            to = number(&out);
            scope.complete([TensorId::new(from)], [TensorId::new(to)])
        })
        .unwrap();
    let parameters: Vec<Parameter> = names
        .found
        .into_iter()
        .map(|(id, name)| Parameter {
            id,
            role: match name.rsplit('.').next() {
                Some("running_mean") => TensorRole::Mean,
                Some("running_var") => TensorRole::Variance,
                _ => role(&name),
            },
            name,
            transposed: false,
        })
        .collect();
    let found = infer(&graph.graph, &parameters, from, to);
    assert_eq!(found.flat, found.disk);
    found.flat
}

/// Random values for all tensors, in the module's order: 0.6 times standard normal, variances positive.
pub(super) fn parameters<T: Toy>(symmetries: &Symmetries) -> Vec<Vec<f32>> {
    let each = symmetries.tensors.iter().enumerate();
    each.map(|(index, tensor)| {
        let key = Key::new(7, &tensor.name, 0);
        let len = symmetries.shape(index).iter().product::<usize>() as u64;
        let value = |at: u64| match tensor.role {
            TensorRole::Variance => 0.5 + key.normal(at).abs(),
            _ => 0.6 * key.normal(at),
        };
        (0..len).map(value).collect()
    })
    .collect()
}

struct Values<'a> {
    left: std::slice::Iter<'a, Vec<f32>>,
}

impl ModuleMapper for Values<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let tensor = param.val();
        let values = self.left.next().unwrap().clone();
        let tensor = Tensor::from_data(TensorData::new(values, tensor.shape()), &tensor.device());
        Param::initialized(param.id, tensor)
    }
}

/// The outputs of a module with these values.
pub(super) fn outputs<T: Toy>(values: &[Vec<f32>]) -> Vec<f32> {
    let device = Device::flex();
    let module = T::new(&device).map(&mut Values { left: values.iter() });
    module.forward(input(T::batch(), &device).0).into_data().iter::<f32>().collect()
}
