//! Products of panels: K += A · Bᵀ over long rows, in fixed blocks.

use std::sync::{Mutex, PoisonError};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use fusion_sdk::{Context, MethodError};

use super::block::Layout;
use super::real::Real;

/// Terms that are summed in the products' own precision.
pub(super) const PANEL: usize = 512;

/// Rows of K that are computed at a time.
const ROWS: usize = 128;

/// Elements of each model that are packed at a time.
const PACKED: usize = 1 << 22;

/// Products that are worth a second thread.
const SHARED: usize = 1 << 20;

/// Adds Σ_r a[x, r] · b[y, r] to `sums[x, y]`, with elements where the layout has them.
pub(super) fn accumulate<T: Real>(
    context: Context<'_>,
    a: &[T],
    b: &[T],
    layout: &Layout,
    sums: &mut [f64],
) -> Result<(), MethodError> {
    let (units, terms) = (layout.units.len(), layout.own.len());
    if units == 0 || terms == 0 {
        return Ok(());
    }
    // Whether units lie side by side, as the columns of a matrix; then panels are packed term by term.
    let side_by_side = layout.units.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let step = (PACKED / units / PANEL).max(1) * PANEL;
    let shared = units * units * terms.min(step) >= SHARED;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for first in (0..terms).step_by(step) {
        let count = step.min(terms - first);
        let range = first..first + count;
        let parts = Parts { units: &layout.units, side_by_side, shared };
        let regular = regular(a, &layout.units, &layout.own[range.clone()]);
        if regular.is_none() {
            left.resize(units * count, T::default());
            pack(context, a, parts, &layout.own[range.clone()], None, &mut left)?;
        }
        right.resize(units * count, T::default());
        let off = layout.left.as_ref().map(|off| &off[range.clone()]);
        pack(context, b, parts, &layout.brought[range], off, &mut right)?;
        let body = |first_row: usize, target: &mut [f64]| {
            let rows = target.len() / units;
            let mut product = vec![T::default(); rows * units];
            for start in (0..count).step_by(PANEL) {
                let length = PANEL.min(count - start);
                matmul(
                    MatMut::from_row_major_slice_mut(&mut product, rows, units),
                    Accum::Replace,
                    match regular {
                        Some(matrix) => matrix.submatrix(first_row, start, rows, length),
                        None => {
                            let rows = first_row..first_row + rows;
                            view(&left, units, count, side_by_side, rows, start, length)
                        }
                    },
                    view(&right, units, count, side_by_side, 0..units, start, length).transpose(),
                    T::ONE,
                    Par::Seq,
                );
                fusion_sdk::simd(
                    #[inline(always)]
                    || target.iter_mut().zip(&product).for_each(|(sum, value)| *sum += value.wide()),
                );
            }
        };
        if !shared {
            sums.chunks_mut(ROWS * units).enumerate().for_each(|(index, target)| body(index * ROWS, target));
            continue;
        }
        let targets: Vec<Mutex<&mut [f64]>> = sums.chunks_mut(ROWS * units).map(Mutex::new).collect();
        context.for_each(targets.len(), |index| {
            body(index * ROWS, &mut targets[index].lock().unwrap_or_else(PoisonError::into_inner));
            Ok(())
        })?;
    }
    Ok(())
}

/// Elements as a matrix [units, terms] where they lie, if either goes in single steps and the other in equal ones.
fn regular<'a, T>(values: &'a [T], units: &[usize], terms: &[usize]) -> Option<MatRef<'a, T>> {
    let step = |offsets: &[usize]| {
        let step = offsets.get(1).map_or(Some(1), |second| second.checked_sub(offsets[0]))?;
        offsets.windows(2).all(|pair| pair[1] == pair[0] + step).then_some(step)
    };
    let first = &values[units[0] + terms[0]..];
    match (step(units)?, step(terms)?) {
        (1, column) => {
            Some(MatRef::from_column_major_slice_with_stride(first, units.len(), terms.len(), column))
        }
        (row, 1) => Some(MatRef::from_row_major_slice_with_stride(first, units.len(), terms.len(), row)),
        _ => None,
    }
}

/// Some units and terms of a packed panel as a matrix [units, terms].
fn view<T>(
    packed: &[T],
    units: usize,
    terms: usize,
    side_by_side: bool,
    rows: std::ops::Range<usize>,
    start: usize,
    length: usize,
) -> MatRef<'_, T> {
    let count = rows.len();
    match side_by_side {
        true => {
            let first = &packed[start * units + rows.start..];
            MatRef::from_column_major_slice_with_stride(first, count, length, units)
        }
        false => {
            let first = &packed[rows.start * terms + start..];
            MatRef::from_row_major_slice_with_stride(first, count, length, terms)
        }
    }
}

/// How a panel is packed.
#[derive(Clone, Copy)]
struct Parts<'a> {
    units: &'a [usize],
    side_by_side: bool,
    shared: bool,
}

/// Copies elements into a dense panel, or differences of elements: term by term if units lie side by side, otherwise unit by unit.
fn pack<T: Real>(
    context: Context<'_>,
    from: &[T],
    parts: Parts<'_>,
    terms: &[usize],
    off: Option<&[usize]>,
    out: &mut [T],
) -> Result<(), MethodError> {
    let units = parts.units;
    let inner = if parts.side_by_side { units.len() } else { terms.len() };
    let run = |first: usize, target: &mut [T]| {
        for (row, target) in target.chunks_mut(inner).enumerate() {
            let row = first + row;
            if parts.side_by_side {
                let source = |offset: usize| &from[offset + units[0]..][..units.len()];
                target.copy_from_slice(source(terms[row]));
                if let Some(off) = off {
                    target.iter_mut().zip(source(off[row])).for_each(|(to, value)| *to -= *value);
                }
            } else {
                let from = &from[units[row]..];
                target.iter_mut().zip(terms).for_each(|(to, offset)| *to = from[*offset]);
                if let Some(off) = off {
                    target.iter_mut().zip(off).for_each(|(to, offset)| *to -= from[*offset]);
                }
            }
        }
    };
    let outer = if parts.side_by_side { terms.len() } else { units.len() };
    let rows = outer.div_ceil(16).max(1);
    if !parts.shared {
        run(0, out);
        return Ok(());
    }
    let targets: Vec<Mutex<&mut [T]>> = out.chunks_mut(rows * inner).map(Mutex::new).collect();
    context.for_each(targets.len(), |index| {
        run(index * rows, &mut targets[index].lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    })
}
