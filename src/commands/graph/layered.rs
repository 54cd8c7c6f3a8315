//! Where boxes stand: a column per distance from the inputs, and within a column in the order of what they are connected to,
//! so that few arrows cross.

use fusion_core::plan::GraphView;

/// Sweeps of ordering by the neighbours' average place; more change little.
const SWEEPS: usize = 6;

/// Column and row of each box.
pub(super) fn places(view: &GraphView) -> Vec<(usize, usize)> {
    let count = view.boxes.len();
    let mut column = vec![0_usize; count];
    // Boxes come in topological order, so one look at the arrows into each is enough.
    for to in 0..count {
        let before =
            view.edges.iter().filter(|edge| edge.to == to && edge.from < to).map(|edge| column[edge.from]);
        column[to] = before.max().map_or(0, |last| last + 1);
    }
    // An input stands just before its first user rather than far away.
    for from in (0..count).rev() {
        let after = view.edges.iter().filter(|edge| edge.from == from).map(|edge| column[edge.to]).min();
        if let Some(first) = after
            && !view.edges.iter().any(|edge| edge.to == from)
        {
            column[from] = first.saturating_sub(1);
        }
    }
    let columns = column.iter().max().map_or(0, |last| last + 1);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); columns];
    for (index, at) in column.iter().enumerate() {
        order[*at].push(index);
    }
    let mut row = vec![0.0; count];
    let number = |order: &[Vec<usize>], row: &mut [f64]| {
        for boxes in order {
            for (place, index) in boxes.iter().enumerate() {
                row[*index] = place as f64 - boxes.len() as f64 / 2.0;
            }
        }
    };
    number(&order, &mut row);
    for sweep in 0..SWEEPS {
        for boxes in &mut order {
            let average = |index: usize| {
                let near: Vec<f64> = view
                    .edges
                    .iter()
                    .filter_map(|edge| match sweep % 2 {
                        0 => (edge.to == index).then(|| row[edge.from]),
                        _ => (edge.from == index).then(|| row[edge.to]),
                    })
                    .collect();
                if near.is_empty() { row[index] } else { near.iter().sum::<f64>() / near.len() as f64 }
            };
            let mut keyed: Vec<(f64, usize)> = boxes.iter().map(|index| (average(*index), *index)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            *boxes = keyed.into_iter().map(|(_, index)| index).collect();
        }
        number(&order, &mut row);
    }
    let mut places = vec![(0, 0); count];
    for (at, boxes) in order.iter().enumerate() {
        for (place, index) in boxes.iter().enumerate() {
            places[*index] = (at, place);
        }
    }
    places
}
