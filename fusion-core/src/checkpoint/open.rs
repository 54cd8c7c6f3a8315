//! Turns located files into a [`Checkpoint`]: sniffs the format, reads headers, and reconciles them with the index.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::error::AGAIN;
use super::folder::{self, Located};
use super::index::{self, Index};
use super::map::Map;
use super::source::{Found, Role, Skipped, SourceFile, TensorInfo};
use super::{Checkpoint, CheckpointError, Kind, safetensors, torch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    Torch,
}

pub(super) fn open(path: &Path, located: Located) -> Result<Checkpoint, CheckpointError> {
    let (shards, index_file) = match located {
        Located::File(file) => (vec![file], None),
        Located::Series(files) => (files, None),
        Located::Index(file) => {
            let fingerprint = SourceFile::of(&file, Role::Index)?;
            let index = index::read_index(&file)?;
            (index.shards.clone(), Some((fingerprint, index)))
        }
    };
    let sharded = index_file.is_some() || shards.len() > 1;
    let mut files = Vec::with_capacity(shards.len() + 2);
    let mut maps = Vec::with_capacity(shards.len());
    let mut found: Vec<(usize, Found)> = Vec::new();
    let mut metadata = BTreeMap::new();
    let mut skipped = Vec::new();
    let mut format = None;
    for (number, shard) in shards.iter().enumerate() {
        files.push(SourceFile::of(shard, Role::Weights)?);
        let map = Map::open(shard)?;
        let here = sniff(shard, map.bytes())?;
        if *format.get_or_insert(here) != here {
            return Err(CheckpointError::malformed(
                shard,
                "it is of another format than the shards before it",
                "keep the shards of one format and its index",
            ));
        }
        let tensors = match here {
            Format::Safetensors => {
                let header = safetensors::read_header(shard, map.bytes())?;
                metadata.extend(header.metadata);
                header.tensors
            }
            Format::Torch => {
                let archive = torch::read_archive(shard, map.bytes())?;
                skipped.extend(archive.skipped);
                archive.tensors
            }
        };
        found.extend(tensors.into_iter().map(|tensor| (number, tensor)));
        maps.push(map);
    }
    found.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    if let Some(pair) = found.windows(2).find(|pair| pair[0].1.name == pair[1].1.name) {
        return Err(CheckpointError::of_tensor(
            &shards[pair[1].0],
            pair[1].1.name.as_str(),
            format!("the shard `{}` holds it as well", shards[pair[0].0].display()),
            "delete the stale shards",
        ));
    }
    if let Some((fingerprint, index)) = index_file {
        reconcile(&fingerprint.path, &index, &found, &skipped)?;
        files.push(fingerprint);
    }
    let folder = home(path, &shards);
    let mut config = None;
    let (mut tokenizer, mut companions) = (Vec::new(), Vec::new());
    if let Some(folder) = &folder {
        let file = folder.join("config.json");
        if file.is_file() {
            files.push(SourceFile::of(&file, Role::Config)?);
            config = Some(index::read_object(&file)?);
        }
        tokenizer = folder::tokenizer_files(folder);
        companions = folder::companion_files(folder)?;
    }
    let (mut tensors, mut blobs) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
    for (file, Found { name, dtype, shape, blob }) in found {
        tensors.push(TensorInfo { name, dtype, shape, file });
        blobs.push(blob);
    }
    let copies = blobs.iter().map(|_| OnceLock::new()).collect();
    let kind = match (format, sharded) {
        (Some(Format::Torch), true) => Kind::TorchSharded,
        (Some(Format::Torch), false) => Kind::Torch,
        (_, true) => Kind::SafetensorsSharded,
        (_, false) => Kind::Safetensors,
    };
    skipped.sort_by(|a: &Skipped, b| a.name.cmp(&b.name));
    Ok(Checkpoint {
        path: path.to_owned(),
        kind,
        files,
        maps,
        tensors,
        blobs,
        copies,
        copying: Mutex::new(()),
        config,
        metadata,
        skipped,
        tokenizer,
        companions,
    })
}

/// The folder whose `config.json` and tokenizer belong to the model: the folder that was named, or that of a file with
/// one of the names that Hugging Face gives to whole models.
fn home(path: &Path, shards: &[PathBuf]) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let name = path.file_name()?.to_string_lossy();
    let whole = [
        "model.safetensors",
        "pytorch_model.bin",
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
    ];
    if !whole.contains(&name.as_ref()) {
        return None;
    }
    let folder = shards.first()?.parent()?;
    Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
}

/// Tells the format by the first bytes; the name decides only where they say nothing.
fn sniff(path: &Path, bytes: &[u8]) -> Result<Format, CheckpointError> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if extension == "safetensors" {
        return Ok(Format::Safetensors);
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Format::Torch);
    }
    if bytes.starts_with(b"GGUF") {
        return Err(CheckpointError::unsupported(
            path,
            "it is a GGUF file",
            "merge the original safetensors model and convert the result with llama.cpp",
        ));
    }
    if bytes.starts_with(b"\x89HDF\r\n") {
        return Err(CheckpointError::unsupported(
            path,
            "it is an HDF5 file",
            "export the model as safetensors",
        ));
    }
    if torch::looks_like_pickle(bytes) {
        return Err(CheckpointError::unsupported(
            path,
            "it is a bare pickle or PyTorch's format from before version 1.6",
            "load it in PyTorch with `weights_only=True` and save it again with `torch.save`, which writes the zip format",
        ));
    }
    if bytes.get(8) == Some(&b'{') {
        return Ok(Format::Safetensors);
    }
    if ["bin", "pt", "pth", "ckpt"].contains(&extension.as_str()) {
        return Err(CheckpointError::malformed(
            path,
            "it is not a PyTorch archive (no zip signature)",
            AGAIN,
        ));
    }
    Err(CheckpointError::unsupported(
        path,
        "its first bytes are those of no model format",
        "name a `.safetensors` file, a PyTorch `.bin`, `.pt`, `.pth` or `.ckpt` file, or a folder that holds one",
    ))
}

/// Requires that index and shards name the same tensors in the same places.
fn reconcile(
    path: &Path,
    index: &Index,
    found: &[(usize, Found)],
    skipped: &[Skipped],
) -> Result<(), CheckpointError> {
    let held: HashMap<&str, usize> =
        found.iter().map(|(shard, tensor)| (tensor.name.as_str(), *shard)).collect();
    let left_out: HashSet<&str> = skipped.iter().map(|entry| entry.name.as_str()).collect();
    for (name, &shard) in &index.tensors {
        match held.get(name.as_str()) {
            Some(&actual) if actual == shard => {}
            Some(&actual) => {
                return Err(CheckpointError::of_tensor(
                    path,
                    name.as_str(),
                    format!(
                        "the index places it in `{}`, it is in `{}`",
                        index.shards[shard].display(),
                        index.shards[actual].display()
                    ),
                    "the index and the shards are from different versions of the model; download both again",
                ));
            }
            None if left_out.contains(name.as_str()) => {}
            None => {
                return Err(CheckpointError::of_tensor(
                    path,
                    name.as_str(),
                    format!(
                        "the index places it in `{}`, which does not hold it",
                        index.shards[shard].display()
                    ),
                    "the index and the shards are from different versions of the model; download both again",
                ));
            }
        }
    }
    for (shard, tensor) in found {
        if !index.tensors.contains_key(&tensor.name) {
            return Err(CheckpointError::of_tensor(
                &index.shards[*shard],
                tensor.name.as_str(),
                format!("the shard holds it, the index `{}` does not name it", path.display()),
                "the index and the shards are from different versions of the model; download both again",
            ));
        }
    }
    Ok(())
}
