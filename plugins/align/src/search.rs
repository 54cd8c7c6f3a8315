//! What the methods that look at a loss have in common: one guarded look, the two models as flat vectors, the middle between them.

use std::sync::{Mutex, PoisonError};

use fusion_sdk::align::{Candidate, Incoming, Matching, Vectors};
use fusion_sdk::alignment::Alignment;
use fusion_sdk::objective::Objective;
use fusion_sdk::symmetry::Symmetries;
use fusion_sdk::{Context, ErrorKind, MethodError, Port, Space};

use crate::ports;
use crate::state::State;

/// Refuses fewer models than a method needs.
///
/// # Errors
/// There are fewer.
pub(crate) fn at_least(id: &str, incoming: Incoming, least: usize) -> Result<(), MethodError> {
    let found = incoming.reference + incoming.from;
    if found >= least {
        return Ok(());
    }
    Err(MethodError::invalid(format!("`{id}` takes at least {least} models, not {found}")))
}

/// Refuses anything but one reference and one other model.
///
/// # Errors
/// There are others.
pub(crate) fn exactly_two(id: &str, incoming: Incoming) -> Result<(), MethodError> {
    if (incoming.reference, incoming.from) == (1, 1) {
        return Ok(());
    }
    Err(MethodError::invalid(format!(
        "`{id}` takes one `reference` and one model `from`, not {} and {}",
        incoming.reference, incoming.from
    ))
    .help("align each model to the reference in a stage of its own"))
}

/// The ports of searches by the loss: two models, data, and an alignment to start from.
pub(crate) fn ports() -> Vec<Port> {
    vec![
        ports::reference(),
        ports::from(1, Some(1), "the model that is brought over"),
        ports::data(1),
        start(),
    ]
}

/// An alignment to start from.
pub(crate) fn start() -> Port {
    Port {
        role: "start",
        space: Space::Alignment,
        min: 0,
        max: Some(1),
        settings: false,
        doc: "an alignment that another stage has found, to start from",
    }
}

/// The permutations to start from: the identity without any.
///
/// # Errors
/// The alignment belongs to another network, or does not permute.
pub(crate) fn state(symmetries: &Symmetries, alignments: &[&Alignment]) -> Result<State, MethodError> {
    alignments.first().map_or_else(|| Ok(State::identity(symmetries)), |one| State::of(symmetries, one))
}

/// The results of 0..n, found side by side.
///
/// # Errors
/// That of the smallest index that failed, or the user asked to stop.
pub(crate) fn all<T: Send>(
    context: Context<'_>,
    n: usize,
    body: impl Fn(usize) -> Result<T, MethodError> + Sync,
) -> Result<Vec<T>, MethodError> {
    let slots: Vec<Mutex<Option<T>>> = (0..n).map(|_| Mutex::new(None)).collect();
    context.for_each(n, |index| {
        *slots[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(body(index)?);
        Ok(())
    })?;
    Ok(slots
        .into_iter()
        .filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect())
}

/// A candidate's values as flat vectors.
///
/// # Errors
/// It is a checkpoint without a network.
pub(crate) fn vectors<'a>(model: &Candidate<'a>, index: usize) -> Result<Vectors<'a>, MethodError> {
    model.vectors.ok_or_else(|| {
        MethodError::invalid(format!(
            "`{}` is a checkpoint without a network: a loss cannot be taken at it",
            model.name
        ))
        .of_input(index)
        .help("give it an architecture, or use `weight_matching`")
    })
}

/// Two models of one network with a loss: the reference a and the model b, which is brought over.
pub(crate) struct Between<'a> {
    pub(crate) symmetries: &'a Symmetries,
    pub(crate) a: Vectors<'a>,
    pub(crate) b: Vectors<'a>,
    pub(crate) loss: Loss<'a>,
}

impl<'a> Between<'a> {
    /// The two models of a matching.
    ///
    /// # Errors
    /// They do not fit, are not finite, cannot be run, or there is no data.
    pub(crate) fn new(matching: Matching<'a>) -> Result<Between<'a>, MethodError> {
        let [one, other] = matching.models else {
            return Err(MethodError::invalid("two models are needed"));
        };
        ports::same(matching.models)?;
        ports::finite(matching.models, matching.context)?;
        let (a, b) = (vectors(one, 0)?, vectors(other, 1)?);
        let loss = Loss::new(matching.objective, matching.context, a.weights.len())?;
        Ok(Between { symmetries: matching.target, a, b, loss })
    }

    /// π(B) as flat weights.
    ///
    /// # Errors
    /// The symmetries are too entangled to be applied.
    pub(crate) fn brought(&self, state: &State) -> Result<Vec<f32>, MethodError> {
        let alignment = state.alignment(self.symmetries, self.symmetries);
        let applied =
            alignment.apply_flat(self.symmetries, self.symmetries, self.b.weights, self.b.statistics);
        Ok(applied.map_err(|error| MethodError::invalid(error.to_string()))?.0)
    }

    /// The loss at ½(A + π(B)).
    ///
    /// # Errors
    /// It is not finite, the objective fails, or the user asked to stop.
    pub(crate) fn midpoint(&mut self, state: &State, batches: Option<u64>) -> Result<f64, MethodError> {
        let mut middle = self.brought(state)?;
        blend(self.a.weights, 0.5, &mut middle);
        self.loss.loss(&middle, batches)
    }
}

/// to ← (1 − λ)·from + λ·to.
pub(crate) fn blend(from: &[f32], lambda: f32, to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = (1.0 - lambda) * from + lambda * *to);
}

/// An objective with what surrounds every look at it: stop, finite values.
pub(crate) struct Loss<'a> {
    objective: &'a mut dyn Objective,
    context: Context<'a>,
}

impl<'a> Loss<'a> {
    /// # Errors
    /// There is no objective, or it has another number of weights.
    pub(crate) fn new(
        objective: Option<&'a mut dyn Objective>,
        context: Context<'a>,
        weights: usize,
    ) -> Result<Self, MethodError> {
        let objective = objective.ok_or_else(|| {
            MethodError::invalid("there is no loss to look at").help("connect data: `data NAME`")
        })?;
        if objective.len() != weights {
            return Err(MethodError::new(
                ErrorKind::Shape,
                format!("the models have {weights} weights, the network on the data {}", objective.len()),
            ));
        }
        Ok(Loss { objective, context })
    }

    /// Batches of an epoch.
    pub(crate) fn steps_per_epoch(&self) -> u64 {
        self.objective.steps_per_epoch().max(1)
    }

    /// Loss and gradient on batch `step`.
    ///
    /// # Errors
    /// The loss is not finite, the objective fails, or the user asked to stop.
    pub(crate) fn gradient(
        &mut self,
        step: u64,
        weights: &[f32],
        gradient: &mut [f32],
    ) -> Result<f64, MethodError> {
        self.context.check()?;
        let loss = self.objective.gradient(step, weights, gradient)?;
        finite(loss, || format!("in step {}", step + 1))
    }

    /// The loss over the data in its fixed order.
    ///
    /// # Errors
    /// As for [`Loss::gradient`].
    pub(crate) fn loss(&mut self, weights: &[f32], batches: Option<u64>) -> Result<f64, MethodError> {
        self.context.check()?;
        let loss = self.objective.loss(weights, batches)?;
        finite(loss, || "between the models".to_owned())
    }

    /// Threads, and whether to stop.
    pub(crate) fn context(&self) -> Context<'a> {
        self.context
    }

    /// Tells how far the search is.
    pub(crate) fn progress(&self, done: u64, total: u64, loss: f64) {
        self.context.progress(done, total, &format!("loss {loss:.4}"));
    }
}

fn finite(loss: f64, place: impl FnOnce() -> String) -> Result<f64, MethodError> {
    if loss.is_finite() {
        return Ok(loss);
    }
    Err(MethodError::new(ErrorKind::Failed, format!("the loss is {loss} {}", place()))
        .help("look whether both models have a finite loss on this data; lower `rate` where there is one"))
}
