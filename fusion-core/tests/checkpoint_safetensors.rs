//! Safetensors files and Hugging Face folders: valid, stale, truncated and hostile.

mod support;

use std::path::Path;

use fusion_core::checkpoint::{Checkpoint, CheckpointError, Kind, Role};
use fusion_core::tensor::Dtype;
use support::{f32s, raw_safetensors, safetensors, small_torch, write};

fn small() -> Vec<u8> {
    safetensors(&[f32s("b", &[2], &[1.0, 2.0]), f32s("a", &[2, 2], &[3.0, 4.0, 5.0, 6.0])])
}

fn open(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let folder = tempfile::tempdir().unwrap();
    Checkpoint::open(&write(folder.path(), "model.safetensors", bytes))
}

fn refusal(header: &str, data: usize) -> String {
    let error = open(&raw_safetensors(header.as_bytes(), &vec![0; data])).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("model.safetensors"), "{message}");
    message
}

#[test]
fn a_file_is_mapped_and_sorted_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "weights.safetensors", small());
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.kind(), Kind::Safetensors);
    let names: Vec<&str> = checkpoint.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["a", "b"], "header order does not matter");
    let a = &checkpoint.tensors()[0];
    assert_eq!((a.dtype, a.shape.as_slice(), a.len(), a.bytes()), (Dtype::F32, &[2, 2][..], 4, 16));
    assert_eq!(checkpoint.find("b"), Some(1));
    assert_eq!(checkpoint.find("c"), None);
    assert_eq!(checkpoint.bytes(1).unwrap(), [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
    assert!(checkpoint.is_mapped(0));
    let mut out = [0; 8];
    checkpoint.read(0, 1..3, &mut out).unwrap();
    assert_eq!(out[..], [4f32.to_le_bytes(), 5f32.to_le_bytes()].concat());
    checkpoint.prefetch(0, 0..4);
    checkpoint.prefetch(0, 3..1000);
    assert_eq!(checkpoint.parameters(), 6);
    assert_eq!(checkpoint.path(), path);
    assert!(checkpoint.config().is_none() && checkpoint.shared().is_empty());
}

#[test]
fn every_dtype_scalars_empty_tensors_and_metadata_are_read() {
    let words = [
        "F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32", "U16",
        "U8", "BOOL",
    ];
    let mut header = String::from("{\"__metadata__\":{\"format\":\"pt\"}");
    let mut at = 0;
    for (word, dtype) in words.iter().zip(Dtype::ALL) {
        header += &format!(
            ",\"{word}\":{{\"dtype\":\"{word}\",\"shape\":[],\"data_offsets\":[{at},{}]}}",
            at + dtype.size()
        );
        at += dtype.size();
    }
    header += &format!(",\"none\":{{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[{at},{at}]}}}}   ");
    let checkpoint = open(&raw_safetensors(header.as_bytes(), &vec![0; at])).unwrap();
    assert_eq!(checkpoint.metadata()["format"], "pt");
    for (word, dtype) in words.iter().zip(Dtype::ALL) {
        let info = &checkpoint.tensors()[checkpoint.find(word).unwrap()];
        assert_eq!((info.dtype, info.len()), (dtype, 1));
    }
    let none = checkpoint.find("none").unwrap();
    assert!(checkpoint.tensors()[none].is_empty() && checkpoint.bytes(none).unwrap().is_empty());
    assert!(
        refusal(r#"{"c":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#, 8)
            .contains("C64 cannot be merged")
    );
    assert!(
        refusal(r#"{"c":{"dtype":"F99","shape":[1],"data_offsets":[0,8]}}"#, 8).contains("`F99` is unknown")
    );
}

#[test]
fn hostile_headers_are_refused_by_what_is_wrong_with_them() {
    for length in [u64::MAX, u64::MAX - 7, 100_000_001, 1 << 40] {
        let mut file = length.to_le_bytes().to_vec();
        file.extend_from_slice(b"{}");
        assert!(open(&file).unwrap_err().to_string().contains("safety limit"));
    }
    let mut file = 1000u64.to_le_bytes().to_vec();
    file.extend_from_slice(b"{}");
    assert!(
        open(&file).unwrap_err().to_string().contains("truncated: the header claims 1000 bytes, 2 follow")
    );
    assert!(open(b"").unwrap_err().to_string().contains("0 bytes long"));
    assert!(open(b"1234567").unwrap_err().to_string().contains("7 bytes long"));

    let entry = |name: &str, shape: &str, start: u64, end: u64| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}")
    };
    let two = |a: String, b: String| format!("{{{a},{b}}}");
    let overlap = two(entry("a", "[2]", 0, 8), entry("b", "[2]", 4, 12));
    assert!(
        refusal(&overlap, 12).contains("tensor `b`")
            && refusal(&overlap, 12).contains("inside of the tensor before")
    );
    let gap = two(entry("a", "[2]", 0, 8), entry("b", "[2]", 12, 20));
    assert!(refusal(&gap, 20).contains("4 bytes before its data belong to no tensor"));
    let beyond = format!("{{{}}}", entry("a", "[2]", 0, 8));
    assert!(refusal(&beyond, 7).contains("truncated"));
    assert!(refusal(&beyond, 9).contains("1 bytes after the last tensor"));
    assert!(refusal(&format!("{{{}}}", entry("a", "[2]", 8, 0)), 8).contains("before its start"));
    assert!(
        refusal(&format!("{{{}}}", entry("a", "[3]", 0, 8)), 8)
            .contains("takes 12 bytes, its offsets span 8")
    );
    let wide = format!("{{{}}}", entry("a", "[4294967296,4294967296,4294967296]", 0, 8));
    assert!(refusal(&wide, 8).contains("overflows"));
    let end = format!("{{{}}}", entry("a", "[2]", u64::MAX - 7, u64::MAX));
    assert!(refusal(&end, 8).contains("truncated or its offsets are wrong"));
    let twice = two(entry("a", "[1]", 0, 4), entry("a", "[1]", 4, 8));
    assert!(refusal(&twice, 8).contains("names it twice"));
    assert!(refusal(r#"{"__metadata__":{},"__metadata__":{}}"#, 0).contains("twice"));
    assert!(refusal(r#"{"__metadata__":{"a":1}}"#, 0).contains("not valid"));
    assert!(refusal("[]", 0).contains("not valid"));
    assert!(refusal("{\"a\":", 0).contains("not valid"));
    assert!(refusal(&format!("{{\"a\":{}", "[".repeat(100_000)), 0).contains("not valid"));
    assert!(refusal(&format!("{{{}}}", entry("a", "[-1]", 0, 4)), 4).contains("tensor `a`"));
    assert!(refusal(&format!("{{{}}}", entry("a", "[1.5]", 0, 4)), 4).contains("tensor `a`"));
    let error = open(&raw_safetensors(b"{\"\xff\":1}", b"")).unwrap_err().to_string();
    assert!(error.contains("not UTF-8 from byte 10"), "{error}");
}

#[test]
fn every_truncation_is_an_error() {
    let whole = small();
    for length in 0..whole.len() {
        assert!(open(&whole[..length]).is_err(), "{length} bytes");
    }
    assert!(open(&whole).is_ok());
}

fn shards(folder: &Path) {
    write(folder, "model-00001-of-00002.safetensors", safetensors(&[f32s("a", &[1], &[1.0])]));
    write(folder, "model-00002-of-00002.safetensors", safetensors(&[f32s("b", &[1], &[2.0])]));
}

fn index(entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(name, file)| format!("\"{name}\":\"{file}\"")).collect();
    format!("{{\"metadata\":{{\"total_size\":8}},\"weight_map\":{{{}}}}}", entries.join(","))
}

const GOOD: [(&str, &str); 2] =
    [("a", "model-00001-of-00002.safetensors"), ("b", "model-00002-of-00002.safetensors")];

#[test]
fn a_sharded_folder_has_its_configuration_and_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    shards(folder.path());
    write(folder.path(), "model.safetensors.index.json", index(&GOOD));
    write(folder.path(), "config.json", "{\"vocab_size\": 7}");
    write(folder.path(), "tokenizer.json", "{}");
    write(folder.path(), "generation_config.json", "{}");
    write(folder.path(), "pytorch_model.bin", small_torch());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.kind(), Kind::SafetensorsSharded);
    assert_eq!(checkpoint.config().unwrap()["vocab_size"], 7);
    assert_eq!(checkpoint.tokenizer_files(), [folder.path().join("tokenizer.json")]);
    assert_eq!(checkpoint.companion_files(), [folder.path().join("generation_config.json")]);
    let roles: Vec<Role> = checkpoint.files().iter().map(|file| file.role).collect();
    assert_eq!(roles, [Role::Weights, Role::Weights, Role::Index, Role::Config]);
    assert!(checkpoint.files().iter().all(|file| file.size > 0));
    let b = checkpoint.find("b").unwrap();
    assert_eq!((checkpoint.tensors()[b].file, checkpoint.bytes(b).unwrap()), (1, &2f32.to_le_bytes()[..]));
    // The index itself names the same model.
    let named = Checkpoint::open(&folder.path().join("model.safetensors.index.json")).unwrap();
    assert_eq!(named.tensors(), checkpoint.tensors());
    assert!(named.config().is_some());
    // A shard on its own is a file without configuration.
    let shard = Checkpoint::open(&folder.path().join(GOOD[0].1)).unwrap();
    assert!(shard.tensors().len() == 1 && shard.config().is_none());

    checkpoint.verify_unchanged().unwrap();
    write(folder.path(), "config.json", "{\"vocab_size\": 8, \"more\": 1}");
    let error = checkpoint.verify_unchanged().unwrap_err();
    assert!(
        matches!(&error, CheckpointError::Changed { .. }) && error.to_string().contains("config.json"),
        "{error}"
    );
}

#[test]
fn an_index_is_not_trusted() {
    let attempt = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        shards(folder.path());
        write(folder.path(), "sub/x.safetensors", safetensors(&[]));
        write(folder.path(), "model.safetensors.index.json", text);
        Checkpoint::open(folder.path()).map(|_| ()).map_err(|error| error.to_string())
    };
    attempt(&index(&GOOD)).unwrap();
    for outside in ["../x.safetensors", "/etc/passwd", "sub/../../x.safetensors", "", "./../x"] {
        let message = attempt(&index(&[GOOD[0], GOOD[1], ("c", outside)])).unwrap_err();
        assert!(message.contains("outside of the model's folder"), "{message}");
    }
    let message =
        attempt(&index(&[GOOD[0], GOOD[1], ("c", "model-00003-of-00003.safetensors")])).unwrap_err();
    assert!(message.contains("is not there (2 of 3 found)"), "{message}");
    let message = attempt(&index(&[GOOD[0], GOOD[1], ("c", GOOD[0].1)])).unwrap_err();
    assert!(message.contains("tensor `c`") && message.contains("does not hold it"), "{message}");
    let message = attempt(&index(&[("a", GOOD[1].1), ("b", GOOD[1].1)])).unwrap_err();
    assert!(message.contains("tensor `a`"), "{message}");
    let message = attempt(&index(&[("a", GOOD[1].1), ("b", GOOD[0].1)])).unwrap_err();
    assert!(message.contains("the index places it in"), "{message}");
    let message = attempt(&index(&[GOOD[0], GOOD[1], GOOD[1]])).unwrap_err();
    assert!(message.contains("tensor `b`") && message.contains("twice"), "{message}");
    assert!(attempt("{}").unwrap_err().contains("not a shard index"));
    assert!(attempt("{\"weight_map\":{}}").unwrap_err().contains("names no tensor"));
    assert!(attempt("{\"weight_map\":{\"a\":1}}").unwrap_err().contains("not a shard index"));
    assert!(attempt("\u{0}").unwrap_err().contains("not a shard index"));
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "model-00001-of-00002.safetensors",
        safetensors(&[f32s("a", &[1], &[1.0]), f32s("x", &[1], &[1.0])]),
    );
    write(folder.path(), "model-00002-of-00002.safetensors", safetensors(&[f32s("b", &[1], &[2.0])]));
    write(folder.path(), "model.safetensors.index.json", index(&GOOD));
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("tensor `x`") && message.contains("does not name it"), "{message}");
}

#[test]
fn a_truncated_shard_is_named() {
    let folder = tempfile::tempdir().unwrap();
    shards(folder.path());
    write(folder.path(), "model.safetensors.index.json", index(&GOOD));
    let path = folder.path().join(GOOD[1].1);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert_eq!((error.path(), error.tensor()), (path.as_path(), Some("b")));
}

#[test]
fn folders_with_two_answers_or_none_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let empty = Checkpoint::open(folder.path()).unwrap_err();
    assert!(empty.is_missing() && empty.to_string().contains("holds none of"));
    write(folder.path(), "adapter_config.json", "{}");
    write(folder.path(), "adapter_model.safetensors", small());
    assert!(Checkpoint::open(folder.path()).unwrap_err().to_string().contains("LoRA adapter"));
    write(folder.path(), "training_args.bin", "x");
    write(folder.path(), "optimizer.pt", "x");
    write(folder.path(), "consolidated.pth", small_torch());
    assert_eq!(Checkpoint::open(folder.path()).unwrap().kind(), Kind::Torch);
    write(folder.path(), "other.safetensors", small());
    assert_eq!(Checkpoint::open(folder.path()).unwrap().kind(), Kind::Safetensors);
    write(folder.path(), "another.safetensors", small());
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(
        matches!(error, CheckpointError::Ambiguous { .. })
            && error.to_string().contains("`another.safetensors`, `other.safetensors`")
    );
    write(folder.path(), "model.safetensors", small());
    assert_eq!(Checkpoint::open(folder.path()).unwrap().kind(), Kind::Safetensors);
    write(folder.path(), "model.safetensors.index.json", index(&GOOD));
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(matches!(error, CheckpointError::Ambiguous { .. }), "{error}");
    assert!(
        error.fix().unwrap().contains("delete the stale one")
            && !error.message().contains("delete the stale one")
    );
    // Naming one of them decides.
    assert!(Checkpoint::open(&folder.path().join("model.safetensors")).is_ok());

    let absent = Checkpoint::open(Path::new("meta-llama/Llama-3.1-8B")).unwrap_err();
    assert!(absent.is_missing() && absent.to_string().contains("hf download meta-llama/Llama-3.1-8B"));
}

#[test]
fn numbered_shards_without_an_index_must_be_complete() {
    let folder = tempfile::tempdir().unwrap();
    shards(folder.path());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!((checkpoint.kind(), checkpoint.tensors().len()), (Kind::SafetensorsSharded, 2));
    write(folder.path(), "model-00002-of-00002.safetensors", safetensors(&[f32s("a", &[1], &[2.0])]));
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("tensor `a`") && message.contains("holds it as well"), "{message}");
    std::fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("1 of the 2 shards") && message.contains("finish the download"), "{message}");
}

#[test]
fn other_formats_are_told_by_name() {
    let attempt = |name: &str, bytes: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        Checkpoint::open(&write(folder.path(), name, bytes))
            .map(|c| c.kind())
            .map_err(|error| error.to_string())
    };
    assert!(attempt("m.gguf", b"GGUF\x03\0\0\0").unwrap_err().contains("GGUF"));
    assert!(attempt("m.h5", b"\x89HDF\r\n\x1a\n").unwrap_err().contains("HDF5"));
    assert!(attempt("m.bin", b"\x80\x02\x8a\x0a").unwrap_err().contains("zip format"));
    assert!(attempt("m.bin", b"garbage").unwrap_err().contains("no zip signature"));
    assert!(attempt("m.txt", b"hello").unwrap_err().contains("no model format"));
    // The contents decide, not the name.
    assert_eq!(attempt("m.bin", &small()), Ok(Kind::Safetensors));
    assert_eq!(attempt("m.weights", &small_torch()), Ok(Kind::Torch));
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "model.safetensors", small());
    write(folder.path(), "config.json", "[1]");
    assert!(Checkpoint::open(folder.path()).unwrap_err().to_string().contains("config.json"));
}
