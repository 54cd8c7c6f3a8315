//! The methods' apply passes in burn operations, for runs on a device: the same functions as the CPU's up to f32 rounding.
//!
//! What depends on bits (random masks, ties of which only some are kept) is computed here on the host and uploaded.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use fusion_core::method::device::{DeviceTile, OnDevice};
use fusion_sdk::TILE;
use fusion_sdk::select::{Cut, magnitude_bits};

use crate::dare::Dare;
use crate::linear::Linear;
use crate::mean::Mean;
use crate::model_stock::ModelStock;
use crate::settings::Election;
use crate::slerp::Slerp;
use crate::task_arithmetic::TaskArithmetic;
use crate::ties::Ties;
use crate::votes::Votes;

/// Σ factorᵢ · tensorᵢ; zeros like `like` for none.
fn sum(factors: &[f32], tensors: impl Iterator<Item = Tensor<1>>, like: &Tensor<1>) -> Tensor<1> {
    let terms = factors.iter().zip(tensors).map(|(&factor, tensor)| tensor.mul_scalar(factor));
    terms.reduce(|sum, term| sum + term).unwrap_or_else(|| like.zeros_like())
}

/// base + Σ factorᵢ · (modelᵢ − base)
fn add_changes(inputs: &[Tensor<1>], factors: &[f32], device: &Device) -> Tensor<1> {
    let [base, models @ ..] = inputs else { return Tensor::empty([0], device) };
    base.clone() + sum(factors, models.iter().map(|model| model.clone() - base.clone()), base)
}

impl OnDevice for Mean {
    fn apply_on(&self, tile: &DeviceTile<'_>) -> Tensor<1> {
        let sum = tile.inputs.iter().cloned().reduce(|sum, input| sum + input);
        sum.map_or_else(|| Tensor::empty([0], tile.device), |sum| sum.div_scalar(self.count))
    }
}

impl OnDevice for Linear {
    fn apply_on(&self, tile: &DeviceTile<'_>) -> Tensor<1> {
        match tile.inputs.first() {
            Some(first) => sum(&self.weights[tile.tensor], tile.inputs.iter().cloned(), first),
            None => Tensor::empty([0], tile.device),
        }
    }
}

impl OnDevice for Slerp {
    fn apply_on(&self, tile: &DeviceTile<'_>) -> Tensor<1> {
        match (self.end(), tile.inputs) {
            (Some(end), inputs) => inputs[end].clone(),
            (None, [first, ..]) => sum(&self.weights, tile.inputs.iter().cloned(), first),
            (None, []) => Tensor::empty([0], tile.device),
        }
    }
}

impl OnDevice for TaskArithmetic {
    fn apply_on(&self, tile: &DeviceTile<'_>) -> Tensor<1> {
        add_changes(tile.inputs, &self.factors[tile.tensor], tile.device)
    }
}

impl OnDevice for ModelStock {
    fn apply_on(&self, tile: &DeviceTile<'_>) -> Tensor<1> {
        add_changes(tile.inputs, &self.factors, tile.device)
    }
}

impl OnDevice for Ties {
    fn apply_on(&self, tile: &DeviceTile<'_>) -> Tensor<1> {
        let [base, models @ ..] = tile.inputs else { return Tensor::empty([0], tile.device) };
        let member = &self.members[tile.tensor];
        let first = member.first_tile + (tile.offset / TILE as u64) as usize;
        let len = base.dims()[0];
        let changes = models
            .iter()
            .zip(&self.selections)
            .zip(&member.factors)
            .map(|((model, selection), &factor)| {
                let change = model.clone() - base.clone();
                let cuts: Vec<Cut> = (0..len.div_ceil(TILE)).map(|i| selection.cut(first + i)).collect();
                trimmed(change, &cuts, tile.device).mul_scalar(factor)
            })
            .collect();
        merge(&member.votes, base.clone(), changes)
    }
}

/// Sets what the cuts drop to 0; one cut per [`TILE`]. Runs of tiles with the same rule are compared on the device.
fn trimmed(change: Tensor<1>, cuts: &[Cut], device: &Device) -> Tensor<1> {
    let len = change.dims()[0];
    let mut parts = Vec::new();
    let mut start = 0;
    while start < cuts.len() {
        let limit = cuts[start].limit();
        let same = |cut: &&Cut| limit.is_some() && cut.limit() == limit;
        let end = start + cuts[start..].iter().take_while(same).count().max(1);
        let range = start * TILE..len.min(end * TILE);
        let part =
            if start == 0 && end == cuts.len() { change.clone() } else { change.clone().slice([range]) };
        parts.push(match limit {
            Some(i32::MAX) => part.zeros_like(),
            Some(limit) => match u32::try_from(limit) {
                // Not "keep what is greater": NaN is kept, as it orders above all magnitudes.
                Ok(bits) => {
                    let dropped = part.clone().abs().lower_equal_elem(f32::from_bits(bits));
                    part.mask_fill(dropped, 0.0)
                }
                Err(_) => part,
            },
            None => on_host(part, cuts[start], device),
        });
        start = end;
    }
    match parts.len() {
        0 => change,
        1 => parts.swap_remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// The cut of the one tile that keeps some of its ties.
fn on_host(part: Tensor<1>, cut: Cut, device: &Device) -> Tensor<1> {
    let data = part.clone().into_data();
    let values: Vec<f32> = data.iter::<f32>().collect();
    let mut left = cut.equal;
    let dropped: Vec<bool> = values
        .iter()
        .map(|&value| {
            let key = magnitude_bits(value);
            let take = key == cut.threshold && left > 0;
            left -= u64::from(take);
            !(key > cut.threshold || take)
        })
        .collect();
    let len = dropped.len();
    part.mask_fill(Tensor::<1, Bool>::from_data(TensorData::new(dropped, [len]), device), 0.0)
}

impl OnDevice for Dare {
    fn apply_on(&self, tile: &DeviceTile<'_>) -> Tensor<1> {
        let [base, models @ ..] = tile.inputs else { return Tensor::empty([0], tile.device) };
        let len = base.dims()[0];
        let changes = models
            .iter()
            .zip(&self.masks)
            .zip(&self.factors)
            .map(|((model, &(key, threshold)), &factor)| {
                let dropped: Vec<bool> =
                    (0..len as u64).map(|i| !key.below(tile.offset + i, threshold)).collect();
                let dropped = Tensor::<1, Bool>::from_data(TensorData::new(dropped, [len]), tile.device);
                (model.clone() - base.clone()).mul_scalar(factor).mask_fill(dropped, 0.0)
            })
            .collect();
        merge(&self.votes, base.clone(), changes)
    }
}

/// Election and disjoint merge of weighted changes.
fn merge(votes: &Votes, base: Tensor<1>, changes: Vec<Tensor<1>>) -> Tensor<1> {
    let Some(sum) = changes.iter().cloned().reduce(|sum, change| sum + change) else { return base };
    let Some(election) = votes.election else { return base + sum.mul_scalar(votes.lambda) };
    let elected = match election {
        Election::Weighted => sum,
        Election::Count => {
            let one = |mask: Tensor<1, Bool>| mask.float();
            let counted = changes
                .iter()
                .map(|d| one(d.clone().greater_elem(0.0)) - one(d.clone().lower_elem(0.0)))
                .reduce(|all, vote| all + vote);
            match counted {
                Some(counted) => {
                    let by_sum = counted.clone().equal_elem(0.0).bool_or(sum.clone().is_nan());
                    counted.mask_where(by_sum, sum)
                }
                None => sum,
            }
        }
    };
    let positive = elected.greater_equal_elem(0.0);
    let mut kept = base.zeros_like();
    let mut divisor = base.zeros_like();
    for (change, &share) in changes.into_iter().zip(&votes.shares) {
        let turned = change.clone().neg().mask_where(positive.clone(), change.clone());
        let against = turned.lower_equal_elem(0.0);
        kept = kept + change.mask_fill(against.clone(), 0.0);
        if votes.mean {
            divisor = divisor + base.zeros_like().add_scalar(share).mask_fill(against, 0.0);
        }
    }
    if votes.mean {
        let none = divisor.clone().equal_elem(0.0);
        kept = kept / divisor.mask_fill(none, 1.0);
    }
    base + kept.mul_scalar(votes.lambda)
}
