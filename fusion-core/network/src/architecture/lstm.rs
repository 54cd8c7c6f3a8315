//! `lstm`: a recurrent network, either a language model (`vocabulary` and `context`: it predicts the next token at every position)
//! or a classifier that reads an image row by row (`input`) and answers from the last state.
//!
//! In PyTorch: `embedding` (`nn.Embedding`), `lstm` (`nn.LSTM`, batch first) and `fc` (`nn.Linear`).

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use fusion_sdk::{MethodError, Params};

use super::{Design, Reads};
use crate::initial::{Place, Start};
use crate::layers::{Forward, Input, Outputs, Pass, Recurrence, rows};

/// Arguments of `lstm`.
#[derive(Clone, Debug, PartialEq, Params)]
pub(crate) struct Lstm {
    /// for language: different tokens
    #[param(range = 1..)]
    pub vocabulary: Option<usize>,
    /// for language: longest number of tokens
    #[param(range = 1..)]
    pub context: Option<usize>,
    /// for images: [rows, columns] or [channels, rows, columns]; a step reads one row of all channels
    #[param(range = 1..)]
    pub input: Option<Vec<usize>>,
    /// units of each layer
    #[param(range = 1.., default = 128)]
    pub hidden: usize,
    /// layers on top of each other
    #[param(range = 1..=1024, default = 1)]
    pub layers: usize,
    /// for language: numbers for each token (default: as `hidden`)
    #[param(range = 1..)]
    pub embedding: Option<usize>,
    /// numbers of a prediction (default for language: the vocabulary; for images it must be given)
    #[param(range = 1..)]
    pub outputs: Option<usize>,
    /// share of units between layers that are dropped in training
    #[param(unit = fraction, range = 0..=0.99, default = 0.0)]
    pub dropout: f64,
}

/// The module of [`Lstm`].
#[derive(Module, Debug)]
pub(crate) struct LstmModel {
    embedding: Option<Embedding>,
    lstm: Vec<Recurrence>,
    fc: Linear,
    #[module(skip)]
    dropout: f64,
}

impl Design for Lstm {
    type Model = LstmModel;
    const NAME: &'static str = "lstm";
    const SUMMARY: &'static str = "A recurrent network for language, or for images row by row.";
    const CITATION: &'static str = "Hochreiter, Schmidhuber: Long short-term memory, 1997";
    const TENSORS: &'static str =
        "`embedding` (`nn.Embedding`), `lstm` (`nn.LSTM`: `lstm.weight_ih_l0`, …) and `fc` (`nn.Linear`).";
    const POSITIONAL: &'static [&'static str] = &["vocabulary", "context"];

    fn check_together(&self) -> Result<(), MethodError> {
        let language = self.vocabulary.is_some() || self.context.is_some();
        match (&self.input, language) {
            (Some(_), true) => Err(MethodError::invalid("`lstm` reads tokens or images, not both")
                .at("input")
                .help("remove `input`, or `vocabulary` and `context`")),
            (None, false) => Err(MethodError::invalid("`lstm` needs to know what it reads")
                .help("give `vocabulary` and `context` for language, or `input` and `outputs` for images")),
            (None, true) if self.vocabulary.is_none() || self.context.is_none() => {
                Err(MethodError::invalid("language needs both `vocabulary` and `context`"))
            }
            (Some(input), false) if !(2..=3).contains(&input.len()) => {
                Err(MethodError::invalid(format!("`input = {input:?}` is not an image"))
                    .at("input")
                    .help("give [rows, columns] or [channels, rows, columns]"))
            }
            (Some(_), false) if self.embedding.is_some() => {
                Err(MethodError::invalid("images have no `embedding`").at("embedding").help("remove it"))
            }
            (Some(_), false) if self.outputs.is_none() => Err(MethodError::invalid("`outputs` is missing")
                .at("outputs")
                .help("give the number of classes")),
            _ => Ok(()),
        }
    }

    fn build(&self, device: &Device) -> LstmModel {
        let width = self.embedding.unwrap_or(self.hidden);
        let inputs = match self.input.as_deref() {
            Some(&[_, columns]) => columns,
            Some(&[channels, _, columns]) => channels * columns,
            _ => width,
        };
        let layer =
            |index| Recurrence::new(if index == 0 { inputs } else { self.hidden }, self.hidden, device);
        LstmModel {
            embedding: self.vocabulary.map(|tokens| EmbeddingConfig::new(tokens, width).init(device)),
            lstm: (0..self.layers).map(layer).collect(),
            fc: LinearConfig::new(self.hidden, self.outputs()).init(device),
            dropout: self.dropout,
        }
    }

    fn input(&self) -> Vec<usize> {
        self.input.clone().or(self.context.map(|context| vec![context])).unwrap_or_default()
    }

    fn outputs(&self) -> usize {
        self.outputs.or(self.vocabulary).unwrap_or(1)
    }

    fn reads(&self) -> Reads {
        self.vocabulary.map_or(Reads::Numbers, Reads::Tokens)
    }

    fn name(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        match parts.as_slice() {
            ["lstm", layer, field] => format!("lstm.{field}_l{layer}"),
            _ => path.to_owned(),
        }
    }

    fn layer(&self, name: &str) -> String {
        match name.rsplit_once("_l") {
            Some((_, layer)) if name.starts_with("lstm.") => format!("lstm.{layer}"),
            _ => name.rsplit_once('.').map_or(name, |(module, _)| module).to_owned(),
        }
    }

    fn start(&self, place: &Place<'_>) -> Start {
        match place.container {
            "Struct:Recurrence" => Start::Uniform(1.0 / (self.hidden as f64).sqrt()),
            "Struct:Embedding" => Start::Normal(1.0),
            _ => place.usual(),
        }
    }
}

impl Forward for LstmModel {
    fn forward(&self, input: Input, pass: &mut Pass) -> Outputs {
        let language = self.embedding.is_some();
        let mut sequence: Vec<Tensor<2>> = match &self.embedding {
            Some(embedding) => {
                let tokens = input.tokens();
                let [examples, length] = tokens.dims();
                let step = |at| {
                    let x = embedding.forward(tokens.clone().narrow(1, at, 1));
                    let width = x.dims()[2];
                    x.reshape([examples, width])
                };
                (0..length).map(step).collect()
            }
            None => {
                let images = input.images();
                let [examples, channels, rows, columns] = images.dims();
                let step = |at| images.clone().narrow(2, at, 1).reshape([examples, channels * columns]);
                (0..rows).map(step).collect()
            }
        };
        for (index, layer) in self.lstm.iter().enumerate() {
            if index > 0 {
                sequence = sequence.into_iter().map(|x| pass.dropout(x, self.dropout)).collect();
            }
            sequence = layer.forward(sequence);
            pass.sequence_feature(&sequence, language, || format!("lstm.{index}"));
            pass.after_steps(&sequence, || format!("lstm.{index}"));
        }
        let rows = match (language, sequence.pop()) {
            (true, Some(last)) => rows(sequence.into_iter().chain([last]).collect()),
            (false, Some(last)) => last,
            // Checked before: inputs have at least one step.
            (_, None) => Tensor::zeros([0, 1], &self.fc.weight.val().device()),
        };
        self.fc.forward(rows)
    }
}
