//! The best step along a segment, where the objective is a polynomial.

/// Coefficients c₀ + c₁η + … of the polynomial of this degree with this value and slope at 0, and these values at j/(degree − 1),
/// j = 1, …, degree − 1.
pub(super) fn polynomial(value: f64, slope: f64, others: &[f64]) -> Vec<f64> {
    let count = others.len();
    let mut rows: Vec<Vec<f64>> = others
        .iter()
        .enumerate()
        .map(|(at, other)| {
            let eta = (at + 1) as f64 / count as f64;
            let mut row: Vec<f64> = (0..count).map(|power| eta.powi(power as i32 + 2)).collect();
            row.push(other - value - slope * eta);
            row
        })
        .collect();
    // Gauss with pivots; a handful of unknowns.
    for at in 0..count {
        let pivot =
            (at..count).max_by(|a, b| rows[*a][at].abs().total_cmp(&rows[*b][at].abs())).unwrap_or(at);
        rows.swap(at, pivot);
        let lead = rows[at].clone();
        for (other, row) in rows.iter_mut().enumerate().filter(|(other, _)| *other != at) {
            let factor = row[at] / lead[at];
            debug_assert!(other != at && factor.is_finite());
            row.iter_mut().zip(&lead).for_each(|(value, lead)| *value -= factor * lead);
        }
    }
    let mut coefficients = vec![value, slope];
    coefficients.extend((0..count).map(|at| rows[at][count] / rows[at][at]));
    coefficients
}

/// Σ c_k ηᵏ.
pub(super) fn at(coefficients: &[f64], eta: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * eta + c)
}

/// Intervals in which stationary points of a polynomial of degree above 2 are looked for.
const CUTS: usize = 256;

/// Where the polynomial is largest on [0, 1]; of equal values the smallest place.
pub(super) fn best(coefficients: &[f64]) -> f64 {
    let derivative: Vec<f64> =
        coefficients.iter().enumerate().skip(1).map(|(power, c)| power as f64 * c).collect();
    let mut places = vec![1.0];
    match derivative.as_slice() {
        [] | [_] => {}
        [constant, linear] => places.push(-constant / linear),
        _ => {
            for cut in 0..CUTS {
                let (mut low, mut high) = (cut as f64 / CUTS as f64, (cut + 1) as f64 / CUTS as f64);
                let rising = at(&derivative, low) > 0.0;
                if rising == (at(&derivative, high) > 0.0) {
                    continue;
                }
                for _ in 0..60 {
                    let middle = 0.5 * (low + high);
                    match (at(&derivative, middle) > 0.0) == rising {
                        true => low = middle,
                        false => high = middle,
                    }
                }
                places.push(low);
            }
        }
    }
    let mut best = (0.0, at(coefficients, 0.0));
    for place in places.into_iter().filter(|place| (0.0..=1.0).contains(place)) {
        let value = at(coefficients, place);
        if value > best.1 {
            best = (place, value);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quartic is found again from its value, slope and three values; rounding of a 3 × 3 system.
    #[test]
    fn a_polynomial_is_known_from_its_values() {
        let wanted = [0.5, 2.0, -1.0, 3.0, -4.0];
        let others: Vec<f64> = (1..4).map(|j| at(&wanted, f64::from(j) / 3.0)).collect();
        for (found, wanted) in polynomial(0.5, 2.0, &others).iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
        assert_eq!(polynomial(1.0, 2.0, &[]), [1.0, 2.0]);
        assert_eq!(polynomial(1.0, 2.0, &[0.0]), [1.0, 2.0, -3.0]);
    }

    #[test]
    fn the_maximum_is_inside_or_at_an_end() {
        assert_eq!(best(&[0.0, 1.0]), 1.0);
        assert_eq!(best(&[0.0, -1.0]), 0.0);
        assert_eq!(best(&[0.0, 1.0, -1.0]), 0.5);
        assert_eq!(best(&[0.0, 1.0, 1.0]), 1.0);
        assert_eq!(best(&[3.0]), 0.0);
        // −(η − ¼)²(η − ¾)² + ⅒η has its higher peak near ¾.
        let peaks = [-9.0 / 256.0, 3.0 / 8.0 + 0.1, -11.0 / 8.0, 2.0, -1.0];
        let place = best(&peaks);
        let brute = (0..=100_000)
            .map(|i| f64::from(i) / 1e5)
            .max_by(|a, b| at(&peaks, *a).total_cmp(&at(&peaks, *b)));
        assert!((place - brute.unwrap()).abs() < 2e-5 && place > 0.7, "{place}");
    }
}
