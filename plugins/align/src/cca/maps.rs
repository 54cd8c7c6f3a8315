//! The maps of one node, from the covariances of both models.

use faer::{Mat, MatRef, Side};
use fusion_sdk::alignment::{Matrix, Mix};

/// T and T⁻¹ from the covariances of 2n units, the first n those of the reference; and the sum of the canonical correlations.
///
/// # Errors
/// No unit of one of the models ever changes, or a decomposition fails.
pub(super) fn maps(covariances: &[f64], size: usize, ridge: f64) -> Result<(Mix, f64), String> {
    let all = MatRef::from_row_major_slice(covariances, 2 * size, 2 * size);
    let own = roots(all.submatrix(0, 0, size, size), ridge)?;
    let other = roots(all.submatrix(size, size, size, size), ridge)?;
    let whitened = &own.inverse * all.submatrix(0, size, size, size) * &other.inverse;
    let svd = whitened.svd().map_err(|_| "its correlations have no singular values".to_owned())?;
    let rotation = svd.U() * svd.V().transpose();
    let correlations = svd.S().column_vector().iter().sum();
    let merge = &own.root * &rotation * &other.inverse;
    let unmerge = &other.root * rotation.transpose() * &own.inverse;
    Ok((Mix { merge: matrix(&merge), unmerge: matrix(&unmerge) }, correlations))
}

/// C^{½} and C^{−½}.
struct Roots {
    root: Mat<f64>,
    inverse: Mat<f64>,
}

fn roots(covariance: MatRef<'_, f64>, ridge: f64) -> Result<Roots, String> {
    let size = covariance.nrows();
    let mean = (0..size).map(|at| covariance[(at, at)]).sum::<f64>() / size as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return Err("no unit ever changes on this data".to_owned());
    }
    let eigen = covariance
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| "its covariance has no eigenvalues".to_owned())?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let power = |exponent: f64| {
        let mut scaled = vectors.to_owned();
        for column in 0..size {
            // Rounding may leave a value below 0.
            let factor = (values[column].max(0.0) + ridge * mean).powf(exponent);
            for row in 0..size {
                scaled[(row, column)] *= factor;
            }
        }
        scaled * vectors.transpose()
    };
    Ok(Roots { root: power(0.5), inverse: power(-0.5) })
}

fn matrix(values: &Mat<f64>) -> Matrix {
    let (rows, columns) = (values.nrows(), values.ncols());
    let values = (0..rows * columns).map(|at| values[(at / columns, at % columns)]).collect();
    Matrix { rows, columns, values }
}
