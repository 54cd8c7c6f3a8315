//! Transport between units where one need not go with one: how much of each unit of one model goes to each unit of another, for marginals
//! of any mass, at least cost or with entropy.

pub mod emd;
pub mod sinkhorn;

use fusion_sdk::{ErrorKind, MethodError};

pub use emd::emd;
pub use sinkhorn::sinkhorn;

/// A transport plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Units that mass comes from.
    pub rows: usize,
    /// Units that it goes to.
    pub columns: usize,
    /// Mass from each row to each column, row-major; at least 0.
    pub values: Vec<f64>,
    /// Σ P·C, in f64.
    pub cost: f64,
    /// Iterations until it was found.
    pub iterations: usize,
    /// Σᵢ |Σⱼ Pᵢⱼ − μᵢ|: how far its rows are from their marginals. Columns fit to rounding.
    pub error: f64,
}

/// A transport problem that has no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransportError {
    /// The costs are not as many as the marginals ask for.
    #[error("{found} costs were given for {rows} rows and {columns} columns")]
    Length {
        /// Costs.
        found: usize,
        /// Row marginals.
        rows: usize,
        /// Column marginals.
        columns: usize,
    },
    /// A cost is NaN or infinite.
    #[error("the cost of row {row} and column {column} is not finite")]
    Cost {
        /// Row.
        row: usize,
        /// Column.
        column: usize,
    },
    /// A marginal is negative, NaN or infinite.
    #[error("marginal {index} of the {side} is {value}; it must be finite and at least 0")]
    Marginal {
        /// `rows` or `columns`.
        side: &'static str,
        /// Which.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// The sides have different mass, or none.
    #[error("the rows have mass {rows}, the columns {columns}: a plan needs the same mass above 0 on both")]
    Mass {
        /// Of all rows.
        rows: f64,
        /// Of all columns.
        columns: f64,
    },
    /// The regularisation is not a positive number.
    #[error("the regularisation is {0}; it must be finite and above 0")]
    Regularisation(f64),
}

/// Whether costs and marginals make a problem: see [`TransportError`]. Masses may differ by 10⁻⁹ of themselves.
///
/// # Errors
/// See [`TransportError`].
pub fn check(cost: &[f64], mu: &[f64], nu: &[f64]) -> Result<(), TransportError> {
    let (rows, columns) = (mu.len(), nu.len());
    if rows.checked_mul(columns) != Some(cost.len()) {
        return Err(TransportError::Length { found: cost.len(), rows, columns });
    }
    if let Some(at) = cost.iter().position(|value| !value.is_finite()) {
        return Err(TransportError::Cost { row: at / columns, column: at % columns });
    }
    for (side, marginals) in [("rows", mu), ("columns", nu)] {
        if let Some(index) = marginals.iter().position(|value| !(*value >= 0.0 && value.is_finite())) {
            return Err(TransportError::Marginal { side, index, value: marginals[index] });
        }
    }
    let (rows, columns) = (mu.iter().sum::<f64>(), nu.iter().sum::<f64>());
    if rows > 0.0 && (rows - columns).abs() <= 1e-9 * rows {
        return Ok(());
    }
    Err(TransportError::Mass { rows, columns })
}

impl From<TransportError> for MethodError {
    fn from(error: TransportError) -> MethodError {
        MethodError::new(ErrorKind::Failed, error.to_string())
    }
}
