//! Symmetries of checkpoints that come without a graph: from templates over the names of their tensors, or from a text that someone has
//! written beside them.
//!
//! A template knows which tensors of a family of models read and write the same units. It takes names and shapes from headers, and head
//! counts, which no shape tells, from `config.json`. What it gives is checked against the shapes, and moved and moved back on small
//! data, before anyone uses it ([`Symmetries::check_structure`]).

mod attention;
mod bert;
mod builder;
mod clip;
mod config;
mod convnext;
mod declared;
mod distilbert;
mod error;
mod experts;
mod found;
mod gpt2;
mod gptj;
mod llama;
mod neox;
#[cfg(feature = "learn")]
mod network;
mod opt;
mod outputs;
mod resnet;
mod t5;
#[cfg(test)]
mod tests;
mod vgg;
mod vit;

use std::path::{Path, PathBuf};

use fusion_sdk::symmetry::Symmetries;
use serde_json::Value as Json;

use builder::Builder;
use config::Config;
pub use error::NamesError;
pub use found::Found;
#[cfg(feature = "learn")]
pub use network::of_network;

/// A tensor of a checkpoint: its name and shape.
pub type Header = (String, Vec<usize>);

/// What texts with symmetries end with.
const EXTENSION: &str = "symmetries";

/// A family of models.
struct Template {
    /// In messages and in [`fusion_sdk::symmetry::Origin::Template`].
    name: &'static str,
    /// A tensor that tells it, for messages.
    told_by: &'static str,
    /// Whether these are tensors of the family.
    fits: fn(&Builder<'_>) -> bool,
    /// Describes them.
    build: fn(&mut Builder<'_>, &Config<'_>) -> Result<(), NamesError>,
}

const TEMPLATES: &[Template] = &[
    // In front of Llama, whose names its base model has.
    Template {
        name: "opt",
        told_by: "`model.decoder.layers.0.self_attn.q_proj.weight` (OPT)",
        fits: opt::fits,
        build: opt::build,
    },
    Template {
        name: "llama",
        told_by: "`model.layers.0.self_attn.q_proj.weight` (Llama, Mistral, Mixtral, Qwen, Gemma, Phi, OLMo, Granite, StableLM, StarCoder2)",
        fits: llama::fits,
        build: llama::build,
    },
    Template {
        name: "gpt2",
        told_by: "`h.0.attn.c_attn.weight` (GPT-2)",
        fits: gpt2::fits,
        build: gpt2::build,
    },
    Template {
        name: "gpt-j",
        told_by: "`transformer.h.0.attn.q_proj.weight` (GPT-J)",
        fits: gptj::fits,
        build: gptj::build,
    },
    Template {
        name: "gpt-neox",
        told_by: "`gpt_neox.layers.0.attention.query_key_value.weight` (GPT-NeoX, Pythia)",
        fits: neox::fits,
        build: neox::build,
    },
    Template {
        name: "bert",
        told_by: "`bert.encoder.layer.0.attention.self.query.weight` (BERT, RoBERTa)",
        fits: bert::fits,
        build: bert::build,
    },
    Template {
        name: "distilbert",
        told_by: "`distilbert.transformer.layer.0.attention.q_lin.weight` (DistilBERT)",
        fits: distilbert::fits,
        build: distilbert::build,
    },
    Template {
        name: "t5",
        told_by: "`encoder.block.0.layer.0.SelfAttention.q.weight` (T5, mT5, UMT5)",
        fits: t5::fits,
        build: t5::build,
    },
    Template {
        name: "vit",
        told_by: "`vit.encoder.layer.0.attention.attention.query.weight` (ViT, DeiT, DINOv2)",
        fits: vit::fits,
        build: vit::build,
    },
    Template {
        name: "clip",
        told_by: "`text_model.encoder.layers.0.self_attn.q_proj.weight` (CLIP, SigLIP)",
        fits: clip::fits,
        build: clip::build,
    },
    Template {
        name: "convnext",
        told_by: "`convnext.encoder.stages.0.layers.0.dwconv.weight` (ConvNeXt, ConvNeXt V2)",
        fits: convnext::fits,
        build: convnext::build,
    },
    Template {
        name: "resnet",
        told_by: "`layer1.0.conv1.weight` (ResNet as in torchvision, and for CIFAR)",
        fits: resnet::fits,
        build: resnet::build,
    },
    Template {
        name: "vgg",
        told_by: "`features.0.weight` (VGG as in torchvision)",
        fits: vgg::fits,
        build: vgg::build,
    },
];

/// The symmetries of a checkpoint by the names of its tensors, in the order of `tensors`. `config` is its `config.json`. Tensors that the
/// template does not know stay as they are and are noted.
///
/// # Errors
/// No template knows these names; a tensor of the family is missing or has another shape; a number of `config.json` is missing; or a tensor
/// that is not known is in a layer whose units move, or as long as units that move, so that it may be a part of them.
pub fn of_names(tensors: &[Header], config: Option<&Json>) -> Result<Symmetries, NamesError> {
    Found::by_names(tensors, config).map(|found| found.symmetries)
}

/// Declared symmetries, checked against a checkpoint. Tensors that they leave out stay as they are and are noted.
///
/// # Errors
/// They contradict themselves or the shapes, declare units that nothing makes or reads, or only a part of a module.
pub fn of_text(declared: Symmetries, tensors: &[Header]) -> Result<Symmetries, NamesError> {
    Found::by_text(declared, tensors).map(|found| found.symmetries)
}

/// As [`of_text`], from a file.
///
/// # Errors
/// The file cannot be read, is no such text, or see [`of_text`].
pub fn of_file(path: &Path, tensors: &[Header]) -> Result<Symmetries, NamesError> {
    Found::by_file(path, tensors).map(|found| found.symmetries)
}

/// The text that belongs to a checkpoint, if there is one: `NAME.symmetries` beside the file or folder `NAME`, or the first
/// `*.symmetries` in the folder. Empty files do not count: a shell makes one before it runs `fusion symmetries NAME --text > NAME.symmetries`.
#[must_use]
pub fn beside(checkpoint: &Path) -> Option<PathBuf> {
    let own = match checkpoint.is_dir() {
        // A folder's name may have dots: `llama-3.2-1b`.
        true => {
            let mut name = checkpoint.file_name()?.to_owned();
            name.push(".");
            name.push(EXTENSION);
            checkpoint.with_file_name(name)
        }
        false => checkpoint.with_extension(EXTENSION),
    };
    let written = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0);
    if written(&own) {
        return Some(own);
    }
    let entries = std::fs::read_dir(checkpoint).ok()?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths.filter(|path| path.extension().is_some_and(|own| own == EXTENSION) && written(path)).min()
}
