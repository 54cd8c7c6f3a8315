//! Writes a base and its fine-tunes as Hugging Face folders in one pass, without ever holding a model in memory.
//!
//! Every chunk of every tensor is drawn, rounded and written at its final offset on its own, so chunks run in
//! parallel and the bytes are the same for any number of threads.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Value, json};

use crate::draw::{Normal, stream_key};
use crate::llama::{self, Shape, Tensor};

/// The folders that are made: a base and three fine-tunes of it.
pub const MODELS: [&str; 4] = ["base", "chat", "code", "math"];
/// Standard deviation of the base's weights, as Llama is initialised.
pub const WEIGHT_STD: f32 = 0.02;
/// Standard deviation of a fine-tune's change: a tenth of the weights' scale.
pub const DELTA_STD: f32 = 0.002;
/// Elements drawn and written at a time; even, as [`Normal::fill`] asks.
const CHUNK: usize = 1 << 17;

/// The element types on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Float {
    /// bfloat16
    Bf16,
    /// IEEE half
    F16,
    /// IEEE single
    F32,
}

impl Float {
    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    fn safetensors(self) -> Dtype {
        match self {
            Self::Bf16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
            Self::F32 => Dtype::F32,
        }
    }

    fn transformers(self) -> &'static str {
        match self {
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
            Self::F32 => "float32",
        }
    }

    /// Rounds `values` in place and stores them in `bytes`, little endian.
    fn encode(self, values: &mut [f32], bytes: &mut [u8]) {
        match self {
            Self::Bf16 => {
                for (value, slot) in values.iter_mut().zip(bytes.chunks_exact_mut(2)) {
                    let rounded = bf16::from_f32(*value);
                    slot.copy_from_slice(&rounded.to_le_bytes());
                    *value = rounded.to_f32();
                }
            }
            Self::F16 => {
                for (value, slot) in values.iter_mut().zip(bytes.chunks_exact_mut(2)) {
                    let rounded = f16::from_f32(*value);
                    slot.copy_from_slice(&rounded.to_le_bytes());
                    *value = rounded.to_f32();
                }
            }
            Self::F32 => {
                for (value, slot) in values.iter().zip(bytes.chunks_exact_mut(4)) {
                    slot.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
    }
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Order {
    /// Sizes of the models.
    pub shape: Shape,
    /// Element type of all tensors.
    pub dtype: Float,
    /// Seed of all draws.
    pub seed: u64,
    /// Largest shard in bytes of tensor data; one larger tensor still gets a shard of its own.
    pub shard_bytes: u64,
    /// Which of [`MODELS`]; the base's values are drawn in any case, fine-tunes start from them.
    pub models: Vec<String>,
    /// Replace folders that exist, as a whole.
    pub overwrite: bool,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Parameters per model.
    pub parameters: u64,
    /// Shards per model.
    pub shards: usize,
    /// Bytes of tensor data per model.
    pub bytes: u64,
}

struct Shard {
    file: String,
    header: Vec<u8>,
    /// Tensors with the offset of their first byte in the file.
    tensors: Vec<(Tensor, u64)>,
    length: u64,
}

/// Makes the folders of `order` in `out`.
///
/// # Errors
/// If a folder exists and `overwrite` is off, a model's name is not one of [`MODELS`], or writing fails.
pub fn make(out: &Path, order: &Order) -> Result<Made> {
    for name in &order.models {
        if !MODELS.contains(&name.as_str()) {
            bail!("there is no model `{name}`; there are {}", MODELS.join(", "));
        }
        let folder = out.join(name);
        if folder.exists() {
            if !order.overwrite {
                bail!("`{}` exists; `--overwrite` replaces it", folder.display());
            }
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove `{}`", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    }
    let shards = lay_out(order)?;
    let mut files = Vec::new();
    for name in &order.models {
        let folder = out.join(name);
        write_json_files(&folder, order, &shards)?;
        let created: Result<Vec<File>> =
            shards.iter().map(|shard| create(&folder.join(&shard.file), shard)).collect();
        files.push((name.as_str(), created?));
    }
    write_tensors(order, &shards, &files)?;
    let tensors = || shards.iter().flat_map(|shard| &shard.tensors);
    let parameters = tensors().map(|(tensor, _)| tensor.elements() as u64).sum();
    Ok(Made { parameters, shards: shards.len(), bytes: parameters * order.dtype.bytes() as u64 })
}

/// Splits the tensors into shards in the model's order; inside a shard they stand sorted by name, as the Python
/// library writes them.
fn lay_out(order: &Order) -> Result<Vec<Shard>> {
    let size = |tensor: &Tensor| (tensor.elements() * order.dtype.bytes()) as u64;
    let mut groups: Vec<Vec<Tensor>> = vec![Vec::new()];
    let mut filled = 0;
    for tensor in order.shape.tensors() {
        if filled > 0 && filled + size(&tensor) > order.shard_bytes {
            groups.push(Vec::new());
            filled = 0;
        }
        filled += size(&tensor);
        if let Some(group) = groups.last_mut() {
            group.push(tensor);
        }
    }
    let count = groups.len();
    groups
        .into_iter()
        .enumerate()
        .map(|(index, mut tensors)| {
            tensors.sort_by(|a, b| a.name.cmp(&b.name));
            let mut end = 0;
            let infos: Vec<(String, TensorInfo)> = tensors
                .iter()
                .map(|tensor| {
                    let start = end;
                    end += tensor.elements() * order.dtype.bytes();
                    let info = TensorInfo {
                        dtype: order.dtype.safetensors(),
                        shape: tensor.shape.clone(),
                        data_offsets: (start, end),
                    };
                    (tensor.name.clone(), info)
                })
                .collect();
            let starts: Vec<u64> = infos.iter().map(|(_, info)| info.data_offsets.0 as u64).collect();
            let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
            let mut json = serde_json::to_vec(&Metadata::new(Some(format), infos)?)?;
            // the format pads its header with spaces so that the data begins at a multiple of eight
            json.resize(json.len().next_multiple_of(8), b' ');
            let mut header = (json.len() as u64).to_le_bytes().to_vec();
            header.extend(json);
            let data = header.len() as u64;
            let file = if count == 1 {
                "model.safetensors".to_owned()
            } else {
                format!("model-{:05}-of-{count:05}.safetensors", index + 1)
            };
            let tensors =
                tensors.into_iter().zip(starts).map(|(tensor, start)| (tensor, data + start)).collect();
            Ok(Shard { file, header, tensors, length: data + end as u64 })
        })
        .collect()
}

fn write_json_files(folder: &Path, order: &Order, shards: &[Shard]) -> Result<()> {
    let write = |name: &str, value: &Value| {
        let path = folder.join(name);
        let text = serde_json::to_string_pretty(value)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
    };
    write("config.json", &order.shape.config(order.dtype.transformers()))?;
    write("generation_config.json", &llama::generation_config())?;
    write("tokenizer.json", &llama::tokenizer())?;
    write("tokenizer_config.json", &llama::tokenizer_config())?;
    if shards.len() > 1 {
        let mut places: Vec<(&str, &str)> = Vec::new();
        let mut elements = 0;
        for shard in shards {
            for (tensor, _) in &shard.tensors {
                places.push((&tensor.name, &shard.file));
                elements += tensor.elements();
            }
        }
        places.sort_unstable();
        let map: serde_json::Map<String, Value> =
            places.into_iter().map(|(tensor, file)| (tensor.to_owned(), json!(file))).collect();
        let total = elements * order.dtype.bytes();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
        write("model.safetensors.index.json", &index)?;
    }
    Ok(())
}

fn create(path: &Path, shard: &Shard) -> Result<File> {
    let made = || {
        let file = File::create_new(path)?;
        file.set_len(shard.length)?;
        file.write_all_at(&shard.header, 0)?;
        std::io::Result::Ok(file)
    };
    made().with_context(|| format!("cannot create `{}`", path.display()))
}

fn write_tensors(order: &Order, shards: &[Shard], files: &[(&str, Vec<File>)]) -> Result<()> {
    let normal = Normal::new();
    let mut chunks = Vec::new();
    for (index, shard) in shards.iter().enumerate() {
        for (tensor, start) in &shard.tensors {
            for first in (0..tensor.elements()).step_by(CHUNK) {
                chunks.push((index, tensor, *start, first));
            }
        }
    }
    let buffers = || (vec![0.0_f32; CHUNK], vec![0.0_f32; CHUNK], vec![0_u8; CHUNK * order.dtype.bytes()]);
    chunks.into_par_iter().try_for_each_init(
        buffers,
        |(base, tuned, bytes), (shard, tensor, start, first)| {
            let count = CHUNK.min(tensor.elements() - first);
            let (base, tuned) = (&mut base[..count], &mut tuned[..count]);
            let bytes = &mut bytes[..count * order.dtype.bytes()];
            let offset = start + (first * order.dtype.bytes()) as u64;
            let key = |model| stream_key(order.seed, model, &tensor.name);
            normal.fill(key(MODELS[0]), first as u64, tensor.mean(), WEIGHT_STD, base);
            // fine-tunes start from the base as it is stored
            order.dtype.encode(base, bytes);
            for (name, files) in files {
                if *name == MODELS[0] {
                    order.dtype.encode(base, bytes);
                } else {
                    normal.fill(key(name), first as u64, 0.0, DELTA_STD, tuned);
                    tuned.iter_mut().zip(&*base).for_each(|(tuned, base)| *tuned += base);
                    order.dtype.encode(tuned, bytes);
                }
                files[shard]
                    .write_all_at(bytes, offset)
                    .with_context(|| format!("cannot write `{}` of `{name}`", shards[shard].file))?;
            }
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn order() -> Order {
        Order {
            shape: Shape::TINY,
            dtype: Float::Bf16,
            seed: 1,
            shard_bytes: 5_000_000_000,
            models: MODELS.map(str::to_owned).to_vec(),
            overwrite: false,
        }
    }

    fn values(bytes: &[u8], name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let data = file.tensor(name).unwrap().data();
        data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
    }

    #[test]
    fn same_bytes_for_any_thread_count_and_choice_of_models() {
        let folder = tempfile::tempdir().unwrap();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| make(&folder.path().join(threads.to_string()), &order()).unwrap());
        }
        let some = Order { models: vec!["code".into(), "base".into()], ..order() };
        make(&folder.path().join("some"), &some).unwrap();
        let read = |path: &str| fs::read(folder.path().join(path).join("model.safetensors")).unwrap();
        for model in MODELS {
            assert!(read(&format!("1/{model}")) == read(&format!("3/{model}")), "{model}");
        }
        for model in &some.models {
            assert!(read(&format!("1/{model}")) == read(&format!("some/{model}")), "{model}");
        }
    }

    #[test]
    fn values_have_the_stated_scales() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &order()).unwrap();
        let read = |model: &str, name: &str| {
            values(&fs::read(folder.path().join(model).join("model.safetensors")).unwrap(), name)
        };
        let rms = |x: &[f32]| (x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
        let (base, chat) = (read("base", "lm_head.weight"), read("chat", "lm_head.weight"));
        let delta: Vec<f32> = chat.iter().zip(&base).map(|(a, b)| a - b).collect();
        assert!((rms(&base) / f64::from(WEIGHT_STD) - 1.0).abs() < 0.02);
        assert!((rms(&delta) / f64::from(DELTA_STD) - 1.0).abs() < 0.02);
        assert!(read("base", "model.norm.weight").iter().all(|x| (x - 1.0).abs() < 0.1));
    }

    #[test]
    fn shards_have_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let made = make(folder.path(), &Order { shard_bytes: 100_000, ..order() }).unwrap();
        assert!(made.shards > 1);
        let base = folder.path().join("base");
        let index: Value =
            serde_json::from_slice(&fs::read(base.join("model.safetensors.index.json")).unwrap()).unwrap();
        assert_eq!(index["metadata"]["total_size"], made.bytes);
        for (name, file) in index["weight_map"].as_object().unwrap() {
            let bytes = fs::read(base.join(file.as_str().unwrap())).unwrap();
            SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap();
        }
    }

    #[test]
    fn an_existing_folder_is_kept_unless_told() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &order()).unwrap();
        let refused = make(folder.path(), &order()).unwrap_err().to_string();
        assert!(refused.contains("--overwrite"), "{refused}");
        make(folder.path(), &Order { overwrite: true, ..order() }).unwrap();
    }
}
