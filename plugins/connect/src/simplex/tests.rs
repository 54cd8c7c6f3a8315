use super::*;
use crate::toy::{Quadratic, Smooth, search};

fn params() -> SimplexParams {
    SimplexParams {
        connectors: 1,
        samples: 5,
        volume_weight: 0.0,
        noise: 1e-3,
        epochs: 1.0,
        steps: Some(2000),
        optimizer: Method::Sgd,
        rate: Schedule::Constant(0.05),
        anneal: Anneal::Late,
        momentum: None,
        weight_decay: 0.0,
        clip: None,
    }
}

/// ∇ ln V against central differences of the volume that `Path` computes in another way; one simplex and complexes, in 8
/// dimensions. Points are f32, so the difference quotient of h = 1/64 has an error of h²/6·(ln V)‴ ≈ 1e-4.
#[test]
fn the_volume_has_its_gradient() {
    for (modes, others) in [(1, 0), (1, 2), (2, 0), (3, 2)] {
        let n = modes + others + 1;
        let mut points: Vec<Vec<f32>> = (0..n)
            .map(|p| {
                (0..8).map(|i| (Key::new(2, "hull", p as u64).normal(i) * 64.0).round() / 64.0).collect()
            })
            .collect();
        let hulls = Hulls::over(&points, modes);
        let c = hulls.log_volume_gradient(&hulls.heights(&points), n).unwrap();
        assert!(c.iter().sum::<f64>().abs() < 1e-12);
        let gradient = blend(&c, &points);
        for i in 0..8 {
            let mut at = |change: f32| {
                points[n - 1][i] += change;
                let value = hull::log_volume(&points, modes);
                points[n - 1][i] -= change;
                value
            };
            let slope = (at(1.0 / 64.0) - at(-1.0 / 64.0)) * 32.0;
            assert!(
                (f64::from(gradient[i]) - slope).abs() < 5e-4,
                "{modes} {others} {i}: {} {slope}",
                gradient[i]
            );
        }
    }
}

#[test]
fn a_flat_simplex_has_no_slope() {
    let on_the_segment = [vec![0.0, 0.0], vec![2.0, 0.0], vec![1.0, 0.0]];
    let over_a_flat_base = [vec![0.0, 0.0], vec![2.0, 0.0], vec![1.0, 0.0], vec![1.0, 1.0]];
    for points in [&on_the_segment[..], &over_a_flat_base] {
        let hulls = Hulls::over(points, 1);
        let heights = hulls.heights(points);
        assert_eq!(hulls.log_volume_gradient(&heights, points.len()), None);
        let c = hulls.draw(&heights, Key::new(1, "flat", 0), points.len());
        assert!((c.iter().sum::<f64>() - 1.0).abs() < 1e-12 && c.iter().all(|c| *c > 0.0));
    }
}

/// One vertex v beside a model at the minimum of ½‖θ‖²: points are φ = cv with c uniform, so the mean loss is ‖v‖²/6, and with −λ ln ‖v‖
/// it is least at ‖v‖² = 3λ. 200 draws a step and a rate that falls to 1% leave a noise below 1%.
#[test]
fn the_volume_balances_the_loss() {
    let lambda = 0.3;
    let mut toy = Quadratic::new(&[0.0; 3], &[1.0; 3]);
    let settings = SimplexParams { volume_weight: lambda, samples: 200, ..params() };
    let path =
        Simplex::prepare(settings, 1).unwrap().connect(search(&[&[0.0; 3]], Some(&mut toy), 1)).unwrap();
    assert_eq!((path.geometry, path.points.len()), (Geometry::Simplex, 2));
    let squared = sum_of_squares(&path.points[1]);
    assert!((squared / (3.0 * lambda) - 1.0).abs() < 0.03, "{squared}");
    assert_eq!(path.points[0], [0.0; 3]);
}

/// Two vertices: the second one balances over the segment of the first. With ½Σθᵢ² in the plane and its 3 vertices 0, v₁, v₂
/// (c Dirichlet: E c² = 1/6, E cc′ = 1/12) the part of v₂ along v₁ is where (1/6)x + (1/12)‖v₁‖ = 0, x = −‖v₁‖/2, and that across it has
/// h²/6 = λ.
#[test]
fn a_second_vertex_grows_an_area() {
    let lambda = 0.3;
    let mut toy = Quadratic::new(&[0.0; 2], &[1.0; 2]);
    let settings = SimplexParams { connectors: 2, volume_weight: lambda, samples: 200, ..params() };
    let path =
        Simplex::prepare(settings, 1).unwrap().connect(search(&[&[0.0; 2]], Some(&mut toy), 1)).unwrap();
    let [_, v, w] = [0, 1, 2].map(|i| [f64::from(path.points[i][0]), f64::from(path.points[i][1])]);
    let norm = v[0].hypot(v[1]);
    let along = (v[0] * w[0] + v[1] * w[1]) / norm;
    let across = (v[0] * w[1] - v[1] * w[0]) / norm;
    assert!((along + 0.5 * norm).abs() < 0.05, "{along} {norm}");
    assert!((across * across / (6.0 * lambda) - 1.0).abs() < 0.05, "{across}");
    // The same from the path's own volume.
    assert!((path.metric().volume() - 0.5 * norm * across.abs()).abs() < 1e-6);
}

/// Two models joined by one connector are a chain of two segments: on a ring of minima, where both have one length, the connector ends
/// where the best bend of a chain lies. (r²−1)² over the chain (1, 0), (q, q), (0, 1) has its least mean at q = 0.7581 (Simpson's rule
/// and a golden section, as in the tests of `curve`); the highest loss there is 9% of the line's.
#[test]
fn a_connector_joins_two_models() {
    let ring = |at: &[f64], gradient: &mut [f64]| {
        let rest = at[0] * at[0] + at[1] * at[1] - 1.0;
        (gradient[0], gradient[1]) = (4.0 * rest * at[0], 4.0 * rest * at[1]);
        rest * rest
    };
    let mut toy = Smooth::new(2, ring);
    let models: [&[f32]; 2] = [&[1.0, 0.0], &[0.0, 1.0]];
    let settings = SimplexParams { samples: 50, ..params() };
    let path = Simplex::prepare(settings, 2).unwrap().connect(search(&models, Some(&mut toy), 1)).unwrap();
    assert_eq!((path.geometry, path.points.len()), (Geometry::Complex { modes: 2 }, 3));
    let mut at = [0.0; 2];
    let mut highest = 0.0_f64;
    for t in Path::samples(201) {
        path.at(t, &mut at);
        highest = highest.max(ring(&[at[0].into(), at[1].into()], &mut [0.0; 2]));
    }
    for found in &path.points[2] {
        assert!((found - 0.7581).abs() < 0.02, "{:?}", path.points[2]);
    }
    assert!(highest < 0.12 * 0.25, "{highest}");
}
