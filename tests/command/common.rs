//! Tiny checkpoints and a way to call the command on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tempfile::TempDir;

/// A folder of its own for each test.
pub(crate) struct Space {
    folder: TempDir,
    /// What the command remembers: nobody else's.
    cache: TempDir,
}

/// What a call of the command gave.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A tensor before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

/// Values that look like weights: a function of the seed, the name and the place.
pub(crate) fn values(seed: u64, name: &str, count: usize) -> Vec<f64> {
    let mut state = name.bytes().fold(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // f32, so that the reference computes from what is stored.
            f64::from(((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.2)
        })
        .collect()
}

impl Tensor {
    pub(crate) fn new(seed: u64, name: &str, shape: &[usize]) -> Self {
        let values = values(seed, name, shape.iter().product());
        Tensor { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec(), values }
    }

    fn bytes(&self) -> Vec<u8> {
        let each = |f: &dyn Fn(f64) -> Vec<u8>| self.values.iter().flat_map(|v| f(*v)).collect();
        match self.dtype {
            Dtype::F32 => each(&|v| (v as f32).to_le_bytes().to_vec()),
            Dtype::F64 => each(&|v| v.to_le_bytes().to_vec()),
            Dtype::BF16 => each(&|v| half::bf16::from_f64(v).to_le_bytes().to_vec()),
            Dtype::F16 => each(&|v| half::f16::from_f64(v).to_le_bytes().to_vec()),
            Dtype::I64 => each(&|v| (v as i64).to_le_bytes().to_vec()),
            other => panic!("{other:?} is not written by these tests"),
        }
    }
}

/// A decoder with `layers` layers.
pub(crate) fn decoder(seed: u64, layers: usize, hidden: usize) -> Vec<Tensor> {
    let mut all = vec![
        Tensor::new(seed, "model.embed_tokens.weight", &[12, hidden]),
        Tensor::new(seed, "model.norm.weight", &[hidden]),
        Tensor::new(seed, "lm_head.weight", &[12, hidden]),
    ];
    for layer in 0..layers {
        let name = |suffix: &str| format!("model.layers.{layer}.{suffix}");
        all.push(Tensor::new(seed, &name("self_attn.q_proj.weight"), &[hidden, hidden]));
        all.push(Tensor::new(seed, &name("mlp.up_proj.weight"), &[2 * hidden, hidden]));
        all.push(Tensor::new(seed, &name("input_layernorm.weight"), &[hidden]));
    }
    all
}

/// The bytes of a safetensors file.
pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let data: Vec<Vec<u8>> = tensors.iter().map(Tensor::bytes).collect();
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .zip(&data)
        .map(|(tensor, bytes)| {
            (tensor.name.as_str(), TensorView::new(tensor.dtype, tensor.shape.clone(), bytes).unwrap())
        })
        .collect();
    safetensors::serialize(views, None).unwrap()
}

/// Tensors of one safetensors file or of all in a folder, as f64.
pub(crate) fn load(path: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<f64>)> {
    let mut files: Vec<PathBuf> = match path.is_dir() {
        true => std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect(),
        false => vec![path.to_owned()],
    };
    files.retain(|file| file.extension().is_some_and(|ext| ext == "safetensors"));
    let mut all = BTreeMap::new();
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => {
                    data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
                }
                Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                Dtype::BF16 => {
                    data.as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f64()).collect()
                }
                Dtype::F16 => {
                    data.as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f64()).collect()
                }
                Dtype::I64 => data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
                _ => Vec::new(),
            };
            all.insert(name.to_owned(), (view.dtype(), view.shape().to_vec(), values));
        }
    }
    all
}

/// All files of a folder with their bytes, hidden ones too.
pub(crate) fn listing(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    if let Ok(entries) = std::fs::read_dir(path) {
        for entry in entries {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                all.insert(entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    all
}

impl Space {
    pub(crate) fn new() -> Self {
        Space { folder: tempfile::tempdir().unwrap(), cache: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A Hugging Face folder.
    pub(crate) fn model_of(&self, name: &str, layers: usize, tensors: &[Tensor]) {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("model.safetensors"), safetensors(tensors)).unwrap();
        let config = format!(
            "{{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"num_hidden_layers\": {layers}, \
             \"vocab_size\": 12, \"torch_dtype\": \"float32\"}}"
        );
        std::fs::write(folder.join("config.json"), config).unwrap();
        std::fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    }

    /// A Hugging Face folder with two layers.
    pub(crate) fn model(&self, name: &str, seed: u64) -> Vec<Tensor> {
        let tensors = decoder(seed, 2, 8);
        self.model_of(name, 2, &tensors);
        tensors
    }

    /// Two models, `a` and `b`, and a recipe that averages them with weights 0.75 and 0.25.
    pub(crate) fn soup(&self) -> (Vec<Tensor>, Vec<Tensor>) {
        let pair = (self.model("a", 1), self.model("b", 2));
        self.write("soup.fusion", SOUP);
        pair
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The command in this folder, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fusion"));
        command.current_dir(self.folder.path()).args(arguments);
        command.env_remove("NO_COLOR").env_remove("RUST_BACKTRACE").stdin(Stdio::null());
        // Plugins of whoever runs the tests are none of theirs.
        command.env_remove("FUSION_PLUGIN_PATH").env("XDG_DATA_HOME", self.path("data"));
        // Nor is what other runs have found out.
        command.env_remove("FUSION_DATA").env("FUSION_CACHE", self.cache.path());
        command
    }

    /// Calls the command and waits for it.
    pub(crate) fn fusion(&self, arguments: &[&str]) -> Done {
        let output = self.command(arguments).output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Calls the command, which must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Done {
        let done = self.fusion(arguments);
        assert_eq!(done.code, 0, "{arguments:?}\n{}{}", done.out, done.err);
        done
    }

    /// Calls the command, which must fail with this exit code and name this diagnostic.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32, diagnostic: &str) -> Done {
        let done = self.fusion(arguments);
        assert_eq!(done.code, code, "{arguments:?}\n{}{}", done.out, done.err);
        assert!(
            done.err.contains(&format!("[{diagnostic}]")),
            "{diagnostic} is missing:\n{}{}",
            done.out,
            done.err
        );
        assert!(!done.err.contains("panicked"), "{}", done.err);
        done
    }

    /// Names in a folder of this space, hidden ones too.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) const SOUP: &str = r#"fusion 1

model a from "a"
model b from "b"

average soup using linear {
  from a { weight = 0.75 }
  from b { weight = 0.25 }
}

save soup to "out/soup"
"#;

/// Without what differs between runs and machines.
pub(crate) fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        // `3.1 s`, `12 ms`, `0.52 GB/s`, `2 threads`
        for unit in [" GB/s", " ms", " s,", " s:", " s ", " threads", " thread"] {
            while let Some(end) = line.find(unit) {
                let start =
                    line[..end].rfind(|c: char| !(c.is_ascii_digit() || c == '.')).map_or(0, |at| at + 1);
                if start == end {
                    break;
                }
                line.replace_range(
                    start..end + unit.len(),
                    &format!("~{}", &unit.replace("threads", "thread")[1..]),
                );
            }
        }
        // How large buffers are is the engine's business.
        if let Some((before, after)) = line.clone().split_once("buffers up to ")
            && let Some((_, after)) = after.split_once("B,")
        {
            line = format!("{before}buffers up to ~B,{after}");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Asserts that a result is the f64 reference up to f32 rounding.
pub(crate) fn close(path: &Path, expected: &[Tensor]) {
    let found = load(path);
    assert_eq!(found.len(), expected.len(), "{:?}", found.keys());
    for tensor in expected {
        let (_, shape, values) = &found[&tensor.name];
        assert_eq!(*shape, tensor.shape, "{}", tensor.name);
        for (at, (is, should)) in values.iter().zip(&tensor.values).enumerate() {
            assert!((is - should).abs() < 1e-7, "{}[{at}]: {is} instead of {should}", tensor.name);
        }
    }
}

/// Σ wᵢ·modelᵢ in f64.
pub(crate) fn weighted(models: &[(&[Tensor], f64)]) -> Vec<Tensor> {
    let mut out = models[0].0.to_vec();
    for (index, tensor) in out.iter_mut().enumerate() {
        for (at, value) in tensor.values.iter_mut().enumerate() {
            *value = models.iter().map(|(model, weight)| model[index].values[at] * weight).sum();
        }
    }
    out
}
