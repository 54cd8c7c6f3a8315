//! A data set cut into batches, gathered once where memory allows: a path of 25 points reads it 25 times and more.

use std::borrow::Cow;

use fusion_sdk::batch::{Batch, Targets, Values};
use fusion_sdk::rng::Key;

use crate::measure::MeasureError;

/// Examples by number.
pub trait Source: Sync {
    /// Number of examples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The examples at `indices`, in that order. A pure function of the indices.
    ///
    /// # Errors
    /// The data cannot be read.
    fn gather(&self, indices: &[usize]) -> Result<Batch, MeasureError>;
}

/// Order, size and cache of batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Examples of a batch, the last one has what is left.
    pub size: usize,
    /// At most that many batches.
    pub limit: Option<usize>,
    /// Shuffled with this seed, `None` for the data's own order.
    pub seed: Option<u64>,
    /// Whether a last batch of one example is left out: statistics of a batch need two.
    pub pairs: bool,
    /// Bytes of gathered batches that may be kept.
    pub budget: usize,
}

impl Default for Cut {
    /// Batches of 1000 in the data's order, with up to 512 MB kept.
    fn default() -> Self {
        Cut { size: 1000, limit: None, seed: None, pairs: false, budget: 512 << 20 }
    }
}

/// Batches of a source.
pub struct Batches<'a> {
    name: String,
    source: &'a dyn Source,
    order: Vec<usize>,
    size: usize,
    kept: Vec<Batch>,
}

impl<'a> Batches<'a> {
    /// Cuts `source`, called `name` in results, and gathers it now if it fits the budget.
    ///
    /// # Errors
    /// The source is empty or fails, or the size is 0.
    pub fn new(name: &str, source: &'a dyn Source, cut: Cut) -> Result<Self, MeasureError> {
        if cut.size == 0 {
            return Err(MeasureError::unsuitable("batches of 0 examples", "set `batch` to at least 1"));
        }
        let mut order: Vec<usize> = (0..source.len()).collect();
        if let Some(seed) = cut.seed {
            let key = Key::new(seed, "measure.batches", 0);
            let draw = |index: u64| u64::from(key.bits(2 * index)) << 32 | u64::from(key.bits(2 * index + 1));
            order.sort_by_cached_key(|&index| (draw(index as u64), index));
        }
        if let Some(limit) = cut.limit {
            order.truncate(limit.saturating_mul(cut.size));
        }
        if cut.pairs && order.len() > 1 && order.len() % cut.size == 1 {
            order.pop();
        }
        if order.is_empty() {
            return Err(MeasureError::empty(&format!("the data set `{name}`")));
        }
        let mut batches = Batches { name: name.to_owned(), source, order, size: cut.size, kept: Vec::new() };
        let first = batches.gather(0)?;
        if bytes(&first).saturating_mul(batches.count()) <= cut.budget {
            let mut kept = Vec::with_capacity(batches.count());
            kept.push(first);
            for index in 1..batches.count() {
                kept.push(batches.gather(index)?);
            }
            batches.kept = kept;
        }
        Ok(batches)
    }

    /// The data set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of batches, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.order.len().div_ceil(self.size)
    }

    /// Number of examples in all batches.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.order.len()
    }

    /// Batch `index`.
    ///
    /// # Errors
    /// The source fails.
    ///
    /// # Panics
    /// There is no such batch.
    pub fn get(&self, index: usize) -> Result<Cow<'_, Batch>, MeasureError> {
        match self.kept.get(index) {
            Some(batch) => Ok(Cow::Borrowed(batch)),
            None => Ok(Cow::Owned(self.gather(index)?)),
        }
    }

    fn gather(&self, index: usize) -> Result<Batch, MeasureError> {
        let start = index * self.size;
        self.source.gather(&self.order[start..(start + self.size).min(self.order.len())])
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

    /// Example i is the number i; counts how often it is asked.
    struct Counting(usize, AtomicUsize);

    impl Source for Counting {
        fn len(&self) -> usize {
            self.0
        }

        fn gather(&self, indices: &[usize]) -> Result<Batch, MeasureError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Batch {
                inputs: Values::Floats(indices.iter().map(|&index| index as f32).collect()),
                shape: vec![indices.len(), 1],
                targets: Targets::Classes(indices.iter().map(|&index| index as u32).collect()),
            })
        }
    }

    fn seen(batches: &Batches<'_>) -> Vec<Vec<u32>> {
        let labels = |batch: Cow<'_, Batch>| match &batch.targets {
            Targets::Classes(labels) => labels.clone(),
            _ => panic!("classes"),
        };
        (0..batches.count()).map(|index| labels(batches.get(index).expect("there"))).collect()
    }

    #[test]
    fn batches_cover_the_data_and_are_gathered_once() {
        let source = Counting(7, AtomicUsize::new(0));
        let cut = Cut { size: 3, ..Cut::default() };
        let batches = Batches::new("test", &source, cut).expect("data");
        for _ in 0..2 {
            assert_eq!(seen(&batches), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        }
        assert_eq!(source.1.load(Ordering::Relaxed), 3);
        // 3 batches of 24 bytes do not fit 50: they are gathered whenever they are asked for.
        let batches = Batches::new("test", &source, Cut { budget: 50, ..cut }).expect("data");
        assert_eq!((seen(&batches).len(), seen(&batches).len()), (3, 3));
        assert_eq!(source.1.load(Ordering::Relaxed), 3 + 1 + 6);
    }

    #[test]
    fn shuffles_repeat_and_limits_cut() {
        let source = Counting(100, AtomicUsize::new(0));
        let of = |seed, limit, size, pairs| {
            let cut = Cut { size, limit, seed, pairs, ..Cut::default() };
            seen(&Batches::new("test", &source, cut).expect("data"))
        };
        let shuffled = of(Some(1), None, 30, false);
        assert_eq!(shuffled, of(Some(1), None, 30, false));
        assert_ne!(shuffled, of(Some(2), None, 30, false));
        assert_eq!(of(Some(1), Some(2), 30, false), shuffled[..2]);
        let mut all = shuffled.concat();
        assert_ne!(all, (0..100).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(of(None, None, 33, true).len(), 3);
        assert_eq!(of(None, None, 33, false).len(), 4);
    }

    #[test]
    fn nothing_is_an_error() {
        let of = |n, cut| Batches::new("test", &Counting(n, AtomicUsize::new(0)), cut).map(|b| b.count());
        assert!(of(0, Cut::default()).is_err());
        assert!(of(5, Cut { size: 0, ..Cut::default() }).is_err());
        assert!(of(5, Cut { limit: Some(0), ..Cut::default() }).is_err());
    }
}
