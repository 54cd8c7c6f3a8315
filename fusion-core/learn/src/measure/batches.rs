//! Batches of a data set, gathered once where memory allows: a path of 25 points reads them 25 times and more.

use std::borrow::Cow;
use std::sync::Arc;

use fusion_data::{BatchOptions, Dataset};
use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::{ErrorKind, MethodError};

use crate::measure::MeasureError;

/// Bytes of gathered batches that a data set may keep.
const BUDGET: usize = 512 << 20;

/// Numbered batches.
pub trait Source: Sync {
    /// Batches of one pass.
    fn count(&self) -> usize;

    /// Batch `index`, a pure function of it. Indices from `count` on belong to further passes.
    ///
    /// # Errors
    /// The data cannot be read.
    fn gather(&self, index: usize) -> Result<Batch, MeasureError>;
}

impl Source for fusion_data::Batches {
    fn count(&self) -> usize {
        usize::try_from(self.steps_per_epoch()).unwrap_or(usize::MAX)
    }

    fn gather(&self, index: usize) -> Result<Batch, MeasureError> {
        let mut batch = Batch {
            inputs: Values::Floats(Vec::new()),
            shape: Vec::new(),
            targets: Targets::Classes(Vec::new()),
        };
        self.batch(index as u64, &mut batch);
        Ok(batch)
    }
}

/// Batches with a name for results.
pub struct Batches<'a> {
    name: String,
    source: Box<dyn Source + 'a>,
    count: usize,
    kept: Vec<Batch>,
}

impl Batches<'static> {
    /// All examples of a data set in its own order, as they are.
    ///
    /// # Errors
    /// The set is empty, or `size` is 0.
    pub fn of(name: &str, data: &Arc<Dataset>, size: usize) -> Result<Self, MeasureError> {
        Self::cut(name, data, plain(size), None)
    }

    /// The first examples of a data set: at most `examples`, and at least one batch, in whole batches unless that is all of them.
    ///
    /// # Errors
    /// The set is empty, or a number is 0.
    pub fn first(
        name: &str,
        data: &Arc<Dataset>,
        size: usize,
        examples: usize,
    ) -> Result<Self, MeasureError> {
        if data.len() <= examples {
            return Self::of(name, data, size);
        }
        let size = size.min(examples);
        Self::cut(name, data, plain(size), Some(examples.checked_div(size).unwrap_or(0)))
    }

    /// Batches for statistics: shuffled by `seed`, with the augmentation that the data set declares for training. `count` of them,
    /// over as many passes as that takes, or one pass for `None`. A batch of one example is left out, since it has no variance.
    ///
    /// # Errors
    /// The set is empty, or `size` is 0.
    pub fn training(
        name: &str,
        data: &Arc<Dataset>,
        size: usize,
        seed: u64,
        count: Option<usize>,
    ) -> Result<Self, MeasureError> {
        let drop_last = size > 1 && data.len() > size && data.len() % size == 1;
        let options = BatchOptions { size, seed, drop_last, ..BatchOptions::default() };
        Self::cut(name, data, options, count)
    }

    fn cut(
        name: &str,
        data: &Arc<Dataset>,
        options: BatchOptions,
        count: Option<usize>,
    ) -> Result<Self, MeasureError> {
        let batches = fusion_data::Batches::new(Arc::clone(data), options)
            .map_err(|error| MethodError::new(ErrorKind::Invalid, format!("data set `{name}`: {error}")))?;
        Batches::new(name, Box::new(batches), count, BUDGET)
    }
}

/// Every example once and unchanged.
fn plain(size: usize) -> BatchOptions {
    BatchOptions { size, shuffle: false, augment: false, ..BatchOptions::default() }
}

impl<'a> Batches<'a> {
    /// `count` batches of `source` (those of one pass for `None`), gathered now if all of them together fit in `budget` bytes.
    ///
    /// # Errors
    /// There are none, or the source fails.
    pub fn new(
        name: &str,
        source: Box<dyn Source + 'a>,
        count: Option<usize>,
        budget: usize,
    ) -> Result<Self, MeasureError> {
        let count = count.unwrap_or_else(|| source.count());
        if count == 0 || source.count() == 0 {
            return Err(MeasureError::empty(&format!("the data set `{name}`")));
        }
        let first = source.gather(0)?;
        let mut kept = Vec::new();
        if bytes(&first).saturating_mul(count) <= budget {
            kept.reserve_exact(count);
            kept.push(first);
            for index in 1..count {
                kept.push(source.gather(index)?);
            }
        }
        Ok(Batches { name: name.to_owned(), source, count, kept })
    }

    /// The data set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of batches, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Batch `index`.
    ///
    /// # Errors
    /// The source fails.
    pub fn get(&self, index: usize) -> Result<Cow<'_, Batch>, MeasureError> {
        match self.kept.get(index) {
            Some(batch) => Ok(Cow::Borrowed(batch)),
            None => Ok(Cow::Owned(self.source.gather(index)?)),
        }
    }
}

/// Memory of a batch.
fn bytes(batch: &Batch) -> usize {
    let inputs = match &batch.inputs {
        Values::Floats(values) => values.len(),
        Values::Tokens(values) => values.len(),
    };
    let targets = match &batch.targets {
        Targets::Classes(labels) => labels.len(),
        Targets::Soft { rows, .. } | Targets::Numbers { rows, .. } => rows.len(),
    };
    4 * (inputs + targets)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Three batches of two numbers; counts how often it is asked.
    struct Counting<'a>(&'a AtomicUsize);

    impl Source for Counting<'_> {
        fn count(&self) -> usize {
            3
        }

        fn gather(&self, index: usize) -> Result<Batch, MeasureError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Batch {
                inputs: Values::Floats(vec![index as f32; 2]),
                shape: vec![2, 1],
                targets: Targets::Classes(vec![index as u32; 2]),
            })
        }
    }

    fn labels(batches: &Batches<'_>) -> Vec<Vec<u32>> {
        let of = |batch: Cow<'_, Batch>| match &batch.targets {
            Targets::Classes(labels) => labels.clone(),
            _ => panic!("classes"),
        };
        (0..batches.count()).map(|index| of(batches.get(index).expect("there"))).collect()
    }

    #[test]
    fn batches_are_gathered_once_if_they_fit() {
        // 16 bytes a batch.
        for (budget, asked) in [(48, 3), (47, 1 + 6)] {
            let calls = AtomicUsize::new(0);
            let batches = Batches::new("test", Box::new(Counting(&calls)), None, budget).expect("data");
            for _ in 0..2 {
                assert_eq!(labels(&batches), [vec![0, 0], vec![1, 1], vec![2, 2]]);
            }
            assert_eq!(calls.load(Ordering::Relaxed), asked);
            assert_eq!(batches.name(), "test");
        }
        let calls = AtomicUsize::new(0);
        let of = |count| {
            Batches::new("test", Box::new(Counting(&calls)), count, 0).map(|found| labels(&found).len())
        };
        assert_eq!((of(Some(2)), of(Some(5))), (Ok(2), Ok(5)));
        assert_eq!(of(Some(0)), Err(MeasureError::empty("the data set `test`")));
    }

    fn rows(n: usize) -> Arc<Dataset> {
        let labels = (0..n as u32).collect();
        let values = vec![0.5; n];
        Arc::new(Dataset::of_rows(values, 1, Targets::Classes(labels), n).expect("rows"))
    }

    #[test]
    fn measuring_goes_in_order_and_statistics_are_shuffled() {
        let data = rows(11);
        let plain = labels(&Batches::of("test", &data, 5).expect("data"));
        assert_eq!(plain, [vec![0, 1, 2, 3, 4], vec![5, 6, 7, 8, 9], vec![10]]);
        let of = |seed, count| labels(&Batches::training("test", &data, 5, seed, count).expect("data"));
        assert_eq!(of(1, None).len(), 2, "the example that is alone is left out");
        assert_eq!(of(1, None), of(1, None));
        assert_ne!(of(1, None), of(2, None));
        assert_ne!(of(1, None), plain[..2]);
        let three = of(1, Some(3));
        assert_eq!(three[..2], of(1, None));
        assert_ne!(three[2], three[0]);
        assert_eq!(labels(&Batches::training("test", &rows(4), 3, 1, None).expect("data")).len(), 1);
        assert!(Batches::of("test", &data, 0).is_err());
        let first = |size, examples| {
            labels(&Batches::first("test", &data, size, examples).expect("data")).concat().len()
        };
        assert_eq!([first(5, 11), first(5, 10), first(5, 9), first(5, 3), first(20, 11)], [11, 10, 5, 3, 11]);
        assert!(Batches::first("test", &data, 5, 0).is_err());
    }
}
