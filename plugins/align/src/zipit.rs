//! `zipit`: the units of all models that behave alike become one, within a model as well as across models.
//!
//! Per node, activations of all K models lie side by side, and the pair of highest correlation is merged until (1 − ratio) of all units are left
//! (`greedy`): `alpha` lowers the correlations of what has been merged, `beta` limits how much of a model is merged with itself beyond what
//! has to be, where fewer units are left than it has. With Mₖ the part
//! of model k in the averaging matrix of the clusters and Uₖ its part of the 0/1 matrix that gives every unit its cluster's value back, the
//! merged layer is W* = (1/K) Σₖ (K·Mₖ)WₖUₖ. So model k is aligned by merge = K·Mₖ and unmerge = Uₖ, and **the mean of all aligned models,
//! with equal weights, is the merged model**; an aligned model alone is none.
//!
//! A partial zip (`until`, or `share` of the layers) merges up to a layer. Behind it every model keeps its own layers, which read merged
//! units through Uₖ; what lies before is the same in all aligned models: the mean. Units that are made on both sides of the cut (a residual
//! stream) refuse it. Heads are not merged but assigned to those of the first model, by the correlations within them; units are merged
//! within heads. Running variances go through the means like all else: reset normalisation afterwards.
//!
//! Units are seen where the next layer takes them in; those that nothing shows there (queries and keys) where they are made. Where several places show
//! a node (a residual stream) their correlations are averaged.
//!
//! Differences from gstoica27/ZipIt: f64 throughout rather than half precision; clusters are divided by their size, not by size + 10⁻⁵; with
//! `beta = 0` no pair of one model is merged that need not be (there one is, since the budget is looked at afterwards); with `alpha = 0` a unit is merged once;
//! a unit that never changes has correlation 0 with all.
//!
//! Stoica et al., "ZipIt! Merging models from different tasks without training", ICLR 2024.

pub mod greedy;
mod heads;

use std::ops::Range;

use fusion_sdk::align::{Align, Aligned, Candidate, Incoming, Matching, When};
use fusion_sdk::alignment::{Alignment, Matrix, Mix, Transform};
use fusion_sdk::symmetry::{NodeId, Symmetries};
use fusion_sdk::{About, Category, Claim, ErrorKind, MethodError, Params};

use crate::cut::{Part, Span, part, widths};
use crate::moments::Moments;
use crate::ports;
use crate::rows::whole;
use crate::watch::Views;

use greedy::{Merged, Rules, merge};
use heads::Heads;

/// Stage parameters of `zipit`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct ZipItParams {
    /// share of all models' units that is merged away (default: so much that one model's are left, 1 − 1/models)
    #[param(unit = fraction, range = 0..=1)]
    pub ratio: Option<f64>,
    /// factor on the correlations of merged units
    #[param(range = 0..=1, default = 0.3)]
    pub alpha: f64,
    /// share of merges that may be within a model, beyond those that have to be because fewer units are left than it has
    #[param(unit = fraction, range = 0..=1, default = 0.125)]
    pub beta: f64,
    /// last layer that is merged; behind it every model keeps its own (default: all)
    pub until: Option<String>,
    /// share of the layers that is merged, instead of `until`
    #[param(unit = fraction, range = 0..=1)]
    pub share: Option<f64>,
}

/// The kernel of `zipit`.
#[derive(Clone, Debug)]
pub struct ZipIt {
    ratio: Option<f64>,
    alpha: f64,
    beta: f64,
    span: Span,
}

impl Align for ZipIt {
    type Params = ZipItParams;

    fn about() -> About {
        About {
            id: "zipit",
            version: 1,
            category: Category::Align,
            summary: "units that behave alike merged, within and across models; their mean is the merged model",
            formula: "greedy merge of the most correlated units; W* = (1/K) Σ (K·Mₖ) Wₖ Uₖ",
            citation: "Stoica et al., ZipIt! Merging models from different tasks without training, ICLR 2024",
            ports: vec![ports::from(1, None, "the models that are merged"), ports::data(1)],
            random: false,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: ZipItParams, incoming: Incoming) -> Result<Self, MethodError> {
        if params.until.is_some() && params.share.is_some() {
            return Err(MethodError::invalid("`until` and `share` say the same thing in two ways")
                .at("share")
                .help("remove one of them"));
        }
        if incoming.from == 1 && params.ratio.is_none() {
            return Err(MethodError::invalid("a single model is compressed by a `ratio`")
                .at("ratio")
                .help("set how much of its units is merged away: `ratio = 50%`"));
        }
        if params.ratio.is_some_and(|ratio| ratio >= 1.0) {
            return Err(MethodError::invalid("`ratio = 100%` leaves no unit").at("ratio"));
        }
        let span = Span { after: None, until: params.until, share: params.share };
        Ok(ZipIt { ratio: params.ratio, alpha: params.alpha, beta: params.beta, span })
    }

    fn widths(&self, models: &[&Symmetries]) -> Result<Option<Vec<usize>>, MethodError> {
        widths(models, &self.span, |part| self.sizes(models, part))
    }

    fn unequal(&self) -> bool {
        true
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let models = matching.models;
        ports::same_but_widths(models)?;
        let Some(first) = models.first() else {
            return Err(MethodError::invalid("`zipit` has no models to merge"));
        };
        let part = part(first.symmetries, &self.span)?;
        let described: Vec<&Symmetries> = models.iter().map(|model| model.symmetries).collect();
        let sizes = self.sizes(&described, &part)?;
        let features = matching.features.ok_or_else(|| {
            MethodError::invalid("`zipit` needs data to see how units behave")
                .help("connect a data set: `data NAME`")
        })?;
        // Every node where the next layer takes it in, or else where it is made.
        let inside: Vec<NodeId> = first.symmetries.ids().filter(|id| part.inside[id.index()]).collect();
        let taps = features.taps();
        let after = Views::new(first.symmetries, taps, When::After, &inside);
        let shown = |views: &Views, node: &NodeId| views.views.iter().any(|view| view.node == *node);
        let hidden: Vec<NodeId> = inside.iter().copied().filter(|node| !shown(&after, node)).collect();
        let before = Views::new(first.symmetries, taps, When::Before, &hidden);
        let views = after.and(before);
        let mut moments = vec![Moments::default(); views.views.len()];
        views.pass(features, models, |view, batch| moments[view].add(matching.context, batch))?;
        let mut correlations: Vec<Option<Vec<f64>>> = vec![None; first.symmetries.nodes.len()];
        for node in &inside {
            let own = views.views.iter().zip(&moments).filter(|(view, _)| view.node == *node);
            correlations[node.index()] = mean(own.map(|(_, moments)| moments.correlations()));
        }
        let work = Work { method: self, models, sizes: &sizes, correlations: &correlations };
        let mut found = Found::new(models.len(), first.symmetries.nodes.len());
        let heads = heads::assign(models, &inside, &correlations, matching.context)?;
        for (at, &node) in inside.iter().enumerate() {
            matching.context.check()?;
            let name = &first.symmetries.node(node).name;
            matching.context.progress(at as u64, inside.len() as u64, name);
            work.node(node, &heads, &mut found)?;
        }
        let each = models.iter().zip(found.transforms);
        let alignments =
            each.map(|(model, own)| Alignment::new(model.symmetries, matching.target, own)).collect();
        let merges = found.merges.max(1) as f64;
        let facts = [
            ("merges", found.merges as f64),
            ("within", found.within as f64 / merges),
            ("similarity", found.similarity / merges),
        ];
        Ok(Aligned {
            alignments,
            shared: if part.is_partial() { part.shared } else { Vec::new() },
            facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
            trace: found.trace,
        })
    }
}

impl ZipIt {
    /// Sizes of all nodes in the result.
    fn sizes(&self, models: &[&Symmetries], part: &Part) -> Result<Vec<usize>, MethodError> {
        let first = models[0];
        let size = |node: NodeId| {
            let all: usize = models.iter().map(|model| model.node(node).size).sum();
            if part.inside[node.index()] && !whole(first, node) {
                return Ok(match self.ratio {
                    // As in the reference; a ratio of 1/3 means what it says.
                    Some(ratio) => ((all as f64 * (1.0 - ratio) + 1e-4) as usize).max(1),
                    None => all / models.len(),
                });
            }
            match models.iter().position(|model| model.node(node).size != first.node(node).size) {
                None => Ok(first.node(node).size),
                Some(other) => {
                    let message = format!(
                        "`{}` is not merged, and has {} units in the first model and {} in another",
                        first.node(node).name,
                        first.node(node).size,
                        models[other].node(node).size
                    );
                    Err(MethodError::new(ErrorKind::Shape, message)
                        .of_input(other)
                        .help("heads, groups and layers behind the cut need the same widths in all models"))
                }
            }
        };
        first.ids().map(size).collect()
    }

    /// Pairs of each model that may be merged: those that have to be, if it has more units than are to be left, and the share β of all merges
    /// over the number of models.
    fn budgets(&self, models: &[Range<usize>], target: usize) -> Vec<usize> {
        let units: usize = models.iter().map(Range::len).sum();
        let share = ((units.saturating_sub(target) / models.len().max(1)) as f64 * self.beta) as usize;
        models.iter().map(|own| own.len().saturating_sub(target) + share).collect()
    }
}

/// What is the same for all nodes.
struct Work<'a> {
    method: &'a ZipIt,
    models: &'a [Candidate<'a>],
    sizes: &'a [usize],
    correlations: &'a [Option<Vec<f64>>],
}

/// What is collected over nodes.
struct Found {
    /// By model and node.
    transforms: Vec<Vec<Transform>>,
    merges: usize,
    within: usize,
    similarity: f64,
    /// Mean similarity of each node's merges.
    trace: Vec<f64>,
}

impl Found {
    fn new(models: usize, nodes: usize) -> Found {
        let transforms = vec![vec![Transform::Identity; nodes]; models];
        Found { transforms, merges: 0, within: 0, similarity: 0.0, trace: Vec::new() }
    }
}

impl Work<'_> {
    fn node(&self, node: NodeId, heads: &Heads, found: &mut Found) -> Result<(), MethodError> {
        let symmetries = self.models[0].symmetries;
        if whole(symmetries, node) {
            for (model, transforms) in found.transforms.iter_mut().enumerate() {
                transforms[node.index()] = heads.transform(model, node);
            }
            return Ok(());
        }
        let name = &symmetries.node(node).name;
        let correlations = self.correlations[node.index()].as_ref().ok_or_else(|| {
            MethodError::invalid(format!("nothing shows how the units of `{name}` behave"))
                .help("merge only up to a layer before it: `until = LAYER`")
        })?;
        let copies = symmetries.copies(node);
        let mut mixes: Vec<Vec<Mix>> = vec![Vec::with_capacity(copies); self.models.len()];
        let (mut merges, mut similarity) = (0, 0.0);
        for copy in 0..copies {
            let units = self.units(node, copy, heads);
            let merged = self.merged(node, &units, correlations)?;
            for (model, own) in mixes.iter_mut().enumerate() {
                own.push(mix(&merged, &units, model));
            }
            merges += merged.merges.len();
            similarity += merged.merges.iter().map(|(_, _, value)| value).sum::<f64>();
            found.within += within(&merged, &units);
        }
        found.merges += merges;
        found.similarity += similarity;
        found.trace.push(similarity / merges.max(1) as f64);
        for (transforms, own) in found.transforms.iter_mut().zip(mixes) {
            transforms[node.index()] = Transform::Map(own);
        }
        Ok(())
    }

    /// For each model the units of one copy of the result among all units of all models.
    fn units(&self, node: NodeId, copy: usize, heads: &Heads) -> Vec<Range<usize>> {
        let mut first = 0;
        let of = |(index, model): (usize, &Candidate<'_>)| {
            let size = model.symmetries.node(node).size;
            let start = first + heads.source(model.symmetries, index, node, copy) * size;
            first += model.symmetries.copies(node) * size;
            start..start + size
        };
        self.models.iter().enumerate().map(of).collect()
    }

    fn merged(&self, node: NodeId, units: &[Range<usize>], all: &[f64]) -> Result<Merged, MethodError> {
        let indices: Vec<usize> = units.iter().flat_map(Clone::clone).collect();
        let (n, width) = (indices.len(), all.len().isqrt());
        let own = indices.iter().flat_map(|i| indices.iter().map(move |j| all[i * width + j])).collect();
        let mut models = Vec::with_capacity(units.len());
        let mut start = 0;
        for range in units {
            models.push(start..start + range.len());
            start += range.len();
        }
        let target = self.sizes[node.index()];
        let budgets = self.method.budgets(&models, target);
        let rules = Rules { models: &models, target, alpha: self.method.alpha, budgets: &budgets };
        merge(own, &rules).ok_or_else(|| {
            let name = &self.models[0].symmetries.node(node).name;
            let message =
                format!("no more units of `{name}` may be merged, and {target} of {n} are to be left");
            MethodError::invalid(message).at("beta").help(
                "allow more merges within a model (`beta`), set `alpha` above 0, or merge less (`ratio`)",
            )
        })
    }
}

/// K·Mₖ and Uₖ of a model.
fn mix(merged: &Merged, units: &[Range<usize>], model: usize) -> Mix {
    let first: usize = units[..model].iter().map(Range::len).sum();
    let (size, slots) = (units[model].len(), merged.clusters.len());
    let (mut merge, mut unmerge) = (Matrix::zeros(slots, size), Matrix::zeros(size, slots));
    for (slot, cluster) in merged.clusters.iter().enumerate() {
        for unit in cluster.iter().filter(|unit| (first..first + size).contains(*unit)) {
            merge.values[slot * size + unit - first] = units.len() as f64 / cluster.len() as f64;
            unmerge.values[(unit - first) * slots + slot] = 1.0;
        }
    }
    Mix { merge, unmerge }
}

/// Merges of units of one model: units beyond the first of each model in a cluster.
fn within(merged: &Merged, units: &[Range<usize>]) -> usize {
    let mut start = 0;
    let mut count = 0;
    for range in units {
        let own = start..start + range.len();
        start = own.end;
        let of = |cluster: &Vec<usize>| cluster.iter().filter(|unit| own.contains(unit)).count();
        count += merged.clusters.iter().map(|cluster| of(cluster).saturating_sub(1)).sum::<usize>();
    }
    count
}

/// The mean of matrices; none of none.
fn mean(all: impl Iterator<Item = Vec<f64>>) -> Option<Vec<f64>> {
    let mut count = 0.0;
    let mut sum: Option<Vec<f64>> = None;
    for more in all {
        count += 1.0;
        sum = Some(match sum {
            None => more,
            Some(mut sum) => {
                sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                sum
            }
        });
    }
    sum.map(|mut sum| {
        sum.iter_mut().for_each(|value| *value /= count);
        sum
    })
}

#[cfg(test)]
mod tests;
