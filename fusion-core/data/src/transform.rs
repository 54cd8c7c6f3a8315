//! What settings do to classes and inputs when a set is opened: label noise, rotation, inversion, permutation.

use fusion_sdk::rng::{Key, threshold};

use crate::draw::{below, permutation};
use crate::error::DataError;
use crate::parallel;
use crate::places::Watch;
use crate::raw::{Answers, Inputs, Raw};
use crate::settings::DataSettings;

/// Gives a share of the examples another class, each of the others (of `only`, where set) as likely. `origins` are the examples' positions
/// in the source: whether an example is hit depends on the seed and that alone, not on `split` or `limit`.
pub(crate) fn label_noise(
    raw: &mut Raw,
    origins: &[usize],
    settings: &DataSettings,
) -> Result<(), DataError> {
    if settings.label_noise == 0.0 {
        return Ok(());
    }
    let classes: Vec<u32> = match &settings.only {
        Some(only) => {
            let mut classes = only.clone();
            classes.sort_unstable();
            classes.dedup();
            classes
        }
        None => (0..raw.classes as u32).collect(),
    };
    let Answers::Classes(labels) = &mut raw.answers else {
        return Err(DataError::setting("label_noise", "the targets are numbers, not classes"));
    };
    if classes.len() < 2 {
        return Err(DataError::setting("label_noise", "with a single class there is no other"));
    }
    let limit = threshold(settings.label_noise);
    let (hit, which) = (Key::new(settings.seed, "label noise", 0), Key::new(settings.seed, "label noise", 1));
    for (label, &origin) in labels.iter_mut().zip(origins) {
        if hit.below(origin as u64, limit) {
            let at = classes.binary_search(label).unwrap_or(0);
            let step = 1 + below(which, origin as u64, classes.len() - 1);
            *label = classes[(at + step) % classes.len()];
        }
    }
    Ok(())
}

/// `rotate`, `invert` and `permute`, in this order.
pub(crate) fn inputs(raw: &mut Raw, settings: &DataSettings, watch: &dyn Watch) -> Result<(), DataError> {
    match &mut raw.inputs {
        Inputs::Images { bytes, channels, height, width } => {
            let (plane, image) = (*height * *width, *channels * *height * *width);
            if settings.rotate % 360.0 != 0.0 {
                let turn = Turn::new(settings.rotate, *height, *width);
                parallel::fill(
                    bytes,
                    image,
                    (watch, "turning"),
                    || Ok(vec![0; plane]),
                    |scratch, _, image| {
                        for channel in image.chunks_exact_mut(plane) {
                            scratch.copy_from_slice(channel);
                            turn.apply(scratch, channel);
                        }
                        Ok(())
                    },
                )?;
            }
            if settings.invert {
                bytes.iter_mut().for_each(|byte| *byte = 255 - *byte);
            }
            if let Some(seed) = settings.permute {
                permute(bytes, plane, seed);
            }
        }
        Inputs::Rows { values, width } => {
            if let Some(seed) = settings.permute {
                permute(values, *width, seed);
            }
        }
        Inputs::Text { .. } => {}
    }
    Ok(())
}

/// Every `size` values in the same new order; all channels of an image alike.
fn permute<T: Copy>(values: &mut [T], size: usize, seed: u64) {
    let order = permutation(Key::new(seed, "permute", 0), size);
    let mut scratch = Vec::with_capacity(size);
    for piece in values.chunks_exact_mut(size.max(1)) {
        scratch.clear();
        scratch.extend_from_slice(piece);
        for (value, &from) in piece.iter_mut().zip(&order) {
            *value = scratch[from];
        }
    }
}

/// A rotation about the middle of an image, bilinear, black outside.
struct Turn {
    height: usize,
    width: usize,
    cos: f64,
    sin: f64,
}

impl Turn {
    /// Counter-clockwise as one sees it.
    fn new(degrees: f64, height: usize, width: usize) -> Self {
        // Quarter turns exactly, so that they move bytes and nothing else.
        let (sin, cos) = match degrees.rem_euclid(360.0) {
            0.0 => (0.0, 1.0),
            90.0 => (1.0, 0.0),
            180.0 => (0.0, -1.0),
            270.0 => (-1.0, 0.0),
            other => libm::sincos(other * (std::f64::consts::PI / 180.0)),
        };
        Turn { height, width, cos, sin }
    }

    fn apply(&self, from: &[u8], to: &mut [u8]) {
        let (cx, cy) = ((self.width as f64 - 1.0) / 2.0, (self.height as f64 - 1.0) / 2.0);
        let byte = |x: isize, y: isize| -> f64 {
            if x < 0 || y < 0 || x >= self.width as isize || y >= self.height as isize {
                return 0.0;
            }
            f64::from(from[y as usize * self.width + x as usize])
        };
        for (at, pixel) in to.iter_mut().enumerate() {
            let (dx, dy) = ((at % self.width) as f64 - cx, (at / self.width) as f64 - cy);
            // y grows downwards: where the pixel was before a counter-clockwise turn.
            let x = cx + self.cos * dx - self.sin * dy;
            let y = cy + self.sin * dx + self.cos * dy;
            let (left, top) = (x.floor(), y.floor());
            let (u, v) = (x - left, y - top);
            let (left, top) = (left as isize, top as isize);
            let upper = byte(left, top) * (1.0 - u) + byte(left + 1, top) * u;
            let lower = byte(left, top + 1) * (1.0 - u) + byte(left + 1, top + 1) * u;
            *pixel = (upper * (1.0 - v) + lower * v + 0.5) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::places::Unwatched;
    use crate::raw::numbered;
    use crate::settings::Kind;

    fn settings(json: serde_json::Value) -> DataSettings {
        DataSettings::read(json.as_object().unwrap(), Kind::Digits).unwrap()
    }

    fn raw(bytes: Vec<u8>, height: usize, width: usize, labels: Vec<u32>) -> Raw {
        let inputs = Inputs::Images { bytes, channels: 1, height, width };
        Raw { inputs, answers: Answers::Classes(labels), classes: 10, names: numbered(10) }
    }

    fn bytes_after(json: serde_json::Value, bytes: Vec<u8>) -> Vec<u8> {
        let mut raw = raw(bytes, 2, 3, vec![0]);
        inputs(&mut raw, &settings(json), &Unwatched).unwrap();
        let Inputs::Images { bytes, .. } = raw.inputs else { panic!() };
        bytes
    }

    #[test]
    fn half_turns_and_inversion_are_exact() {
        assert_eq!(bytes_after(json!({ "rotate": 180 }), vec![1, 2, 3, 4, 5, 6]), [6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes_after(json!({ "rotate": -360 }), vec![1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            bytes_after(json!({ "invert": true }), vec![0, 2, 3, 4, 5, 255]),
            [255, 253, 252, 251, 250, 0]
        );
        // The permutation of seed 7 is [3, 1, 0, 2, 4, 5], from an implementation in Python; the other seed has no part in it.
        let permuted = bytes_after(json!({ "permute": 7, "seed": 9 }), vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(permuted, [4, 2, 1, 3, 5, 6]);
    }

    #[test]
    fn a_quarter_turn_goes_counter_clockwise() {
        let mut raw = raw(vec![1, 2, 3, 4, 5, 6, 7, 8, 9], 3, 3, vec![0]);
        inputs(&mut raw, &settings(json!({ "rotate": 90 })), &Unwatched).unwrap();
        let Inputs::Images { bytes, .. } = &raw.inputs else { panic!() };
        assert_eq!(bytes, &[3, 6, 9, 2, 5, 8, 1, 4, 7]);
    }

    /// A turn by 45° and back by -45° keeps a smooth blob up to the loss of bilinear interpolation, here a few of 255 steps.
    #[test]
    fn turns_there_and_back_keep_a_smooth_image() {
        let n = 21;
        let blob: Vec<u8> = (0..n * n)
            .map(|at| {
                let (x, y) = ((at % n) as f64 - 10.0, (at / n) as f64 - 10.0);
                (200.0 / (1.0 + (x * x + y * y) / 40.0) * (1.0 - (x * x + y * y) / 200.0).max(0.0)) as u8
            })
            .collect();
        let (mut there, mut back) = (vec![0; n * n], vec![0; n * n]);
        Turn::new(45.0, n, n).apply(&blob, &mut there);
        Turn::new(-45.0, n, n).apply(&there, &mut back);
        for at in 0..n * n {
            let (x, y) = ((at % n) as f64 - 10.0, (at / n) as f64 - 10.0);
            if x * x + y * y < 64.0 {
                assert!(blob[at].abs_diff(back[at]) <= 4, "{at}: {} {}", blob[at], back[at]);
            }
        }
    }

    /// Of 20 000 labels 30 % change: deviation 65; every change is to another class, each of 9 as likely (667 of 6000, deviation 24).
    #[test]
    fn label_noise_is_uniform_over_the_others_and_independent_of_the_selection() {
        let labels: Vec<u32> = (0..20_000).map(|at| at % 10).collect();
        let noisy = |from: usize, only: serde_json::Value| {
            let mut raw = raw(vec![0; labels.len() - from], 1, 1, labels[from..].to_vec());
            let origins: Vec<usize> = (from..labels.len()).collect();
            let settings = settings(json!({ "label_noise": 0.3, "seed": 5, "only": only }));
            label_noise(&mut raw, &origins, &settings).unwrap();
            let Answers::Classes(labels) = raw.answers else { panic!() };
            labels
        };
        let all = noisy(0, json!(null));
        let changed = all.iter().zip(&labels).filter(|(a, b)| a != b).count();
        assert!((5675..6325).contains(&changed), "{changed}");
        let mut steps = [0; 10];
        all.iter().zip(&labels).for_each(|(a, b)| steps[((a + 10 - b) % 10) as usize] += 1);
        assert!(steps[1..].iter().all(|count| (545..790).contains(count)), "{steps:?}");
        assert_eq!(noisy(7000, json!(null)), all[7000..]);
        assert!(noisy(0, json!([1, 4])).iter().zip(&labels).all(|(a, b)| a == b || [1, 4].contains(a)));
    }
}
