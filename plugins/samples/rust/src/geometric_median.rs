//! `geometric_median`: the tensor with the least sum of distances to the models' tensors, which a minority of odd models cannot drag away.
//!
//! θ = argmin Σ ‖θ − θᵢ‖, each tensor taken as one vector, by Weiszfeld's iteration from the mean: θ ← Σ wᵢθᵢ / Σ wᵢ with
//! wᵢ = 1 / max(‖θ − θᵢ‖, ν). The smoothing ν = `smoothing` · (mean distance to the mean) keeps the weights finite where the median is
//! one of the models; it goes with the models' spread, so scaling or shifting all of them scales or shifts the result. Everything is f64
//! until the last rounding. It ends when a step is shorter than 10⁻⁷ of the spread, or after `iterations` steps.
//!
//! A NaN or an infinity anywhere in a tensor makes all of it NaN: distances know no elements.
//!
//! Weiszfeld, "Sur le point pour lequel la somme des distances de n points donnés est minimum", 1937; Minsker, "Geometric median and
//! robust estimation in Banach spaces", 2015; Pillutla, Kakade, Harchaoui, "Robust aggregation for federated learning", 2022 (the
//! smoothing).

use fusion_sdk::{
    About, Category, Claim, Context, Member, MethodError, NoParams, Params, Port, Tasks, WholeTensor,
};

/// A step shorter than this share of the spread is the last.
const CONVERGED: f64 = 1e-7;

/// Settings of `geometric_median`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct MedianParams {
    /// most steps of the iteration
    #[param(range = 1..=10_000, default = 200, varies)]
    pub iterations: u32,
    /// share of the models' spread below which distances count as equal; smaller comes closer to the exact median
    #[param(unit = fraction, above = 0.0, range = ..=1.0, default = 1e-6, varies)]
    pub smoothing: f64,
}

/// The prepared `geometric_median` of one tensor.
#[derive(Debug)]
pub struct GeometricMedian {
    params: MedianParams,
    elements: usize,
}

/// ‖a − z‖ in f64.
fn distance(a: &[f32], z: &[f64]) -> f64 {
    a.iter().zip(z).map(|(&a, z)| (f64::from(a) - z) * (f64::from(a) - z)).sum::<f64>().sqrt()
}

/// z = Σ wᵢaᵢ / Σ wᵢ; gives the length of the step from the old z.
fn step(inputs: &[&[f32]], weights: &[f64], z: &mut [f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    let mut squares = 0.0;
    for (i, z) in z.iter_mut().enumerate() {
        let sum: f64 = inputs.iter().zip(weights).map(|(input, w)| w * f64::from(input[i])).sum();
        let next = sum / total;
        squares += (next - *z) * (next - *z);
        *z = next;
    }
    squares.sqrt()
}

impl WholeTensor for GeometricMedian {
    type Params = MedianParams;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "geometric_median",
            version: 1,
            category: Category::Average,
            summary: "tensor with the least sum of distances to the models",
            formula: "θ = argmin Σ ‖θ − θᵢ‖ by θ ← Σ wᵢθᵢ / Σ wᵢ, wᵢ = 1 / max(‖θ − θᵢ‖, ν)\n\
                      ν = smoothing · mean ‖θᵢ − mean θ‖",
            citation: "Weiszfeld, Sur le point pour lequel la somme des distances de n points donnés est minimum, \
                       Tohoku Mathematical Journal 1937; Minsker, Geometric median and robust estimation in Banach \
                       spaces, Bernoulli 2015; Pillutla et al., Robust aggregation for federated learning, IEEE TSP 2022",
            ports: vec![Port { settings: false, ..Port::from(1, None, "the models") }],
            random: false,
            claims: &[
                Claim::Deterministic,
                Claim::Commutative,
                Claim::Idempotent,
                Claim::Affine,
                Claim::ScaleEquivariant,
            ],
        }
    }

    fn prepare(tasks: Tasks<MedianParams, NoParams>) -> Result<Self, MethodError> {
        let [tensor] = tasks.tensors.as_slice() else {
            return Err(MethodError::invalid("`geometric_median` works on one tensor at a time"));
        };
        if tensor.inputs.is_empty() {
            return Err(
                MethodError::invalid("`geometric_median` needs at least one model").help("add a `from` edge")
            );
        }
        Ok(GeometricMedian { params: tensor.params.clone(), elements: tensor.len() as usize })
    }

    fn apply(&self, tensor: &mut Member<'_>, context: &Context<'_>) -> Result<(), MethodError> {
        let inputs = tensor.inputs;
        let mut z = vec![0.0_f64; tensor.out.len()];
        let mut weights = vec![1.0; inputs.len()];
        step(inputs, &weights, &mut z); // the mean
        let spread = inputs.iter().map(|input| distance(input, &z)).sum::<f64>() / inputs.len() as f64;
        // Not so for equal models, and where a value is not finite: then the mean says it all.
        if spread > 0.0 && spread.is_finite() {
            let smallest = self.params.smoothing * spread;
            for done in 0..self.params.iterations {
                context.check()?;
                context.progress(u64::from(done), u64::from(self.params.iterations), tensor.name);
                for (weight, input) in weights.iter_mut().zip(inputs) {
                    *weight = 1.0 / distance(input, &z).max(smallest);
                }
                if step(inputs, &weights, &mut z) <= CONVERGED * spread {
                    break;
                }
            }
        }
        let broken = !spread.is_finite();
        for (out, z) in tensor.out.iter_mut().zip(&z) {
            *out = if broken { f32::NAN } else { *z as f32 };
        }
        Ok(())
    }

    fn scratch_bytes(&self) -> usize {
        self.elements * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::method::whole_tensor;
    use fusion_sdk::testing::{run, tensor};
    use fusion_sdk::{ErrorKind, RawGroup, rng};
    use serde_json::{Value as Json, json};

    use super::*;

    fn group(n: usize, models: usize, params: &Json) -> RawGroup {
        RawGroup { tensors: vec![tensor("w", &[n], params, &vec![("from", json!({})); models])], seed: 0 }
    }

    fn median(models: &[Vec<f32>], params: &Json) -> Vec<f32> {
        let group = group(models[0].len(), models.len(), params);
        run(&*whole_tensor::<GeometricMedian>(), &group, &[models.to_vec()]).unwrap().remove(0)
    }

    fn assert_near(found: &[f32], expected: &[f64], tolerance: f64) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() <= tolerance, "{found} and not {expected}");
        }
    }

    /// Closed forms: the middle one of three on a line; the centroid of an equilateral triangle; the vertex of a triangle with an angle of
    /// 120° or more; where the diagonals of a convex quadrilateral cross (Fagnano). Tolerance: the smoothed median is within ν of the exact
    /// one, and a linearly converging iteration ends within some steps of 10⁻⁷ · spread: 10⁻⁵ is twenty times the sum.
    #[test]
    fn closed_forms_come_out() {
        let tolerance = 1e-5;
        let line = [vec![0.0_f32, 0.0, 1.0], vec![1.0, 2.0, 1.0], vec![4.0, 8.0, 1.0]];
        assert_near(&median(&line, &json!({})), &[1.0, 2.0, 1.0], tolerance);
        let height = 3.0_f64.sqrt();
        let equilateral = [vec![-1.0_f32, 0.0], vec![1.0, 0.0], vec![0.0, height as f32]];
        assert_near(&median(&equilateral, &json!({})), &[0.0, height / 3.0], tolerance);
        let obtuse = [vec![-3.0_f32, 0.5], vec![0.0, 0.0], vec![2.0, 0.5]];
        assert_near(&median(&obtuse, &json!({})), &[0.0, 0.0], tolerance);
        let quadrilateral = [vec![-1.0_f32, 0.0], vec![0.0, -2.0], vec![3.0, 0.0], vec![0.0, 1.0]];
        assert_near(&median(&quadrilateral, &json!({"iterations": 10_000})), &[0.0, 0.0], tolerance);
    }

    /// The median of a convex function is where its gradient vanishes: Σ (z − θᵢ)/‖z − θᵢ‖ = 0, in f64 and by another way than the
    /// iteration. The result is rounded to f32 once, which moves the gradient by n · √d · 2⁻²⁴ / (smallest distance): 10⁻⁵ is ample, and no
    /// other point of a grid around it has a smaller sum of distances.
    #[test]
    fn the_gradient_vanishes() {
        let (n, models) = (257, 7);
        let data: Vec<Vec<f32>> = (0..models)
            .map(|model| {
                let key = rng::Key::new(11, "geometric", model);
                let far = if model < 2 { 20.0 } else { 1.0 }; // two odd ones of seven
                (0..n).map(|i| far * (key.uniform(i) - 0.5)).collect()
            })
            .collect();
        let z: Vec<f64> = median(&data, &json!({})).iter().map(|&z| f64::from(z)).collect();
        let far = |z: &[f64], model: &[f32]| {
            z.iter().zip(model).map(|(z, x)| (z - f64::from(*x)).powi(2)).sum::<f64>().sqrt()
        };
        let gradient: Vec<f64> = (0..z.len())
            .map(|i| data.iter().map(|model| (z[i] - f64::from(model[i])) / far(&z, model)).sum())
            .collect();
        let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(length < 1e-5, "{length}");
        let total = |z: &[f64]| data.iter().map(|model| far(z, model)).sum::<f64>();
        for i in (0..z.len()).step_by(16) {
            for shift in [-1e-2, 1e-2] {
                let mut other = z.clone();
                other[i] += shift;
                assert!(total(&other) > total(&z), "element {i} moved by {shift}");
            }
        }
    }

    #[test]
    fn equal_models_and_values_that_are_not_finite() {
        let one = vec![0.1_f32, -3.7e-9, 2.5e30];
        assert_eq!(median(&[one.clone(), one.clone(), one.clone()], &json!({})), one);
        assert_eq!(median(std::slice::from_ref(&one), &json!({})), one);
        let odd = vec![1.0, f32::INFINITY, 1.0];
        assert!(median(&[one.clone(), odd, one], &json!({})).iter().all(|value| value.is_nan()));
        assert_eq!(median(&[vec![], vec![]], &json!({})), [] as [f32; 0]);
    }

    #[test]
    fn settings_out_of_range_name_their_parameter() {
        let method = whole_tensor::<GeometricMedian>();
        for (params, name) in
            [(json!({"smoothing": 0.0}), "smoothing"), (json!({"iterations": 0}), "iterations")]
        {
            let error = method.prepare(&group(4, 3, &params)).err().unwrap();
            assert_eq!((error.kind, error.parameter), (ErrorKind::Invalid, Some(name)));
        }
    }
}
