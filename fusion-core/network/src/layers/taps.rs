//! Taps: places in a network where units are listed, watched or corrected while a batch runs through.
//!
//! A tap stands behind every linear layer and convolution but the one that gives the outputs (`Before` its normalisation and activation),
//! and where the next layer takes units in (`After`). They are numbered in the order of the forward pass, the same for every batch.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use fusion_sdk::align::When;

use super::{Normalization, Pass, rows};
use crate::correct::{Correct, Goal};
use crate::graph;
use crate::load;
use crate::moments::Moments;

/// What is done at taps.
#[derive(Default)]
pub(crate) enum Taps {
    /// Nothing, at no cost.
    #[default]
    Off,
    /// They are listed, on the capture device.
    List(List),
    /// Some are looked at.
    Probe(Probe),
}

/// The taps of a network.
#[derive(Default)]
pub(crate) struct List {
    pub found: Vec<Listed>,
    /// Why one has no number.
    pub trouble: Option<String>,
}

/// A tap on the capture device.
pub(crate) struct Listed {
    pub layer: String,
    pub when: When,
    /// The tensor's number.
    pub id: u64,
    /// Axis of the units.
    pub axis: usize,
    /// Units.
    pub width: usize,
    /// Whether BatchNorm follows.
    pub batch_norm: bool,
}

/// What is done at one tap.
pub(crate) enum Action {
    /// Keeps the rows.
    Rows,
    /// Keeps their moments.
    Moments,
    /// Keeps their moments and gives them others.
    Correct(Correct, Goal),
}

/// What one tap has shown.
pub(crate) enum Seen {
    /// Units, and rows one after the other.
    Rows(usize, Vec<f32>),
    Moments(Moments),
}

/// Taps that are looked at, by number.
#[derive(Default)]
pub(crate) struct Probe {
    actions: BTreeMap<usize, Action>,
    pub seen: BTreeMap<usize, Seen>,
    /// What the device said.
    pub trouble: Option<String>,
    /// Taps so far.
    passed: usize,
}

impl Probe {
    pub(crate) fn new(actions: impl IntoIterator<Item = (usize, Action)>) -> Probe {
        Probe { actions: actions.into_iter().collect(), ..Probe::default() }
    }

    fn at<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        let number = self.passed;
        self.passed += 1;
        let Some(action) = self.actions.get(&number) else { return x };
        let axis = unit_axis::<D>();
        let (units, inner) = (x.dims()[axis], x.dims()[axis + 1..].iter().product());
        let read = match action {
            Action::Rows => load::floats(unit_rows(x.clone())).map(|values| Seen::Rows(units, values)),
            Action::Moments | Action::Correct(..) => {
                load::floats(x.clone()).map(|values| Seen::Moments(Moments::of(&values, units, inner)))
            }
        };
        let x = match (action, &read) {
            (Action::Correct(kind, goal), Ok(Seen::Moments(moments))) => {
                let change = goal.change(*kind, moments);
                let mut shape = [1; D];
                shape[axis] = units;
                let tensor = |values: &[f64]| {
                    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                    Tensor::<D>::from_data(TensorData::new(values, shape), &x.device())
                };
                let (scale, shift) = (tensor(&change.scale), tensor(&change.shift));
                x * scale + shift
            }
            _ => x,
        };
        match read {
            Ok(seen) => drop(self.seen.insert(number, seen)),
            Err(error) => drop(self.trouble.get_or_insert(error)),
        }
        x
    }
}

/// The axis of units: images have channels in front of positions, everything else has units last.
const fn unit_axis<const D: usize>() -> usize {
    if D == 4 { 1 } else { D - 1 }
}

/// One row for each example and position.
fn unit_rows<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let dims = x.dims();
    if D == 4 {
        let (examples, units, positions) = (dims[0], dims[1], dims[2] * dims[3]);
        let images: Tensor<3> = x.reshape([examples, units, positions]);
        return images.swap_dims(1, 2).reshape([examples * positions, units]);
    }
    let units = dims[D - 1];
    x.reshape([dims[..D - 1].iter().product(), units])
}

impl Pass {
    /// What a linear layer or convolution gives, in front of its normalisation: the layer is named as its tensors are, without `.weight`.
    pub(crate) fn before<const D: usize>(
        &mut self,
        x: Tensor<D>,
        norm: Option<&Normalization>,
        layer: impl FnOnce() -> String,
    ) -> Tensor<D> {
        self.tap(x, When::Before, norm.is_some_and(Normalization::is_batch), layer)
    }

    /// What the next layer takes in.
    pub(crate) fn after<const D: usize>(&mut self, x: &Tensor<D>, layer: impl FnOnce() -> String) {
        if !matches!(self.taps, Taps::Off) {
            self.tap(x.clone(), When::After, false, layer);
        }
    }

    /// The same for the states of all steps, in the order (example, step). The last one stands for all in a graph.
    pub(crate) fn after_steps(&mut self, states: &[Tensor<2>], layer: impl FnOnce() -> String) {
        match (&self.taps, states) {
            (Taps::Off, _) | (_, []) => {}
            (Taps::List(_), [.., last]) => self.after(last, layer),
            (Taps::Probe(_), _) => self.after(&rows(states.to_vec()), layer),
        }
    }

    fn tap<const D: usize>(
        &mut self,
        x: Tensor<D>,
        when: When,
        batch_norm: bool,
        layer: impl FnOnce() -> String,
    ) -> Tensor<D> {
        match &mut self.taps {
            Taps::Off => x,
            Taps::List(list) => {
                let axis = unit_axis::<D>();
                let (id, width) = (graph::id(x.clone(), &mut list.trouble), x.dims()[axis]);
                list.found.push(Listed { layer: layer(), when, id, axis, width, batch_norm });
                x
            }
            Taps::Probe(probe) => probe.at(x),
        }
    }
}
