//! Which classes are found, and what the others are taken for.

use serde::Serialize;

use crate::measure::predictions::Predictions;

/// How one class fares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassScore {
    /// right / examples that were called this class; NaN when none was.
    pub precision: f64,
    /// right / examples of this class; NaN when there are none.
    pub recall: f64,
    /// 2·right / (examples + calls), the harmonic mean of both; NaN when both are undefined.
    pub f1: f64,
    /// Examples of this class.
    pub support: u64,
}

/// Per-class scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PerClass {
    /// By class.
    pub classes: Vec<ClassScore>,
    /// `confusion[label][predicted]`: numbers of examples. Those whose scores are no distribution are in `invalid` only.
    pub confusion: Vec<Vec<u64>>,
    /// Examples without a prediction, by label. They count into `support`, so they lower the recall.
    pub invalid: Vec<u64>,
    /// Mean recall over the classes that have examples (balanced accuracy); NaN without any.
    pub balanced_accuracy: f64,
    /// Mean F1 over the classes where it is defined; NaN without any.
    pub macro_f1: f64,
}

/// Precision, recall, F1, support and the confusion matrix.
#[must_use]
pub fn per_class(predictions: &Predictions) -> PerClass {
    let n = predictions.classes();
    let mut confusion = vec![vec![0_u64; n]; n];
    let mut invalid = vec![0_u64; n];
    for (predicted, &label) in predictions.predicted().zip(predictions.labels()) {
        match predicted {
            Some(predicted) => confusion[label as usize][predicted] += 1,
            None => invalid[label as usize] += 1,
        }
    }
    let classes: Vec<ClassScore> = (0..n)
        .map(|class| {
            let right = confusion[class][class] as f64;
            let support = confusion[class].iter().sum::<u64>() + invalid[class];
            let called = confusion.iter().map(|row| row[class]).sum::<u64>();
            ClassScore {
                precision: right / called as f64,
                recall: right / support as f64,
                f1: 2.0 * right / (support + called) as f64,
                support,
            }
        })
        .collect();
    let mean = |value: fn(&ClassScore) -> f64| {
        let defined: Vec<f64> = classes.iter().map(value).filter(|value| !value.is_nan()).collect();
        defined.iter().sum::<f64>() / defined.len() as f64
    };
    PerClass {
        balanced_accuracy: mean(|class| class.recall),
        macro_f1: mean(|class| class.f1),
        classes,
        confusion,
        invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(pairs: &[(u32, Option<usize>)]) -> Predictions {
        let scores = pairs.iter().flat_map(|&(_, called)| {
            let mut row = [if called.is_none() { f32::NAN } else { 0.0 }; 3];
            if let Some(class) = called {
                row[class] = 1.0;
            }
            row
        });
        let labels = pairs.iter().map(|&(label, _)| label).collect();
        Predictions::from_logits(3, scores.collect(), labels).expect("fits")
    }

    /// Labels 0,0,0,1 called 0,0,1,1, and one example of class 0 without a prediction; class 2 never occurs.
    #[test]
    fn values_by_hand() {
        let found = per_class(&called(&[(0, Some(0)), (0, Some(0)), (0, Some(1)), (1, Some(1)), (0, None)]));
        assert_eq!(found.confusion, [vec![2, 1, 0], vec![0, 1, 0], vec![0, 0, 0]]);
        assert_eq!(found.invalid, [1, 0, 0]);
        let [a, b, c] = found.classes.as_slice() else { panic!("three classes") };
        assert_eq!((a.precision, a.recall, a.support), (1.0, 0.5, 4));
        assert_eq!((b.precision, b.recall, b.support), (0.5, 1.0, 1));
        assert!((a.f1 - 2.0 / 3.0).abs() < 1e-15 && (b.f1 - 2.0 / 3.0).abs() < 1e-15);
        assert!(c.precision.is_nan() && c.recall.is_nan() && c.f1.is_nan() && c.support == 0);
        assert_eq!(found.balanced_accuracy, 0.75);
        assert!((found.macro_f1 - 2.0 / 3.0).abs() < 1e-15);
    }
}
