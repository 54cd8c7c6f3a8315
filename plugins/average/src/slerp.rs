//! `slerp`: spherical interpolation of two models, tensor by tensor.
//!
//! cos φ = a·b / (‖a‖‖b‖), θ = sin((1−t)φ)/sin φ · a + sin(tφ)/sin φ · b, where a is the first `from` (t = 0) and b the
//! second (t = 1), each tensor taken as one vector. Directions go along the arc; the vectors themselves are not normalised,
//! so norms are blended. Dots are sums in f64, so the angle does not suffer from the tensor's size.
//!
//! Straight interpolation (1−t)a + tb is used where |cos φ| > 0.9995 (the threshold of the usual implementations), and where
//! a vector is zero, which has no direction. Nearly opposite vectors are among these: the arc between them is not defined,
//! and at t = 1/2 the result is nearly zero. NaN or infinity anywhere in a tensor makes all of it NaN.
//!
//! Differences to mergekit's `slerp`: `t` has a default (50%), the dot is summed in f64 rather than f32, and tensors with a
//! norm below 1e-8 are treated by their direction like all others.
//!
//! Shoemake, "Animating rotation with quaternion curves", 1985; White, "Sampling generative networks", 2016.

use fusion_sdk::{
    About, Category, Claim, Elementwise, MethodError, NoParams, Observe, Params, Port, Tasks, Tile, stats,
};

use crate::combine::weighted_sum;

/// Above this |cos φ| the path is straight.
const PARALLEL: f64 = 0.9995;

/// Stage parameters of `slerp`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct SlerpParams {
    /// position on the arc: 0% is the first model, 100% the second
    #[param(unit = fraction, range = 0..=1, default = 0.5, varies)]
    pub t: f64,
}

/// The kernel of `slerp`.
#[derive(Debug)]
pub struct Slerp {
    t: f64,
    /// a·a, b·b, a·b.
    dots: [f64; 3],
    due: bool,
    /// Of a and b.
    pub(crate) weights: [f32; 2],
}

/// The factors of a and b.
fn factors(t: f64, [aa, bb, ab]: [f64; 3]) -> [f64; 2] {
    if aa == 0.0 || bb == 0.0 {
        return [1.0 - t, t];
    }
    let cos = (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0);
    if cos.abs() > PARALLEL {
        return [1.0 - t, t];
    }
    let angle = cos.acos();
    [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
}

impl Elementwise for Slerp {
    type Params = SlerpParams;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "slerp",
            version: 1,
            category: Category::Average,
            summary: "spherical interpolation of two models",
            formula: "cos φ = a·b / (‖a‖‖b‖)\nθ = sin((1−t)φ)/sin φ · a + sin(tφ)/sin φ · b\n\
                      θ = (1−t)a + tb where |cos φ| > 0.9995 or a norm is 0",
            citation: "Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985",
            ports: vec![Port {
                settings: false,
                ..Port::from(2, Some(2), "the two models; the first is t = 0%, the second t = 100%")
            }],
            random: false,
            claims: &[Claim::Deterministic, Claim::Idempotent, Claim::ScaleEquivariant],
        }
    }

    fn prepare(tasks: Tasks<SlerpParams, NoParams>) -> Result<Self, MethodError> {
        let [tensor] = tasks.tensors.as_slice() else {
            return Err(MethodError::invalid("`slerp` works on one tensor at a time"));
        };
        if tensor.inputs.len() != 2 {
            return Err(MethodError::invalid(format!(
                "`slerp` interpolates two models, not {}",
                tensor.inputs.len()
            ))
            .help("use `linear` for more"));
        }
        let t = tensor.params.t;
        let ends = t == 0.0 || t == 1.0;
        Ok(Slerp { t, dots: [0.0; 3], due: !ends, weights: [(1.0 - t) as f32, t as f32] })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        match self.end() {
            Some(end) => out.copy_from_slice(tile.inputs[end]),
            None => weighted_sum(&self.weights, tile.inputs, out),
        }
    }
}

impl Observe for Slerp {
    type Partial = [f64; 3];

    fn observing(&self) -> bool {
        self.due
    }

    fn partial(&self) -> [f64; 3] {
        [0.0; 3]
    }

    fn observe(&self, partial: &mut [f64; 3], tile: &Tile<'_>) {
        if let [a, b] = tile.inputs {
            for (sum, dot) in partial.iter_mut().zip(stats::dots(a, b)) {
                *sum += dot;
            }
        }
    }

    fn absorb(&mut self, partial: &mut [f64; 3]) {
        for (sum, part) in self.dots.iter_mut().zip(partial) {
            *sum += std::mem::take(part);
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        self.weights = factors(self.t, self.dots).map(|w| w as f32);
        self.due = false;
        Ok(())
    }
}

impl Slerp {
    /// The input that the result copies, at either end of the arc: there NaN in the other input must not matter.
    pub(crate) fn end(&self) -> Option<usize> {
        match self.t {
            0.0 => Some(0),
            1.0 => Some(1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_follow_the_closed_forms() {
        let [a, b] = factors(0.5, [1.0, 1.0, 0.0]);
        assert!((a - 0.5_f64.sqrt()).abs() < 1e-15 && (b - a).abs() < 1e-15);
        let [a, b] = factors(1.0 / 3.0, [4.0, 4.0, 0.0]); // 60° and 30°
        assert!((a - 0.75_f64.sqrt()).abs() < 1e-15 && (b - 0.5).abs() < 1e-15);
        assert_eq!(factors(0.25, [1.0, 1.0, 1.0]), [0.75, 0.25]);
        assert_eq!(factors(0.25, [1.0, 1.0, -1.0]), [0.75, 0.25]);
        assert_eq!(factors(0.25, [0.0, 1.0, 0.0]), [0.75, 0.25]);
        let tiny = factors(0.3, [1e-30, 1e-30, 0.5e-30]);
        let unit = factors(0.3, [1.0, 1.0, 0.5]);
        assert!((tiny[0] - unit[0]).abs() < 1e-12 && (tiny[1] - unit[1]).abs() < 1e-12);
    }
}
