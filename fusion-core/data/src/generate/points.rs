//! Points in classes: clouds, spirals and the exclusive or.

use std::f64::consts::{PI, TAU};

use fusion_sdk::rng::Key;

use super::example;
use crate::draw::Stream;
use crate::error::DataError;
use crate::parallel;
use crate::places::Watch;
use crate::raw::Answers;
use crate::settings::DataSettings;
use crate::source::Part;

/// A class for each example, or what the generator made itself.
type Made = Result<Option<Answers>, DataError>;

/// Class k is normal about its centre with deviation `spread`. Centres lie at distance 1 from the origin: evenly on a line or circle with a
/// random phase in one and two dimensions, in random directions in more.
pub(super) fn gaussians(
    values: &mut [f32],
    dims: usize,
    classes: usize,
    part: Part,
    settings: &DataSettings,
    watch: &dyn Watch,
) -> Made {
    let spread = settings.spread.unwrap_or(0.3);
    let phase = Stream::new(Key::new(settings.seed, "gaussians phase", 0)).unit();
    let centres: Vec<Vec<f64>> = (0..classes)
        .map(|class| match dims {
            1 => vec![2.0 * class as f64 / (classes - 1) as f64 - 1.0],
            2 => {
                let (sin, cos) = libm::sincos(TAU * (phase + class as f64 / classes as f64));
                vec![cos, sin]
            }
            _ => {
                let mut stream = Stream::new(Key::new(settings.seed, "gaussians centre", class as u64));
                let normal: Vec<f64> = (0..dims).map(|_| stream.normal()).collect();
                let norm = normal.iter().map(|x| x * x).sum::<f64>().sqrt();
                normal.iter().map(|x| x / norm).collect()
            }
        })
        .collect();
    parallel::fill(
        values,
        dims,
        (watch, "making gaussians"),
        || Ok(()),
        |(), index, row| {
            let mut stream = example(settings.seed, "gaussians", part, index);
            for (value, centre) in row.iter_mut().zip(&centres[index % classes]) {
                *value = (centre + spread * stream.normal()) as f32;
            }
            Ok(())
        },
    )?;
    Ok(None)
}

/// Arm k is (r cos φ, r sin φ) with r = 0.1 + 0.9t, φ = 2π(turns·t + k/arms) and t = √u for uniform u, so that points lie evenly along the
/// arm; with normal noise on both numbers.
pub(super) fn spirals(
    values: &mut [f32],
    arms: usize,
    part: Part,
    settings: &DataSettings,
    watch: &dyn Watch,
) -> Made {
    let (noise, turns) = (settings.noise.unwrap_or(0.04), settings.turns.unwrap_or(1.5));
    parallel::fill(
        values,
        2,
        (watch, "making spirals"),
        || Ok(()),
        |(), index, point| {
            let mut stream = example(settings.seed, "spirals", part, index);
            let t = stream.unit().sqrt();
            let (sin, cos) = libm::sincos(TAU * turns * t + 2.0 * PI * (index % arms) as f64 / arms as f64);
            let radius = 0.1 + 0.9 * t;
            point[0] = (radius * cos + noise * stream.normal()) as f32;
            point[1] = (radius * sin + noise * stream.normal()) as f32;
            Ok(())
        },
    )?;
    Ok(None)
}

/// Points about the corners (±1, ±1); the class is 1 where the signs differ. Further numbers are normal and say nothing.
pub(super) fn xor(
    values: &mut [f32],
    dims: usize,
    part: Part,
    settings: &DataSettings,
    watch: &dyn Watch,
) -> Made {
    let noise = settings.noise.unwrap_or(0.3);
    parallel::fill(
        values,
        dims,
        (watch, "making xor"),
        || Ok(()),
        |(), index, row| {
            let mut stream = example(settings.seed, "xor", part, index);
            let first = if index / 2 % 2 == 0 { 1.0 } else { -1.0 };
            let second = if index % 2 == 0 { first } else { -first };
            row[0] = (first + noise * stream.normal()) as f32;
            row[1] = (second + noise * stream.normal()) as f32;
            for value in &mut row[2..] {
                *value = stream.normal() as f32;
            }
            Ok(())
        },
    )?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::made;
    use super::*;
    use crate::raw::{Inputs, Raw};
    use crate::settings::Kind;

    fn rows(raw: &Raw) -> impl Iterator<Item = (&[f32], u32)> {
        let Inputs::Rows { values, width } = &raw.inputs else { panic!() };
        values.chunks_exact(*width).zip(raw.labels().unwrap().iter().copied())
    }

    /// The mean of n draws has deviation spread/√n; five of them.
    #[test]
    fn clouds_lie_about_centres_at_distance_one() {
        for dims in [1, 2, 5] {
            let raw =
                made(Kind::Gaussians, Part::Train, json!({ "samples": 6000, "dims": dims, "spread": 0.2 }));
            for class in 0..3 {
                let mut mean = vec![0.0; dims];
                for (row, _) in rows(&raw).filter(|&(_, label)| label == class) {
                    row.iter().zip(&mut mean).for_each(|(x, mean)| *mean += f64::from(*x) / 2000.0);
                }
                let norm = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
                let wanted = if dims == 1 { f64::from(class) - 1.0 } else { 1.0 };
                assert!(
                    (norm - f64::abs(wanted)).abs() < 5.0 * 0.2 / 2000_f64.sqrt() * 2.0,
                    "{dims} {class}: {norm}"
                );
            }
        }
    }

    #[test]
    fn without_noise_spirals_and_xor_are_exact() {
        let raw =
            made(Kind::Spirals, Part::Test, json!({ "samples": 300, "noise": 0, "turns": 2, "classes": 3 }));
        for (point, arm) in rows(&raw) {
            let (x, y) = (f64::from(point[0]), f64::from(point[1]));
            let t = ((x * x + y * y).sqrt() - 0.1) / 0.9;
            let turns = y.atan2(x) / TAU - 2.0 * t - f64::from(arm) / 3.0;
            assert!((turns - turns.round()).abs() < 1e-5, "{turns}"); // f32 coordinates
        }
        let raw = made(Kind::Xor, Part::Train, json!({ "samples": 40, "noise": 0, "dims": 4 }));
        let mut corners = std::collections::BTreeSet::new();
        for (row, class) in rows(&raw) {
            assert_eq!(row[0] * row[1], if class == 0 { 1.0 } else { -1.0 });
            corners.insert((row[0] as i8, row[1] as i8));
        }
        assert_eq!(corners.len(), 4);
    }
}
