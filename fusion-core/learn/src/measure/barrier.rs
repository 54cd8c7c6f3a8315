//! Barriers: how much worse a path is than its ends. Four definitions are in use and give different numbers, so each has its name.
//!
//! With c(t) = (1−t)·L(0) + t·L(1), for a loss L over a grid of t:
//!
//! | name | definition | used by |
//! |---|---|---|
//! | `height` | maxₜ L(t) − ½(L(0) + L(1)): above the middle of the ends | Frankle et al., 2020; Git Re-Basin, 2023 |
//! | `chord` | maxₜ [L(t) − c(t)]: above the line between the ends | Entezari et al., 2022; REPAIR, 2023 |
//! | `gap` | L(½) − ½(L(0) + L(1)): `height` at the midpoint alone | REPAIR; ZipIt; OTFusion |
//! | `normalised` | maxₜ [1 − acc(t)/c(t)], for accuracies only | later papers |
//!
//! For an accuracy the signs of the first three are turned (½(a(0) + a(1)) − minₜ a(t), …), so that positive is always worse.
//! None dominates: the chord is 0 for every convex loss, while the height is at least ½|L(0) − L(1)| since the grid holds the
//! ends; a peak near the better end makes the chord the larger one.
//!
//! NaN anywhere on the path makes every value NaN that looks at the whole path. An infinite loss is an infinite height.

use serde::Serialize;

use crate::measure::MeasureError;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Better {
    /// Losses and errors.
    Lower,
    /// Accuracies.
    Higher,
}

/// Values along a path.
#[derive(Clone, Copy, Debug)]
pub struct Curve<'a> {
    /// Strictly rising from 0 to 1, with ½ among them.
    pub t: &'a [f64],
    /// The value at each t.
    pub values: &'a [f64],
    /// ‖θ(tᵢ₊₁) − θ(tᵢ)‖ for each piece, one less than `t`.
    pub lengths: &'a [f64],
    /// Which way is better.
    pub better: Better,
}

/// What a curve of values amounts to; see the module for the definitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Barrier {
    /// The worst value above the mean of the ends.
    pub height: f64,
    /// The largest excess over the line between the ends. Never negative: it is 0 at the ends.
    pub chord: f64,
    /// The midpoint above the mean of the ends.
    pub gap: f64,
    /// 1 − acc/chord at its largest, never negative; `None` for losses. Where the chord is 0 there is nothing to lose: 0.
    pub normalised: Option<f64>,
    /// The t of the worst value, the first of several; NaN with NaN on the path.
    pub at: f64,
    /// The t of the largest excess over the chord.
    pub chord_at: f64,
    /// The value at t = 0.
    pub start: f64,
    /// The value at t = 1.
    pub end: f64,
    /// The value at t = ½.
    pub middle: f64,
    /// The lowest value.
    pub min: f64,
    /// The highest value.
    pub max: f64,
    /// Mean over the grid.
    pub mean: f64,
    /// Σ ½(Lᵢ + Lᵢ₊₁)·‖Δθᵢ‖ / Σ ‖Δθᵢ‖: the mean for a walker of constant speed (Garipov et al., 2018). The plain mean of the
    /// pieces for a path without length.
    pub arc_mean: f64,
    /// Values that are not finite.
    pub invalid: usize,
}

/// `points` values of t, equally spaced from 0 to 1, and ½: one more for an even number, since the midpoint is reported.
///
/// # Errors
/// Fewer than 2 points.
pub fn grid(points: usize) -> Result<Vec<f64>, MeasureError> {
    if points < 2 {
        return Err(MeasureError::unsuitable(
            format!("a path at {points} points"),
            "set `points` to at least 2: the ends are always measured, the midpoint comes in addition",
        ));
    }
    let last = points - 1;
    let mut t: Vec<f64> = (0..points).map(|index| index as f64 / last as f64).collect();
    if points.is_multiple_of(2) {
        t.insert(points / 2, 0.5);
    }
    Ok(t)
}

/// The barrier of a curve.
///
/// # Errors
/// Lengths that do not fit, t that does not rise strictly from 0 to 1, or a grid without ½ (see [`grid`]): the midpoint is never
/// interpolated, since a barrier is just what interpolation would miss.
pub fn barrier(curve: &Curve<'_>) -> Result<Barrier, MeasureError> {
    let Curve { t, values, lengths, better } = *curve;
    MeasureError::length("values of the curve", t.len(), values.len())?;
    MeasureError::length("lengths of the pieces", t.len().saturating_sub(1), lengths.len())?;
    let rising = t.windows(2).all(|pair| pair[0] < pair[1]);
    if t.len() < 2 || t[0] != 0.0 || t[t.len() - 1] != 1.0 || !rising {
        return Err(MeasureError::unsuitable(
            "a curve that does not rise from t = 0 to t = 1",
            "a barrier compares with both ends: measure them too, in order",
        ));
    }
    let Some(half) = t.iter().position(|&t| t == 0.5) else {
        return Err(MeasureError::unsuitable("a curve without t = 1/2", "measure the midpoint too"));
    };

    let (start, end) = (values[0], values[values.len() - 1]);
    // Written so that equal ends give that value exactly.
    let line = |t: f64| start + t * (end - start);
    let sign = if better == Better::Lower { 1.0 } else { -1.0 };
    let excess: Vec<f64> = t.iter().zip(values).map(|(&t, value)| sign * (value - line(t))).collect();
    let turned: Vec<f64> = values.iter().map(|value| sign * value).collect();
    let (worst, at) = highest(&turned);
    let (chord, chord_at) = highest(&excess);
    let (best, _) = highest(&turned.iter().map(|value| -value).collect::<Vec<_>>());
    let ends = start + 0.5 * (end - start);
    let normalised = (better == Better::Higher).then(|| {
        let lost = |(&t, &value): (&f64, &f64)| match line(t) {
            0.0 => 0.0,
            line => 1.0 - value / line,
        };
        highest(&t.iter().zip(values).map(lost).collect::<Vec<_>>()).0
    });
    let (low, high) = if better == Better::Lower { (-best, worst) } else { (-worst, best) };

    Ok(Barrier {
        height: worst - sign * ends,
        // The ends lie on the chord; what is below 0 there is rounding.
        chord: if chord.is_nan() { chord } else { chord.max(0.0) },
        gap: sign * (values[half] - ends),
        normalised: normalised.map(|value| if value.is_nan() { value } else { value.max(0.0) }),
        at: at.map_or(f64::NAN, |at| t[at]),
        chord_at: chord_at.map_or(f64::NAN, |at| t[at]),
        start,
        end,
        middle: values[half],
        min: low,
        max: high,
        mean: values.iter().sum::<f64>() / values.len() as f64,
        arc_mean: arc_mean(values, lengths),
        invalid: values.iter().filter(|value| !value.is_finite()).count(),
    })
}

/// The highest value and its first index; NaN if one is.
fn highest(values: &[f64]) -> (f64, Option<usize>) {
    let mut best: Option<usize> = None;
    for (index, value) in values.iter().enumerate() {
        if value.is_nan() {
            return (f64::NAN, None);
        }
        if best.is_none_or(|best| *value > values[best]) {
            best = Some(index);
        }
    }
    (best.map_or(f64::NAN, |best| values[best]), best)
}

fn arc_mean(values: &[f64], lengths: &[f64]) -> f64 {
    let whole: f64 = lengths.iter().sum();
    let pieces = values.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
    if whole == 0.0 {
        return pieces.sum::<f64>() / lengths.len() as f64;
    }
    // A piece without length has no part, even where its value is not finite: so NaN · 0 must not come in.
    let parts = pieces.zip(lengths).filter(|&(_, &length)| length != 0.0);
    parts.map(|(value, length)| value * length).sum::<f64>() / whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64], better: Better) -> Barrier {
        let t = grid(values.len()).expect("two points");
        let lengths = vec![1.0; values.len() - 1];
        barrier(&Curve { t: &t, values, lengths: &lengths, better }).expect("a grid with its middle")
    }

    /// (1−t)² from 1 to 0 is convex: no excess over the chord, but half the difference of the ends above their mean.
    #[test]
    fn a_convex_path_has_no_chord_and_yet_a_height() {
        let values: Vec<f64> = (0..=10).map(|i| (1.0 - f64::from(i) / 10.0).powi(2)).collect();
        let found = of(&values, Better::Lower);
        assert_eq!((found.chord, found.chord_at), (0.0, 0.0));
        assert_eq!((found.height, found.at), (0.5, 0.0));
        assert_eq!(found.gap, -0.25);
        assert_eq!(found.normalised, None);
    }

    /// A peak near the better end: the chord is low there, so the chord's barrier is the larger one.
    #[test]
    fn a_peak_near_the_better_end_has_more_chord_than_height() {
        let found = of(&[0.0, 1.0, 0.5, 0.75, 1.0], Better::Lower);
        assert_eq!((found.height, found.chord, found.chord_at), (0.5, 0.75, 0.25));
        assert_eq!((found.at, found.gap), (0.25, 0.0));
        assert_eq!((found.start, found.middle, found.end), (0.0, 0.5, 1.0));
        assert_eq!((found.min, found.max, found.mean), (0.0, 1.0, 0.65));
    }

    /// Two models of 98 % and 96 % with 28 % in between (X-MC1's shape).
    #[test]
    fn accuracies_turn_the_sign() {
        let found = of(&[0.98, 0.28, 0.96], Better::Higher);
        for value in [found.height, found.chord, found.gap] {
            assert!((value - 0.69).abs() < 1e-15, "{found:?}");
        }
        assert!((found.normalised.expect("an accuracy") - (1.0 - 0.28 / 0.97)).abs() < 1e-15);
        assert_eq!((found.min, found.max, found.at), (0.28, 0.98, 0.5));
        // Ends that find nothing have nothing to lose.
        assert_eq!(of(&[0.0, 0.5, 0.0], Better::Higher).normalised, Some(0.0));
    }

    #[test]
    fn equal_values_are_no_barrier() {
        for better in [Better::Lower, Better::Higher] {
            let found = of(&[0.1; 7], better);
            assert_eq!((found.height, found.chord, found.gap, found.at), (0.0, 0.0, 0.0, 0.0));
            assert_eq!((found.min, found.max), (0.1, 0.1));
        }
    }

    /// Pieces of length 1 and 3 with means 1 and 3: (1·1 + 3·3)/4.
    #[test]
    fn the_arc_mean_weighs_by_length() {
        let at = |values: &[f64], lengths: &[f64]| {
            barrier(&Curve { t: &[0.0, 0.5, 1.0], values, lengths, better: Better::Lower }).expect("fits")
        };
        assert_eq!(at(&[0.0, 2.0, 4.0], &[1.0, 3.0]).arc_mean, 2.5);
        assert_eq!(at(&[0.0, 2.0, 4.0], &[0.0, 0.0]).arc_mean, 2.0);
        assert_eq!(at(&[f64::INFINITY, 2.0, 4.0], &[0.0, 1.0]).arc_mean, 3.0);
    }

    #[test]
    fn nan_and_infinity_are_not_lost() {
        let found = of(&[1.0, f64::NAN, 1.0, 0.5, 1.0], Better::Lower);
        for value in [found.height, found.chord, found.at, found.min, found.max, found.mean, found.arc_mean] {
            assert!(value.is_nan(), "{found:?}");
        }
        assert_eq!((found.gap, found.invalid), (0.0, 1));
        let found = of(&[1.0, f64::INFINITY, 1.0], Better::Lower);
        assert_eq!((found.height, found.chord, found.at), (f64::INFINITY, f64::INFINITY, 0.5));
        assert!(of(&[f64::NAN, 1.0, 1.0], Better::Higher).normalised.expect("an accuracy").is_nan());
    }

    #[test]
    fn grids_hold_the_ends_and_the_middle() {
        assert_eq!(grid(2).expect("two"), [0.0, 0.5, 1.0]);
        assert_eq!(grid(5).expect("five"), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(grid(6).expect("six").len(), 7);
        assert!(grid(1).is_err() && grid(0).is_err());
        for points in 2..70 {
            let t = grid(points).expect("enough");
            assert!(t[0] == 0.0 && t[t.len() - 1] == 1.0 && t.contains(&0.5), "{points}");
            assert!(t.windows(2).all(|pair| pair[0] < pair[1]), "{points}");
        }
    }

    #[test]
    fn curves_without_ends_or_middle_are_refused() {
        let of = |t: &[f64], values: &[f64]| {
            let lengths = vec![1.0; t.len().saturating_sub(1)];
            barrier(&Curve { t, values, lengths: &lengths, better: Better::Lower })
        };
        assert!(of(&[], &[]).is_err());
        assert!(of(&[0.5], &[1.0]).is_err());
        assert!(of(&[0.0, 1.0], &[1.0, 1.0]).is_err());
        assert!(of(&[0.0, 0.5, 0.9], &[1.0; 3]).is_err());
        assert!(of(&[0.0, 0.5, 0.5, 1.0], &[1.0; 4]).is_err());
        assert!(of(&[0.0, 0.5, 1.0], &[1.0; 2]).is_err());
    }

    proptest! {
        /// Invariants: both barriers are at least what they are at the ends, the midpoint is never above the maximum, and
        /// turning accuracies into errors turns the curve over (rounding of 1 − a is below 1e-15).
        #[test]
        fn relations_hold(values in prop::collection::vec(0.0_f64..1.0, 3..30)) {
            let values = if values.len() % 2 == 0 { &values[1..] } else { &values[..] };
            let found = of(values, Better::Higher);
            prop_assert!(found.chord >= 0.0);
            prop_assert!(found.height >= 0.5 * (found.start - found.end).abs() - 1e-15);
            prop_assert!(found.height >= found.gap - 1e-15);
            prop_assert!(found.chord >= found.gap - 1e-15);
            prop_assert!(found.min <= found.mean && found.mean <= found.max);
            let errors: Vec<f64> = values.iter().map(|a| 1.0 - a).collect();
            let turned = of(&errors, Better::Lower);
            prop_assert!((turned.height - found.height).abs() < 4e-15);
            prop_assert!((turned.chord - found.chord).abs() < 4e-15);
            prop_assert!((turned.gap - found.gap).abs() < 4e-15);
        }
    }
}
