//! Decides which files of a path are the model, so that a stale leftover is never merged in silence.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// What [`resolve`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// One file with tensors.
    File(PathBuf),
    /// A `*.index.json` that names its shards.
    Index(PathBuf),
    /// A complete `name-00001-of-00003` series without an index.
    Series(Vec<PathBuf>),
}

/// Files that training leaves next to a model; never the model itself.
const TRAINING: [&str; 6] =
    ["training_args.bin", "optimizer", "scheduler", "rng_state", "scaler", "random_states"];

/// Files that make up a tokenizer, by exact name.
const TOKENIZER: [&str; 14] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.bpe",
    "vocab.json",
    "vocab.txt",
];

/// Finds the model at a path.
///
/// In a folder, in this order: `model.safetensors.index.json` or `model.safetensors` (both: an error, one is stale) · a
/// complete series of numbered safetensors shards · the only other safetensors index or file · `pytorch_model.bin.index.json`
/// or `pytorch_model.bin` (both: an error) · the only `.bin`, `.pt`, `.pth` or `.ckpt` file that training did not leave.
pub(crate) fn resolve(path: &Path) -> Result<Located, CheckpointError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CheckpointError::Missing { path: path.to_owned(), fix: hint_for_absent(path) });
        }
        Err(source) => return Err(CheckpointError::Io { path: path.to_owned(), action: "open", source }),
    };
    if !metadata.is_dir() {
        let is_index = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"));
        return Ok(if is_index { Located::Index(path.to_owned()) } else { Located::File(path.to_owned()) });
    }
    let names = list(path)?;
    let has = |name: &str| names.contains(name);

    if let Some(found) = named(path, &names, "model.safetensors")? {
        return Ok(found);
    }
    let plain = |name: &&String| !name.starts_with("adapter_") && !name.starts_with('.');
    let indices: Vec<&String> =
        names.iter().filter(|n| n.ends_with(".safetensors.index.json")).filter(plain).collect();
    let tensors: Vec<&String> = names.iter().filter(|n| n.ends_with(".safetensors")).filter(plain).collect();
    match (indices.as_slice(), tensors.as_slice()) {
        ([index], _) => return Ok(Located::Index(path.join(index))),
        ([], []) => {}
        ([], [only]) if series_of(only).is_none() => return Ok(Located::File(path.join(only))),
        ([], several) => return series(path, several),
        (several, _) => return Err(ambiguous(path, several)),
    }
    if let Some(found) = named(path, &names, "pytorch_model.bin")? {
        return Ok(found);
    }
    let pickles: Vec<&String> = names
        .iter()
        .filter(|n| [".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| n.ends_with(end)))
        .filter(|n| !TRAINING.iter().any(|start| n.starts_with(start)))
        .filter(plain)
        .collect();
    match pickles.as_slice() {
        [] => {}
        [only] if series_of(only).is_none() => return Ok(Located::File(path.join(only))),
        several => return series(path, several),
    }
    if has("adapter_config.json") {
        return Err(CheckpointError::unsupported(
            path,
            "the folder holds a LoRA adapter, not a whole model",
            "give it as an adapter on top of its base model",
        ));
    }
    Err(CheckpointError::Missing {
        path: path.to_owned(),
        fix: "the folder holds none of `model.safetensors`, `model.safetensors.index.json`, `pytorch_model.bin`, \
              `pytorch_model.bin.index.json`, and no other `.safetensors`, `.bin`, `.pt`, `.pth` or `.ckpt` file"
            .to_owned(),
    })
}

/// Tokenizer files of a folder, sorted.
pub(crate) fn tokenizer_files(folder: &Path) -> Vec<PathBuf> {
    TOKENIZER.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// Small files of a folder that belong to the model but hold neither weights nor its tokenizer or `config.json`
/// (`generation_config.json`, `preprocessor_config.json`, Python code, licences), sorted.
pub(crate) fn companion_files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    const LARGEST: u64 = 16 << 20;
    let small = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= LARGEST);
    let wanted = |name: &String| {
        let kind = [".json", ".jinja", ".py", ".txt", ".md"].iter().any(|end| name.ends_with(end))
            || name.starts_with("LICENSE")
            || name.starts_with("NOTICE");
        let other = name.ends_with(".index.json") || name == "config.json" || name.starts_with("adapter_");
        kind && !other && !TOKENIZER.contains(&name.as_str())
    };
    Ok(list(folder)?.iter().filter(|name| wanted(name)).map(|name| folder.join(name)).filter(small).collect())
}

/// File names of a folder that are UTF-8, sorted (a name that is not cannot be one of ours).
fn list(folder: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    fs::read_dir(folder)
        .map_err(CheckpointError::io(folder, "list"))?
        .filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().into_string().ok().map(Ok),
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()
        .map_err(CheckpointError::io(folder, "list"))
}

fn named(folder: &Path, names: &BTreeSet<String>, single: &str) -> Result<Option<Located>, CheckpointError> {
    let index = format!("{single}.index.json");
    match (names.contains(&index), names.contains(single)) {
        (true, true) => Err(CheckpointError::Ambiguous {
            path: folder.to_owned(),
            offence: format!("it holds both `{index}` and `{single}`, and tools differ in which they load"),
            fix: "delete the stale one, or name the file that you mean instead of the folder".to_owned(),
        }),
        (true, false) => Ok(Some(Located::Index(folder.join(index)))),
        (false, true) => Ok(Some(Located::File(folder.join(single)))),
        (false, false) => Ok(None),
    }
}

fn ambiguous(folder: &Path, names: &[&String]) -> CheckpointError {
    let shown: Vec<String> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > 4 { format!(" and {} more", names.len() - 4) } else { String::new() };
    CheckpointError::Ambiguous {
        path: folder.to_owned(),
        offence: format!("it holds {}{more}", shown.join(", ")),
        fix: "name the file that you mean instead of the folder".to_owned(),
    }
}

/// Splits `model-00001-of-00003.safetensors` into (`model`, 1, 3, `.safetensors`).
fn series_of(name: &str) -> Option<(&str, usize, usize, &str)> {
    let (stem, extension) = name.split_at(name.rfind('.')?);
    let (front, total) = stem.rsplit_once("-of-")?;
    let (base, number) = front.rsplit_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(total) || !digits(number) {
        return None;
    }
    Some((base, number.parse().ok()?, total.parse().ok()?, extension))
}

/// Accepts several files only if they are all shards of one complete series.
fn series(folder: &Path, names: &[&String]) -> Result<Located, CheckpointError> {
    let parts: Option<Vec<_>> = names.iter().map(|name| series_of(name)).collect();
    let Some(parts) = parts else { return Err(ambiguous(folder, names)) };
    let (base, _, total, extension) = parts[0];
    if parts.iter().any(|part| (part.0, part.2, part.3) != (base, total, extension)) {
        return Err(ambiguous(folder, names));
    }
    let present: BTreeSet<usize> = parts.iter().map(|part| part.1).collect();
    if present.len() != total || present.first() != Some(&1) || present.last() != Some(&total) {
        return Err(CheckpointError::malformed(
            folder,
            format!(
                "{} of the {total} shards `{base}-…-of-…{extension}` are there, and no index",
                present.len()
            ),
            "finish the download",
        ));
    }
    Ok(Located::Series(names.iter().map(|name| folder.join(name)).collect()))
}

fn hint_for_absent(path: &Path) -> String {
    let text = path.to_string_lossy();
    let parts: Vec<&str> = text.split('/').collect();
    let looks_like_hub_id =
        parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && *part != "." && *part != "..");
    if looks_like_hub_id && !parts[1].ends_with(".safetensors") {
        format!(
            "the path does not exist; if it is a Hugging Face name, run `hf download {text} --local-dir {text}` first"
        )
    } else {
        "the path does not exist".to_owned()
    }
}
