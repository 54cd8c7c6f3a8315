use super::*;
use crate::toy::{Quadratic, Smooth, search};

fn params() -> CurveParams {
    CurveParams {
        bends: 1,
        epochs: 1.0,
        steps: Some(2000),
        optimizer: Method::Sgd,
        rate: Schedule::Constant(0.1),
        anneal: None,
        momentum: None,
        weight_decay: 0.0,
        clip: None,
    }
}

fn find(
    geometry: Geometry,
    params: CurveParams,
    ends: [&[f32]; 2],
    toy: &mut dyn fusion_sdk::objective::Objective,
) -> Path {
    CurveSearch::new("toy", geometry, params, 2).unwrap().connect(search(&ends, Some(toy), 11)).unwrap()
}

/// Highest value of a function of two weights on a path.
fn highest(path: &Path, function: impl Fn(f64, f64) -> f64) -> f64 {
    let mut at = [0.0; 2];
    let value = |t| {
        path.at(t, &mut at);
        function(at[0].into(), at[1].into())
    };
    Path::samples(1001).into_iter().map(value).fold(f64::NEG_INFINITY, f64::max)
}

/// ½(y−x²)² is 0 on a parabola, which is a quadratic Bézier curve: between (−1, 1) and (1, 1) the one with the bend (0, −1). There the
/// gradient is 0 for every t, so nothing is left of the noise of t, and f32 decides how near the search comes.
#[test]
fn a_parabolic_valley_is_found_exactly() {
    let mut toy = Smooth::new(2, |at, gradient| {
        let rest = at[1] - at[0] * at[0];
        (gradient[0], gradient[1]) = (-2.0 * at[0] * rest, rest);
        0.5 * rest * rest
    });
    for optimizer in [Method::Sgd, Method::Adam] {
        let settings = CurveParams { optimizer, steps: Some(10_000), ..params() };
        let path = find(Geometry::Bezier, settings, [&[-1.0, 1.0], &[1.0, 1.0]], &mut toy);
        let bend = &path.points[1];
        assert!(bend[0].abs() < 1e-4 && (bend[1] + 1.0).abs() < 1e-4, "{optimizer:?} {bend:?}");
        assert!(highest(&path, |x, y| 0.5 * (y - x * x).powi(2)) < 1e-8);
        assert_eq!((&path.points[0][..], &path.points[2][..]), (&[-1.0, 1.0][..], &[1.0, 1.0][..]));
    }
}

/// ½Σaᵢ(θᵢ−mᵢ)² + ½λ‖θ‖² is ½Σ(aᵢ+λ)(θᵢ−m′ᵢ)² with m′ = am/(a+λ). Its mean over t is least where ∫c₁(θ(t)−m′)dt = 0:
/// - Bézier: ∫c₁ = 1/3, ∫c₁² = 2/15, ∫c₀c₁ = ∫c₁c₂ = 1/10, so p = 5/2 m′ − 3/4 (a+b);
/// - chain: ½, 1/3, 1/12 each, so p = 3/2 m′ − 1/4 (a+b).
///
/// t is random: with the rate falling to 0 over 200 000 steps the bend stands still where the remaining sum of rates is one time
/// constant; its standard error is then about √(ησ²/2h) ≈ 0.03 (η ≈ 0.009, σ² ≈ 0.05, h = 2/15). Five of them are allowed.
#[test]
fn the_best_bend_of_a_quadratic_is_found() {
    let (a, b): (&[f32], &[f32]) = (&[-1.0, 0.5], &[1.0, 0.0]);
    for (geometry, of_centre, of_ends) in [(Geometry::Bezier, 2.5, -0.75), (Geometry::Chain, 1.5, -0.25)] {
        for decay in [0.0, 0.5] {
            let mut toy = Quadratic::new(&[0.2, 1.0], &[1.0, 2.0]);
            let settings = CurveParams {
                steps: Some(200_000),
                rate: Schedule::Ramp { from: 1.0, to: 0.0 },
                momentum: Some(0.0),
                weight_decay: decay,
                ..params()
            };
            let path = find(geometry, settings, [a, b], &mut toy);
            for i in 0..2 {
                let curvature = [1.0, 2.0][i];
                let centre = [0.2, 1.0][i] * curvature / (curvature + decay);
                let wanted = of_centre * centre + of_ends * f64::from(a[i] + b[i]);
                let found = f64::from(path.points[1][i]);
                assert!((found - wanted).abs() < 0.15, "{geometry:?} {decay} {i}: {found} is not {wanted}");
            }
        }
    }
}

/// (r²−1)²: a ring of minima. Its value at the middle of the line between (1, 0) and (0, 1) is ¼.
fn ring(at: &[f64], gradient: &mut [f64]) -> f64 {
    let rest = at[0] * at[0] + at[1] * at[1] - 1.0;
    (gradient[0], gradient[1]) = (4.0 * rest * at[0], 4.0 * rest * at[1]);
    rest * rest
}

/// The bend (q, q) with the least mean loss: Simpson's rule and a golden section, apart from all code under test.
fn best_bend(point: impl Fn(f64, f64) -> [f64; 2]) -> f64 {
    let mean = |q: f64| {
        let n = 2000;
        let value = |i: i32| {
            let [x, y] = point(q, f64::from(i) / f64::from(n));
            (x * x + y * y - 1.0).powi(2)
                * if i == 0 || i == n {
                    1.0
                } else if i % 2 == 1 {
                    4.0
                } else {
                    2.0
                }
        };
        (0..=n).map(value).sum::<f64>() / f64::from(3 * n)
    };
    let (mut low, mut high) = (0.5, 1.5);
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..60 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if mean(left) < mean(right) {
            high = right;
        } else {
            low = left;
        }
    }
    0.5 * (low + high)
}

/// The optimum's own highest loss is 0.00028 for the curve (0.1% of the line's) and 0.0223 for the chain (9%).
#[test]
fn a_ring_is_followed() {
    let bezier = |q: f64, t: f64| {
        let [c0, c1, c2] = [(1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t];
        [c0 + q * c1, q * c1 + c2]
    };
    let chain = |q: f64, t: f64| match t < 0.5 {
        true => [(1.0 - 2.0 * t) + 2.0 * t * q, 2.0 * t * q],
        false => [(2.0 - 2.0 * t) * q, (2.0 - 2.0 * t) * q + (2.0 * t - 1.0)],
    };
    let optimum = [best_bend(bezier), best_bend(chain)];
    for ((geometry, share), q) in [(Geometry::Bezier, 0.01), (Geometry::Chain, 0.12)].into_iter().zip(optimum)
    {
        let mut toy = Smooth::new(2, ring);
        let settings = CurveParams { steps: Some(20_000), rate: Schedule::Constant(0.03), ..params() };
        let path = find(geometry, settings, [&[1.0, 0.0], &[0.0, 1.0]], &mut toy);
        let bend = &path.points[1];
        // The last tenth of the time runs at a rate of 3e-4 (momentum makes it 3e-3): noise of about 1e-2.
        for found in bend {
            assert!((f64::from(*found) - q).abs() < 0.03, "{geometry:?}: {bend:?} is not {q}");
        }
        let barrier = highest(&path, |x, y| (x * x + y * y - 1.0).powi(2));
        assert!(barrier < share * 0.25, "{geometry:?} {barrier}");
        let more = CurveParams { bends: 3, steps: Some(20_000), rate: Schedule::Constant(0.03), ..params() };
        let finer = find(geometry, more, [&[1.0, 0.0], &[0.0, 1.0]], &mut toy);
        let better = highest(&finer, |x, y| (x * x + y * y - 1.0).powi(2));
        assert!(better < barrier, "{geometry:?} {better} {barrier}");
    }
}

/// One step of plain descent at rate 1 moves each inner point by minus the gradient of 𝓛(θ(t)) + ½λ‖θ(t)‖², here by central
/// differences in f64 (h = 1e-4: error h² ≈ 1e-8; the step itself is f32 on values of about 1).
#[test]
fn a_step_follows_the_gradient_with_decay_on_the_point() {
    let function = |at: &[f64], gradient: &mut [f64]| {
        gradient[0] = at[0].cos() * at[1] + 0.3;
        gradient[1] = at[0].sin() + 2.0 * at[1];
        at[0].sin() * at[1] + at[1] * at[1] + 0.3 * at[0]
    };
    let decay = 0.7;
    let ends: [&[f32]; 2] = [&[0.25, -1.0], &[1.5, 0.5]];
    for geometry in [Geometry::Bezier, Geometry::Chain] {
        let mut toy = Smooth::new(2, function);
        let settings = CurveParams {
            bends: 3,
            steps: Some(1),
            rate: Schedule::Constant(1.0),
            momentum: Some(0.0),
            weight_decay: decay,
            ..params()
        };
        let path = find(geometry, settings, ends, &mut toy);
        let t = Key::new(11, "curve.t", 0).open_uniform(0);
        let c = path.coefficients(t);
        let before: Vec<Vec<f64>> = (0..5)
            .map(|j| {
                (0..2)
                    .map(|i| {
                        f64::from(ends[0][i]) * (1.0 - j as f64 / 4.0)
                            + f64::from(ends[1][i]) * j as f64 / 4.0
                    })
                    .collect()
            })
            .collect();
        let penalised = |points: &[Vec<f64>]| {
            let theta: Vec<f64> = (0..2).map(|i| (0..5).map(|j| c[j] * points[j][i]).sum()).collect();
            function(&theta, &mut [0.0; 2]) + 0.5 * decay * theta.iter().map(|x| x * x).sum::<f64>()
        };
        let mut moved = false;
        for j in 1..4 {
            for i in 0..2 {
                let (mut up, mut down) = (before.clone(), before.clone());
                up[j][i] += 1e-4;
                down[j][i] -= 1e-4;
                let slope = (penalised(&up) - penalised(&down)) / 2e-4;
                let found = before[j][i] - f64::from(path.points[j][i]);
                assert!((found - slope).abs() < 1e-6, "{geometry:?} {j} {i}: {found} is not {slope}");
                moved |= slope.abs() > 0.1;
            }
        }
        assert!(moved);
    }
}

#[test]
fn a_clipped_step_has_the_length_of_the_limit() {
    let mut toy = Quadratic::new(&[100.0, 0.0], &[1.0, 1.0]);
    let settings = CurveParams {
        steps: Some(1),
        rate: Schedule::Constant(1.0),
        momentum: Some(0.0),
        clip: Some(0.5),
        ..params()
    };
    let path = find(Geometry::Bezier, settings, [&[0.0, 0.0], &[0.0, 0.0]], &mut toy);
    let c = path.coefficients(Key::new(11, "curve.t", 0).open_uniform(0));
    // clip_norm divides by ‖g‖ + 1e-6.
    assert!((f64::from(path.points[1][0]) - 0.5 * c[1]).abs() < 1e-6);
}
