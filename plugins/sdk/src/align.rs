//! The trait for methods that align models: from weights, and where they need them activations or a loss, to one transform for every
//! node of the network's symmetries.
//!
//! Methods never see modules or graphs. A model is a [`Candidate`]: its [`Symmetries`], and a [`Source`] that its tensors are read from, a
//! piece at a time, so that the models may be larger than memory. Networks that can be run also give flat vectors, on which
//! [`Features`] and [`Objective`] work.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::about::{About, Class, Described};
use crate::alignment::Alignment;
use crate::context::Context;
use crate::error::MethodError;
use crate::method::described;
use crate::objective::Objective;
use crate::symmetry::{Product, Symmetries, TensorRole};
use crate::task::{NoParams, Params, read};

/// Where the values of a model's tensors are read from.
pub trait Source: Sync {
    /// Reads elements from `start` on (row-major) of a tensor of the symmetries into `out`, as f32.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read(&self, tensor: usize, start: usize, out: &mut [f32]) -> Result<(), MethodError>;

    /// The same in f64, for models that are stored in it.
    ///
    /// # Errors
    /// As for [`Source::read`].
    fn read_f64(&self, tensor: usize, start: usize, out: &mut [f64]) -> Result<(), MethodError> {
        let mut single = vec![0.0; out.len()];
        self.read(tensor, start, &mut single)?;
        out.iter_mut().zip(single).for_each(|(to, value)| *to = f64::from(value));
        Ok(())
    }

    /// The whole tensor, where it lies in memory as f32: spares methods that look at it often a copy each time.
    fn held(&self, tensor: usize) -> Option<&[f32]> {
        let _ = tensor;
        None
    }

    /// The whole tensor.
    ///
    /// # Errors
    /// As for [`Source::read`].
    fn whole(&self, tensor: usize, elements: usize) -> Result<Vec<f32>, MethodError> {
        let mut values = vec![0.0; elements];
        self.read(tensor, 0, &mut values)?;
        Ok(values)
    }
}

/// A network's values as two flat vectors, in the order of its symmetries' tensors: parameters, and statistics of normalisation.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    /// Trainable values.
    pub weights: &'a [f32],
    /// Running means and variances; empty without any.
    pub statistics: &'a [f32],
}

/// Flat vectors as a source.
#[derive(Clone, Debug)]
pub struct FlatSource<'a> {
    vectors: Vectors<'a>,
    /// Where each tensor begins, how long it is, and whether among the statistics.
    places: Vec<(usize, usize, bool)>,
}

impl<'a> FlatSource<'a> {
    /// Lays the tensors of the symmetries out along the vectors.
    #[must_use]
    pub fn new(symmetries: &Symmetries, vectors: Vectors<'a>) -> FlatSource<'a> {
        let (mut weights, mut statistics) = (0, 0);
        let places = symmetries.tensors.iter().enumerate().map(|(index, tensor)| {
            let statistic = tensor.role != TensorRole::Parameter;
            let end = if statistic { &mut statistics } else { &mut weights };
            let start = *end;
            let length = symmetries.shape(index).iter().product::<usize>();
            *end += length;
            (start, length, statistic)
        });
        FlatSource { vectors, places: places.collect() }
    }
}

impl Source for FlatSource<'_> {
    fn read(&self, tensor: usize, start: usize, out: &mut [f32]) -> Result<(), MethodError> {
        let (place, _, statistic) = self.places[tensor];
        let from = if statistic { self.vectors.statistics } else { self.vectors.weights };
        let values = from.get(place + start..place + start + out.len());
        let values = values.ok_or_else(|| MethodError::invalid("a tensor is shorter than its axes say"))?;
        out.copy_from_slice(values);
        Ok(())
    }

    fn held(&self, tensor: usize) -> Option<&[f32]> {
        let (place, length, statistic) = self.places[tensor];
        let from = if statistic { self.vectors.statistics } else { self.vectors.weights };
        from.get(place..place + length)
    }
}

/// A model that is to be aligned, or aligned to.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name in the recipe.
    pub name: &'a str,
    /// Its symmetries. All candidates have the same nodes and tensors, by place; sizes may differ where the method allows it.
    pub symmetries: &'a Symmetries,
    /// Its values.
    pub source: &'a dyn Source,
    /// The same as flat vectors, for networks that can be run. Tensors of linear layers lie there as [in, out], and so do their axes in
    /// `symmetries`.
    pub vectors: Option<Vectors<'a>>,
}

/// Whether units are seen before or after the layer's activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// What the linear layer or convolution gives (before normalisation and activation).
    Before,
    /// What the next layer takes in (after both).
    After,
}

/// A place in a network where units can be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The layer (`fc1`, `layer1.0.conv2`).
    pub layer: String,
    /// Before or after the activation.
    pub when: When,
    /// The units as an axis of the symmetries.
    pub units: Vec<Product>,
}

/// Values of units: one row for each example and position (pixels of a channel, tokens, steps).
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Units.
    pub width: usize,
    /// Row-major, `rows · width`.
    pub values: &'a [f32],
}

/// A model to be watched; its vectors may be those of the candidate after a transform.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// Which candidate: says the architecture.
    pub candidate: usize,
    /// Its values.
    pub vectors: Vectors<'a>,
}

/// What is done with a batch: `rows[model][tap]`.
pub type Visit<'v> = dyn FnMut(&[Vec<Rows<'_>>]) -> Result<(), MethodError> + 'v;

/// Activations of networks on the stage's data, in evaluation mode, batch by batch.
pub trait Features: Send {
    /// Where units can be watched, in the order of the forward pass; the same for all candidates but for widths.
    fn taps(&self) -> &[Tap];

    /// Runs the data once through all models and calls `visit` for each batch, with the rows of each model at each wanted tap:
    /// `rows[model][tap]`. Batches come in a fixed order.
    ///
    /// # Errors
    /// A network fails, the data cannot be read, or `visit` fails.
    fn pass(
        &mut self,
        models: &[Watched<'_>],
        taps: &[usize],
        visit: &mut Visit<'_>,
    ) -> Result<(), MethodError>;
}

/// What an align method works on.
pub struct Matching<'a> {
    /// The models: that of the port `reference` first, if there is one, then those of `from`.
    pub models: &'a [Candidate<'a>],
    /// Whether the first model is a reference, which is not changed.
    pub reference: bool,
    /// The symmetries of the results.
    pub target: &'a Symmetries,
    /// Activations, where the method has a `data` port and it is connected.
    pub features: Option<&'a mut dyn Features>,
    /// The loss of a network with the target's symmetries on the same data.
    pub objective: Option<&'a mut dyn Objective>,
    /// Alignments from ports of such.
    pub alignments: &'a [&'a Alignment],
    /// Of the stage's random stream.
    pub seed: u64,
    /// Stop, progress, threads.
    pub context: Context<'a>,
}

impl<'a> Matching<'a> {
    /// The models that are brought over.
    #[must_use]
    pub fn moving(&self) -> &'a [Candidate<'a>] {
        &self.models[usize::from(self.reference)..]
    }
}

/// What an align method has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aligned {
    /// One for each model of the port `from`, from its symmetries to the target's.
    pub alignments: Vec<Alignment>,
    /// Names of tensors that all results have in common: their mean over the aligned models (a merged trunk under heads of their own).
    pub shared: Vec<String>,
    /// Numbers by name for people and `expect`: `objective`, `sweeps`, …
    pub facts: Vec<(String, f64)>,
    /// How the search went: objective or loss after each of its steps, of the run that was kept.
    pub trace: Vec<f64>,
}

/// How many models come in, for checks before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Models of the port `reference`: 0 or 1.
    pub reference: usize,
    /// Models of the port `from`.
    pub from: usize,
    /// Whether data is connected.
    pub data: bool,
}

/// An align method. The implementing type is the method with its settings checked.
pub trait Align: Send + Sync + Sized + 'static {
    /// Stage-level parameters.
    type Params: Params;

    /// Name, texts, ports.
    fn about() -> About;

    /// Checks the settings, before anything is read.
    ///
    /// # Errors
    /// The settings do not fit together, or not these inputs.
    fn prepare(params: Self::Params, incoming: Incoming) -> Result<Self, MethodError>;

    /// Whether results are larger or smaller than the models: sizes of the nodes, in order. `None`, as usual: those of the first model.
    /// Only sizes are known yet.
    ///
    /// # Errors
    /// The networks cannot be made wider.
    fn widths(&self, models: &[&Symmetries]) -> Result<Option<Vec<usize>>, MethodError> {
        let _ = models;
        Ok(None)
    }

    /// Whether the models may have different sizes of nodes.
    fn unequal(&self) -> bool {
        false
    }

    /// Finds the transforms. A pure function of the settings and what it is given.
    ///
    /// # Errors
    /// The models do not fit, values are not finite, or the user asked to stop.
    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError>;
}

/// An align method as the registry holds it: no type parameters left.
pub trait AlignMethod: Send + Sync {
    /// Name, texts, ports and parameter schema; the class is [`Class::Align`].
    fn describe(&self) -> Described;

    /// Checks a stage's settings (without `seed`, which the matching brings).
    ///
    /// # Errors
    /// The settings do not fit the schema, each other, or the inputs.
    fn prepare(
        &self,
        settings: &Map<String, Json>,
        incoming: Incoming,
    ) -> Result<Box<dyn AlignKernel>, MethodError>;
}

/// An align method prepared for a stage: what the engine drives.
pub trait AlignKernel: Send + Sync {
    /// See [`Align::widths`].
    ///
    /// # Errors
    /// Those of [`Align::widths`].
    fn widths(&self, models: &[&Symmetries]) -> Result<Option<Vec<usize>>, MethodError>;

    /// See [`Align::unequal`].
    fn unequal(&self) -> bool;

    /// Finds the transforms.
    ///
    /// # Errors
    /// Those of [`Align::align`].
    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError>;
}

/// The registry's form of an align method.
#[must_use]
pub fn method<K: Align>() -> Box<dyn AlignMethod> {
    Box::new(Erased {
        describe: || described::<K::Params, NoParams>(K::about(), Class::Align, 0),
        prepare: |settings, incoming| Ok(Box::new(OfAlign(K::prepare(read(settings)?, incoming)?))),
    })
}

/// An align method by its functions, with its type gone.
struct Erased {
    describe: fn() -> Described,
    prepare: Prepare,
}

type Prepare = fn(&Map<String, Json>, Incoming) -> Result<Box<dyn AlignKernel>, MethodError>;

impl AlignMethod for Erased {
    fn describe(&self) -> Described {
        (self.describe)()
    }

    fn prepare(
        &self,
        settings: &Map<String, Json>,
        incoming: Incoming,
    ) -> Result<Box<dyn AlignKernel>, MethodError> {
        (self.prepare)(settings, incoming)
    }
}

struct OfAlign<K>(K);

impl<K: Align> AlignKernel for OfAlign<K> {
    fn widths(&self, models: &[&Symmetries]) -> Result<Option<Vec<usize>>, MethodError> {
        self.0.widths(models)
    }

    fn unequal(&self) -> bool {
        self.0.unequal()
    }

    fn align(&self, matching: Matching<'_>) -> Result<Aligned, MethodError> {
        self.0.align(matching)
    }
}
