//! Settings of the `train` methods. Each method takes those of three structs: what all trainings have, what its rule has, and what links
//! several replicas.

use fusion_sdk::optim::Rule;
use fusion_sdk::schedule::{Schedule, Span};
use fusion_sdk::{MethodError, Params, Words};
use serde_json::{Map, Value as Json};

use super::methods::{self, properties};

/// What every training has.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct CommonParams {
    /// length of the training; a plain number is passes over the data
    #[param(unit = span)]
    pub epochs: Span,
    /// examples of a step
    #[param(range = 1.., default = 128)]
    pub batch: usize,
    /// leave out the last batch of an epoch where it is shorter than the others
    #[param(default = false)]
    pub drop_last: bool,
    /// parts of a batch that are computed side by side, a thread each; the result depends on it, but never on how many threads there are
    /// (networks with BatchNorm and batches below 64 examples are not cut)
    #[param(range = 1..=64, default = 2)]
    pub shards: usize,
    /// time in front of the schedule in which the learning rate rises from 0 to the schedule's first value
    #[param(unit = span, default = Span::epochs(0.0))]
    pub warmup: Span,
    /// gradients are scaled down to this norm (default: they are not)
    #[param(above = 0)]
    pub clip: Option<f64>,
    /// elements of gradients are cut to between minus and plus this (default: they are not)
    #[param(above = 0)]
    pub clip_value: Option<f64>,
    /// share of the target that is spread evenly over all classes
    #[param(unit = fraction, range = 0..=1, default = 0)]
    pub label_smoothing: f64,
    /// α of mixup's Beta(α, α): each batch is mixed with itself in another order; 0 turns it off
    #[param(range = 0.., default = 0)]
    pub mixup: f64,
    /// time between two validations (default: 1 epoch); needs `validate`
    #[param(unit = span)]
    pub validate_every: Option<Span>,
    /// stop when the validation loss has not fallen for this long, and take the weights where it was lowest; needs `validate`
    #[param(unit = span)]
    pub early_stopping: Option<Span>,
    /// layers or patterns of tensors that do not learn, as in `on`: `["layers.0", "*.bias"]`; a layer stands for all tensors in it, running
    /// statistics among them, but not BatchNorm's count of batches (default: all learn)
    pub frozen: Option<Vec<String>>,
}

/// Settings of `sgd`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct SgdParams {
    /// learning rate
    #[param(default = Schedule::Constant(0.1))]
    pub rate: Schedule,
    /// μ of v ← μv + g
    #[param(range = 0..=1, default = 0.9)]
    pub momentum: f64,
    /// step along g + μv rather than v
    #[param(default = false)]
    pub nesterov: bool,
    /// λ of the L2 penalty: g ← g + λθ
    #[param(range = 0.., default = 0)]
    pub weight_decay: f64,
}

/// Settings of `adam`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct AdamParams {
    /// learning rate
    #[param(default = Schedule::Constant(1e-3))]
    pub rate: Schedule,
    /// decay of the mean and of the second moment
    #[param(range = 0..=1, default = vec![0.9, 0.999])]
    pub betas: Vec<f64>,
    /// added to the root of the second moment
    #[param(range = 0.., default = 1e-8)]
    pub epsilon: f64,
    /// λ of the L2 penalty: g ← g + λθ
    #[param(range = 0.., default = 0)]
    pub weight_decay: f64,
}

/// Settings of `adamw`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct AdamwParams {
    /// learning rate
    #[param(default = Schedule::Constant(1e-3))]
    pub rate: Schedule,
    /// decay of the mean and of the second moment
    #[param(range = 0..=1, default = vec![0.9, 0.999])]
    pub betas: Vec<f64>,
    /// added to the root of the second moment
    #[param(range = 0.., default = 1e-8)]
    pub epsilon: f64,
    /// λ of θ ← (1−ηλ)θ, apart from the gradient
    #[param(range = 0.., default = 0.01)]
    pub weight_decay: f64,
}

/// Settings of `lion`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct LionParams {
    /// learning rate
    #[param(default = Schedule::Constant(1e-4))]
    pub rate: Schedule,
    /// weight of the momentum in the step, and its decay
    #[param(range = 0..=1, default = vec![0.9, 0.99])]
    pub betas: Vec<f64>,
    /// λ of θ ← (1−ηλ)θ, apart from the gradient
    #[param(range = 0.., default = 0)]
    pub weight_decay: f64,
}

/// What links several replicas that train together. Each sees the data in an order of its own; an epoch is one of each replica.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct ParallelParams {
    /// what links the replicas
    #[param(default = ParallelKind::None)]
    pub parallel: ParallelKind,
    /// how many networks train together (default: 4; 1 for `none` and `pswa`)
    #[param(range = 1..)]
    pub replicas: Option<usize>,
    /// time between two exchanges (default: `local_sgd` 16 steps, `hwa` 1 epoch, `papa` 10 steps, `pswa` 5 epochs)
    #[param(unit = span)]
    pub average_every: Option<Span>,
    /// `local_sgd`, `swap`: time at the start in which the replicas share every gradient (default: none; `swap` needs it)
    #[param(unit = span)]
    pub synchronous: Option<Span>,
    /// `papa`: weight of a replica's own weights in each exchange (default: 99%)
    #[param(unit = fraction, range = 0..=1)]
    pub pull: Option<f64>,
    /// `hwa`: how many of the newest means make up the result (default: 10)
    #[param(range = 1..)]
    pub window: Option<usize>,
    /// `pswa`: time between two weights that go into a period's mean (default: 1 epoch)
    #[param(unit = span)]
    pub sample_every: Option<Span>,
}

/// What links the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum ParallelKind {
    /// one network
    None,
    /// all get the mean of their weights every so often (Stich, 2018); before that perhaps of every gradient (Lin et al., 2018)
    LocalSgd,
    /// shared gradients first, then each on its own, the mean at the end (Gupta et al., 2020)
    Swap,
    /// one network that starts again from the mean of its own weights every so often (Guo et al., 2022)
    Pswa,
    /// as local SGD, and the result is the mean of the newest means (Gu et al., 2023)
    Hwa,
    /// all are pulled a little to their mean every so often (Jolicoeur-Martineau et al., 2023)
    Papa,
}

/// All settings of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainParams {
    /// What every training has.
    pub common: CommonParams,
    /// The learning rate.
    pub rate: Schedule,
    /// The optimiser.
    pub rule: Rule,
    /// What links replicas.
    pub parallel: ParallelParams,
}

impl TrainParams {
    /// Reads the settings of a method (`sgd`, `adam`, `adamw`, `lion`); `seed` is left to the caller.
    ///
    /// # Errors
    /// For an unknown method, unknown and missing settings, and values that do not fit.
    pub fn read(method: &str, settings: &Map<String, Json>) -> Result<Self, MethodError> {
        let known = methods::names(method)?;
        if let Some(unknown) = settings.keys().find(|name| !known.contains(*name)) {
            return Err(MethodError::invalid(format!("there is no parameter `{unknown}`"))
                .help(format!("the parameters are `{}`", known.join("`, `"))));
        }
        let f = |value: f64| value as f32;
        let (rate, rule) = match method {
            "sgd" => {
                let SgdParams { rate, momentum, nesterov, weight_decay } = part(settings)?;
                (rate, Rule::Sgd { momentum: f(momentum), nesterov, weight_decay: f(weight_decay) })
            }
            "adam" => {
                let AdamParams { rate, betas, epsilon, weight_decay } = part(settings)?;
                (rate, adam(&betas, epsilon, weight_decay, false)?)
            }
            "adamw" => {
                let AdamwParams { rate, betas, epsilon, weight_decay } = part(settings)?;
                (rate, adam(&betas, epsilon, weight_decay, true)?)
            }
            _ => {
                let LionParams { rate, betas, weight_decay } = part(settings)?;
                let [beta1, beta2] = pair(&betas)?;
                (rate, Rule::Lion { beta1, beta2, weight_decay: f(weight_decay) })
            }
        };
        // The rules' betas are the list's elements.
        rule.check().map_err(|error| match error.parameter {
            Some("beta1" | "beta2") => error.at("betas"),
            _ => error,
        })?;
        let params = TrainParams { common: part(settings)?, rate, rule, parallel: part(settings)? };
        params.parallel.fits()?;
        if params.common.label_smoothing == 1.0 {
            return Err(MethodError::invalid("`label_smoothing = 100%` leaves nothing to learn")
                .at("label_smoothing")
                .help("0.1 is usual"));
        }
        Ok(params)
    }

    /// Batches of an epoch of this many examples; 0 for none, or for fewer than a batch with `drop_last`.
    #[must_use]
    pub fn steps_per_epoch(&self, examples: u64) -> u64 {
        let batch = self.common.batch.max(1) as u64;
        if self.common.drop_last { examples / batch } else { examples.div_ceil(batch) }
    }

    /// How many networks train together.
    #[must_use]
    pub fn replicas(&self) -> usize {
        match self.parallel.parallel {
            ParallelKind::None | ParallelKind::Pswa => 1,
            _ => self.parallel.replicas.unwrap_or(4),
        }
    }
}

impl ParallelParams {
    fn fits(&self) -> Result<(), MethodError> {
        use ParallelKind as Kind;
        let linked: &[Kind] = &[Kind::LocalSgd, Kind::Swap, Kind::Hwa, Kind::Papa];
        let set: [(&'static str, bool, &[Kind]); 6] = [
            ("replicas", self.replicas.is_some_and(|replicas| replicas > 1), linked),
            (
                "average_every",
                self.average_every.is_some(),
                &[Kind::LocalSgd, Kind::Pswa, Kind::Hwa, Kind::Papa],
            ),
            ("synchronous", self.synchronous.is_some(), &[Kind::LocalSgd, Kind::Swap]),
            ("pull", self.pull.is_some(), &[Kind::Papa]),
            ("window", self.window.is_some(), &[Kind::Hwa]),
            ("sample_every", self.sample_every.is_some(), &[Kind::Pswa]),
        ];
        for (name, given, kinds) in set {
            if given && !kinds.contains(&self.parallel) {
                let word = serde_json::to_value(self.parallel).unwrap_or_default();
                return Err(MethodError::invalid(format!(
                    "`{name}` means nothing with `parallel = {}`",
                    word.as_str().unwrap_or_default()
                ))
                .at(name)
                .help("remove it, or choose another `parallel`"));
            }
        }
        if linked.contains(&self.parallel) && self.replicas == Some(1) {
            return Err(MethodError::invalid("one replica has nobody to train with")
                .at("replicas")
                .help("take 2 or more, or remove `parallel`"));
        }
        if self.average_every.or(self.sample_every).is_some_and(|span| span.value <= 0.0) {
            return Err(MethodError::invalid("the time between two exchanges must be longer than nothing")
                .at(if self.average_every.is_some() { "average_every" } else { "sample_every" }));
        }
        if self.parallel == Kind::Swap && self.synchronous.is_none_or(|span| span.value <= 0.0) {
            return Err(MethodError::invalid("`swap` starts with shared gradients: how long?")
                .at("synchronous")
                .help("set `synchronous`, to two thirds of `epochs` for instance"));
        }
        Ok(())
    }
}

/// Those settings that belong to a struct.
fn part<P: Params>(settings: &Map<String, Json>) -> Result<P, MethodError> {
    let names = properties::<P>();
    let own = settings.iter().filter(|(name, _)| names.contains_key(*name));
    let params = P::from_settings(&own.map(|(name, value)| (name.clone(), value.clone())).collect())?;
    params.check()?;
    Ok(params)
}

fn adam(betas: &[f64], epsilon: f64, weight_decay: f64, decoupled: bool) -> Result<Rule, MethodError> {
    let [beta1, beta2] = pair(betas)?;
    Ok(Rule::Adam { beta1, beta2, epsilon: epsilon as f32, weight_decay: weight_decay as f32, decoupled })
}

fn pair(betas: &[f64]) -> Result<[f32; 2], MethodError> {
    match betas {
        &[beta1, beta2] => Ok([beta1 as f32, beta2 as f32]),
        _ => Err(MethodError::invalid(format!("`betas` are two numbers, these are {}", betas.len()))
            .at("betas")
            .help("write `betas = [0.9, 0.999]`")),
    }
}
