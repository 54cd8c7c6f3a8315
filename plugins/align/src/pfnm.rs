//! `pfnm`: networks without a reference become one that has as many units as they have different ones.
//!
//! Layer by layer from the input, the units of J clients are assigned to global units under a Beta-Bernoulli process (`process`, which has the
//! formulas): a unit is its incoming weights and bias, for the last hidden layer also its outgoing weights (`outgoing`), and inputs that a
//! client does not have count as 0. A global unit is the posterior mean g/s of what was assigned to it, cᵢ·Σw with cᵢ = (1/σ)/(1/σ₀ + mᵢ/σ).
//!
//! Client j is aligned by merge[i, l] = J·cᵢ and unmerge[l, i] = 1 where its unit l is the global unit i: **the mean of all aligned clients, with
//! equal weights, is the global network** of posterior means. Output layers are the mean over clients, with 0 for units that a client does not
//! have; after the last hidden layer with `outgoing` they are posterior means too (unmerge = J·cᵢ).
//!
//! Networks grow, and how wide they get is only known afterwards: the result has `width` times the widest client's units in every layer
//! (rounded up), of which those that are not needed stay 0; too few are an error that says how many are needed.
//!
//! **FedMA** is a recipe of this method: `until = LAYER` matches up to a layer, which all clients then share, and leaves every client its own
//! layers behind it; train those on each client's own data, with `frozen = ["LAYER"]`; go on with `after = LAYER` and the next one
//! (examples/survey/align/x-al7-fedma.fusion).
//!
//! Differences from IBM/probabilistic-federated-neural-matching and IBM/FedMA: the prior's mean is 0 for biases as well; there is no limit at
//! 700 units but `width`; f64; clients that are taken out leave no rounding behind. Norms have gains and statistics like weights: posterior
//! means, so reset normalisation afterwards. Heads and other nested units are refused.
//!
//! Yurochkin et al., "Bayesian nonparametric federated learning of neural networks", ICML 2019; Wang et al., "Federated learning with matched
//! averaging", ICLR 2020.

pub mod process;

use fusion_sdk::align::{Align, Aligned, Candidate, Incoming, Matching};
use fusion_sdk::alignment::{Alignment, Matrix, Mix, Transform};
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{Factor, NodeId, Place, Side, Symmetries, TensorRole};
use fusion_sdk::{About, Category, Claim, Context, ErrorKind, MethodError, Params};

use crate::branches::{branches, forward};
use crate::cut::{Part, Span, part, widths};
use crate::family::{Family, families};
use crate::ports;
use crate::rows::{Rows, brought, rows};

use process::{Prior, assign_all};

/// Stage parameters of `pfnm`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct PfnmParams {
    /// how many of a client's units are expected to be new
    #[param(above = 0, default = 7.0)]
    pub gamma: f64,
    /// variance σ of a client's units around the global ones
    #[param(above = 0, default = 1.0)]
    pub sigma: f64,
    /// variance σ₀ of global units around 0
    #[param(above = 0, default = 1.0)]
    pub sigma0: f64,
    /// passes in which every client is taken out and assigned again
    #[param(range = 0..=1000, default = 5)]
    pub passes: u32,
    /// units of a layer of the result, as a multiple of the widest client's
    #[param(range = 1.., default = 1.5)]
    pub width: f64,
    /// compare units of the last hidden layer by their outgoing weights too
    #[param(default = true)]
    pub outgoing: bool,
    /// last layer before those that are matched; up to it the clients are the same already (default: none)
    pub after: Option<String>,
    /// last layer that is matched; behind it every client keeps its own (default: all)
    pub until: Option<String>,
}

/// The kernel of `pfnm`.
#[derive(Clone, Debug)]
pub struct Pfnm {
    prior: Prior,
    passes: usize,
    width: f64,
    outgoing: bool,
    span: Span,
}

impl Align for Pfnm {
    type Params = PfnmParams;

    fn about() -> About {
        About {
            id: "pfnm",
            version: 1,
            category: Category::Align,
            summary: "clients' units assigned to global ones under a Beta-Bernoulli process; layers grow as needed",
            formula: "unit l of a client → global i: max ‖w/σ + gᵢ‖²/(1/σ + sᵢ) − ‖gᵢ‖²/sᵢ + log(mᵢ/(J − mᵢ)), or a new one",
            citation: "Yurochkin et al., Bayesian nonparametric federated learning of neural networks, ICML 2019",
            ports: vec![ports::from(2, None, "the clients")],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: PfnmParams, _: Incoming) -> Result<Self, MethodError> {
        let prior = Prior { sigma: params.sigma, sigma0: params.sigma0, gamma: params.gamma };
        let span = Span { after: params.after, until: params.until, share: None };
        let passes = params.passes as usize;
        Ok(Pfnm { prior, passes, width: params.width, outgoing: params.outgoing, span })
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
            return Err(MethodError::invalid("`pfnm` has no clients"));
        };
        let part = part(first.symmetries, &self.span)?;
        let described: Vec<&Symmetries> = models.iter().map(|model| model.symmetries).collect();
        let sizes = self.sizes(&described, &part)?;
        let work = Work {
            method: self,
            models,
            to: first.symmetries.resized(&sizes),
            part: &part,
            seed: matching.seed,
            context: matching.context,
        };
        let families = families(first.symmetries);
        let (order, _) = forward(first.symmetries, &families);
        let stays = |inside: &bool| (!inside).then_some(Transform::Identity);
        let mut transforms: Vec<Vec<Option<Transform>>> =
            vec![part.inside.iter().map(stays).collect(); models.len()];
        let (mut widest, mut needed, mut common) = (0, 0, 0);
        let mut trace = vec![0.0; self.passes + 1];
        for (at, family) in order.iter().map(|family| &families[*family]).enumerate() {
            let node = family.nodes[0];
            if !part.inside[node.index()] {
                continue;
            }
            matching.context.progress(at as u64, order.len() as u64, &first.symmetries.node(node).name);
            let assigned = work.node(family, node, &mut transforms)?;
            trace.iter_mut().zip(&assigned.trace).for_each(|(sum, own)| *sum += own);
            widest += models.iter().map(|model| model.symmetries.node(node).size).max().unwrap_or(0);
            needed += assigned.counts.len();
            common += assigned.counts.iter().filter(|count| **count > 1).count();
        }
        let each = models.iter().zip(transforms);
        let alignments = each.map(|(model, own)| {
            let own = own.into_iter().map(Option::unwrap_or_default).collect();
            Alignment::new(model.symmetries, matching.target, own)
        });
        let facts = [
            ("units", needed as f64),
            ("growth", needed as f64 / widest.max(1) as f64),
            ("common", common as f64 / needed.max(1) as f64),
        ];
        Ok(Aligned {
            alignments: alignments.collect(),
            shared: part.shared.clone(),
            facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
            trace,
        })
    }
}

impl Pfnm {
    /// Sizes of all nodes in the result.
    fn sizes(&self, models: &[&Symmetries], part: &Part) -> Result<Vec<usize>, MethodError> {
        let first = models[0];
        let size = |node: NodeId| {
            let own = first.node(node);
            let widest = models.iter().map(|model| model.node(node).size).max().unwrap_or(0);
            let nested =
                !own.parents.is_empty() || first.nodes.iter().any(|other| other.parents.contains(&node));
            match (part.inside[node.index()], nested) {
                (true, true) => Err(MethodError::new(
                    ErrorKind::Shape,
                    format!("`{}` is made of heads or groups, which `pfnm` cannot match", own.name),
                )
                .help("match up to a layer before it (`until = LAYER`), or use `weight_matching`")),
                (true, false) => Ok(((widest as f64 * self.width).ceil() as usize).max(1)),
                (false, _) => match models.iter().position(|model| model.node(node).size != own.size) {
                    None => Ok(own.size),
                    Some(other) => {
                        let found = models[other].node(node).size;
                        let message = format!(
                            "`{}` is not matched, and has {} units in the first client and {found} in another",
                            own.name, own.size
                        );
                        Err(MethodError::new(ErrorKind::Shape, message).of_input(other))
                    }
                },
            }
        };
        first.ids().map(size).collect()
    }
}

/// What is the same for all layers.
struct Work<'a> {
    method: &'a Pfnm,
    models: &'a [Candidate<'a>],
    to: Symmetries,
    part: &'a Part,
    seed: u64,
    context: Context<'a>,
}

impl Work<'_> {
    /// Assigns the units of a node and adds its transforms.
    fn node(
        &self,
        family: &Family,
        node: NodeId,
        transforms: &mut [Vec<Option<Transform>>],
    ) -> Result<process::Assigned, MethodError> {
        let name = &self.to.node(node).name;
        let outgoing = self.outgoing(node);
        let mut clients = Vec::with_capacity(self.models.len());
        for (model, known) in self.models.iter().zip(transforms.iter()) {
            clients.push(self.units(family, node, model, known, &outgoing)?);
        }
        if let Some(other) = clients.iter().position(|rows| rows.columns != clients[0].columns) {
            let message = format!(
                "units of `{name}` have {} weights in `{}` and {} in `{}`",
                clients[0].columns, self.models[0].name, clients[other].columns, self.models[other].name
            );
            return Err(MethodError::new(ErrorKind::Shape, message).of_input(other));
        }
        let key = Key::new(self.seed, name, 0);
        let assigned = assign_all(&clients, &self.method.prior, self.method.passes, key, self.context)?;
        let (needed, slots) = (assigned.counts.len(), self.to.node(node).size);
        if needed > slots {
            let widest = clients.iter().map(|rows| rows.rows).max().unwrap_or(1);
            let factor = (needed as f64 / widest as f64 * 100.0).ceil() / 100.0;
            let message = format!(
                "`{name}` needs {needed} global units, and `width = {}` gives it {slots}",
                self.method.width
            );
            return Err(MethodError::invalid(message).at("width").help(format!(
                "set `width = {factor}`, or a lower `gamma`, so that more units are matched"
            )));
        }
        let j = self.models.len() as f64;
        for (units, own) in assigned.units.iter().zip(transforms) {
            let (mut merge, mut unmerge) =
                (Matrix::zeros(slots, units.len()), Matrix::zeros(units.len(), slots));
            for (unit, &slot) in units.iter().enumerate() {
                let share = j * self.method.prior.share(assigned.counts[slot]);
                merge.values[slot * units.len() + unit] = share;
                unmerge.values[unit * slots + slot] = if outgoing.is_empty() { 1.0 } else { share };
            }
            own[node.index()] = Some(Transform::Map(vec![Mix { merge, unmerge }]));
        }
        Ok(assigned)
    }

    /// Where a node's outgoing weights lie, if all go to what stays in every client.
    fn outgoing(&self, node: NodeId) -> Vec<Place> {
        if !self.method.outgoing || self.part.is_partial() {
            return Vec::new();
        }
        let uses = self.to.uses(node);
        let readers: Vec<Place> = uses.into_iter().filter(|place| place.side != Side::Writes).collect();
        let last = |place: &Place| {
            let factors =
                self.to.tensors[place.tensor].axes.iter().flat_map(|axis| axis.segments.iter().flatten());
            place.side == Side::Reads
                && factors.filter(|factor| matches!(factor, Factor::Node(_))).count() == 1
        };
        if readers.iter().all(last) { readers } else { Vec::new() }
    }

    /// A client's units: incoming weights under the transforms so far, biases, outgoing weights.
    fn units(
        &self,
        family: &Family,
        node: NodeId,
        model: &Candidate<'_>,
        known: &[Option<Transform>],
        outgoing: &[Place],
    ) -> Result<Rows, MethodError> {
        let from = model.symmetries;
        let mut parts = Vec::new();
        for branch in branches(from, family, node) {
            if !branch.inputs.iter().all(|id| known[id.index()].is_some()) {
                continue;
            }
            for place in &branch.places {
                let values = ports::values(model, place.tensor)?;
                parts
                    .extend(brought(from, &self.to, known, family, place.tensor, &values)?.rows(node, place));
            }
        }
        for place in outgoing.iter().filter(|place| from.tensors[place.tensor].role == TensorRole::Parameter)
        {
            let values = ports::values(model, place.tensor)?;
            parts.extend(rows(from, &from.tensors[place.tensor].axes, node, place, &values));
        }
        let size = from.node(node).size;
        let columns = parts.iter().map(|part| part.columns).sum();
        let mut all = Rows { rows: size, columns, values: Vec::with_capacity(size * columns) };
        (0..size).for_each(|row| parts.iter().for_each(|part| all.values.extend(part.row(row))));
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
