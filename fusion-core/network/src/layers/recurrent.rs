//! One layer of an LSTM in PyTorch's form: the four gates (input, forget, cell, output) behind each other in every tensor.

use burn::module::{Module, Param, ParamId};
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::module::linear;
use burn::tensor::{Device, Tensor};

/// Weights of a layer: [in, 4·hidden] and [hidden, 4·hidden].
#[derive(Module, Debug)]
pub(crate) struct Recurrence {
    weight_ih: Param<Tensor<2>>,
    weight_hh: Param<Tensor<2>>,
    bias_ih: Param<Tensor<1>>,
    bias_hh: Param<Tensor<1>>,
    #[module(skip)]
    hidden: usize,
}

fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    let init = move |device: &Device, _: bool| Tensor::zeros(shape, device);
    Param::uninitialized(ParamId::new(), init, device.clone(), true, shape.into())
}

impl Recurrence {
    pub(crate) fn new(inputs: usize, hidden: usize, device: &Device) -> Recurrence {
        Recurrence {
            weight_ih: zeros([inputs, 4 * hidden], device),
            weight_hh: zeros([hidden, 4 * hidden], device),
            bias_ih: zeros([4 * hidden], device),
            bias_hh: zeros([4 * hidden], device),
            hidden,
        }
    }

    /// Hidden states for a sequence of [examples, in], from zeros:
    /// c' = σ(f)∘c + σ(i)∘tanh(g), h' = σ(o)∘tanh(c') with (i, f, g, o) = x W_ih + b_ih + h W_hh + b_hh
    /// (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).
    pub(crate) fn forward(&self, sequence: Vec<Tensor<2>>) -> Vec<Tensor<2>> {
        let (input, hidden) = (self.weight_ih.val(), self.weight_hh.val());
        let (input_bias, hidden_bias) = (self.bias_ih.val(), self.bias_hh.val());
        let mut state: Option<(Tensor<2>, Tensor<2>)> = None;
        let mut outputs = Vec::with_capacity(sequence.len());
        for x in sequence {
            let mut gates = linear(x, input.clone(), Some(input_bias.clone()));
            gates = match &state {
                Some((h, _)) => gates + linear(h.clone(), hidden.clone(), Some(hidden_bias.clone())),
                None => gates + hidden_bias.clone().unsqueeze::<2>(),
            };
            let gate = |index: usize| gates.clone().narrow(1, index * self.hidden, self.hidden);
            let written = sigmoid(gate(0)) * tanh(gate(2));
            let c = match state {
                Some((_, c)) => sigmoid(gate(1)) * c + written,
                None => written,
            };
            let h = sigmoid(gate(3)) * tanh(c.clone());
            outputs.push(h.clone());
            state = Some((h, c));
        }
        outputs
    }
}
