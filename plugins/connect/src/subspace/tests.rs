use super::*;
use crate::toy::{Quadratic, Smooth, search};
use fusion_sdk::objective::Objective;

fn params(shape: Shape) -> SubspaceParams {
    SubspaceParams {
        shape,
        vertices: None,
        beta: 0.0,
        layer_wise: false,
        epochs: 1.0,
        steps: Some(3000),
        optimizer: Method::Sgd,
        rate: Schedule::Constant(0.1),
        anneal: None,
        momentum: None,
        weight_decay: 0.0,
        clip: None,
    }
}

fn learn(params: SubspaceParams, start: &[f32], toy: &mut dyn Objective) -> Path {
    let len = start.len();
    let fresh = |seed: u64| (0..len as u64).map(|i| Key::new(seed, "fresh", 0).normal(i)).collect();
    let search = Search { fresh: Some(&fresh), ..search(&[], Some(toy), 5) };
    let models = [start];
    Subspace::prepare(params, 1).unwrap().connect(Search { models: &models, ..search }).unwrap()
}

/// Without penalty a quadratic draws every point of every shape to its centre, where the gradient is 0 for all α: f32 is the limit.
#[test]
fn every_point_learns() {
    for (shape, points) in [(Shape::Line, 2), (Shape::Curve, 3), (Shape::Simplex, 3)] {
        for layer_wise in [false, true] {
            let mut toy = Quadratic::new(&[0.5, -2.0, 1.0], &[1.0, 2.0, 0.5]).with_layers(&[(0, 1), (1, 2)]);
            let path = learn(SubspaceParams { layer_wise, ..params(shape) }, &[3.0, 3.0, 3.0], &mut toy);
            assert_eq!(path.points.len(), points);
            for point in &path.points {
                for (value, centre) in point.iter().zip([0.5, -2.0, 1.0]) {
                    assert!((value - centre).abs() < 1e-4, "{shape:?} {layer_wise} {point:?}");
                }
            }
        }
    }
}

/// On a flat loss the penalty alone turns points until they are orthogonal; it never changes their norm at first order, since
/// its gradient is perpendicular to the point.
#[test]
fn the_penalty_turns_points_apart() {
    let flat = |_: &[f64], gradient: &mut [f64]| {
        gradient.fill(0.0);
        0.0
    };
    for (shape, points) in [(Shape::Line, 2), (Shape::Simplex, 3)] {
        let mut toy = Smooth::new(4, flat);
        let path = learn(SubspaceParams { beta: 1.0, ..params(shape) }, &[1.0, 1.0, 0.5, 0.25], &mut toy);
        let all = Apart::new(1.0, toy.segments()).unwrap();
        for j in 0..points {
            for k in 0..j {
                let [aa, bb, ab] = all.dots(&path.points[j], &path.points[k]);
                assert!((ab / (aa * bb).sqrt()).abs() < 1e-3 && aa > 0.1 && bb > 0.1, "{shape:?} {j} {k}");
            }
        }
    }
}

/// Against central differences of β cos² over the two weight segments in f64; the bias between them has no part in it.
#[test]
fn the_penalty_has_its_gradient() {
    let segment = |start, len, kind| Segment { name: String::new(), start, len, kind, layer: 0 };
    let segments = [
        segment(0, 3, SegmentKind::Weight),
        segment(3, 2, SegmentKind::Bias),
        segment(5, 2, SegmentKind::Weight),
    ];
    let apart = Apart::new(1.5, &segments).unwrap();
    let draw = |stream| -> Vec<f32> { (0..7).map(|i| Key::new(1, "cos", stream).normal(i)).collect() };
    let (a, b) = (draw(0), draw(1));
    let mut gradients = [vec![0.25; 7], vec![-0.5; 7]];
    apart.add([&a, &b], &mut gradients);
    let penalty = |points: [&[f64]; 2]| {
        let of = |x: &[f64], y: &[f64]| [0, 1, 2, 5, 6].map(|i| x[i] * y[i]).iter().sum::<f64>();
        1.5 * of(points[0], points[1]).powi(2) / (of(points[0], points[0]) * of(points[1], points[1]))
    };
    let exact = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    for own in 0..2 {
        for i in 0..7 {
            let at = |change: f64| {
                let mut points = [exact(&a), exact(&b)];
                points[own][i] += change;
                penalty([&points[0], &points[1]])
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            let found = f64::from(gradients[own][i]) - [0.25, -0.5][own];
            // f32 sums of values of about 1.
            assert!((found - slope).abs() < 1e-6, "{own} {i}: {found} is not {slope}");
        }
    }
    let mut untouched = [vec![1.0; 7], vec![1.0; 7]];
    apart.add([&[0.0; 7], &b], &mut untouched);
    assert_eq!(untouched, [vec![1.0; 7], vec![1.0; 7]]);
    assert!(Apart::new(1.0, &segments[1..2]).is_err() && Apart::new(0.0, &segments[1..2]).is_ok());
}

/// One step at rate 1 on ½‖θ‖² takes αⱼθ from point j; so α can be read off: one for both weights of a layer, another one in
/// the other layer, and their sum over points is 1.
#[test]
fn layers_draw_places_of_their_own() {
    for layer_wise in [false, true] {
        let mut toy = Quadratic::new(&[0.0; 4], &[1.0; 4]).with_layers(&[(0, 1), (1, 2), (0, 1)]);
        let settings = SubspaceParams {
            layer_wise,
            steps: Some(1),
            rate: Schedule::Constant(1.0),
            anneal: Some(Anneal::None),
            momentum: Some(0.0),
            vertices: Some(4),
            ..params(Shape::Simplex)
        };
        let start = [1.0, 2.0, -1.0, 0.5];
        let path = learn(settings, &start, &mut toy);
        let before: Vec<Vec<f32>> = (0..4)
            .map(|vertex| match vertex {
                0 => start.to_vec(),
                _ => {
                    let seed = Key::new(5, "subspace.fresh", vertex).value();
                    (0..4).map(|i| Key::new(seed, "fresh", 0).normal(i)).collect()
                }
            })
            .collect();
        let change = |j: usize, i: usize| f64::from(before[j][i] - path.points[j][i]);
        let alpha: Vec<Vec<f64>> = (0..4)
            .map(|i| {
                let theta: f64 = (0..4).map(|j| change(j, i)).sum();
                (0..4).map(|j| change(j, i) / theta).collect()
            })
            .collect();
        for i in 0..4 {
            let theta: f64 = (0..4).map(|j| alpha[i][j] * f64::from(before[j][i])).sum();
            let moved: f64 = (0..4).map(|j| change(j, i)).sum();
            assert!((theta - moved).abs() < 1e-5, "{layer_wise} {i}");
        }
        let same = |a: usize, b: usize| (0..4).all(|j| (alpha[a][j] - alpha[b][j]).abs() < 1e-4);
        assert!(same(0, 3) && same(1, 2));
        assert_eq!(same(0, 1), !layer_wise);
    }
}

/// Without weights of its own the first point is the initialisation of the stage's seed.
#[test]
fn a_network_without_weights_is_a_start() {
    let mut toy = Quadratic::new(&[0.0; 2], &[1.0; 2]);
    let fresh = |seed: u64| vec![seed as f32 * 1e-18, 1.0];
    let settings = SubspaceParams { steps: Some(1), rate: Schedule::Constant(0.0), ..params(Shape::Line) };
    let search = Search { fresh: Some(&fresh), ..search(&[], Some(&mut toy), 5) };
    let path = Subspace::prepare(settings, 1).unwrap().connect(search).unwrap();
    assert_eq!(path.points, [fresh(5), fresh(Key::new(5, "subspace.fresh", 1).value())]);
}

#[test]
fn pairs_are_even() {
    let mut seen = [[0_i32; 4]; 4];
    for step in 0..12_000 {
        let [a, b] = pair(Key::new(1, "pair", 0), step, 4);
        seen[a][b] += 1;
    }
    for (a, row) in seen.iter().enumerate() {
        for (b, n) in row.iter().enumerate() {
            // 12 pairs, 1000 each, five standard errors of 30.
            assert!(if a == b { *n == 0 } else { (n - 1000).abs() < 150 }, "{seen:?}");
        }
    }
    assert!((0..50).all(|step| pair(Key::new(1, "two", 0), step, 2).iter().sum::<usize>() == 1));
}

#[test]
fn what_does_not_fit_is_refused() {
    let line = SubspaceParams { vertices: Some(2), ..params(Shape::Line) };
    assert_eq!(Subspace::prepare(line, 1).unwrap_err().parameter, Some("vertices"));
    let mut toy = Quadratic::new(&[0.0], &[1.0]);
    let kernel = Subspace::prepare(params(Shape::Line), 1).unwrap();
    let error = kernel.connect(search(&[&[1.0]], Some(&mut toy), 0)).unwrap_err();
    assert!(error.help.unwrap().contains("mlp"), "{}", error.message);
    let wrong = |_| vec![0.0; 3];
    let search = Search { fresh: Some(&wrong), ..search(&[&[1.0]], Some(&mut toy), 0) };
    assert!(kernel.connect(search).unwrap_err().message.contains("3 numbers"));
}
