//! The batches of a training, numbered: batch k is a pure function of the data, the options and k, so a training that was interrupted goes
//! on with the batch it would have had.

use std::sync::{Arc, Mutex};

use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::rng::Key;

use crate::dataset::{Dataset, View};
use crate::draw::{Stream, below, permutation};
use crate::error::DataError;
use crate::raw::Inputs;
use crate::settings::Augment;

/// How data become batches.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOptions {
    /// Examples of a batch, at least 1; the last one of an epoch may be shorter.
    pub size: usize,
    /// Start of all draws: order, augmentation, mixup.
    pub seed: u64,
    /// Another order in each epoch; otherwise the order of the data.
    pub shuffle: bool,
    /// Leave out a last batch that is shorter than the others.
    pub drop_last: bool,
    /// Make the random changes that the data set declares (its setting `augment`).
    pub augment: bool,
    /// Mix each example with another one of its batch: λx + (1 − λ)x′ with λ ~ Beta(α, α), for inputs and targets alike, one λ for a batch
    /// (Zhang et al., "mixup: beyond empirical risk minimization", 2018). The partner of position i of n is n − 1 − i.
    pub mixup: Option<f64>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions { size: 128, seed: 0, shuffle: true, drop_last: false, augment: true, mixup: None }
    }
}

/// The order of an epoch.
type Order = Arc<Vec<usize>>;

/// Numbered batches of a data set.
#[derive(Debug)]
pub struct Batches {
    data: Arc<Dataset>,
    options: BatchOptions,
    steps_per_epoch: u64,
    /// Orders of the latest two epochs: a prefetching thread is ahead of its reader.
    orders: Mutex<Vec<(u64, Order)>>,
}

impl Batches {
    /// # Errors
    /// For a size of 0, no examples, `drop_last` with fewer examples than one batch, and mixup of texts or with an α that is not above 0.
    pub fn new(data: Arc<Dataset>, options: BatchOptions) -> Result<Self, DataError> {
        if options.size == 0 {
            return Err(DataError::setting("batch", "a batch has at least one example"));
        }
        if data.is_empty() {
            return Err(DataError::setting("batch", "there are no examples"));
        }
        if options.drop_last && data.len() < options.size {
            return Err(DataError::setting_fix(
                "batch",
                format!(
                    "the {} examples do not fill one batch of {}, and a shorter one is dropped",
                    data.len(),
                    options.size
                ),
                "take smaller batches, or keep the last one",
            ));
        }
        if let Some(alpha) = options.mixup {
            if !(alpha > 0.0 && alpha.is_finite()) {
                return Err(DataError::setting("mixup", format!("{alpha} must be above 0")));
            }
            if data.is_text() {
                return Err(DataError::setting("mixup", "tokens cannot be mixed"));
            }
        }
        let (len, size) = (data.len() as u64, options.size as u64);
        let steps_per_epoch = if options.drop_last { len / size } else { len.div_ceil(size) };
        Ok(Batches { data, options, steps_per_epoch, orders: Mutex::new(Vec::new()) })
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &Arc<Dataset> {
        &self.data
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// Batches of an epoch, at least 1.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// Examples of batch `step`.
    #[must_use]
    pub fn size_of(&self, step: u64) -> usize {
        self.range(step).len()
    }

    /// The examples of batch `step`, counted over all epochs.
    #[must_use]
    pub fn indices(&self, step: u64) -> Vec<usize> {
        self.order(step / self.steps_per_epoch)[self.range(step)].to_vec()
    }

    /// Makes batch `step`, counted over all epochs, in the buffers of `out`.
    pub fn batch(&self, step: u64, out: &mut Batch) {
        let order = self.order(step / self.steps_per_epoch);
        let indices = &order[self.range(step)];
        match &self.data.raw.inputs {
            Inputs::Images { channels, .. }
                if self.options.augment && self.data.augment() == Augment::Standard =>
            {
                let key = Key::new(self.options.seed, "augment", step);
                let colour = *channels == 3;
                self.data.gather_viewed(indices, |position| view(key, position, colour), out);
            }
            _ => self.data.gather(indices, out),
        }
        if let Some(alpha) = self.options.mixup {
            mix(out, self.data.classes(), share(self.options.seed, step, alpha));
        }
    }

    fn range(&self, step: u64) -> std::ops::Range<usize> {
        let start = (step % self.steps_per_epoch) as usize * self.options.size;
        start..(start + self.options.size).min(self.data.len())
    }

    fn order(&self, epoch: u64) -> Order {
        let epoch = if self.options.shuffle { epoch } else { 0 };
        // A poisoned lock only means that a thread ended while it copied a pointer: the list is whole.
        let mut orders = self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, order)) = orders.iter().find(|(known, _)| *known == epoch) {
            return Arc::clone(order);
        }
        let order: Order = Arc::new(if self.options.shuffle {
            permutation(Key::new(self.options.seed, "epoch", epoch), self.data.len())
        } else {
            (0..self.data.len()).collect()
        });
        if orders.len() == 2 {
            orders.remove(0);
        }
        orders.push((epoch, Arc::clone(&order)));
        order
    }
}

/// Colour images move by up to 4 pixels and are mirrored in half of the cases, grey ones move by up to 2.
fn view(key: Key, position: usize, colour: bool) -> View {
    let draw = |which: u64, n: usize| below(key, position as u64 * 3 + which, n) as isize;
    let reach = if colour { 4 } else { 2 };
    let move_by = |which| draw(which, 2 * reach as usize + 1) - reach;
    View { right: move_by(0), down: move_by(1), mirrored: colour && draw(2, 2) == 1 }
}

/// λ ~ Beta(α, α), as G₁/(G₁ + G₂).
fn share(seed: u64, step: u64, alpha: f64) -> f32 {
    let mut stream = Stream::new(Key::new(seed, "mixup", step));
    let (a, b) = (stream.log_gamma(alpha), stream.log_gamma(alpha));
    (1.0 / (1.0 + libm::exp(b - a))) as f32
}

/// x ← λx + (1 − λ)x′ for the examples and their targets, where x′ is the example at the same place from the end.
fn mix(batch: &mut Batch, classes: usize, share: f32) {
    let n = batch.len();
    if let Values::Floats(floats) = &mut batch.inputs {
        mix_rows(floats, n, share);
    }
    let soft = match &mut batch.targets {
        Targets::Numbers { rows, .. } | Targets::Soft { rows, .. } => {
            mix_rows(rows, n, share);
            return;
        }
        Targets::Classes(labels) => {
            let mut rows = vec![0.0; n * classes];
            for (position, row) in rows.chunks_exact_mut(classes.max(1)).enumerate() {
                row[labels[position] as usize] += share;
                row[labels[n - 1 - position] as usize] += 1.0 - share;
            }
            rows
        }
    };
    batch.targets = Targets::Soft { classes, rows: soft };
}

fn mix_rows(values: &mut [f32], n: usize, share: f32) {
    let width = values.len() / n.max(1);
    let (front, back) = values.split_at_mut(n / 2 * width);
    // The middle one of an odd number is its own partner.
    let back = &mut back[if n % 2 == 1 { width } else { 0 }..];
    let backwards = back.chunks_exact_mut(width.max(1)).rev();
    for (first, second) in front.chunks_exact_mut(width.max(1)).zip(backwards) {
        for (a, b) in first.iter_mut().zip(second) {
            (*a, *b) = (share * *a + (1.0 - share) * *b, share * *b + (1.0 - share) * *a);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::buffer;
    use crate::raw::{Affine, Answers, Raw, numbered};

    fn rows(n: usize) -> Arc<Dataset> {
        let values = (0..n * 2).map(|value| value as f32).collect();
        let labels = (0..n).map(|index| index as u32 % 3).collect();
        Arc::new(Dataset::of_rows(values, 2, Targets::Classes(labels), 3).unwrap())
    }

    fn images(n: usize, channels: usize) -> Arc<Dataset> {
        let bytes = (0..n * channels * 81).map(|at| (at * 37 % 251) as u8).collect();
        let inputs = Inputs::Images { bytes, channels, height: 9, width: 9 };
        let answers = Answers::Classes((0..n).map(|index| index as u32 % 3).collect());
        let raw = Raw { inputs, answers, classes: 3, names: numbered(3) };
        let affine = Affine::standardise(&vec![0.0; channels], &vec![1.0; channels], 255.0);
        Arc::new(Dataset::new(raw, affine, Augment::Standard, false, 0))
    }

    fn batches(data: Arc<Dataset>, options: BatchOptions) -> Batches {
        Batches::new(data, options).unwrap()
    }

    proptest! {
        #[test]
        fn an_epoch_holds_every_example_once(
            n in 1_usize..60, size in 1_usize..70, seed in any::<u64>(), epoch in 0_u64..5, shuffle in any::<bool>(),
        ) {
            let batches = batches(rows(n), BatchOptions { size, seed, shuffle, ..BatchOptions::default() });
            let steps = batches.steps_per_epoch();
            let mut all = Vec::new();
            for step in epoch * steps..(epoch + 1) * steps {
                let indices = batches.indices(step);
                prop_assert_eq!(indices.len(), batches.size_of(step));
                prop_assert!(indices.len() <= size && !indices.is_empty());
                all.extend(indices);
            }
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..n));
        }

        #[test]
        fn a_batch_depends_on_its_number_alone(mut steps in proptest::collection::vec(0_u64..40, 1..12), mixed in any::<bool>()) {
            let options = BatchOptions { size: 4, seed: 9, mixup: mixed.then_some(0.4), ..BatchOptions::default() };
            let one = batches(images(13, 3), options.clone());
            let (mut first, mut second) = (buffer(), buffer());
            steps.reverse();
            for step in steps {
                one.batch(step, &mut first);
                batches(images(13, 3), options.clone()).batch(step, &mut second);
                prop_assert_eq!(&first, &second);
            }
        }
    }

    #[test]
    fn epochs_differ_and_the_last_batch_can_be_dropped() {
        let options = BatchOptions { size: 8, seed: 1, ..BatchOptions::default() };
        let kept = batches(rows(20), options.clone());
        assert_eq!(kept.steps_per_epoch(), 3);
        assert_ne!(kept.indices(0), kept.indices(3));
        assert_eq!(kept.size_of(2), 4);
        let dropped = batches(rows(20), BatchOptions { drop_last: true, ..options.clone() });
        assert_eq!(dropped.steps_per_epoch(), 2);
        assert_eq!(dropped.indices(0), kept.indices(0));
        assert_eq!(dropped.indices(2), kept.indices(3));
        let plain = batches(rows(20), BatchOptions { shuffle: false, ..options });
        assert_eq!(plain.indices(4), (8..16).collect::<Vec<_>>());
    }

    #[test]
    fn impossible_options_are_errors() {
        let refused = |n, options| Batches::new(rows(n), options).unwrap_err().to_string();
        assert!(refused(4, BatchOptions { size: 0, ..BatchOptions::default() }).contains("at least one"));
        assert!(
            refused(4, BatchOptions { drop_last: true, ..BatchOptions::default() }).contains("do not fill")
        );
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(
                refused(4, BatchOptions { mixup: Some(alpha), ..BatchOptions::default() })
                    .contains("above 0")
            );
        }
        assert!(refused(0, BatchOptions::default()).contains("no examples"));
    }

    #[test]
    fn augmentation_shows_every_view_and_can_be_left_out() {
        for (channels, reach, mirrors) in [(3, 4_isize, 2), (1, 2, 1)] {
            let mut seen = std::collections::BTreeSet::new();
            for position in 0..4000 {
                let View { right, down, mirrored } = view(Key::new(1, "augment", 0), position, channels == 3);
                assert!(right.abs() <= reach && down.abs() <= reach);
                seen.insert((right, down, mirrored));
            }
            assert_eq!(seen.len(), (2 * reach as usize + 1).pow(2) * mirrors);
        }
        let (mut plain, mut moved) = (buffer(), buffer());
        let options = BatchOptions { augment: false, ..BatchOptions::default() };
        let data = images(10, 1);
        let unmoved = batches(Arc::clone(&data), options);
        unmoved.batch(0, &mut moved);
        data.gather(&unmoved.indices(0), &mut plain);
        assert_eq!(plain, moved);
        batches(data, BatchOptions::default()).batch(0, &mut moved);
        assert_ne!(plain.inputs, moved.inputs);
        assert_eq!(plain.targets, moved.targets);
    }

    #[test]
    fn mixup_is_a_convex_combination_with_the_mirrored_position() {
        for n in [1, 4, 5] {
            let data = rows(n);
            let options = BatchOptions { size: n, mixup: Some(0.7), ..BatchOptions::default() };
            let (mut plain, mut mixed) = (buffer(), buffer());
            batches(Arc::clone(&data), BatchOptions { mixup: None, ..options.clone() }).batch(3, &mut plain);
            batches(Arc::clone(&data), options).batch(3, &mut mixed);
            let (Values::Floats(x), Values::Floats(y)) = (&plain.inputs, &mixed.inputs) else { panic!() };
            let (Targets::Classes(labels), Targets::Soft { classes: 3, rows }) =
                (&plain.targets, &mixed.targets)
            else {
                panic!()
            };
            let share = share(0, 3, 0.7);
            for at in 0..n {
                let partner = n - 1 - at;
                for column in 0..2 {
                    let wanted = share * x[at * 2 + column] + (1.0 - share) * x[partner * 2 + column];
                    assert!((y[at * 2 + column] - wanted).abs() <= 1e-5, "{n}");
                }
                let row = &rows[at * 3..at * 3 + 3];
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                let own = if labels[at] == labels[partner] { 1.0 } else { share };
                assert!((row[labels[at] as usize] - own).abs() < 1e-6);
            }
        }
    }

    /// Beta(α, α) has mean 1/2 and variance 1/(4(2α + 1)): 0.104 for 0.7; five standard errors of 4000 draws.
    #[test]
    fn shares_have_the_moments_of_the_beta_distribution() {
        let draws: Vec<f64> = (0..4000).map(|step| f64::from(share(1, step, 0.7))).collect();
        let mean = draws.iter().sum::<f64>() / 4000.0;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 4000.0;
        assert!((mean - 0.5).abs() < 0.026, "{mean}");
        assert!((variance - 0.104_17).abs() < 0.008, "{variance}");
    }
}
