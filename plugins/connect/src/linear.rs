//! `linear`: the straight line between two models, or the same walk one layer at a time.
//!
//! θ(t) = (1−t)a + tb. Nothing is learned: the line is what all other paths are compared with (linear mode connectivity). Three
//! diagnostics of the literature are this path, and differ only in what is laid at its ends and what is measured along it:
//! - *barrier*: two solutions at the ends;
//! - *monotonic linear interpolation* (Goodfellow et al., 2015): the initial weights and the solution that came from them;
//! - *layer-wise barriers* (Adilova et al., 2023), where one layer moves at a time and all others stay at an end: as many lines as there
//!   are layers, so that is a matter of evaluating, not of a path.
//!
//! What is a path of its own is the walk on which layers go over to b one after another, from the input (`forward`) or from the
//! output (`backward`): the chain a = p₀, p₁, …, p_L = b in which pₖ has k layers of b. Its loss shows between which models a layer cannot be
//! exchanged. Layers are those of the objective's segments, so these two need `data`, whose values are not looked at.
//!
//! Goodfellow, Vinyals, Saxe, "Qualitatively characterizing neural network optimization problems", ICLR 2015; Frankle, Dziugaite,
//! Roy, Carbin, "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::path::{Geometry, Path};
use fusion_sdk::{About, Category, Claim, MethodError, Params, Port, Words};

use crate::descent::Slope;
use crate::ports;

/// Stage parameters of `linear`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct LinearParams {
    /// which layers move at a time
    #[param(default = Layers::Together)]
    pub layers: Layers,
}

/// Which layers move at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Layers {
    /// all: a straight line
    Together,
    /// one after another, that of the input first
    Forward,
    /// one after another, that of the output first
    Backward,
}

/// The kernel of `linear`.
#[derive(Clone, Debug)]
pub struct Linear {
    layers: Layers,
}

impl Connect for Linear {
    type Params = LinearParams;

    fn about() -> About {
        About {
            id: "linear",
            version: 1,
            category: Category::Connect,
            summary: "the straight line between two models",
            formula: "θ(t) = (1−t)a + tb\nlayers = forward: a chain whose k-th point has the first k layers of b",
            citation: "Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, ICML 2020; \
                       Goodfellow et al., Qualitatively characterizing neural network optimization problems, ICLR 2015",
            ports: vec![
                ports::between(),
                Port {
                    min: 0,
                    doc: "data of the network; only to know its layers, where they move one by one",
                    ..ports::data()
                },
            ],
            random: false,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: LinearParams, models: usize) -> Result<Self, MethodError> {
        ports::count("linear", models, 2, 2)?;
        Ok(Linear { layers: params.layers })
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        let [a, b] = ports::exactly("linear", &search)?;
        if self.layers == Layers::Together {
            return Ok(Path::new(Geometry::Chain, vec![a.to_vec(), b.to_vec()], Vec::new())?);
        }
        if search.objective.is_none() {
            return Err(MethodError::invalid("the layers of the network are not known without its data")
                .at("layers")
                .help("connect the data that it was trained on: `data NAME`"));
        }
        let mut slope = Slope::new(search.objective, search.context, search.models)?;
        let segments = slope.objective().segments();
        let mut layers: Vec<u32> = segments.iter().map(|segment| segment.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        if self.layers == Layers::Backward {
            layers.reverse();
        }
        let mut points = vec![a.to_vec()];
        for layer in layers {
            let mut next = points[points.len() - 1].clone();
            for range in segments.iter().filter(|segment| segment.layer == layer).map(|s| s.range()) {
                next[range.clone()].copy_from_slice(&b[range]);
            }
            points.push(next);
        }
        Ok(Path::new(Geometry::Chain, points, Vec::new())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::{Quadratic, search};

    fn prepared(layers: Layers) -> Linear {
        Linear::prepare(LinearParams { layers }, 2).unwrap()
    }

    #[test]
    fn the_line_needs_no_data() {
        let path = prepared(Layers::Together).connect(search(&[&[0.0, 1.0], &[4.0, 3.0]], None, 0)).unwrap();
        let mut out = [0.0; 2];
        path.at(0.25, &mut out);
        assert_eq!((path.geometry, out), (Geometry::Chain, [1.0, 1.5]));
    }

    #[test]
    fn layers_go_over_one_by_one() {
        let (a, b): (&[f32], &[f32]) = (&[0.0; 5], &[1.0, 2.0, 3.0, 4.0, 5.0]);
        // Layer 0 has two tensors with another layer's between them.
        let mut toy = Quadratic::new(&[0.0; 5], &[1.0; 5]).with_layers(&[(0, 2), (1, 1), (0, 2)]);
        let path = prepared(Layers::Forward).connect(search(&[a, b], Some(&mut toy), 0)).unwrap();
        assert_eq!(path.points, [a, &[1.0, 2.0, 0.0, 4.0, 5.0], b]);
        let path = prepared(Layers::Backward).connect(search(&[a, b], Some(&mut toy), 0)).unwrap();
        assert_eq!(path.points, [a, &[0.0, 0.0, 3.0, 0.0, 0.0], b]);
        let error = prepared(Layers::Forward).connect(search(&[a, b], None, 0)).unwrap_err();
        assert_eq!(error.parameter, Some("layers"));
    }

    #[test]
    fn bad_models_are_named() {
        let linear = prepared(Layers::Together);
        let error = linear.connect(search(&[&[0.0], &[f32::NAN]], None, 0)).unwrap_err();
        assert_eq!(error.input, Some(1));
        let error = linear.connect(search(&[&[0.0], &[1.0, 2.0]], None, 0)).unwrap_err();
        assert!(error.message.contains("2 weights, the first one 1"), "{error}");
        assert!(Linear::prepare(LinearParams { layers: Layers::Together }, 3).is_err());
    }
}
