//! The ascent on all models together.

use std::sync::{Mutex, PoisonError};

use fusion_sdk::align::{Candidate, Source};
use fusion_sdk::rng::Key;
use fusion_sdk::{Context, MethodError};

use super::{Start, line};
use crate::ports;
use crate::relaxed::{Part, Point, Relaxed, inner, step};
use crate::state::State;
use crate::transport::sinkhorn;

/// The models with their common objective.
pub(super) struct Joined<'a> {
    relaxed: &'a Relaxed<'a>,
    sources: Vec<&'a dyn Source>,
    /// Models that stay: 1 with a reference.
    still: usize,
    /// Σ_{p<q} ‖A_p‖‖A_q‖, which bounds the objective.
    bound: f64,
    context: Context<'a>,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Ascent {
    /// Where it ended: one for each model that moves.
    pub(super) points: Vec<Point>,
    /// The objective at the start.
    pub(super) start: f64,
    /// The objective after each step.
    pub(super) trace: Vec<f64>,
    /// Gradients that were followed to a corner, the last one included.
    pub(super) iterations: usize,
    /// ⟨G, D − P⟩ at the end.
    pub(super) gap: f64,
}

/// A tensor of all models: as it is, and in the common order.
struct Tensor {
    raw: Vec<Vec<f64>>,
    moved: Vec<Vec<f64>>,
}

impl<'a> Joined<'a> {
    /// Looks at all values once.
    ///
    /// # Errors
    /// A model cannot be read, or has a value that is not finite.
    pub(super) fn new(
        relaxed: &'a Relaxed<'a>,
        models: &[Candidate<'a>],
        reference: bool,
        context: Context<'a>,
    ) -> Result<Self, MethodError> {
        let sources = models.iter().map(|model| model.source).collect();
        let mut joined = Joined { relaxed, sources, still: usize::from(reference), bound: 0.0, context };
        let mut norms = vec![0.0; models.len()];
        for tensor in relaxed.tensors() {
            for (index, (model, norm)) in models.iter().zip(&mut norms).enumerate() {
                context.check()?;
                let values = ports::values(model, tensor).map_err(|error| error.of_input(index))?;
                *norm += values.iter().map(|value| value * value).sum::<f64>();
            }
        }
        let mut before = 0.0;
        for norm in norms {
            joined.bound += f64::sqrt(norm) * before;
            before += f64::sqrt(norm);
        }
        Ok(joined)
    }

    fn moving(&self) -> usize {
        self.sources.len() - self.still
    }

    fn read(&self, model: usize, tensor: usize) -> Result<Vec<f64>, MethodError> {
        let mut values = vec![0.0; self.relaxed.elements(tensor)];
        self.sources[model].read_f64(tensor, 0, &mut values)?;
        Ok(values)
    }

    /// Where a trial begins.
    pub(super) fn start(&self, start: Start, seed: u64, trial: u64) -> Result<Vec<Point>, MethodError> {
        let symmetries = self.relaxed.symmetries;
        let identity = || self.relaxed.vertex(&State::identity(symmetries));
        let of = |model: usize| {
            if model == 0 && self.still == 0 {
                return Ok(identity());
            }
            let stream = trial * self.sources.len() as u64 + model as u64;
            Ok(match start {
                Start::Identity => identity(),
                Start::Barycentre => self.relaxed.barycentre(),
                Start::Random => {
                    let seed = Key::derived(seed, stream).value();
                    self.relaxed.vertex(&State::random(symmetries, seed))
                }
                Start::Sinkhorn => self.relaxed.spread(&self.relaxed.blocks(|node, size, block| {
                    let key = Key::new(seed, &symmetries.node(node).name, stream);
                    let first = block * size * size;
                    let cost: Vec<f64> =
                        (0..size * size).map(|at| f64::from(key.normal((first + at) as u64))).collect();
                    let ones = vec![1.0; size];
                    Ok(sinkhorn(&cost, &ones, &ones, 1.0, 1000, 1e-12)?.values)
                })?),
            })
        };
        (0..self.moving()).map(of).collect()
    }

    /// A tensor of all models, in the common order where that is asked for.
    fn tensor(&self, tensor: usize, points: &[Point]) -> Result<Tensor, MethodError> {
        self.context.check()?;
        let slots: Vec<Mutex<(Vec<f64>, Vec<f64>)>> =
            self.sources.iter().map(|_| Mutex::new((Vec::new(), Vec::new()))).collect();
        self.context.for_each(slots.len(), |model| {
            let raw = self.read(model, tensor)?;
            let moved = match model.checked_sub(self.still) {
                Some(moving) => self.relaxed.apply(tensor, &points[moving], &raw),
                None => raw.clone(),
            };
            *slots[model].lock().unwrap_or_else(PoisonError::into_inner) = (raw, moved);
            Ok(())
        })?;
        let each = slots.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        let (raw, moved) = each.unzip();
        Ok(Tensor { raw, moved })
    }

    /// f.
    ///
    /// # Errors
    /// A model cannot be read, or the user asked to stop.
    pub(super) fn value(&self, points: &[Point]) -> Result<f64, MethodError> {
        let mut sum = 0.0;
        for tensor in self.relaxed.tensors() {
            sum += pairs(&self.tensor(tensor, points)?.moved);
        }
        Ok(sum)
    }

    /// f and its gradient for every model that moves.
    fn slope(&self, points: &[Point]) -> Result<(f64, Vec<Point>), MethodError> {
        let mut value = 0.0;
        let parts: Vec<Part> = self.relaxed.parts().collect();
        let gradients: Vec<Vec<Mutex<Vec<f64>>>> = points
            .iter()
            .map(|point| {
                parts.iter().map(|part| Mutex::new(vec![0.0; point[part.0][part.1].values.len()])).collect()
            })
            .collect();
        for tensor in self.relaxed.tensors() {
            let Tensor { raw, moved } = self.tensor(tensor, points)?;
            value += pairs(&moved);
            let own: Vec<usize> = (0..parts.len())
                .filter(|part| self.relaxed.uses(parts[*part]).any(|other| other == tensor))
                .collect();
            let cotangents: Vec<Vec<f64>> =
                (0..points.len()).map(|moving| others(&moved, moving + self.still)).collect();
            self.context.for_each(points.len() * own.len(), |job| {
                let (moving, part) = (job / own.len(), own[job % own.len()]);
                let mut gradient = gradients[moving][part].lock().unwrap_or_else(PoisonError::into_inner);
                let (cotangent, values) = (&cotangents[moving], &raw[moving + self.still]);
                self.relaxed.pull(tensor, &points[moving], cotangent, values, parts[part], &mut gradient);
                Ok(())
            })?;
        }
        let mut result = Vec::with_capacity(points.len());
        for gradients in gradients {
            let mut point = self.relaxed.zeros();
            for (part, gradient) in parts.iter().zip(gradients) {
                point[part.0][part.1].values = gradient.into_inner().unwrap_or_else(PoisonError::into_inner);
            }
            result.push(point);
        }
        Ok((value, result))
    }

    /// For each model the permutations that have the largest product with a point.
    ///
    /// # Errors
    /// A value is not finite, or the user asked to stop.
    pub(super) fn round(&self, points: &[Point]) -> Result<Vec<State>, MethodError> {
        points.iter().map(|point| self.relaxed.round(point, self.context)).collect()
    }

    /// Goes uphill.
    ///
    /// # Errors
    /// As for [`Joined::value`] and [`Joined::round`].
    pub(super) fn ascend(
        &self,
        mut points: Vec<Point>,
        steps: u32,
        tolerance: f64,
    ) -> Result<Ascent, MethodError> {
        let degree = self.relaxed.degree() * if self.sources.len() - self.still > 1 { 2 } else { 1 };
        let (mut value, mut gradient) = self.slope(&points)?;
        let (start, mut trace) = (value, Vec::new());
        let (mut gap, mut iterations);
        loop {
            iterations = trace.len() + 1;
            let corners: Vec<Point> =
                self.round(&gradient)?.iter().map(|state| self.relaxed.vertex(state)).collect();
            let toward: Vec<(&Point, (&Point, &Point))> =
                gradient.iter().zip(points.iter().zip(&corners)).collect();
            gap = toward.iter().map(|(g, (p, d))| inner(g, d) - inner(g, p)).sum::<f64>();
            if trace.len() >= steps as usize || gap <= tolerance * self.bound {
                break;
            }
            let mut others = Vec::new();
            for at in 1..degree {
                others.push(match at + 1 == degree {
                    true => self.value(&corners)?,
                    false => {
                        let mut between = points.clone();
                        let eta = at as f64 / (degree - 1) as f64;
                        between.iter_mut().zip(&corners).for_each(|(p, d)| step(p, d, eta));
                        self.value(&between)?
                    }
                });
            }
            let eta = line::best(&line::polynomial(value, gap, &others));
            if eta == 0.0 {
                break;
            }
            points.iter_mut().zip(&corners).for_each(|(p, d)| step(p, d, eta));
            (value, gradient) = self.slope(&points)?;
            trace.push(value);
            self.context.progress(trace.len() as u64, u64::from(steps), &format!("objective {value:.6}"));
        }
        Ok(Ascent { points, start, trace, iterations, gap })
    }
}

/// Σ_{p<q} ⟨X_p, X_q⟩.
fn pairs(moved: &[Vec<f64>]) -> f64 {
    let Some((first, rest)) = moved.split_first() else { return 0.0 };
    let mut before = first.clone();
    let mut sum = 0.0;
    for own in rest {
        sum += own.iter().zip(&before).map(|(own, before)| own * before).sum::<f64>();
        before.iter_mut().zip(own).for_each(|(before, own)| *before += own);
    }
    sum
}

/// Σ_{q≠p} X_q.
fn others(moved: &[Vec<f64>], but: usize) -> Vec<f64> {
    let mut sum = vec![0.0; moved[but].len()];
    for (_, own) in moved.iter().enumerate().filter(|(model, _)| *model != but) {
        sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
    }
    sum
}
