//! `cca`: units mixed by the linear maps under which the activations of two models correlate most, rather than permuted.
//!
//! For a node with activations x of the reference and y of the other model (one pass over the data, covariances in f64, summed over all
//! places that show the node):
//!   C_xx^{−½} C_xy C_yy^{−½} = U S Vᵀ;  T = C_xx^{½} U Vᵀ C_yy^{−½}
//! so y is whitened, rotated onto the canonical directions of x, and given the covariance of x: T C_yy Tᵀ = C_xx. The result's units are T y, and
//! what reads them is multiplied by T⁻¹ = C_yy^{½} V Uᵀ C_xx^{−½}; both are in the alignment as a map. C are covariances with `ridge` times
//! their mean variance added to the diagonal, so T and T⁻¹ exist with dead units too, and neither is larger than 1/√ridge times what it should be.
//! If the other model is the reference with its units permuted, T is that permutation, as far as units are not linear combinations of
//! others: what never varies may be rotated in any way.
//!
//! Between linear layers T cancels exactly; with ReLU between, an aligned model does not compute the same function, and only its average
//! with the reference is meant to be used. Statistics of normalisation are to be measured again.
//!
//! Nodes that others lie in (heads) stay, and what lies in them is mapped for each head on its own. Dimensions of queries and keys of
//! attention are not mapped unless a place in the network shows them.
//!
//! *Differences from the paper*: covariances of a residual stream are summed over its places; the ridge is relative.
//!
//! *Cost*: (2n)² f64 and one product of that size a batch for each place that shows a node of n units, then three decompositions of n³.
//!
//! Horoi, Camacho, Belilovsky, Wolf, "Harmony in diversity: merging neural networks with canonical correlation analysis", ICML 2024.

mod maps;

use fusion_sdk::align::{Align, Aligned, Incoming, Matching, When};
use fusion_sdk::alignment::{Alignment, Transform};
use fusion_sdk::symmetry::NodeId;
use fusion_sdk::{About, Category, Claim, ErrorKind, MethodError, Params, Words};

use crate::moments::Moments;
use crate::ports;
use crate::search;
use crate::watch::Views;

/// Where units are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Place {
    /// what the layer gives, before normalisation and activation
    Before,
    /// what the next layer takes in
    After,
}

/// Stage parameters of `cca`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct CcaParams {
    /// where units are watched
    #[param(default = Place::After)]
    pub place: Place,
    /// added to the diagonal of covariances, as a share of the mean variance
    #[param(above = 0, default = 1e-3)]
    pub ridge: f64,
}

/// The kernel of `cca`.
#[derive(Clone, Debug)]
pub struct Cca(CcaParams);

impl Align for Cca {
    type Params = CcaParams;

    fn about() -> About {
        About {
            id: "cca",
            version: 1,
            category: Category::Align,
            summary: "units mixed by the linear maps that canonical correlation finds",
            formula: "Cxx^(−½) Cxy Cyy^(−½) = U S Vᵀ;  merge T = Cxx^½ U Vᵀ Cyy^(−½), unmerge T⁻¹",
            citation: "Horoi et al., Harmony in diversity: merging neural networks with canonical correlation analysis, ICML 2024",
            ports: vec![
                ports::reference(),
                ports::from(1, None, "the models whose units are mixed"),
                ports::data(1),
            ],
            random: false,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: CcaParams, incoming: Incoming) -> Result<Self, MethodError> {
        search::at_least("cca", incoming, 2)?;
        Ok(Cca(params))
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let (models, context) = (matching.models, matching.context);
        ports::same(models)?;
        let (symmetries, others) = (matching.target, models.len() - 1);
        let features = matching.features.ok_or_else(|| {
            MethodError::invalid("`cca` needs data to see how units behave").help("connect data: `data NAME`")
        })?;
        let when = match self.0.place {
            Place::Before => When::Before,
            Place::After => When::After,
        };
        let nodes: Vec<NodeId> = symmetries.ids().collect();
        let views = Views::new(symmetries, features.taps(), when, &nodes);
        if views.views.is_empty() {
            return Err(MethodError::invalid("no place in the network shows the units of a node")
                .at("place")
                .help("take the other `place`, or `activation_matching`"));
        }
        // For each place and each other model: moments of both behind each other, for each entry of the node.
        let copies = |view: usize| symmetries.copies(views.views[view].node);
        let mut moments: Vec<Vec<Vec<Moments>>> =
            (0..views.views.len()).map(|view| vec![vec![Moments::default(); copies(view)]; others]).collect();
        views.pass(features, models, |view, batch| {
            let Some((first, rest)) = batch.split_first() else { return Ok(()) };
            for (other, moments) in rest.iter().zip(&mut moments[view]) {
                for (copy, moments) in moments.iter_mut().enumerate() {
                    let size = symmetries.node(views.views[view].node).size;
                    let part = |rows: &crate::rows::Rows| crate::rows::Rows {
                        rows: size,
                        columns: rows.columns,
                        values: rows.values[copy * size * rows.columns..(copy + 1) * size * rows.columns]
                            .to_vec(),
                    };
                    moments.add(context, &[part(first), part(other)])?;
                }
            }
            Ok(())
        })?;
        let mut alignments = Vec::with_capacity(others);
        let (mut correlation, mut units) = (0.0, 0.0);
        for other in 0..others {
            let mut transforms = vec![Transform::Identity; nodes.len()];
            for &id in &nodes {
                let shown: Vec<usize> =
                    (0..views.views.len()).filter(|view| views.views[*view].node == id).collect();
                if shown.is_empty() {
                    continue;
                }
                let size = symmetries.node(id).size;
                let found = search::all(context, symmetries.copies(id), |copy| {
                    let mut sum = vec![0.0; 4 * size * size];
                    for view in &shown {
                        let own = moments[*view][other][copy].covariances();
                        sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                    }
                    maps::maps(&sum, size, self.0.ridge).map_err(|problem| {
                        MethodError::new(
                            ErrorKind::Failed,
                            format!(
                                "`{}` of `{}`: {problem}",
                                symmetries.node(id).name,
                                models[other + 1].name
                            ),
                        )
                        .of_input(other + 1)
                    })
                })?;
                let mut mixes = Vec::with_capacity(found.len());
                for (mix, sum) in found {
                    mixes.push(mix);
                    correlation += sum;
                    units += size as f64;
                }
                transforms[id.index()] = Transform::Map(mixes);
            }
            alignments.push(Alignment::new(symmetries, symmetries, transforms));
        }
        let facts = vec![("correlation".to_owned(), correlation / f64::max(units, 1.0))];
        Ok(Aligned { alignments, shared: Vec::new(), facts, trace: Vec::new() })
    }
}

#[cfg(test)]
mod tests;
