//! The recipe's graph from left to right.
//!
//! Edges that pass a column get a place of their own in it, and columns are ordered by the mean of their neighbours' places
//! (Sugiyama et al., 1981), so that lines go around boxes and seldom cross.

use crate::model::Graph;
use crate::svg::canvas::{Anchor, Canvas, Font, Layer, Rect, fit};
use crate::svg::frame::{self, EDGE, TICK, WIDTH};
use crate::svg::theme::{AXIS, BOX, INK, MUTED};

const BOX_W: f64 = 132.0;
const BOX_H: f64 = 42.0;
/// Between two boxes of a column, and the height of a passing edge.
const GAP: f64 = 14.0;
const PASS: f64 = 6.0;
/// Least distance between two columns.
const BETWEEN: f64 = 34.0;
/// Sweeps over all columns; few graphs change after the second.
const SWEEPS: usize = 6;

/// A place in a column: a node, or an edge that passes.
struct Item {
    node: Option<usize>,
    column: usize,
    before: Vec<usize>,
    after: Vec<usize>,
    /// Place in the column, from the top.
    rank: usize,
    y: f64,
}

/// Draws a graph whose edges lead to nodes.
pub(crate) fn draw(graph: &Graph) -> Canvas {
    if graph.nodes.is_empty() {
        return frame::empty("", &[]);
    }
    let (mut items, chains) = items(graph);
    let columns = order(&mut items);
    let heights: Vec<f64> =
        columns.iter().map(|column| column.iter().map(|k| tall(&items[*k])).sum()).collect();
    let height = heights.iter().copied().fold(0.0, f64::max) - GAP;
    for (column, used) in columns.iter().zip(&heights) {
        let mut y = EDGE + (height - (used - GAP)) / 2.0;
        for k in column {
            items[*k].y = y + (tall(&items[*k]) - GAP) / 2.0;
            y += tall(&items[*k]);
        }
    }
    let between = (WIDTH - 2.0 * EDGE - BOX_W * columns.len() as f64) / (columns.len().max(2) - 1) as f64;
    let step = BOX_W + between.clamp(BETWEEN, 90.0);
    let wide = 2.0 * EDGE + step * (columns.len() - 1) as f64 + BOX_W;
    let left = |item: &Item| EDGE + item.column as f64 * step;

    let mut canvas = Canvas::new(wide, height + 2.0 * EDGE);
    canvas.layer(Layer::default().round(), |pen| {
        for chain in &chains {
            let mut line: Vec<(f64, f64)> = Vec::new();
            for pair in chain.windows(2) {
                let (from, to) = (&items[pair[0]], &items[pair[1]]);
                line.extend(bend((left(from) + BOX_W, from.y), (left(to), to.y)));
            }
            pen.line(&line, AXIS, 1.4);
            if let Some((x, y)) = line.last() {
                pen.polygon(&[(*x, *y), (x - 7.0, y - 4.0), (x - 7.0, y + 4.0)], AXIS, 1.0);
            }
        }
    });
    for item in &items {
        let Some(node) = item.node.map(|node| &graph.nodes[node]) else { continue };
        let (x, y) = (left(item), item.y);
        let what = match (node.verb.as_str(), node.method.as_str()) {
            (verb, "") => verb.to_owned(),
            ("", method) => method.to_owned(),
            (verb, method) => format!("{verb} {method}"),
        };
        canvas.layer(Layer::titled(&format!("{}: {what}", node.name)), |pen| {
            let area = Rect::new(x, y - BOX_H / 2.0, BOX_W, BOX_H);
            pen.rect(area, BOX, 1.0);
            pen.outline(area, AXIS, 1.0);
            let font = Font { bold: true, ..Font::new(12.5, INK, Anchor::Middle) };
            let middle = x + BOX_W / 2.0;
            pen.text((middle, y - 8.0), &fit(&node.name, 13.5, BOX_W - 10.0), font);
            pen.text(
                (middle, y + 9.5),
                &fit(&what, TICK, BOX_W - 10.0),
                Font::new(TICK, MUTED, Anchor::Middle),
            );
        });
    }
    canvas
}

fn tall(item: &Item) -> f64 {
    GAP + if item.node.is_some() { BOX_H } else { PASS }
}

/// Items of all nodes and passing edges, and each edge as a chain of items.
fn items(graph: &Graph) -> (Vec<Item>, Vec<Vec<usize>>) {
    let item = |node, column| Item { node, column, before: Vec::new(), after: Vec::new(), rank: 0, y: 0.0 };
    // Columns without a node would be wide gaps.
    let mut used: Vec<usize> = graph.nodes.iter().map(|node| node.column).collect();
    used.sort_unstable();
    used.dedup();
    let column = |node: usize| used.binary_search(&graph.nodes[node].column).unwrap_or(0);
    let mut items: Vec<Item> = (0..graph.nodes.len()).map(|node| item(Some(node), column(node))).collect();
    let mut chains = Vec::new();
    for (from, to) in &graph.edges {
        let mut chain = vec![*from];
        for between in column(*from) + 1..column(*to) {
            chain.push(items.len());
            items.push(item(None, between));
        }
        chain.push(*to);
        for pair in chain.windows(2) {
            items[pair[0]].after.push(pair[1]);
            items[pair[1]].before.push(pair[0]);
        }
        chains.push(chain);
    }
    (items, chains)
}

/// The columns with their items from top to bottom.
fn order(items: &mut [Item]) -> Vec<Vec<usize>> {
    let count = items.iter().map(|item| item.column + 1).max().unwrap_or(0);
    let mut columns = vec![Vec::new(); count];
    for (k, item) in items.iter_mut().enumerate() {
        item.rank = columns[item.column].len();
        columns[item.column].push(k);
    }
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        for step in 0..count {
            let column = &mut columns[if forward { step } else { count - 1 - step }];
            let mean = |k: &usize| {
                let item = &items[*k];
                let near = if forward { &item.before } else { &item.after };
                if near.is_empty() {
                    return item.rank as f64;
                }
                near.iter().map(|k| items[*k].rank as f64).sum::<f64>() / near.len() as f64
            };
            column.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
            for (rank, k) in column.iter().enumerate() {
                items[*k].rank = rank;
            }
        }
    }
    columns
}

/// A bend that leaves and arrives level.
fn bend(from: (f64, f64), to: (f64, f64)) -> Vec<(f64, f64)> {
    (0..=14)
        .map(|step| {
            let t = f64::from(step) / 14.0;
            let ease = t * t * (3.0 - 2.0 * t);
            (from.0 + (to.0 - from.0) * t, from.1 + (to.1 - from.1) * ease)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Node;

    #[test]
    fn an_edge_that_passes_a_column_goes_around_its_boxes() {
        let node = |name: &str, column| Node { name: name.to_owned(), column, ..Node::default() };
        let graph = Graph {
            nodes: vec![node("a", 0), node("b", 1), node("c", 7)],
            edges: vec![(0, 1), (1, 2), (0, 2)],
        };
        let (mut items, chains) = items(&graph);
        let columns = order(&mut items);
        assert_eq!(columns.len(), 3, "column 7 is the third");
        assert_eq!(columns[1].len(), 2, "b and the edge from a to c");
        assert_eq!(chains[2].len(), 3);
    }

    #[test]
    fn crossings_are_undone() {
        let node = |name: &str, column| Node { name: name.to_owned(), column, ..Node::default() };
        let graph = Graph {
            nodes: vec![node("a", 0), node("b", 0), node("x", 1), node("y", 1)],
            edges: vec![(0, 3), (1, 2)],
        };
        let (mut items, _) = items(&graph);
        order(&mut items);
        assert_eq!(items[0].rank < items[1].rank, items[3].rank < items[2].rank);
    }
}
