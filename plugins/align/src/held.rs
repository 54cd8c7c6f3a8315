//! Values of a model in memory, as a source: means of other models, models under a soft or trial transform, tests.

use fusion_sdk::MethodError;
use fusion_sdk::align::Source;

/// One vector for each tensor of the symmetries, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Held {
    /// In the order of the symmetries.
    pub(crate) tensors: Vec<Vec<f64>>,
}

impl Source for Held {
    fn read(&self, tensor: usize, start: usize, out: &mut [f32]) -> Result<(), MethodError> {
        let values = self.part(tensor, start, out.len())?;
        out.iter_mut().zip(values).for_each(|(to, value)| *to = *value as f32);
        Ok(())
    }

    fn read_f64(&self, tensor: usize, start: usize, out: &mut [f64]) -> Result<(), MethodError> {
        out.copy_from_slice(self.part(tensor, start, out.len())?);
        Ok(())
    }
}

impl Held {
    fn part(&self, tensor: usize, start: usize, length: usize) -> Result<&[f64], MethodError> {
        let values = self.tensors.get(tensor).and_then(|values| values.get(start..start + length));
        values.ok_or_else(|| MethodError::invalid("a tensor is shorter than its axes say"))
    }
}
