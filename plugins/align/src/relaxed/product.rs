//! Matrices along the middle index of an array.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// out[o, x, i] = Σ_y matrix[x, y] · array[o, y, i]. One thread, so the sums' order is fixed.
pub(super) fn along(matrix: &[f64], array: &[f64], outer: usize, length: usize, inner: usize) -> Vec<f64> {
    let mut out = vec![0.0; array.len()];
    let matrix = MatRef::from_row_major_slice(matrix, length, length);
    if inner == 1 {
        let array = MatRef::from_row_major_slice(array, outer, length);
        let target = MatMut::from_row_major_slice_mut(&mut out, outer, length);
        matmul(target, Accum::Replace, array, matrix.transpose(), 1.0, Par::Seq);
        return out;
    }
    let size = (length * inner).max(1);
    for (target, array) in out.chunks_exact_mut(size).zip(array.chunks_exact(size)) {
        let array = MatRef::from_row_major_slice(array, length, inner);
        let target = MatMut::from_row_major_slice_mut(target, length, inner);
        matmul(target, Accum::Replace, matrix, array, 1.0, Par::Seq);
    }
    out
}

/// sums[x, y] += Σ_{o, i} a[o, x, i] · b[o, y, i].
pub(super) fn contract(a: &[f64], b: &[f64], outer: usize, length: usize, inner: usize, sums: &mut [f64]) {
    if a.is_empty() {
        return;
    }
    let mut sums = MatMut::from_row_major_slice_mut(sums, length, length);
    if inner == 1 {
        let (a, b) =
            (MatRef::from_row_major_slice(a, outer, length), MatRef::from_row_major_slice(b, outer, length));
        return matmul(sums, Accum::Add, a.transpose(), b, 1.0, Par::Seq);
    }
    for (a, b) in a.chunks_exact(length * inner).zip(b.chunks_exact(length * inner)) {
        let (a, b) =
            (MatRef::from_row_major_slice(a, length, inner), MatRef::from_row_major_slice(b, length, inner));
        matmul(sums.as_mut(), Accum::Add, a, b.transpose(), 1.0, Par::Seq);
    }
}
