//! Activations by unit: which places of a network show which nodes, and their values as rows of a matrix, checked.

use fusion_sdk::align::{Candidate, Features, Rows as Seen, Tap, Watched, When};
use fusion_sdk::symmetry::{Factor, NodeId, Symmetries};
use fusion_sdk::{ErrorKind, MethodError};

use crate::rows::{Rows, units_of};

/// A place that shows a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The node.
    pub(crate) node: NodeId,
    /// Which of the taps that are wanted.
    pub(crate) tap: usize,
    /// Products of its axis.
    pub(crate) segments: Vec<usize>,
}

/// What is watched in a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Views {
    /// Indices of taps.
    pub(crate) taps: Vec<usize>,
    /// Which nodes they show, in the order of the taps.
    pub(crate) views: Vec<View>,
}

impl Views {
    /// All places of one kind that show one of the nodes with all that it lies in, and none that lies in it.
    pub(crate) fn new(symmetries: &Symmetries, taps: &[Tap], when: When, nodes: &[NodeId]) -> Views {
        let mut found = Views::default();
        for (index, tap) in taps.iter().enumerate().filter(|(_, tap)| tap.when == when) {
            let mut views = Vec::new();
            for &node in nodes {
                let shows = |segment: &usize| {
                    let product = &tap.units[*segment];
                    let inner = |factor: &Factor| match factor {
                        Factor::Node(id) => symmetries.node(*id).parents.contains(&node),
                        Factor::Pinned(_) => false,
                    };
                    !product.iter().any(inner) && units_of(symmetries, node, product).is_some()
                };
                let segments: Vec<usize> = (0..tap.units.len()).filter(shows).collect();
                if !segments.is_empty() {
                    views.push(View { node, tap: found.taps.len(), segments });
                }
            }
            if !views.is_empty() {
                found.taps.push(index);
                found.views.extend(views);
            }
        }
        found
    }

    /// Both, in one pass.
    pub(crate) fn and(mut self, other: Views) -> Views {
        let first = self.taps.len();
        self.taps.extend(other.taps);
        self.views.extend(other.views.into_iter().map(|view| View { tap: first + view.tap, ..view }));
        self
    }

    /// Runs the data once through all models and hands over, batch by batch, what a view shows of each: a row for each unit, in its own model's
    /// order. Every view is visited in every batch.
    ///
    /// # Errors
    /// A model cannot be run, an activation is not finite, or what `visit` fails with.
    pub(crate) fn pass(
        &self,
        features: &mut dyn Features,
        models: &[Candidate<'_>],
        mut visit: impl FnMut(usize, &[Rows]) -> Result<(), MethodError>,
    ) -> Result<(), MethodError> {
        let all = features.taps().to_vec();
        let mut watched = Vec::with_capacity(models.len());
        for (candidate, model) in models.iter().enumerate() {
            let vectors = model.vectors.ok_or_else(|| {
                MethodError::invalid(format!(
                    "`{}` is a checkpoint without a network: it has no activations",
                    model.name
                ))
                .of_input(candidate)
                .help("give it an architecture, or match by weights")
            })?;
            watched.push(Watched { candidate, vectors });
        }
        features.pass(&watched, &self.taps, &mut |batch| {
            for (model, taps) in models.iter().zip(batch) {
                for (tap, seen) in self.taps.iter().zip(taps) {
                    if let Some(value) = seen.values.iter().find(|value| !value.is_finite()) {
                        let layer = &all[*tap].layer;
                        let message = format!("an activation of `{layer}` of `{}` is {value}", model.name);
                        return Err(MethodError::new(ErrorKind::Failed, message)
                            .help("its training has diverged, or the data are not what it was trained on"));
                    }
                }
            }
            for (index, view) in self.views.iter().enumerate() {
                let tap = &all[self.taps[view.tap]];
                let rows: Option<Vec<Rows>> = models
                    .iter()
                    .zip(batch)
                    .map(|(model, taps)| view.rows(model.symmetries, tap, taps.get(view.tap)?))
                    .collect();
                let rows = rows.ok_or_else(|| {
                    MethodError::invalid(format!(
                        "the activations of `{}` are not those of its units",
                        tap.layer
                    ))
                })?;
                visit(index, &rows)?;
            }
            Ok(())
        })
    }
}

impl View {
    /// A row for each unit; columns are examples and what stays beside the units.
    fn rows(&self, symmetries: &Symmetries, tap: &Tap, seen: &Seen<'_>) -> Option<Rows> {
        let lengths: Vec<usize> =
            tap.units.iter().map(|product| symmetries.product_length(product)).collect();
        if seen.width == 0 || lengths.iter().sum::<usize>() != seen.width {
            return None;
        }
        let rows = symmetries.copies(self.node) * symmetries.node(self.node).size;
        let examples = seen.values.len() / seen.width;
        let mut places = Vec::new();
        let mut rest = 0;
        for &segment in &self.segments {
            let start: usize = lengths[..segment].iter().sum();
            let units = units_of(symmetries, self.node, &tap.units[segment])?;
            let wide = units.len() / rows;
            places
                .extend(units.into_iter().enumerate().map(|(at, (row, own))| (start + at, row, rest + own)));
            rest += wide;
        }
        let columns = examples * rest;
        let mut out = Rows { rows, columns, values: vec![0.0; rows * columns] };
        for (example, values) in seen.values.chunks_exact(seen.width).enumerate() {
            for &(from, row, own) in &places {
                out.values[row * columns + example * rest + own] = f64::from(values[from]);
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_rows_of_units() {
        let symmetries = Symmetries::parse("node h[2]\nnode d[2] in h\nw = h · d, h · pin[2]\n").unwrap();
        let axes = &symmetries.tensors[0].axes;
        let tap =
            |axis: usize, when| Tap { layer: format!("l{axis}"), when, units: axes[axis].segments.clone() };
        let taps = [tap(0, When::Before), tap(1, When::Before), tap(1, When::After)];
        let nodes: Vec<NodeId> = symmetries.ids().collect();
        let views = Views::new(&symmetries, &taps, When::Before, &nodes);
        assert_eq!(views.taps, [0, 1]);
        let found: Vec<_> = views.views.iter().map(|view| (view.node, view.tap)).collect();
        assert_eq!(found, [(NodeId(1), 0), (NodeId(0), 1)]);
        let values: Vec<f32> = (0..8).map(|value| value as f32).collect();
        let seen = Seen { width: 4, values: &values };
        let d = views.views[0].rows(&symmetries, &taps[0], &seen).unwrap();
        assert_eq!((d.rows, d.columns, d.row(3)), (4, 2, &[3.0, 7.0][..]));
        let h = views.views[1].rows(&symmetries, &taps[1], &seen).unwrap();
        assert_eq!((h.rows, h.columns, h.row(1)), (2, 4, &[2.0, 3.0, 6.0, 7.0][..]));
        assert_eq!(views.views[0].rows(&symmetries, &taps[0], &Seen { width: 3, values: &values }), None);
    }
}
