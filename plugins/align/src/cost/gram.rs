//! Products of panels: K += A · Bᵀ over long rows, in fixed blocks.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use fusion_sdk::{Context, MethodError};

use super::block::Layout;
use super::real::Real;

/// Terms that are summed in the products' own precision.
pub(super) const PANEL: usize = 512;

/// Rows of K that are computed at a time.
const ROWS: usize = 256;

/// Elements of each model that are packed at a time.
const PACKED: usize = 1 << 21;

/// Products that are worth a second thread.
const SHARED: usize = 1 << 20;

/// What one tensor adds to costs: the values of both models, and where its elements are.
pub(super) struct Part<'a, T> {
    pub(super) a: &'a [T],
    pub(super) b: &'a [T],
    pub(super) layout: &'a Layout,
}

/// Some terms of a part, and where they are packed: in the first model as they lie, if that is a matrix.
struct Panel<'a, T> {
    part: &'a Part<'a, T>,
    terms: Range<usize>,
    side_by_side: bool,
    regular: Option<MatRef<'a, T>>,
    left: usize,
    right: usize,
}

/// Memory that is used again from one product to the next.
#[derive(Debug, Default)]
pub(crate) struct Room<T> {
    left: Vec<T>,
    right: Vec<T>,
    products: Mutex<Vec<Vec<T>>>,
}

/// Adds Σ_r a[x, r] · b[y, r] to `sums[x, y]` for all parts, with elements where their layouts have them. Parts have the same number of units.
pub(super) fn accumulate<T: Real>(
    context: Context<'_>,
    parts: &[Part<'_, T>],
    room: &mut Room<T>,
    sums: &mut [f64],
) -> Result<(), MethodError> {
    let units = parts.first().map_or(0, |part| part.layout.units.len());
    if units == 0 {
        return Ok(());
    }
    // Groups of panels that are packed at a time.
    let step = (PACKED / units / PANEL).max(1) * PANEL;
    let mut group: Vec<Panel<'_, T>> = Vec::new();
    let mut packed = 0;
    for part in parts {
        // Whether units lie side by side, as the columns of a matrix; then panels are packed term by term.
        let side_by_side = part.layout.units.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let all = part.layout.own.len();
        let mut first = 0;
        while first < all {
            let last = all.min(first + step - packed);
            let regular = match part.layout.left {
                Some(_) => None,
                None => regular(part.a, &part.layout.units, &part.layout.own[first..last]),
            };
            group.push(Panel { part, terms: first..last, side_by_side, regular, left: 0, right: 0 });
            packed += last - first;
            first = last;
            if packed == step {
                multiply(context, units, &mut group, room, sums)?;
                group.clear();
                packed = 0;
            }
        }
    }
    multiply(context, units, &mut group, room, sums)
}

/// Packs panels and adds their products.
fn multiply<T: Real>(
    context: Context<'_>,
    units: usize,
    panels: &mut [Panel<'_, T>],
    room: &mut Room<T>,
    sums: &mut [f64],
) -> Result<(), MethodError> {
    let all: usize = panels.iter().map(|panel| panel.terms.len()).sum();
    if all == 0 {
        return Ok(());
    }
    let shared = units * units * all >= SHARED;
    let (mut left, mut right) = (0, 0);
    for panel in panels.iter_mut() {
        (panel.left, panel.right) = (left, right);
        left += if panel.regular.is_some() { 0 } else { units * panel.terms.len() };
        right += units * panel.terms.len();
    }
    for (room, length) in [(&mut room.left, left), (&mut room.right, right)] {
        if room.len() < length {
            room.resize(length, T::default());
        }
    }
    for panel in panels.iter() {
        let layout = panel.part.layout;
        let length = units * panel.terms.len();
        let parts = Parts { units: &layout.units, side_by_side: panel.side_by_side, shared };
        if panel.regular.is_none() {
            let target = &mut room.left[panel.left..panel.left + length];
            pack(context, panel.part.a, parts, &layout.own[panel.terms.clone()], None, target)?;
        }
        let off = layout.left.as_ref().map(|off| &off[panel.terms.clone()]);
        let target = &mut room.right[panel.right..panel.right + length];
        pack(context, panel.part.b, parts, &layout.brought[panel.terms.clone()], off, target)?;
    }
    let (left, right, products) = (&room.left, &room.right, &room.products);
    let body = |first_row: usize, target: &mut [f64]| {
        let rows = target.len() / units;
        let free = || products.lock().unwrap_or_else(PoisonError::into_inner);
        let mut product = free().pop().unwrap_or_default();
        if product.len() < target.len() {
            product.resize(target.len(), T::default());
        }
        // Terms that the product holds.
        let mut held = 0;
        for panel in panels.iter() {
            let count = panel.terms.len();
            for start in (0..count).step_by(PANEL) {
                let length = PANEL.min(count - start);
                if held + length > PANEL {
                    add(&product, target);
                    held = 0;
                }
                let first = match panel.regular {
                    Some(matrix) => matrix.submatrix(first_row, start, rows, length),
                    None => {
                        let rows = first_row..first_row + rows;
                        view(&left[panel.left..], units, count, panel.side_by_side, rows, start, length)
                    }
                };
                let second = &right[panel.right..];
                let second = view(second, units, count, panel.side_by_side, 0..units, start, length);
                let into = MatMut::from_row_major_slice_mut(&mut product[..target.len()], rows, units);
                let how = if held == 0 { Accum::Replace } else { Accum::Add };
                matmul(into, how, first, second.transpose(), T::ONE, Par::Seq);
                held += length;
            }
        }
        add(&product, target);
        free().push(product);
    };
    if !shared {
        sums.chunks_mut(ROWS * units).enumerate().for_each(|(index, target)| body(index * ROWS, target));
        return Ok(());
    }
    let targets: Vec<Mutex<&mut [f64]>> = sums.chunks_mut(ROWS * units).map(Mutex::new).collect();
    context.for_each(targets.len(), |index| {
        body(index * ROWS, &mut targets[index].lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    })
}

fn add<T: Real>(product: &[T], target: &mut [f64]) {
    fusion_sdk::simd(
        #[inline(always)]
        || target.iter_mut().zip(product).for_each(|(sum, value)| *sum += value.wide()),
    );
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
