//! Transactions against the real file system: what a user can run into, and kills at every step.

mod faults;
mod kills;
mod resume;
mod sigkill;
mod whole;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::*;
use crate::checkpoint::blocks::{Hash, block_bytes, hash_blocks};
use crate::tensor::Dtype;

/// A result of four tensors, one longer than a block, in `shards` files.
struct Sample {
    layout: Layout,
    data: Vec<Vec<u8>>,
    sidecars: Vec<Sidecar>,
    key: String,
}

/// Nobody asks to stop.
static NEVER: AtomicBool = AtomicBool::new(false);

const SLOT: &str = "fusion.input.chat";

impl Sample {
    /// `salt` changes every byte of the data, and with it the key.
    fn new(salt: u8, shard_bytes: u64) -> Self {
        let shapes: [(&str, Dtype, Vec<usize>); 4] = [
            ("embed", Dtype::BF16, vec![block_bytes(Dtype::BF16) / 2 + 5, 2]),
            ("layers.0.weight", Dtype::F32, vec![3, 7]),
            ("layers.1.weight", Dtype::F32, vec![3, 7]),
            ("count", Dtype::I64, vec![]),
        ];
        let tensors: Vec<OutTensor> = shapes
            .into_iter()
            .map(|(name, dtype, shape)| OutTensor { name: name.to_owned(), dtype, shape })
            .collect();
        let data = tensors
            .iter()
            .enumerate()
            .map(|(number, tensor)| {
                let bytes = tensor.bytes().unwrap() as usize;
                (0..bytes).map(|i| (i as u8).wrapping_mul(31).wrapping_add(salt ^ number as u8)).collect()
            })
            .collect();
        let metadata = BTreeMap::from([("fusion.recipe".to_owned(), "average".to_owned())]);
        let layout = layout(&tensors, shard_bytes, &metadata, &[SLOT.to_owned()]).unwrap();
        let sidecars = vec![Sidecar {
            name: "config.json".to_owned(),
            bytes: format!("{{\"a\": {salt}}}").into_bytes(),
        }];
        Self { layout, data, sidecars, key: format!("{salt:064x}") }
    }

    fn begin(&self, target: &Target, overwrite: bool) -> Result<(Transaction, Resumed), WriteError> {
        let sidecars: &[Sidecar] = if matches!(target, Target::File(_)) { &[] } else { &self.sidecars };
        Transaction::begin(Begin {
            target,
            layout: &self.layout,
            key: &self.key,
            overwrite,
            sidecars,
            cancel: &NEVER,
        })
    }

    fn write(&self, transaction: &Transaction, tensor: usize) {
        // Out of order, as threads do.
        let (first, second) = self.data[tensor].split_at(self.data[tensor].len() / 2);
        transaction.write_at(tensor, first.len() as u64, second).unwrap();
        transaction.write_at(tensor, 0, first).unwrap();
        transaction.tensor_done(tensor, self.hash(tensor)).unwrap();
    }

    fn hash(&self, tensor: usize) -> Hash {
        hash_blocks(self.layout.tensors[tensor].dtype, &self.data[tensor])
    }

    /// Writes what is not done and commits.
    fn finish(&self, target: &Target, overwrite: bool) -> Committed {
        let (transaction, resumed) = self.begin(target, overwrite).unwrap();
        for tensor in (0..self.data.len()).filter(|tensor| !resumed.done.contains_key(tensor)) {
            self.write(&transaction, tensor);
        }
        transaction.commit(&slots(), &record()).unwrap()
    }
}

fn slots() -> BTreeMap<String, Hash> {
    BTreeMap::from([(SLOT.to_owned(), [0xab; 32])])
}

fn record() -> Value {
    json!({ "recipe": "average", "seeds": {} })
}

/// All files below a folder with their bytes; a file is its own listing.
fn listing(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    if path.is_file() {
        files.insert(String::new(), fs::read(path).unwrap());
    } else if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            files.insert(entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        }
    }
    files
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
