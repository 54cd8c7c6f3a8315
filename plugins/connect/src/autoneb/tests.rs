use super::*;
use crate::toy::{Smooth, search};

fn params() -> AutoNebParams {
    AutoNebParams {
        pivots: 3,
        cycles: 8,
        steps: 200,
        insert: 2,
        threshold: 0.1,
        checks: 9,
        batches: 20,
        spring: None,
        optimizer: Method::Sgd,
        rate: Schedule::Steps(vec![0.1, 0.1, 0.01, 0.001]),
        anneal: None,
        momentum: None,
        weight_decay: 0.0,
        clip: None,
    }
}

fn highest(path: &Path, function: impl Fn(&[f64], &mut [f64]) -> f64) -> f64 {
    let mut at = vec![0.0; 2];
    let value = |t| {
        path.at(t, &mut at);
        function(&[at[0].into(), at[1].into()], &mut [0.0; 2])
    };
    Path::samples(2001).into_iter().map(value).fold(f64::NEG_INFINITY, f64::max)
}

/// The potential of Müller and Brown (1979), divided by 1000.
fn muller_brown(at: &[f64], gradient: &mut [f64]) -> f64 {
    const TERMS: [[f64; 6]; 4] = [
        [-200.0, -1.0, 0.0, -10.0, 1.0, 0.0],
        [-100.0, -1.0, 0.0, -10.0, 0.0, 0.5],
        [-170.0, -6.5, 11.0, -6.5, -0.5, 1.5],
        [15.0, 0.7, 0.6, 0.7, -1.0, 1.0],
    ];
    let mut energy = 0.0;
    gradient.fill(0.0);
    for [height, a, b, c, x0, y0] in TERMS {
        let (x, y) = (at[0] - x0, at[1] - y0);
        let term = height * (a * x * x + b * x * y + c * y * y).exp() / 1000.0;
        energy += term;
        gradient[0] += term * (2.0 * a * x + b * y);
        gradient[1] += term * (b * x + 2.0 * c * y);
    }
    energy
}

/// Between the minima at (−0.558, 1.442) and (0.623, 0.028) lie the saddles −40.66484 and −72.24894 and a third minimum (Müller and
/// Brown, 1979): no path stays below the first, the minimum energy path touches it. The band's pieces are straight, so between
/// pivots it stands a little beside the valley: 1 of a range of 106 is allowed. The straight line climbs to 12.7.
#[test]
fn the_saddle_of_muller_and_brown_is_found() {
    let ends: [&[f32]; 2] = [&[-0.558_223_6, 1.441_725_9], &[0.623_499_4, 0.028_037_8]];
    let line =
        Path::new(fusion_sdk::path::Geometry::Chain, ends.map(<[f32]>::to_vec).to_vec(), vec![]).unwrap();
    assert!((highest(&line, muller_brown) * 1000.0 - 12.7).abs() < 0.2, "{}", highest(&line, muller_brown));
    for spring in [None, Some(0.1)] {
        let mut toy = Smooth::new(2, muller_brown);
        let neb = AutoNeb::prepare(AutoNebParams { spring, ..params() }, 2).unwrap();
        let path = neb
            .connect(search(&ends, Some(&mut toy), 0))
            .unwrap_or_else(|error| panic!("{spring:?}: {error}"));
        let saddle = highest(&path, muller_brown) * 1000.0;
        assert!(
            saddle > -40.664_85 && saddle < -39.66,
            "{spring:?}: {saddle} with {} pivots",
            path.points.len()
        );
        assert!(path.points.len() > 5, "pivots were inserted");
        // t is the share of the length.
        let lengths = path.metric().cumulative(&path.knots);
        for (length, knot) in lengths.iter().zip(&path.knots) {
            assert!((length / lengths[lengths.len() - 1] - knot).abs() < 1e-6);
        }
    }
}

/// (x²−1)² + 4(y−1+x²)².
fn well(at: &[f64], gradient: &mut [f64]) -> f64 {
    let (a, b) = (at[0] * at[0] - 1.0, at[1] - 1.0 + at[0] * at[0]);
    gradient[0] = 4.0 * at[0] * a + 16.0 * at[0] * b;
    gradient[1] = 8.0 * b;
    a * a + 4.0 * b * b
}

/// Two wells at (∓1, 0), joined by the parabola y = 1−x² over the saddle (0, 1) with energy 1. The line has 5 at its middle. Pivots left
/// and right of the top sit on the valley, the piece between them within its curvature.
#[test]
fn a_curved_double_well_has_its_saddle() {
    let ends: [&[f32]; 2] = [&[-1.0, 0.0], &[1.0, 0.0]];
    for optimizer in [Method::Sgd, Method::Adam] {
        let mut toy = Smooth::new(2, well);
        let rate = Schedule::Steps(vec![0.02, 0.02, 0.005, 0.001]);
        let neb = AutoNeb::prepare(AutoNebParams { optimizer, rate, ..params() }, 2).unwrap();
        let path = neb.connect(search(&ends, Some(&mut toy), 0)).unwrap();
        let saddle = highest(&path, well);
        assert!((0.999..1.03).contains(&saddle), "{optimizer:?} {saddle}");
    }
}

/// One pivot stands on the saddle itself: across the band, which is horizontal there, 8(y−1) + λy = 0.
#[test]
fn decay_is_part_of_the_energy() {
    let ends: [&[f32]; 2] = [&[-1.0, 0.0], &[1.0, 0.0]];
    for weight_decay in [0.0, 2.0] {
        let mut toy = Smooth::new(2, well);
        let rate = Schedule::Constant(0.02);
        let one = AutoNebParams { pivots: 1, cycles: 1, steps: 2000, rate, weight_decay, ..params() };
        let path = AutoNeb::prepare(one, 2).unwrap().connect(search(&ends, Some(&mut toy), 0)).unwrap();
        let pivot = &path.points[1];
        let height = 8.0 / (8.0 + weight_decay);
        assert!(pivot[0].abs() < 1e-3 && (f64::from(pivot[1]) - height).abs() < 1e-3, "{pivot:?}");
    }
}

/// On a flat loss springs alone bring pivots to their shares of the band.
#[test]
fn springs_even_the_spacing_out() {
    let ends: [&[f32]; 2] = [&[0.0], &[4.0]];
    let mut toy = Smooth::new(1, |_, gradient: &mut [f64]| {
        gradient[0] = 0.0;
        0.0
    });
    let mut slope =
        Slope::new(Some(&mut toy), fusion_sdk::context::Context::new(&fusion_sdk::context::Alone), &ends)
            .unwrap();
    let settings = AutoNebParams { spring: Some(1.0), steps: 400, cycles: 1, ..params() };
    let mut band = Band::between(ends, 2);
    (band.pivots[1], band.pivots[2]) = (vec![0.5], vec![3.5]);
    AutoNeb::prepare(settings, 2).unwrap().relax(&mut band, &mut slope, 0).unwrap();
    assert!((band.pivots[1][0] - 4.0 / 3.0).abs() < 1e-3, "{:?}", band.pivots);
    assert!((band.pivots[2][0] - 8.0 / 3.0).abs() < 1e-3, "{:?}", band.pivots);
}

/// Where the loss is linear between pivots nothing is inserted, and a bump gets its pivots at its place.
#[test]
fn pivots_are_inserted_where_the_loss_is_above_the_line() {
    let ends: [&[f32]; 2] = [&[0.0, 0.0], &[4.0, 0.0]];
    let grown = |function: fn(&[f64], &mut [f64]) -> f64| {
        let mut toy = Smooth::new(2, function);
        let models = ends;
        let mut slope = Slope::new(
            Some(&mut toy),
            fusion_sdk::context::Context::new(&fusion_sdk::context::Alone),
            &models,
        );
        let mut band = Band::between(ends, 3);
        let neb = AutoNeb::prepare(params(), 2).unwrap();
        neb.grow(&mut band, slope.as_mut().unwrap()).unwrap();
        band.pivots.iter().map(|pivot| pivot[0]).collect::<Vec<f32>>()
    };
    assert_eq!(grown(|at, _| 3.0 * at[0] + 1.0), [0.0, 1.0, 2.0, 3.0, 4.0]);
    // Two bumps between pivots, of heights 1 and ½, at checks 5 and 2 of nine; a third of 0.05 is below the threshold.
    let bumps = |at: &[f64], _: &mut [f64]| {
        let bump = |middle: f64| (-((at[0] - middle) / 0.1).powi(2)).exp();
        bump(1.5) + 0.5 * bump(2.2) + 0.05 * bump(3.5)
    };
    let found = grown(bumps);
    assert_eq!(found.len(), 7);
    assert!((found[2] - 1.5).abs() < 1e-6 && (found[4] - 2.2).abs() < 1e-6, "{found:?}");
}

#[test]
fn the_band_is_spaced_by_its_shares() {
    let mut band = Band::between([&[0.0, 0.0], &[4.0, 0.0]], 3);
    band.pivots[1] = vec![0.0, 3.0];
    band.pivots[2] = vec![4.0, 3.0];
    band.pivots[3] = vec![4.0, 2.0];
    // Length 3 + 4 + 1 + 2 = 10.
    let mut spare = vec![vec![0.0; 2]; 5];
    let mut even = band.clone();
    even.space(&mut spare);
    assert_eq!(even.pivots, [[0.0, 0.0], [0.0, 2.5], [2.0, 3.0], [4.0, 2.5], [4.0, 0.0]]);
    band.insert(0, 0.4); // shares 0.1, 0.15, 0.25, 0.25, 0.25
    let mut spare = vec![vec![0.0; 2]; 6];
    band.space(&mut spare);
    let heights: Vec<f32> = band.pivots.iter().map(|pivot| pivot[1]).collect();
    for (found, wanted) in heights.iter().zip([0.0, 1.0, 2.5, 3.0, 2.5, 0.0]) {
        assert!((found - wanted).abs() < 1e-6, "{heights:?}");
    }
    assert!((band.stretch(1, &[2.0, 1.0, 1.0, 1.0, 5.0]) - ((2.0 - 1.0) - (1.0 - 1.5))).abs() < 1e-12);
    let mut nowhere = Band::between([&[1.0], &[1.0]], 2);
    nowhere.space(&mut vec![vec![0.0]; 4]);
    assert_eq!(nowhere.pivots, [[1.0], [1.0], [1.0], [1.0]]);
    assert!(nowhere.into_path().unwrap().knots.is_empty());
}

#[test]
fn tangents_point_to_the_higher_neighbour() {
    let band = Band {
        pivots: vec![vec![0.0, 0.0], vec![2.0, 0.0], vec![2.0, 1.0]],
        ..Band::between([&[0.0], &[1.0]], 1)
    };
    let distances = band.distances();
    assert_eq!(distances, [2.0, 1.0]);
    let tangent = |energies: [f64; 3]| {
        let mut out = [0.0; 2];
        band.tangent(1, &energies, &distances, &mut out);
        out
    };
    assert_eq!(tangent([0.0, 1.0, 2.0]), [0.0, 1.0]);
    assert_eq!(tangent([2.0, 1.0, 0.0]), [1.0, 0.0]);
    // A top: ΔE of 3 before and 1 behind; the neighbour behind is higher and gets the larger weight.
    let [x, y] = tangent([0.0, 3.0, 2.0]).map(f64::from);
    let norm = 10.0_f64.sqrt();
    assert!((x - 1.0 / norm).abs() < 1e-6 && (y - 3.0 / norm).abs() < 1e-6);
    // A bottom: the neighbour before is higher.
    let [x, y] = tangent([4.0, 1.0, 2.0]).map(f64::from);
    assert!((x - 3.0 / norm).abs() < 1e-6 && (y - 1.0 / norm).abs() < 1e-6);
}
