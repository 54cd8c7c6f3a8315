//! Targets made by a random network: x ~ N(0, I), y = V max(0, Wx + b), W ~ N(0, 2/dims), b ~ N(0, 1/4), V ~ N(0, 2/hidden). With
//! `classes` the target is the largest output, without it the one number that comes out.

use fusion_sdk::rng::Key;

use super::example;
use crate::draw::Stream;
use crate::error::DataError;
use crate::parallel;
use crate::places::Watch;
use crate::raw::Answers;
use crate::settings::DataSettings;
use crate::source::Part;

/// The weights, drawn from the seed.
struct Teacher {
    /// A row for each hidden unit: its weights, then its bias.
    first: Vec<Vec<f64>>,
    /// A row for each output.
    second: Vec<Vec<f64>>,
}

impl Teacher {
    fn new(seed: u64, dims: usize, hidden: usize, outputs: usize) -> Self {
        let rows = |name: &str, count: usize, width: usize, deviation: f64| -> Vec<Vec<f64>> {
            let row = |row: usize| {
                let mut stream = Stream::new(Key::new(seed, name, row as u64));
                (0..width).map(|_| deviation * stream.normal()).collect()
            };
            (0..count).map(row).collect()
        };
        let mut first = rows("teacher first", hidden, dims, (2.0 / dims as f64).sqrt());
        let biases = rows("teacher bias", hidden, 1, 0.5);
        first.iter_mut().zip(biases).for_each(|(row, bias)| row.extend(bias));
        Teacher { first, second: rows("teacher second", outputs, hidden, (2.0 / hidden as f64).sqrt()) }
    }

    /// In f64, in the order of the sums.
    fn outputs(&self, x: &[f32]) -> Vec<f64> {
        let hidden: Vec<f64> = self
            .first
            .iter()
            .map(|row| {
                let dot: f64 = row.iter().zip(x).map(|(w, &x)| w * f64::from(x)).sum();
                (dot + row[x.len()]).max(0.0)
            })
            .collect();
        self.second.iter().map(|row| row.iter().zip(&hidden).map(|(v, h)| v * h).sum()).collect()
    }
}

/// Noise is added to the outputs, before the largest is taken.
pub(super) fn teacher(
    values: &mut [f32],
    dims: usize,
    classes: usize,
    part: Part,
    settings: &DataSettings,
    watch: &dyn Watch,
) -> Result<Option<Answers>, DataError> {
    let noise = settings.noise.unwrap_or(0.0);
    let teacher = Teacher::new(settings.seed, dims, settings.hidden.unwrap_or(16), classes.max(1));
    parallel::fill(
        values,
        dims,
        (watch, "making inputs"),
        || Ok(()),
        |(), index, row| {
            let mut stream = example(settings.seed, "teacher", part, index);
            row.iter_mut().for_each(|value| *value = stream.normal() as f32);
            Ok(())
        },
    )?;
    let inputs: &[f32] = values;
    let outputs = |index: usize| {
        let mut stream = example(settings.seed, "teacher noise", part, index);
        let mut outputs = teacher.outputs(&inputs[index * dims..(index + 1) * dims]);
        outputs.iter_mut().for_each(|output| *output += noise * stream.normal());
        outputs
    };
    let samples = inputs.len() / dims;
    let watched = (watch, "asking the teacher");
    if classes == 0 {
        let mut rows = vec![0.0; samples];
        parallel::fill(
            &mut rows,
            1,
            watched,
            || Ok(()),
            |(), index, row| {
                row[0] = outputs(index)[0] as f32;
                Ok(())
            },
        )?;
        return Ok(Some(Answers::Numbers { width: 1, rows }));
    }
    let mut labels = vec![0; samples];
    parallel::fill(
        &mut labels,
        1,
        watched,
        || Ok(()),
        |(), index, label| {
            let outputs = outputs(index);
            let best =
                (1..classes).fold(0, |best, class| if outputs[class] > outputs[best] { class } else { best });
            label[0] = best as u32;
            Ok(())
        },
    )?;
    Ok(Some(Answers::Classes(labels)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::made;
    use super::*;
    use crate::raw::Inputs;
    use crate::settings::Kind;

    #[test]
    fn both_parts_have_one_teacher() {
        for part in [Part::Train, Part::Test] {
            let raw = made(Kind::Teacher, part, json!({ "samples": 200, "dims": 4, "hidden": 3, "seed": 8 }));
            let (Inputs::Rows { values, .. }, Answers::Numbers { width: 1, rows }) =
                (&raw.inputs, &raw.answers)
            else {
                panic!()
            };
            // Once more in plain f64, from the definition.
            let teacher = Teacher::new(8, 4, 3, 1);
            for (x, &y) in values.chunks_exact(4).zip(rows) {
                let mut wanted = 0.0;
                for unit in 0..3 {
                    let w = &teacher.first[unit];
                    let sum: f64 = (0..4).map(|at| w[at] * f64::from(x[at])).sum::<f64>() + w[4];
                    wanted += teacher.second[0][unit] * sum.max(0.0);
                }
                assert!((f64::from(y) - wanted).abs() < 1e-6 * (1.0 + wanted.abs()), "{y} {wanted}");
            }
        }
    }

    #[test]
    fn classes_are_the_largest_outputs_and_noise_changes_some() {
        let settings = |noise: f64| json!({ "samples": 500, "classes": 4, "noise": noise });
        let clean = made(Kind::Teacher, Part::Train, settings(0.0));
        let noisy = made(Kind::Teacher, Part::Train, settings(0.5));
        assert_eq!(clean.inputs, noisy.inputs);
        let (clean, noisy) = (clean.labels().unwrap(), noisy.labels().unwrap());
        assert!((0..4).all(|class| clean.contains(&class)));
        let changed = clean.iter().zip(noisy).filter(|(a, b)| a != b).count();
        assert!((10..400).contains(&changed), "{changed}");
    }
}
