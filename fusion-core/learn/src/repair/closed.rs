//! The closed form: the moments of averaged units from those of the models, without running the average.
//!
//! If a layer gave the average of what the models give, its mean would be Σ αᵢ μᵢ and its variance Σᵢⱼ αᵢ αⱼ covᵢⱼ, for two models
//! (1−α)²σ_A² + α²σ_B² + 2α(1−α)·σ_A σ_B·ρ (Jordan et al., 2023, and their notebook). So it is for the first layer; deeper ones see
//! averaged inputs, and it is an approximation of first order.

use fusion_network::{Goal, Moments, Units};

use super::Work;
use crate::measure::MeasureError;
use crate::measure::network::failed;

/// Means and sums of products of deviations of several models' units, row by row, in f64.
#[derive(Clone, Debug, Default)]
struct Together {
    rows: u64,
    /// By model, by unit.
    mean: Vec<Vec<f64>>,
    /// Σ (yᵢ − mean)(yⱼ − mean) for i ≤ j, by unit: (0, 0), (0, 1), …, (1, 1), ….
    products: Vec<Vec<f64>>,
}

impl Together {
    /// Of one batch: a mean first, then the products.
    fn of(models: &[&Units]) -> Together {
        let width = models[0].width;
        let rows = models[0].values.len() / width.max(1);
        let mean = |units: &&Units| {
            let mut mean = vec![0.0; width];
            for row in units.values.chunks_exact(width) {
                mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value));
            }
            mean.iter_mut().for_each(|mean| *mean /= rows.max(1) as f64);
            mean
        };
        let mean: Vec<Vec<f64>> = models.iter().map(mean).collect();
        let mut products = Vec::new();
        for (i, left) in models.iter().enumerate() {
            for (j, right) in models.iter().enumerate().skip(i) {
                let mut sums = vec![0.0; width];
                let both = left.values.chunks_exact(width).zip(right.values.chunks_exact(width));
                for (left, right) in both {
                    for unit in 0..width {
                        let deviation = f64::from(left[unit]) - mean[i][unit];
                        sums[unit] += deviation * (f64::from(right[unit]) - mean[j][unit]);
                    }
                }
                products.push(sums);
            }
        }
        Together { rows: rows as u64, mean, products }
    }

    /// Adds another batch (Chan, Golub, LeVeque, 1983).
    fn absorb(&mut self, other: &Together) {
        if self.rows == 0 {
            self.clone_from(other);
            return;
        }
        let (own, more) = (self.rows as f64, other.rows as f64);
        let share = more / (own + more);
        let step = |model: usize, unit: usize| other.mean[model][unit] - self.mean[model][unit];
        let mut index = 0;
        for i in 0..self.mean.len() {
            for j in i..self.mean.len() {
                let more = &other.products[index];
                for (unit, sum) in self.products[index].iter_mut().enumerate() {
                    *sum += more[unit] + own * share * step(i, unit) * step(j, unit);
                }
                index += 1;
            }
        }
        for (mean, other) in self.mean.iter_mut().zip(&other.mean) {
            mean.iter_mut().zip(other).for_each(|(mean, other)| *mean += share * (other - *mean));
        }
        self.rows += other.rows;
    }

    /// A model's own moments.
    fn moments(&self, model: usize) -> Moments {
        let own: usize = (0..model).map(|before| self.mean.len() - before).sum();
        Moments { rows: self.rows, mean: self.mean[model].clone(), squares: self.products[own].clone() }
    }

    /// Those of their average.
    fn average(&self, shares: &[f64]) -> Moments {
        let units = self.mean[0].len();
        let mut average = Moments { rows: self.rows, mean: vec![0.0; units], squares: vec![0.0; units] };
        let mut products = self.products.iter();
        for (i, (left, mean)) in shares.iter().zip(&self.mean).enumerate() {
            average.mean.iter_mut().zip(mean).for_each(|(sum, mean)| *sum += left * mean);
            for (place, (right, products)) in shares[i..].iter().zip(&mut products).enumerate() {
                let times = if place == 0 { 1.0 } else { 2.0 };
                let factor = times * left * right;
                average.squares.iter_mut().zip(products).for_each(|(sum, product)| *sum += factor * product);
            }
        }
        // Rounding may leave less than nothing of a variance that cancels.
        average.squares.iter_mut().for_each(|sum| *sum = sum.max(0.0));
        average
    }
}

impl Work<'_> {
    /// Goals and moments of the average, from one pass over the data with all models side by side.
    pub(super) fn closed(&self) -> Result<(Vec<Goal>, Vec<Moments>), MeasureError> {
        let (taps, endpoints) = (self.taps(), self.repair.endpoints);
        let found = self.each("statistics of all models", |network, batch| {
            let mut shown = Vec::with_capacity(endpoints.len());
            for endpoint in endpoints {
                let (weights, statistics) = (&endpoint.flat.weights, &endpoint.flat.statistics);
                shown.push(network.watch(weights, statistics, batch, self.norm, &taps).map_err(failed)?);
            }
            let layer = |index: usize| {
                Together::of(&shown.iter().map(|model: &Vec<Units>| &model[index]).collect::<Vec<_>>())
            };
            Ok((0..taps.len()).map(layer).collect::<Vec<Together>>())
        })?;
        let mut sums = vec![Together::default(); taps.len()];
        for batch in &found {
            sums.iter_mut().zip(batch).for_each(|(sum, more)| sum.absorb(more));
        }
        let mut models = Vec::with_capacity(endpoints.len());
        for (index, endpoint) in endpoints.iter().enumerate() {
            let own: Vec<Moments> = sums.iter().map(|sum| sum.moments(index)).collect();
            self.finite(endpoint.name, &own)?;
            models.push(own);
        }
        let shares: Vec<f64> = endpoints.iter().map(|endpoint| endpoint.share).collect();
        Ok((self.goals(&models), sums.iter().map(|sum| sum.average(&shares)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use fusion_sdk::rng::Key;

    use super::*;

    /// Three models with two units: in batches of any size the average's moments are those of the averaged rows. Sums of 40 f64 products.
    #[test]
    fn the_average_is_that_of_the_rows() {
        let key = Key::new(4, "closed", 0);
        let values =
            |model: u64| (0..80).map(|index| key.normal(80 * model + index) + model as f32).collect();
        let models: Vec<Vec<f32>> = (0..3).map(values).collect();
        let shares = [0.5, 0.2, 0.3];
        for size in [1, 7, 40] {
            let mut sum = Together::default();
            for rows in (0..40).step_by(size) {
                let range = 2 * rows..2 * (rows + size).min(40);
                let cut = |values: &Vec<f32>| Units { width: 2, values: values[range.clone()].to_vec() };
                let own: Vec<Units> = models.iter().map(cut).collect();
                sum.absorb(&Together::of(&own.iter().collect::<Vec<_>>()));
            }
            let average = sum.average(&shares);
            for unit in 0..2 {
                let of = |row: usize| {
                    let each = models.iter().zip(shares);
                    each.map(|(values, share)| share * f64::from(values[2 * row + unit])).sum::<f64>()
                };
                let mean = (0..40).map(of).sum::<f64>() / 40.0;
                let squares = (0..40).map(|row| (of(row) - mean).powi(2)).sum::<f64>();
                assert!((average.mean[unit] - mean).abs() < 1e-14, "{size}");
                assert!((average.squares[unit] - squares).abs() < 1e-12, "{size}");
            }
            let own = sum.moments(1);
            let mean = (0..40).map(|row| f64::from(models[1][2 * row])).sum::<f64>() / 40.0;
            assert!((own.mean[0] - mean).abs() < 1e-14 && own.rows == 40);
        }
    }
}
