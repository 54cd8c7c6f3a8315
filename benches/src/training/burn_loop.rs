//! What a user of burn would write for the MLP: a module, the loss on the device, burn's SGD.

use anyhow::{Result, anyhow, bail, ensure};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fusion_sdk::batch::{Batch, Targets, Values};

const WIDTHS: [usize; 4] = [784, 512, 512, 10];

#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

/// Takes the steps; returns the last loss, which is read in each step, as anybody does who watches a training.
pub(super) fn run(batches: &[Batch], steps: u64, rate: f64, momentum: f64) -> Result<f64> {
    ensure!(!batches.is_empty(), "there are no batches");
    let device = Device::flex().autodiff();
    let linear = |pair: &[usize]| LinearConfig::new(pair[0], pair[1]).init(&device);
    let mut model = Mlp { layers: WIDTHS.windows(2).map(linear).collect() };
    let momentum = MomentumConfig { momentum, dampening: 0.0, nesterov: false };
    let mut optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
    let mut last = f64::NAN;
    for step in 0..steps {
        let batch = &batches[(step % batches.len() as u64) as usize];
        let (Values::Floats(images), Targets::Classes(classes)) = (&batch.inputs, &batch.targets) else {
            bail!("the MLP reads images and says classes");
        };
        let examples = batch.len();
        let images = TensorData::new(images.clone(), [examples, WIDTHS[0]]);
        let mut x = Tensor::<2>::from_data(images, &device);
        for (index, layer) in model.layers.iter().enumerate() {
            x = layer.forward(x);
            if index + 1 < model.layers.len() {
                x = relu(x);
            }
        }
        let classes: Vec<i32> = classes.iter().map(|&class| class as i32).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(classes, [examples]), &device);
        let loss = CrossEntropyLossConfig::new().init(&device).forward(x, targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rate, model, gradients);
        let read: Vec<f32> = loss.into_data().try_into_vec().map_err(|error| anyhow!("{error:?}"))?;
        last = f64::from(read[0]);
    }
    Ok(last)
}
