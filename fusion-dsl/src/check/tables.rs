//! Settings of blocks that are the language's own: `model`, `save`.

use crate::descriptor::{ParamKind, ParamSpec};

/// Number formats that a checkpoint can be written in.
pub(crate) const DTYPES: [(&str, &str); 6] = [
    ("f64", "64-bit float"),
    ("f32", "32-bit float"),
    ("f16", "16-bit float, 5 exponent bits"),
    ("bf16", "16-bit float, 8 exponent bits"),
    ("f8_e4m3", "8-bit float, 4 exponent bits"),
    ("f8_e5m2", "8-bit float, 5 exponent bits"),
];

pub(crate) fn dtype() -> ParamKind {
    ParamKind::Word(DTYPES.iter().map(|(word, doc)| ((*word).to_owned(), (*doc).to_owned())).collect())
}

fn spec(name: &str, kind: ParamKind, doc: &str) -> ParamSpec {
    ParamSpec {
        name: name.to_owned(),
        kind,
        doc: doc.to_owned(),
        default: None,
        required: false,
        min: None,
        max: None,
        min_exclusive: false,
        varies: false,
        per_input: false,
        bare: None,
    }
}

/// The block of `save`.
pub(crate) fn save() -> Vec<ParamSpec> {
    vec![
        spec("dtype", dtype(), "number format of the output's weights"),
        ParamSpec {
            min: Some(1.0),
            ..spec("shard", ParamKind::Bytes, "largest size of one file of the output")
        },
        spec("config", ParamKind::Model, "the model whose `config.json` is taken over"),
        spec("tokenizer", ParamKind::Model, "the model whose tokenizer is taken over"),
        spec("overwrite", ParamKind::Bool, "whether an output that is already there is replaced"),
    ]
}

/// The block of `model … from`.
pub(crate) fn model() -> Vec<ParamSpec> {
    vec![
        spec("adapter", ParamKind::Text, "folder of a LoRA adapter that is added to the model"),
        spec("scale", ParamKind::Number, "factor on the adapter"),
        spec("revision", ParamKind::Text, "version of a model that comes from a hub"),
    ]
}

/// Ways to draw the first weights of linear layers and convolutions.
pub(crate) const INITS: [(&str, &str); 4] = [
    ("usual", "as each architecture's page says; for linear layers that is `pytorch`"),
    ("pytorch", "uniform up to 1/√fan_in, biases too: PyTorch's `nn.Linear` and `nn.Conv2d`"),
    ("he", "normal with variance 2/fan_in, biases 0 (He et al., 2015)"),
    ("xavier", "uniform with variance 2/(fan_in + fan_out), biases 0 (Glorot and Bengio, 2010)"),
];

/// The block of `model … of`.
pub(crate) fn fresh() -> Vec<ParamSpec> {
    let inits = INITS.iter().map(|(word, doc)| ((*word).to_owned(), (*doc).to_owned())).collect();
    vec![
        spec("seed", ParamKind::Seed, "starts the random stream of the initial weights"),
        spec("init", ParamKind::Word(inits), "how the initial weights are drawn"),
    ]
}

/// The block of `model … of … from`.
pub(crate) fn foreign() -> Vec<ParamSpec> {
    let doc = "tensors of the file and those of the network that they become: `\"theirs = ours\"`";
    vec![spec("map", ParamKind::List(Box::new(ParamKind::Text)), doc)]
}

/// The `seed` that every method with random numbers has, unless its schema declares one.
pub(crate) fn seed() -> ParamSpec {
    spec(
        "seed",
        ParamKind::Seed,
        "starts the method's random stream; drawn from the recipe's hash unless set",
    )
}
