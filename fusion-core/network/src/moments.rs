//! Mean and variance of units over the rows of many batches: what statistics of networks are corrected by.

/// Mean and sum of squared deviations by unit, in f64.
///
/// Batches are taken one by one with two passes over their values, and merged by the formulas of Chan, Golub and LeVeque (Algorithms for
/// computing the sample variance, 1983), so nothing cancels. NaN and infinity go through to the unit that they are in. Empty moments
/// merge with any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Rows: examples times positions.
    pub rows: u64,
    /// By unit.
    pub mean: Vec<f64>,
    /// By unit: Σ (y − mean)².
    pub squares: Vec<f64>,
}

impl Moments {
    /// Of values that lie as [outer, units, inner]: images have their positions inside, rows have `inner = 1`.
    #[must_use]
    pub(crate) fn of(values: &[f32], units: usize, inner: usize) -> Moments {
        let rows = values.len() / units.max(1);
        let mut mean = vec![0.0; units];
        each(values, units, inner, |unit, value| mean[unit] += f64::from(value));
        mean.iter_mut().for_each(|mean| *mean /= rows.max(1) as f64);
        let mut squares = vec![0.0; units];
        each(values, units, inner, |unit, value| {
            let deviation = f64::from(value) - mean[unit];
            squares[unit] += deviation * deviation;
        });
        Moments { rows: rows as u64, mean, squares }
    }

    /// Adds what another batch has shown of the same units.
    pub fn absorb(&mut self, other: &Moments) {
        if self.rows == 0 {
            self.clone_from(other);
            return;
        }
        if other.rows == 0 {
            return;
        }
        let (own, more) = (self.rows as f64, other.rows as f64);
        let share = more / (own + more);
        let both = self.mean.iter_mut().zip(&mut self.squares).zip(other.mean.iter().zip(&other.squares));
        for ((mean, squares), (other_mean, other_squares)) in both {
            let step = other_mean - *mean;
            *mean += share * step;
            *squares += other_squares + own * share * step * step;
        }
        self.rows += other.rows;
    }

    /// Variance by unit, divided by the number of rows; 0 without rows.
    #[must_use]
    pub fn variances(&self) -> Vec<f64> {
        self.squares.iter().map(|squares| squares / self.rows.max(1) as f64).collect()
    }

    /// The first unit that is NaN or infinite.
    #[must_use]
    pub fn broken(&self) -> Option<usize> {
        let finite = |(mean, squares): (&f64, &f64)| mean.is_finite() && squares.is_finite();
        self.mean.iter().zip(&self.squares).position(|unit| !finite(unit))
    }
}

/// Calls with each value and its unit, in the order of the values.
fn each(values: &[f32], units: usize, inner: usize, mut body: impl FnMut(usize, f32)) {
    if inner == 1 {
        for row in values.chunks_exact(units.max(1)) {
            row.iter().enumerate().for_each(|(unit, &value)| body(unit, value));
        }
        return;
    }
    for (index, plane) in values.chunks_exact(inner.max(1)).enumerate() {
        let unit = index % units.max(1);
        plane.iter().for_each(|&value| body(unit, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two units of images with three positions: (1, 2, 3 | 7, 8, 9) and (0, 0, 6 | 1, 1, 1) in [2, 2, 3]. By hand: unit 0 has
    /// 1, 2, 3, 0, 0, 6 with mean 2 and squares 1+0+1+4+4+16 = 26, unit 1 7, 8, 9, 1, 1, 1 with mean 4.5 and 75.5.
    #[test]
    fn images_and_rows() {
        let images = [1.0, 2.0, 3.0, 7.0, 8.0, 9.0, 0.0, 0.0, 6.0, 1.0, 1.0, 1.0];
        let found = Moments::of(&images, 2, 3);
        assert_eq!(found, Moments { rows: 6, mean: vec![2.0, 4.5], squares: vec![26.0, 75.5] });
        let rows = [1.0, 7.0, 2.0, 8.0, 3.0, 9.0, 0.0, 1.0, 0.0, 1.0, 6.0, 1.0];
        assert_eq!(Moments::of(&rows, 2, 1), found);
        assert_eq!(found.variances(), [26.0 / 6.0, 75.5 / 6.0]);
    }

    /// In parts it is the same to rounding, far from zero too: 10 000 ± 1 has variance 1, not what f32 squares leave of it.
    #[test]
    fn parts_add_up() {
        let values: Vec<f32> =
            (0..30).map(|index| 10_000.0 + if index % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let mut sum = Moments::default();
        for part in [&values[..1], &values[1..8], &values[8..]] {
            sum.absorb(&Moments::of(part, 1, 1));
        }
        sum.absorb(&Moments::default());
        assert_eq!(sum.rows, 30);
        assert!((sum.mean[0] - 10_000.0).abs() < 1e-11 && (sum.variances()[0] - 1.0).abs() < 1e-11);
    }

    #[test]
    fn what_is_not_finite_stays_where_it_is() {
        let found = Moments::of(&[1.0, f32::NAN, 2.0, 3.0], 2, 1);
        assert_eq!((found.broken(), found.mean[0]), (Some(1), 1.5));
        assert_eq!(Moments::of(&[], 3, 1).broken(), None);
    }
}
