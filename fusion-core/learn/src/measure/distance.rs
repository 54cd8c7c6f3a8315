//! How far models are from each other in weight space, as a whole and by layer.

use fusion_sdk::objective::Segment;
use fusion_sdk::stats;
use serde::Serialize;

use crate::measure::MeasureError;

/// Two vectors of weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// ‖a − b‖.
    pub distance: f64,
    /// a·b / (‖a‖‖b‖), with a and b minus the base where there is one: the angle of task vectors. NaN where one has length 0.
    pub cosine: f64,
    /// ‖a‖, or ‖a − base‖.
    pub first: f64,
    /// ‖b‖, or ‖b − base‖.
    pub second: f64,
}

/// A layer of [`distances`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerDistance {
    /// Names of its tensors without their last part, or the tensor's name.
    pub layer: String,
    /// Its values.
    pub distance: Distance,
}

/// [`Distance`]s of two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distances {
    /// Over all weights.
    pub whole: Distance,
    /// By layer: the segments of one [`Segment::layer`] together, in order.
    pub layers: Vec<LayerDistance>,
}

/// Sums that give a [`Distance`]: ‖a−b‖², a·a, b·b, a·b, with the base subtracted from the last three.
#[derive(Clone, Copy, Default)]
struct Sums([f64; 4]);

impl Sums {
    fn add(&mut self, a: &[f32], b: &[f32], base: Option<&[f32]>) {
        let [aa, bb, ab] = match base {
            None => stats::dots(a, b),
            Some(c) => [stats::delta_dot(a, a, c), stats::delta_dot(b, b, c), stats::delta_dot(a, b, c)],
        };
        // Not aa + bb − 2ab, which cancels for models that are close.
        for (sum, part) in self.0.iter_mut().zip([stats::delta_dot(a, a, b), aa, bb, ab]) {
            *sum += part;
        }
    }

    fn distance(self) -> Distance {
        let [apart, aa, bb, ab] = self.0;
        let cosine = match aa == 0.0 || bb == 0.0 {
            true => f64::NAN,
            // NaN stays NaN in a clamp.
            false => (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0),
        };
        Distance { distance: apart.sqrt(), cosine, first: aa.sqrt(), second: bb.sqrt() }
    }
}

/// Distances and cosines of two models over `segments`, all in f64.
///
/// # Errors
/// Vectors that are not as long as the segments say.
pub fn distances(
    a: &[f32],
    b: &[f32],
    base: Option<&[f32]>,
    segments: &[Segment],
) -> Result<Distances, MeasureError> {
    let len = segments.last().map_or(0, |segment| segment.range().end);
    MeasureError::length("weights of the first model", len, a.len())?;
    MeasureError::length("weights of the second model", len, b.len())?;
    if let Some(base) = base {
        MeasureError::length("weights of the base", len, base.len())?;
    }
    let mut whole = Sums::default();
    let mut layers: Vec<(u32, String, Sums)> = Vec::new();
    for segment in segments {
        let (a, b) = (&a[segment.range()], &b[segment.range()]);
        let mut sums = Sums::default();
        sums.add(a, b, base.map(|base| &base[segment.range()]));
        whole.0.iter_mut().zip(sums.0).for_each(|(sum, part)| *sum += part);
        match layers.iter_mut().find(|(layer, ..)| *layer == segment.layer) {
            Some((_, _, layer)) => layer.0.iter_mut().zip(sums.0).for_each(|(sum, part)| *sum += part),
            None => layers.push((segment.layer, layer_name(&segment.name), sums)),
        }
    }
    let layers = layers
        .into_iter()
        .map(|(_, layer, sums)| LayerDistance { layer, distance: sums.distance() })
        .collect();
    Ok(Distances { whole: whole.distance(), layers })
}

/// `layers.0.weight` is a tensor of `layers.0`.
fn layer_name(tensor: &str) -> String {
    tensor.rsplit_once('.').map_or(tensor, |(layer, _)| layer).to_owned()
}

#[cfg(test)]
mod tests {
    use fusion_sdk::objective::SegmentKind;

    use super::*;

    fn segments() -> Vec<Segment> {
        let segment = |name: &str, start, len, layer| Segment {
            name: name.to_owned(),
            start,
            len,
            kind: SegmentKind::Weight,
            layer,
        };
        vec![segment("a.weight", 0, 2, 0), segment("a.bias", 2, 1, 0), segment("b.weight", 3, 2, 1)]
    }

    /// Layer a: (3, 4, 0) and (4, −3, 0): distance √50, cosine 0. Layer b: (1, 0) and (2, 0): distance 1, cosine 1.
    #[test]
    fn values_by_hand() {
        let (a, b) = ([3.0, 4.0, 0.0, 1.0, 0.0], [4.0, -3.0, 0.0, 2.0, 0.0]);
        let found = distances(&a, &b, None, &segments()).expect("fits");
        assert_eq!(found.layers.iter().map(|layer| layer.layer.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let [first, second] = found.layers.as_slice() else { panic!("two layers") };
        assert!((first.distance.distance - 50_f64.sqrt()).abs() < 1e-15 && first.distance.cosine == 0.0);
        assert_eq!((second.distance.distance, second.distance.cosine), (1.0, 1.0));
        assert!((found.whole.distance - 51_f64.sqrt()).abs() < 1e-14);
        assert!((found.whole.cosine - 2.0 / (26_f64 * 29.0).sqrt()).abs() < 1e-15);
        // From the base (3, −3, 0, 1, 0): (0, 7, 0, 0, 0) and (1, 0, 0, 1, 0).
        let base = distances(&a, &b, Some(&[3.0, -3.0, 0.0, 1.0, 0.0]), &segments()).expect("fits");
        assert_eq!((base.whole.cosine, base.whole.first), (0.0, 7.0));
        assert!((base.whole.distance - found.whole.distance).abs() < 1e-15);
        assert!(base.layers[1].distance.cosine.is_nan());
    }

    /// 2⁻²⁰ apart at length 1000: the difference of squares would lose it all.
    #[test]
    fn close_models_are_not_equal() {
        let a = [1000.0, 0.0, 0.0, 0.0, 0.0];
        let b = [1000.0, 2_f32.powi(-20), 0.0, 0.0, 0.0];
        assert_eq!(distances(&a, &b, None, &segments()).expect("fits").whole.distance, 2_f64.powi(-20));
    }

    #[test]
    fn bad_vectors() {
        let a = [1.0; 5];
        assert!(distances(&a, &[1.0; 4], None, &segments()).is_err());
        assert!(distances(&[1.0; 6], &a, None, &segments()).is_err());
        assert!(distances(&a, &a, Some(&[0.0; 4]), &segments()).is_err());
        let nan = distances(&a, &[f32::NAN; 5], None, &segments()).expect("fits").whole;
        assert!(nan.distance.is_nan() && nan.cosine.is_nan());
        assert!(distances(&a, &[0.0; 5], None, &segments()).expect("fits").whole.cosine.is_nan());
    }
}
