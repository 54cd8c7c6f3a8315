//! `sinkhorn`: permutations found by gradient descent on free matrices that are made doubly stochastic.
//!
//! Every node has a free matrix X; P = Sinkhorn(X/τ) is doubly stochastic (`layer`), and a soft model π(B) = (P₁ ⊗ P₂ ⊗ …) B (`relaxed`;
//! a node in heads has a matrix for each pair of heads, weighted by how much of the one head goes to the other). X learns by AdamW on
//! - `loss = l2`: ‖A − π(B)‖² over all trained tensors; needs no data;
//! - `loss = midpoint`: 𝓛(½(A + π(B))) on batches;
//! - `loss = random`: 𝓛((1 − λ)A + λπ(B)) with λ ∼ U(0, 1), another one at each step.
//!
//! ∂𝓛/∂π(B) is the network's gradient at that point times ½ or λ; from there it goes to every P through every tensor that has the node, and
//! through Sinkhorn to X, implicitly or unrolled. X starts at the identity with normal noise of deviation 0.1, or there at another stage's
//! alignment (`start`).
//!
//! What counts in the end is hard: every `evaluate` steps P is rounded to the permutations that maximise ⟨P, V⟩, and if they are new their
//! loss is taken (squared distance; or 𝓛(½(A + π(B))) over `batches` batches in a fixed order); the best are kept, the start among them. So
//! the result is never worse than the start, by that measure.
//!
//! A loss on data has valleys beside the best permutations, in which units that matter little are exchanged, and the gradient hardly sees
//! the way out: planted permutations of small networks were found in 7 of 24 cases after 150 steps, in 16 after 600. The distance of
//! the weights does see it. So with `matched` two more are looked at, weight matching from the start and from the best in the end. They do not
//! change the descent, and are kept only if their loss is lower. With `loss = l2` the distance is the loss, and nothing is added.
//!
//! *Differences from sinkhorn-rebasin*: Adam's ε is 10⁻¹², since gradients shrink with the width; the structure is that of the
//! symmetries, so heads and concatenations work; running statistics are not part of the losses, and batches are normalised by their own.
//!
//! *Cost* of a step: 4 products of n · n matrices with every tensor for each of its nodes, `iterations` · n² for Sinkhorn, n³/3 for an
//! implicit gradient, and the network's gradient unless `l2`. Memory: about 8 n² f64 for every node, for unrolled gradients
//! 2 · `iterations` · n more; with a loss also three copies of the weights.
//!
//! Guerrero Peña et al., "Re-basin via implicit Sinkhorn differentiation", CVPR 2023; code fagp/sinkhorn-rebasin.

mod layer;

use std::sync::{Mutex, PoisonError};

use fusion_sdk::align::{Align, Aligned, Candidate, Incoming, Matching};
use fusion_sdk::optim::{Optimizer, Rule};
use fusion_sdk::rng::Key;
use fusion_sdk::{About, Category, Claim, Context, ErrorKind, MethodError, Params, Port, Words};

use crate::cost::{Pair, Precision};
use crate::ports;
use crate::relaxed::{Blocks, Part, Point, Relaxed};
use crate::search::{self, Between, all, blend};
use crate::state::State;
use crate::weight_matching::descent::{Descent, Order};

pub use layer::Gradient;
use layer::{Soft, soft};

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Goal {
    /// the squared distance of the weights; needs no data
    L2,
    /// the loss halfway
    Midpoint,
    /// the loss at a random point of the segment, another one at each step
    Random,
}

/// Stage parameters of `sinkhorn`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct SinkhornParams {
    /// what is minimised
    #[param(default = Goal::L2)]
    pub loss: Goal,
    /// how gradients come back through the normalisation
    #[param(default = Gradient::Implicit)]
    pub gradient: Gradient,
    /// steps of the optimiser (default: 50 for `l2`; otherwise 20 passes over the data, and at least 600)
    #[param(range = 1..=1_000_000)]
    pub steps: Option<u64>,
    /// learning rate of the free matrices
    #[param(above = 0, default = 0.1)]
    pub rate: f64,
    /// decoupled weight decay of the free matrices
    #[param(range = 0.., default = 0.01)]
    pub weight_decay: f64,
    /// τ: smaller is nearer to permutations
    #[param(above = 0, default = 1.0)]
    pub temperature: f64,
    /// rounds of normalising rows and columns
    #[param(range = 1..=100_000, default = 20)]
    pub iterations: u32,
    /// steps between looks at the rounded permutations (default: 1 for `l2`, an epoch otherwise)
    #[param(range = 1..)]
    pub evaluate: Option<u64>,
    /// batches that the loss of rounded permutations is taken on (default: all)
    #[param(range = 1..)]
    pub batches: Option<u64>,
    /// whether weight matching from the start, and from the best that was found, is looked at too (default: yes); not for `l2`
    pub matched: Option<bool>,
}

/// The kernel of `sinkhorn`.
#[derive(Clone, Debug)]
pub struct Sinkhorn {
    params: SinkhornParams,
    rule: Rule,
}

impl Align for Sinkhorn {
    type Params = SinkhornParams;

    fn about() -> About {
        About {
            id: "sinkhorn",
            version: 2,
            category: Category::Align,
            summary: "permutations learned by gradient descent on doubly stochastic matrices",
            formula: "P = Sinkhorn(X/τ) for every node;  X by AdamW on\n\
                      ‖A − π(B)‖², 𝓛(½(A + π(B))) or 𝓛((1−λ)A + λπ(B)), λ ∼ U(0,1);  P rounded, the best kept",
            citation: "Guerrero Peña et al., Re-basin via implicit Sinkhorn differentiation, CVPR 2023",
            ports: vec![
                ports::reference(),
                ports::from(1, Some(1), "the model that is brought over"),
                Port { doc: "data that the loss is taken on; not for `loss = l2`", ..ports::data(0) },
                search::start(),
            ],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: SinkhornParams, incoming: Incoming) -> Result<Self, MethodError> {
        search::exactly_two("sinkhorn", incoming)?;
        if params.loss != Goal::L2 && !incoming.data {
            return Err(MethodError::invalid("this loss is taken on data, and none is connected")
                .at("loss")
                .help("connect data: `data NAME`, or set `loss = l2`"));
        }
        if params.loss == Goal::L2 && params.batches.is_some() {
            return Err(MethodError::invalid("`loss = l2` looks at no batches")
                .at("batches")
                .help("remove it"));
        }
        if params.loss == Goal::L2 && params.matched.is_some() {
            return Err(MethodError::invalid(
                "`loss = l2` is what weight matching goes by, and is not looked at beside it",
            )
            .at("matched")
            .help("remove it"));
        }
        let weight_decay = params.weight_decay as f32;
        let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-12, weight_decay, decoupled: true };
        rule.check()?;
        Ok(Sinkhorn { params, rule })
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        let [a, b] = matching.models else {
            return Err(MethodError::invalid("`sinkhorn` takes two models"));
        };
        ports::same(matching.models)?;
        let (symmetries, seed, context) = (matching.target, matching.seed, matching.context);
        let relaxed = Relaxed::new(symmetries)?;
        let start = search::state(symmetries, matching.alignments)?;
        let mut goal: Box<dyn Measure + '_> = match self.params.loss {
            Goal::L2 => {
                ports::finite(matching.models, context)?;
                Box::new(Distance { relaxed: &relaxed, a: *a, b: *b, context })
            }
            Goal::Midpoint | Goal::Random => Box::new(Along {
                relaxed: &relaxed,
                between: Between::new(matching)?,
                lambda: (self.params.loss == Goal::Random).then(|| Key::new(seed, "sinkhorn.lambda", 0)),
                batches: self.params.batches,
                pair: self.params.matched.unwrap_or(true).then(|| Pair::of(a, b, Precision::Single, context)),
            }),
        };
        self.search(&relaxed, &mut *goal, &start, seed, context)
    }
}

/// A loss of soft and hard models.
trait Measure {
    /// Values of b's tensor.
    fn source(&self, tensor: usize) -> Result<Vec<f64>, MethodError>;

    /// Loss at π(B), and its gradient there, tensor by tensor; empty tensors have none.
    fn slope(&mut self, step: u64, point: &Point) -> Result<(f64, Vec<Vec<f64>>), MethodError>;

    /// Loss at a permutation.
    fn hard(&mut self, state: &State) -> Result<f64, MethodError>;

    /// Steps between looks at permutations.
    fn evaluate(&self) -> u64;

    /// Steps in all.
    fn steps(&self) -> u64;

    /// What weight matching makes of permutations, if it is to be looked at.
    fn matched(&self, state: &State) -> Result<Option<State>, MethodError>;
}

/// ‖A − π(B)‖².
struct Distance<'a> {
    relaxed: &'a Relaxed<'a>,
    a: Candidate<'a>,
    b: Candidate<'a>,
    context: Context<'a>,
}

impl Distance<'_> {
    /// The differences X − A of all tensors, and their squares' sum in the order of tensors.
    fn differences(&self, point: &Point) -> Result<(f64, Vec<Vec<f64>>), MethodError> {
        let tensors: Vec<usize> = self.relaxed.tensors().collect();
        let found = all(self.context, tensors.len(), |at| {
            let tensor = tensors[at];
            let mut moved = self.relaxed.apply(tensor, point, &ports::values(&self.b, tensor)?);
            let own = ports::values(&self.a, tensor)?;
            moved.iter_mut().zip(own).for_each(|(moved, own)| *moved -= own);
            Ok(moved)
        })?;
        let sum = found.iter().map(|values| values.iter().map(|value| value * value).sum::<f64>()).sum();
        let mut differences = vec![Vec::new(); self.relaxed.symmetries.tensors.len()];
        tensors.into_iter().zip(found).for_each(|(tensor, values)| differences[tensor] = values);
        Ok((sum, differences))
    }
}

impl Measure for Distance<'_> {
    fn source(&self, tensor: usize) -> Result<Vec<f64>, MethodError> {
        ports::values(&self.b, tensor)
    }

    fn slope(&mut self, _: u64, point: &Point) -> Result<(f64, Vec<Vec<f64>>), MethodError> {
        let (loss, mut differences) = self.differences(point)?;
        differences.iter_mut().flatten().for_each(|value| *value *= 2.0);
        Ok((loss, differences))
    }

    fn hard(&mut self, state: &State) -> Result<f64, MethodError> {
        Ok(self.differences(&self.relaxed.vertex(state))?.0)
    }

    fn evaluate(&self) -> u64 {
        1
    }

    fn steps(&self) -> u64 {
        50
    }

    fn matched(&self, _: &State) -> Result<Option<State>, MethodError> {
        Ok(None)
    }
}

/// 𝓛 on the segment between the models.
struct Along<'r, 'a> {
    relaxed: &'r Relaxed<'a>,
    between: Between<'a>,
    /// Draws λ; without it λ = ½.
    lambda: Option<Key>,
    batches: Option<u64>,
    /// The models for weight matching.
    pair: Option<Pair<'a>>,
}

impl Along<'_, '_> {
    /// Where each trained tensor lies in the flat weights.
    fn places(&self) -> Vec<(usize, std::ops::Range<usize>)> {
        let mut start = 0;
        let each = self.relaxed.tensors().map(|tensor| {
            let first = start;
            start += self.relaxed.elements(tensor);
            (tensor, first..start)
        });
        each.collect()
    }
}

impl Measure for Along<'_, '_> {
    fn source(&self, tensor: usize) -> Result<Vec<f64>, MethodError> {
        let place = self.places().into_iter().find(|(own, _)| *own == tensor);
        let values = place.and_then(|(_, range)| self.between.b.weights.get(range)).unwrap_or_default();
        Ok(wide(values))
    }

    fn slope(&mut self, step: u64, point: &Point) -> Result<(f64, Vec<Vec<f64>>), MethodError> {
        let lambda = self.lambda.map_or(0.5, |key| key.uniform(step));
        let places = self.places();
        let (relaxed, weights) = (self.relaxed, self.between.b.weights);
        let moved = all(self.between.loss.context(), places.len(), |at| {
            let (tensor, range) = places[at].clone();
            Ok(relaxed.apply(tensor, point, &wide(&weights[range])))
        })?;
        let mut theta: Vec<f32> = moved.into_iter().flatten().map(|value| value as f32).collect();
        blend(self.between.a.weights, lambda, &mut theta);
        let mut gradient = vec![0.0; theta.len()];
        let loss = self.between.loss.gradient(step, &theta, &mut gradient)?;
        let mut slopes = vec![Vec::new(); self.relaxed.symmetries.tensors.len()];
        for (tensor, range) in places {
            let lambda = f64::from(lambda);
            slopes[tensor] = gradient[range].iter().map(|value| lambda * f64::from(*value)).collect();
        }
        Ok((loss, slopes))
    }

    fn hard(&mut self, state: &State) -> Result<f64, MethodError> {
        self.between.midpoint(state, self.batches)
    }

    fn evaluate(&self) -> u64 {
        self.between.loss.steps_per_epoch()
    }

    fn steps(&self) -> u64 {
        (20 * self.between.loss.steps_per_epoch()).clamp(600, MOST)
    }

    fn matched(&self, state: &State) -> Result<Option<State>, MethodError> {
        let Some(pair) = self.pair else { return Ok(None) };
        match Descent::new(pair, Order::Forward, SWEEPS) {
            Ok(descent) => Ok(Some(descent.run(state, 0, 0)?.state)),
            // Its costs do not fit in memory, which the soft assignments do.
            Err(error) if error.kind == ErrorKind::Shape => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Sweeps of a weight matching at most.
const SWEEPS: u32 = 100;

/// Steps at most.
const MOST: u64 = 1_000_000;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// Standard deviation of the free matrices at the start.
const NOISE: f64 = 0.1;

impl Sinkhorn {
    fn search(
        &self,
        relaxed: &Relaxed<'_>,
        goal: &mut dyn Measure,
        start: &State,
        seed: u64,
        context: Context<'_>,
    ) -> Result<Aligned, MethodError> {
        let params = &self.params;
        let evaluate = params.evaluate.unwrap_or_else(|| goal.evaluate());
        let mut x = free(relaxed, start, seed)?;
        let mut optimizer = Optimizer::new(self.rule, x.len());
        let mut gradient = vec![0.0; x.len()];
        let (mut best, mut best_loss, mut best_step) = (start.clone(), goal.hard(start)?, 0);
        let (start_loss, mut looks, mut last) = (best_loss, 1_u64, start.clone());
        let steps = params.steps.unwrap_or_else(|| goal.steps());
        if let Some(state) = goal.matched(start)?.filter(|state| state != start) {
            let loss = goal.hard(&state)?;
            looks += 1;
            if loss < best_loss {
                (best, best_loss) = (state, loss);
            }
        }
        let mut trace = Vec::new();
        for step in 0..=steps {
            context.check()?;
            let layers = self.layers(relaxed, &x, context)?;
            let blocks = collected(relaxed, layers.iter().map(|soft| soft.values.as_slice()));
            let point = relaxed.spread(&blocks);
            if step > 0 && (step % evaluate == 0 || step == steps) {
                let state = relaxed.round(&point, context)?;
                if state != last {
                    let loss = goal.hard(&state)?;
                    looks += 1;
                    if loss < best_loss {
                        (best, best_loss, best_step) = (state.clone(), loss, step);
                    }
                    last = state;
                }
            }
            if step == steps {
                break;
            }
            let (loss, slopes) = goal.slope(step, &point)?;
            trace.push(loss);
            context.progress(step + 1, steps, &format!("loss {loss:.4}, rounded {best_loss:.4}"));
            let parts: Vec<Part> = relaxed.parts().collect();
            let goal = &*goal;
            let pulled = pulled(relaxed, goal, &point, &slopes, &parts, context)?;
            let mut sums = relaxed.zeros();
            parts.iter().zip(pulled).for_each(|(part, values)| sums[part.0][part.1].values = values);
            let blocks = relaxed.gather(&blocks, &sums);
            let slices: Vec<&[f64]> = split(relaxed, &blocks).collect();
            let back = all(context, layers.len(), |index| layers[index].back(slices[index]))?;
            gradient.iter_mut().zip(back.into_iter().flatten()).for_each(|(to, value)| *to = value as f32);
            optimizer.step(params.rate, &mut x, &gradient);
            if let Some(value) = x.iter().find(|value| !value.is_finite()) {
                return Err(MethodError::new(
                    ErrorKind::Failed,
                    format!("a free matrix has the value {value} after step {}", step + 1),
                )
                .at("rate")
                .help("lower `rate` or raise `temperature`"));
            }
        }
        if let Some(state) = goal.matched(&best)?.filter(|state| *state != best) {
            let loss = goal.hard(&state)?;
            looks += 1;
            if loss < best_loss {
                (best, best_loss, best_step) = (state, loss, steps);
            }
        }
        let facts = vec![
            ("loss".to_owned(), best_loss),
            ("start_loss".to_owned(), start_loss),
            ("best_step".to_owned(), best_step as f64),
            ("looks".to_owned(), looks as f64),
        ];
        let alignment = best.alignment(relaxed.symmetries, relaxed.symmetries);
        Ok(Aligned { alignments: vec![alignment], shared: Vec::new(), facts, trace })
    }

    /// All free matrices made doubly stochastic, in the order of the blocks.
    fn layers(
        &self,
        relaxed: &Relaxed<'_>,
        x: &[f32],
        context: Context<'_>,
    ) -> Result<Vec<Soft>, MethodError> {
        let mut places = Vec::new();
        let mut start = 0;
        for size in sizes(relaxed) {
            places.push((start, size));
            start += size * size;
        }
        let params = &self.params;
        all(context, places.len(), |index| {
            let (start, size) = places[index];
            let own: Vec<f64> = x[start..start + size * size].iter().map(|value| f64::from(*value)).collect();
            soft(&own, size, params.temperature, params.iterations as usize, params.gradient)
        })
    }
}

/// The gradients in all matrices, from those in all tensors.
fn pulled(
    relaxed: &Relaxed<'_>,
    goal: &dyn Measure,
    point: &Point,
    slopes: &[Vec<f64>],
    parts: &[Part],
    context: Context<'_>,
) -> Result<Vec<Vec<f64>>, MethodError> {
    let zeros = |part: &Part| Mutex::new(vec![0.0; point[part.0][part.1].values.len()]);
    let sums: Vec<Mutex<Vec<f64>>> = parts.iter().map(zeros).collect();
    for tensor in relaxed.tensors() {
        let values = goal.source(tensor)?;
        context.for_each(parts.len(), |at| {
            let mut sum = sums[at].lock().unwrap_or_else(PoisonError::into_inner);
            relaxed.pull(tensor, point, &slopes[tensor], &values, parts[at], &mut sum);
            Ok(())
        })?;
    }
    Ok(sums.into_iter().map(|sum| sum.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
}

/// The size of each block, in order.
fn sizes(relaxed: &Relaxed<'_>) -> Vec<usize> {
    let symmetries = relaxed.symmetries;
    let each = symmetries.ids().flat_map(|id| {
        std::iter::repeat_n(symmetries.node(id).size, symmetries.copies(id) * symmetries.copies(id))
    });
    each.collect()
}

/// Blocks of single matrices behind each other.
fn collected<'a>(relaxed: &Relaxed<'_>, each: impl Iterator<Item = &'a [f64]>) -> Blocks {
    let symmetries = relaxed.symmetries;
    let mut each = each;
    let of = |id| (0..symmetries.copies(id).pow(2)).filter_map(|_| each.next()).collect::<Vec<_>>().concat();
    symmetries.ids().map(of).collect()
}

/// Single matrices of blocks.
fn split<'a>(relaxed: &Relaxed<'_>, blocks: &'a Blocks) -> impl Iterator<Item = &'a [f64]> {
    let sizes: Vec<usize> = relaxed.symmetries.nodes.iter().map(|node| node.size).collect();
    blocks.iter().zip(sizes).flat_map(|(values, size)| values.chunks_exact(size * size))
}

/// The free matrices at the start.
fn free(relaxed: &Relaxed<'_>, start: &State, seed: u64) -> Result<Vec<f32>, MethodError> {
    let symmetries = relaxed.symmetries;
    let blocks = relaxed.blocks(|id, size, block| {
        let key = Key::new(seed, &symmetries.node(id).name, 0);
        let noise = |at: usize| NOISE * f64::from(key.normal((block * size * size + at) as u64));
        let mut values: Vec<f64> = (0..size * size).map(noise).collect();
        // Copies of the result go to whatever copies of the model: each pair has the table of its copy in the result.
        let copy = block / symmetries.copies(id);
        for (slot, unit) in start.table(id, copy).iter().enumerate() {
            values[slot * size + *unit as usize] += 1.0;
        }
        Ok(values)
    })?;
    Ok(blocks.into_iter().flatten().map(|value| value as f32).collect())
}

#[cfg(test)]
mod tests;
