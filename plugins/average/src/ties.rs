//! `ties`: trim small changes, elect a sign for every element, merge only the changes that have it.
//!
//! δᵢ = θᵢ − θ₀.
//! 1. *Trim*: of each δᵢ keep the k = density · n largest magnitudes (rounded, at least 1 unless density is 0; among equals
//!    those that come first), over the tensor or over the whole model. The selection is exact.
//! 2. *Elect*: Dᵢ = wᵢδᵢ; s = sign of Σ Dᵢ (0 counts as +), or with `election = count` the majority of signs.
//! 3. *Merge*: θ = θ₀ + λ · Σ Dᵢ / Σ |wᵢ| over the models whose Dᵢ has the sign s; `combine = sum` does not divide.
//!
//! Defaults and where they come from: `density` 20 % (the paper; mergekit's 100 % trims nothing), `trim` tensor (so that `on`
//! rules can set densities; the paper trims over the model), `election` weighted, `combine` mean, `rescale` none, `lambda` 1.
//! Where Σ Dᵢ is 0 the paper asks the whole model's majority; here and in mergekit it is +.
//!
//! `dialect = mergekit` computes what mergekit 0.1.5 does (in f32): density 100 % unless set, k = max(1, ⌊density · n⌋), divisor
//! Σ wᵢ with the weights' signs (a model with negative weight turns its change round), L1 norms below 1e-7 not rescaled.
//! Among equal magnitudes mergekit follows torch's unstable sort; here the first stay.
//! `combine = mean` is its `normalize: true` (its default too), `rescale = l1` its `rescale: true`. `trim = model`,
//! `election = count` and `rescale = expected` do not exist there and are errors.
//!
//! NaN in θ₀ propagates; NaN in θᵢ orders above all magnitudes, so it is kept and shows in the result unless density is 0.
//!
//! Yadav et al., "TIES-Merging: resolving interference when merging models", 2023 (arXiv 2306.01708).

use fusion_sdk::select::{Counts, Selection, magnitude_bits};
use fusion_sdk::{
    About, Category, Claim, Elementwise, MethodError, Observe, Params, Port, Scope, TILE, Tasks, TensorTask,
    Tile, simd, stats,
};

use crate::settings::{Combine, Dialect, Election, Rescale, Trim, contradicts, l1_factor};
use crate::votes::{Votes, trim_and_merge, with_planes};

/// Share of a task vector that is kept where the recipe does not say.
const DENSITY: f64 = 0.2;

/// Stage parameters of `ties`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct TiesParams {
    /// `mergekit` computes exactly what mergekit 0.1.5 does
    #[param(default = Dialect::Fusion)]
    pub dialect: Dialect,
    /// over what the largest changes are chosen (default: tensor)
    pub trim: Option<Trim>,
    /// how the sign of each element is elected (default: weighted)
    pub election: Option<Election>,
    /// how the changes that have the elected sign become one (default: mean)
    pub combine: Option<Combine>,
    /// how trimmed changes are made up for (default: none)
    pub rescale: Option<Rescale>,
    /// scale of the merged change
    #[param(default = 1, varies)]
    pub lambda: f64,
}

/// Parameters of each model in `ties`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct TiesInput {
    /// how much this model's changes count, in the election and in the merge; negative weights subtract
    #[param(default = 1, varies)]
    pub weight: f64,
    /// share of this model's changes that survives trimming, the largest ones (default: 20%; 100% with dialect = mergekit)
    #[param(unit = fraction, range = 0..=1, varies)]
    pub density: Option<f64>,
}

/// How the L1 rescale stands.
#[derive(Clone, Debug, PartialEq)]
enum Norms {
    /// Not wanted, or over.
    Off,
    /// Per model: Σ|δ|, Σ|kept δ|.
    Due(Vec<[f64; 2]>),
}

/// The kernel of `ties`.
#[derive(Debug)]
pub struct Ties {
    dialect: Dialect,
    pub(crate) members: Vec<Member>,
    /// Per model.
    pub(crate) selections: Vec<Selection>,
    norms: Norms,
    elements: u64,
}

/// One tensor of the group.
#[derive(Debug)]
pub(crate) struct Member {
    /// Tiles of the tensors before it.
    pub first_tile: usize,
    pub votes: Votes,
    /// wᵢ times the rescale.
    pub factors: Vec<f32>,
}

/// Statistics of one block.
#[derive(Debug)]
pub struct Partial {
    counts: Vec<Counts>,
    norms: Vec<[f64; 2]>,
}

/// The modes that apply, the same for all tensors of a stage.
struct Modes {
    election: Election,
    combine: Combine,
    rescale: Rescale,
}

fn modes(params: &TiesParams) -> Result<Modes, MethodError> {
    if params.dialect == Dialect::Mergekit {
        if params.trim == Some(Trim::Model) {
            return Err(contradicts("trim", "model"));
        }
        if params.election == Some(Election::Count) {
            return Err(contradicts("election", "count"));
        }
        if params.rescale == Some(Rescale::Expected) {
            return Err(contradicts("rescale", "expected"));
        }
    }
    Ok(Modes {
        election: params.election.unwrap_or(Election::Weighted),
        combine: params.combine.unwrap_or(Combine::Mean),
        rescale: params.rescale.unwrap_or(Rescale::None),
    })
}

/// Elements to keep of `n`.
fn quota(density: f64, n: u64, dialect: Dialect) -> u64 {
    if density <= 0.0 {
        return 0;
    }
    let share = density * n as f64;
    let k = if dialect == Dialect::Mergekit { share.floor() } else { share.round() };
    (k as u64).max(1)
}

/// The densities of the models, and that they are the same in all tensors of a group.
fn densities(tensors: &[TensorTask<TiesParams, TiesInput>]) -> Result<Vec<f64>, MethodError> {
    let mut found: Vec<f64> = Vec::new();
    for (index, tensor) in tensors.iter().enumerate() {
        let default = if tensor.params.dialect == Dialect::Mergekit { 1.0 } else { DENSITY };
        for (input, port) in tensor.inputs.iter().enumerate().skip(1) {
            let value = port.settings.density.unwrap_or(default);
            if index == 0 {
                found.push(value);
            } else if found.get(input - 1) != Some(&value) {
                return Err(MethodError::invalid(format!(
                    "`density` differs between tensors (it is {value} for `{}`), but `trim = model` takes one share of \
                     the whole model",
                    tensor.name
                ))
                .at("density")
                .of_input(input)
                .help("use `trim = tensor`, or the same density everywhere"));
            }
        }
    }
    Ok(found)
}

/// Writes θᵢ − θ₀.
#[inline(always)]
fn changes(base: &[f32], model: &[f32], out: &mut [f32]) {
    for ((out, &b), &x) in out.iter_mut().zip(base).zip(model) {
        *out = x - b;
    }
}

impl Elementwise for Ties {
    type Params = TiesParams;
    type Input = TiesInput;

    fn about() -> About {
        About {
            id: "ties",
            version: 1,
            category: Category::Average,
            summary: "trim small changes, elect signs, merge what agrees",
            formula: "δᵢ = θᵢ − θ₀, trimmed to its largest magnitudes\nDᵢ = wᵢδᵢ, s = sign Σ Dᵢ\n\
                      θ = θ₀ + λ Σ Dᵢ / Σ |wᵢ| over the i with sign Dᵢ = s",
            citation: "Yadav et al., TIES-Merging: resolving interference when merging models, NeurIPS 2023 \
                       (arXiv 2306.01708)",
            ports: vec![
                Port::base("the model that the others were fine-tuned from"),
                Port::from(1, None, "the fine-tuned models"),
            ],
            random: false,
            claims: &[Claim::Deterministic, Claim::Idempotent],
        }
    }

    fn scope(params: &TiesParams) -> Scope {
        if params.trim == Some(Trim::Model) { Scope::Model } else { Scope::Tensor }
    }

    fn prepare(tasks: Tasks<TiesParams, TiesInput>) -> Result<Self, MethodError> {
        let Some(first) = tasks.tensors.first() else {
            return Err(MethodError::invalid("`ties` got no tensor"));
        };
        if first.inputs.len() < 2 {
            return Err(MethodError::invalid("`ties` needs a base and at least one fine-tuned model"));
        }
        let modes = modes(&first.params)?;
        let dialect = first.params.dialect;
        let densities = densities(&tasks.tensors)?;
        let elements: u64 = tasks.tensors.iter().map(TensorTask::len).sum();
        let rescales: Vec<f64> = densities
            .iter()
            .map(|&d| if modes.rescale == Rescale::Expected && d > 0.0 { 1.0 / d } else { 1.0 })
            .collect();
        let mut members = Vec::with_capacity(tasks.tensors.len());
        let mut first_tile = 0;
        for tensor in &tasks.tensors {
            let weights: Vec<f64> = tensor.inputs.iter().skip(1).map(|input| input.settings.weight).collect();
            let factors = weights.iter().zip(&rescales).map(|(w, r)| (w * r) as f32).collect();
            let lambda = tensor.params.lambda;
            let votes = Votes::new(&weights, dialect, Some(modes.election), modes.combine, lambda);
            members.push(Member { first_tile, votes, factors });
            first_tile += tensor.len().div_ceil(TILE as u64) as usize;
        }
        let selections: Vec<Selection> =
            densities.iter().map(|&d| Selection::new(quota(d, elements, dialect), elements)).collect();
        let norms = match modes.rescale {
            Rescale::L1 if densities.iter().any(|&d| d < 1.0) => Norms::Due(vec![[0.0; 2]; densities.len()]),
            _ => Norms::Off,
        };
        Ok(Ties { dialect, members, selections, norms, elements })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        let [base, models @ ..] = tile.inputs else { return };
        match *models {
            [x] => self.merge(tile, base, [x], out),
            [x, y] => self.merge(tile, base, [x, y], out),
            [x, y, z] => self.merge(tile, base, [x, y, z], out),
            [x, y, z, a] => self.merge(tile, base, [x, y, z, a], out),
            _ => self.merge_planes(tile, base, models, out),
        }
    }
}

impl Observe for Ties {
    type Partial = Partial;

    fn observing(&self) -> bool {
        self.norms != Norms::Off || self.selecting()
    }

    fn wants(&self, tensor: usize, tile: usize) -> bool {
        let index = self.members[tensor].first_tile + tile;
        !self.selecting() || self.selections.iter().any(|selection| selection.wants(index))
    }

    fn partial(&self) -> Partial {
        Partial {
            counts: self.selections.iter().map(Selection::partial).collect(),
            norms: vec![[0.0; 2]; self.selections.len()],
        }
    }

    fn observe(&self, partial: &mut Partial, tile: &Tile<'_>) {
        let [base, models @ ..] = tile.inputs else { return };
        if !self.selecting() {
            return self.observe_norms(partial, tile, base, models);
        }
        simd(
            #[inline(always)]
            || {
                let mut keys = [0_u32; TILE];
                let keys = &mut keys[..base.len().min(TILE)];
                for ((selection, counts), model) in
                    self.selections.iter().zip(&mut partial.counts).zip(models)
                {
                    if !selection.observing() {
                        continue;
                    }
                    for ((key, &b), &x) in keys.iter_mut().zip(*base).zip(*model) {
                        *key = magnitude_bits(x - b);
                    }
                    selection.observe(counts, keys);
                }
            },
        );
    }

    fn absorb(&mut self, partial: &mut Partial) {
        for (selection, counts) in self.selections.iter_mut().zip(&mut partial.counts) {
            selection.absorb(counts);
        }
        if let Norms::Due(norms) = &mut self.norms {
            for (sum, part) in norms.iter_mut().zip(&mut partial.norms) {
                let [all, kept] = std::mem::take(part);
                sum[0] += all;
                sum[1] += kept;
            }
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        if self.selecting() {
            for selection in &mut self.selections {
                selection.finish_pass();
            }
        } else if let Norms::Due(norms) = std::mem::replace(&mut self.norms, Norms::Off) {
            for member in &mut self.members {
                for (factor, sums) in member.factors.iter_mut().zip(&norms) {
                    *factor = (f64::from(*factor) * l1_factor(*sums, self.dialect)) as f32;
                }
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> (usize, usize) {
        let (state, partial) = Selection::state_bytes(self.elements);
        (state * self.selections.len(), partial * self.selections.len())
    }
}

impl Ties {
    fn selecting(&self) -> bool {
        self.selections.iter().any(Selection::observing)
    }

    /// Sums for the L1 rescale, after the selection is through.
    fn observe_norms(&self, partial: &mut Partial, tile: &Tile<'_>, base: &[f32], models: &[&[f32]]) {
        let index = self.members[tile.tensor].first_tile + tile.index();
        with_planes(base.len(), |plane| {
            for ((selection, sums), model) in self.selections.iter().zip(&mut partial.norms).zip(models) {
                changes(base, model, plane);
                sums[0] += stats::l1_norm(plane);
                selection.cut(index).apply(plane);
                sums[1] += stats::l1_norm(plane);
            }
        });
    }

    /// A tile of few models; by one pass unless it holds ties of which only some are kept, or votes are counted.
    fn merge<const N: usize>(&self, tile: &Tile<'_>, base: &[f32], models: [&[f32]; N], out: &mut [f32]) {
        let member = &self.members[tile.tensor];
        let index = member.first_tile + tile.index();
        let mut limits = [0_i32; N];
        for (limit, selection) in limits.iter_mut().zip(&self.selections) {
            let Some(found) = selection.cut(index).limit() else {
                return self.merge_planes(tile, base, &models, out);
            };
            *limit = found;
        }
        let (Ok(factors), Ok(shares), Some(Election::Weighted)) = (
            <[f32; N]>::try_from(member.factors.as_slice()),
            <[f32; N]>::try_from(member.votes.shares.as_slice()),
            member.votes.election,
        ) else {
            return self.merge_planes(tile, base, &models, out);
        };
        let lambda = member.votes.lambda;
        simd(
            #[inline(always)]
            || match member.votes.mean {
                true => trim_and_merge::<N, true>(base, models, limits, factors, shares, lambda, out),
                false => trim_and_merge::<N, false>(base, models, limits, factors, shares, lambda, out),
            },
        );
    }

    /// A tile of any number of models, by way of a buffer.
    fn merge_planes(&self, tile: &Tile<'_>, base: &[f32], models: &[&[f32]], out: &mut [f32]) {
        let member = &self.members[tile.tensor];
        let index = member.first_tile + tile.index();
        let n = out.len();
        if n == 0 {
            return;
        }
        with_planes(n * models.len(), |planes| {
            simd(
                #[inline(always)]
                || {
                    for (j, plane) in planes.chunks_exact_mut(n).enumerate() {
                        changes(base, models[j], plane);
                        self.selections[j].cut(index).apply(plane);
                        let factor = member.factors[j];
                        for value in plane {
                            *value *= factor;
                        }
                    }
                },
            );
            member.votes.merge(base, planes, out);
        });
    }
}
