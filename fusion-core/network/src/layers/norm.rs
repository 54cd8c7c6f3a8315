//! Normalisation with an explicit mode: which statistics BatchNorm uses is an argument, and those of the batch come back. burn's
//! own BatchNorm keeps running statistics inside, which clones share.

#[cfg(feature = "flex")]
mod flex;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::module::{Module, Param, ParamId};
use burn::tensor::module::{batch_norm, batch_norm_train, layer_norm};
use burn::tensor::{Device, Tensor};

use super::Pass;
use crate::architecture::NormKind;
use crate::network::Norm;

/// ε of all normalisations, PyTorch's default.
pub(crate) const EPSILON: f64 = 1e-5;

/// Mean and biased variance that a BatchNorm layer found in a batch.
pub(crate) struct BatchStatistic {
    /// Of the layer's running mean.
    pub id: ParamId,
    /// By channel.
    pub mean: Tensor<1>,
    /// By channel, divided by `count`.
    pub variance: Tensor<1>,
    /// Values that a channel has.
    pub count: usize,
}

/// BatchNorm, LayerNorm or (without a shift) RMSNorm, named as in PyTorch.
#[derive(Module, Debug)]
pub(crate) struct Normalization {
    weight: Param<Tensor<1>>,
    bias: Option<Param<Tensor<1>>>,
    running_mean: Option<Param<Tensor<1>>>,
    running_var: Option<Param<Tensor<1>>>,
}

fn constant(value: f32, width: usize, device: &Device) -> Param<Tensor<1>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, _| Tensor::full([width], value, device),
        device.clone(),
        true,
        [width].into(),
    )
}

impl Normalization {
    /// A layer over this many channels, or none.
    pub(crate) fn of(kind: NormKind, width: usize, device: &Device) -> Option<Normalization> {
        match kind {
            NormKind::None => None,
            NormKind::Batch => Some(Normalization {
                running_mean: Some(constant(0.0, width, device)),
                running_var: Some(constant(1.0, width, device)),
                ..Self::layer(width, device)
            }),
            NormKind::Layer => Some(Self::layer(width, device)),
        }
    }

    /// LayerNorm.
    pub(crate) fn layer(width: usize, device: &Device) -> Normalization {
        Normalization {
            weight: constant(1.0, width, device),
            bias: Some(constant(0.0, width, device)),
            running_mean: None,
            running_var: None,
        }
    }

    /// RMSNorm.
    pub(crate) fn rms(width: usize, device: &Device) -> Normalization {
        Normalization { bias: None, ..Self::layer(width, device) }
    }

    /// Whether it is BatchNorm.
    pub(crate) fn is_batch(&self) -> bool {
        self.running_mean.is_some()
    }

    /// Normalises [examples, channels, …].
    ///
    /// BatchNorm: (x − μ)/√(σ² + ε)·γ + β by channel, with μ and σ² (biased) of the batch, or the running ones. LayerNorm: the
    /// same with mean and variance over the channels of one example at one position.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>, pass: &mut Pass) -> Tensor<D> {
        let (Some(bias), Some(mean), Some(variance)) = (&self.bias, &self.running_mean, &self.running_var)
        else {
            return self.over_channels(x);
        };
        let (weight, bias) = (self.weight.val(), bias.val());
        match pass.norm {
            Norm::Running => batch_norm(x, weight, bias, mean.val(), variance.val(), EPSILON),
            Norm::Batch => {
                let count = x.shape().num_elements() / x.dims()[1].max(1);
                let (output, of_batch, variance) = of_batch(x, weight, bias);
                pass.statistics.push(BatchStatistic { id: mean.id, mean: of_batch, variance, count });
                output
            }
        }
    }

    /// LayerNorm over the last axis; without a shift RMSNorm, x/√(mean x² + ε)·γ.
    pub(crate) fn over_last<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match &self.bias {
            Some(bias) => layer_norm(x, self.weight.val(), Some(bias.val()), EPSILON),
            None => {
                let scale = (x.clone().square().mean_dim(D - 1) + EPSILON).sqrt();
                x / scale * self.weight.val().unsqueeze::<D>()
            }
        }
    }

    fn over_channels<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match D {
            2 => self.over_last(x),
            _ => self.over_last(x.swap_dims(1, D - 1)).swap_dims(1, D - 1),
        }
    }
}

/// Outputs, means and biased variances of a batch.
fn of_batch<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
) -> (Tensor<D>, Tensor<1>, Tensor<1>) {
    #[cfg(feature = "flex")]
    if let Some(found) = flex::batch_norm(&x, weight.clone(), bias.clone(), EPSILON) {
        return found;
    }
    let result = batch_norm_train(x, weight, bias, EPSILON);
    (result.output, result.mean, result.variance)
}
