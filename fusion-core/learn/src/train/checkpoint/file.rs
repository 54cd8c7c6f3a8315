//! Vectors on their way into and out of a safetensors file.

use std::borrow::Cow;

use fusion_network::Flat;
use safetensors::{Dtype, SafeTensors, View};

/// A vector on its way into a file.
pub(super) enum Vector<'a> {
    Single(Cow<'a, [f32]>),
    Double(Cow<'a, [f64]>),
}

/// With its shape, which a view lends.
pub(super) struct Tensor<'a>(Vector<'a>, [usize; 1]);

impl View for &Tensor<'_> {
    fn dtype(&self) -> Dtype {
        match self.0 {
            Vector::Single(_) => Dtype::F32,
            Vector::Double(_) => Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.1
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Vector::Single(values) => bytemuck::cast_slice(values).into(),
            Vector::Double(values) => bytemuck::cast_slice(values).into(),
        }
    }

    fn data_len(&self) -> usize {
        match &self.0 {
            Vector::Single(values) => size_of_val(&values[..]),
            Vector::Double(values) => size_of_val(&values[..]),
        }
    }
}

/// Names a vector.
pub(super) fn add<'a>(tensors: &mut Vec<(String, Tensor<'a>)>, name: String, vector: Vector<'a>) {
    let len = match &vector {
        Vector::Single(values) => values.len(),
        Vector::Double(values) => values.len(),
    };
    tensors.push((name, Tensor(vector, [len])));
}

/// Names the vectors of a model.
pub(super) fn flat<'a>(tensors: &mut Vec<(String, Tensor<'a>)>, name: &str, flat: &'a Flat) {
    add(tensors, format!("{name}.weights"), Vector::Single((&flat.weights[..]).into()));
    add(tensors, format!("{name}.statistics"), Vector::Single((&flat.statistics[..]).into()));
}

/// The vectors of a file.
pub(super) struct File<'a>(pub SafeTensors<'a>);

impl File<'_> {
    fn vector<const N: usize>(&self, name: &str, dtype: Dtype) -> Result<&[[u8; N]], String> {
        let view = self.0.tensor(name).map_err(|error| format!("`{name}`: {error}"))?;
        match view.dtype() == dtype {
            true => Ok(view.data().as_chunks().0),
            false => Err(format!("`{name}` has type {:?}", view.dtype())),
        }
    }

    pub(super) fn single(&self, name: &str) -> Result<Vec<f32>, String> {
        Ok(self.vector(name, Dtype::F32)?.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    pub(super) fn double(&self, name: &str) -> Result<Vec<f64>, String> {
        Ok(self.vector(name, Dtype::F64)?.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
    }

    pub(super) fn fill(&self, name: &str, target: &mut Vec<f32>) -> Result<(), String> {
        let values = self.single(name)?;
        if values.len() != target.len() {
            return Err(format!("`{name}` has {} numbers, {} are needed", values.len(), target.len()));
        }
        *target = values;
        Ok(())
    }
}
