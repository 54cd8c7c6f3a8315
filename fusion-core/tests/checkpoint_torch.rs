//! PyTorch files: those that PyTorch wrote, and those that nobody should have written.

mod support;

use std::path::{Path, PathBuf};

use fusion_core::checkpoint::{Checkpoint, CheckpointError, Kind};
use serde_json::Value;
use support::{Pickle, archive, archive_with, small_torch, torch_file, write};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch")
}

fn open_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let folder = tempfile::tempdir().unwrap();
    Checkpoint::open(&write(folder.path(), "model.pt", bytes))
}

/// The message of opening this pickle as a file.
fn refusal(pickle: &[u8]) -> String {
    open_bytes(&torch_file(pickle, &[("0", &[0; 24])])).unwrap_err().to_string()
}

#[test]
fn files_of_pytorch_read_as_pytorch_says() {
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(fixtures().join("expected.json")).unwrap()).unwrap();
    let mut read = 0;
    for (name, file) in expected["files"].as_object().unwrap() {
        let opened = Checkpoint::open(&fixtures().join(name));
        if file["format"] == "legacy" {
            let message = opened.unwrap_err().to_string();
            assert!(message.contains("before version 1.6") && message.contains("torch.save"), "{message}");
            continue;
        }
        if let Some(class) = file.get("refused").and_then(Value::as_str) {
            let message = opened.unwrap_err().to_string();
            assert!(message.contains(class) && message.contains("state_dict()"), "{message}");
            continue;
        }
        let checkpoint = opened.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(checkpoint.kind(), Kind::Torch);
        let tensors = file["tensors"].as_object().unwrap();
        assert_eq!(checkpoint.tensors().len(), tensors.len(), "{name}");
        for (index, info) in checkpoint.tensors().iter().enumerate() {
            let told = &tensors[&info.name];
            assert_eq!(
                serde_json::to_value(info.dtype.to_safetensors()).unwrap(),
                told["dtype"],
                "{name} {}",
                info.name
            );
            assert_eq!(serde_json::to_value(&info.shape).unwrap(), told["shape"], "{name} {}", info.name);
            let bytes = checkpoint.bytes(index).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(told["hex"], hex, "{name} {}", info.name);
            // Any stretch read on its own is the same.
            for start in 0..=info.len() {
                let mut out = vec![0; (info.len() - start) * info.dtype.size()];
                checkpoint.read(index, start..info.len(), &mut out).unwrap();
                assert_eq!(out, bytes[start * info.dtype.size()..]);
            }
        }
        read += 1;
    }
    assert!(read >= 8);
}

#[test]
fn shared_storage_is_seen_and_views_are_copied_only_when_they_must_be() {
    let checkpoint = Checkpoint::open(&fixtures().join("state_dict.pt")).unwrap();
    let named = |index: usize| checkpoint.tensors()[index].name.as_str();
    let shared: Vec<Vec<&str>> =
        checkpoint.shared().iter().map(|group| group.iter().map(|&i| named(i)).collect()).collect();
    assert_eq!(shared, [["embed.weight", "lm_head.weight"]]);
    for name in ["transposed", "strided", "expanded"] {
        assert!(!checkpoint.is_mapped(checkpoint.find(name).unwrap()), "{name}");
    }
    for name in ["offset", "f32", "scalar", "empty", "f8_e4m3"] {
        assert!(checkpoint.is_mapped(checkpoint.find(name).unwrap()), "{name}");
    }
}

#[test]
fn metadata_beside_the_weights_is_left_alone() {
    let checkpoint = Checkpoint::open(&fixtures().join("lightning.ckpt")).unwrap();
    assert_eq!(checkpoint.tensors().len(), 2);
    assert!(checkpoint.skipped().is_empty());
}

#[test]
fn shards_are_read_through_their_index() {
    let checkpoint = Checkpoint::open(&fixtures().join("sharded")).unwrap();
    assert_eq!(checkpoint.kind(), Kind::TorchSharded);
    assert!(checkpoint.find("0.weight").is_some() && checkpoint.find("2.weight").is_some());
}

#[test]
fn anything_that_runs_code_is_refused_by_name_wherever_it_stands() {
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("builtins", "getattr"),
        ("subprocess", "Popen"),
        ("subprocess", "check_output"),
        ("torch", "os.system"),
        ("collections", "sys.modules"),
        ("runpy", "_run_code"),
        ("importlib", "import_module"),
        ("torch.hub", "load"),
        ("torch", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("operator", "attrgetter"),
        ("pty", "spawn"),
        ("socket", "socket"),
        ("webbrowser", "open"),
        ("types", "FunctionType"),
        ("ctypes.util", "find_library"),
    ] {
        let call = Pickle::new().global(module, name).raw(b"(").str("true").raw(b"tR").stop();
        let stacked = Pickle::new().str(module).str(name).raw(&[0x93]).raw(b".").0;
        let instance = Pickle::new().raw(b"(i").raw(format!("{module}\n{name}\n").as_bytes()).stop();
        // Beside a valid tensor, never called.
        let beside = Pickle::new()
            .raw(b"}(")
            .str("w")
            .tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1])
            .str("extra")
            .global(module, name)
            .raw(b"u")
            .stop();
        for pickle in [call, stacked, instance, beside] {
            let error = open_bytes(&torch_file(&pickle, &[("0", &[0; 24])])).unwrap_err();
            assert!(matches!(error, CheckpointError::Dangerous { .. }), "{error}");
            let message = error.to_string();
            assert!(
                message.contains(&format!("`{module}.{name}`")) && message.contains("model.pt"),
                "{message}"
            );
        }
    }
}

#[test]
fn an_unknown_global_is_refused_only_where_it_carries_tensors() {
    let tensor = |pickle: Pickle| pickle.tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1]);
    let carrying = tensor(Pickle::new().raw(b"}(").str("plain"));
    let carrying = tensor(carrying.str("odd").global("my.tensors", "Wrap").raw(b"(")).raw(b"tRu").stop();
    let error = open_bytes(&torch_file(&carrying, &[("0", &[0; 24])])).unwrap_err();
    assert!(
        matches!(&error, CheckpointError::UnknownGlobal { tensor, global, .. } if tensor == "odd" && global == "my.tensors.Wrap"),
        "{error}"
    );

    let numpy = tensor(Pickle::new().raw(b"}(").str("plain"));
    let numpy = numpy.str("odd").global("numpy.core.multiarray", "_reconstruct").raw(b")Ru").stop();
    assert!(refusal(&numpy).contains("numpy.core.multiarray._reconstruct"));

    let harmless = tensor(Pickle::new().raw(b"}(").str("plain"));
    let harmless = harmless
        .str("meta")
        .global("argparse", "Namespace")
        .raw(b")R}(")
        .str("rate")
        .int(3)
        .raw(b"ub")
        .raw(b"u")
        .stop();
    let checkpoint = open_bytes(&torch_file(&harmless, &[("0", &[0; 24])])).unwrap();
    assert_eq!(checkpoint.tensors().len(), 1);
    assert_eq!(
        (checkpoint.skipped()[0].name.as_str(), checkpoint.skipped()[0].what.as_str()),
        ("meta", "argparse.Namespace")
    );
}

#[test]
fn broken_pickles_are_told_from_each_other() {
    for (pickle, part) in [
        (Pickle::new().raw(b"}(").0, "ends in the middle"),
        (Pickle::new().raw(b"R").stop(), "empty stack"),
        (Pickle::new().raw(b"(0)").raw(b"t").stop(), "mark"),
        (Pickle::new().raw(b"(s").stop(), "empty stack"),
        (Pickle::new().raw(b"}(").int(1).raw(b"u").stop(), "a key and no value"),
        (Pickle::new().raw(b"h\x07").stop(), "recalls value 7"),
        (Pickle::new().raw(b"]q\xffh\xfe").stop(), "recalls value 254"),
        (Pickle::new().raw(b"]r\xff\xff\xff\xff").raw(b".").0, "holds no tensors"),
        (Pickle::new().raw(b"X\xff\xff\xff\xff").0, "ends in the middle"),
        (Pickle::new().raw(&[0x8d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).0, "ends in the middle"),
        (Pickle::new().raw(&[0x95, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]).0, "frame"),
        (Pickle::new().raw(&[0xff]).0, "unknown opcode 0xff"),
        (Pickle::new().raw(&[0x80, 9]).0, "protocol 9"),
        (Pickle::new().raw(&[0x82, 1]).stop(), "extension code"),
        (Pickle::new().raw(b"Pkey\n").stop(), "persistent id"),
        (Pickle::new().int(1).raw(b"Q").stop(), "persistent id"),
        (Pickle::new().raw(b"}").stop(), "holds no tensors"),
        (Pickle::new().int(3).stop(), "holds no tensors"),
        (Vec::new(), "ends in the middle"),
    ] {
        let message = refusal(&pickle);
        assert!(message.contains(part), "{part}: {message}");
        assert!(message.contains("model.pt"), "{message}");
    }
}

#[test]
fn bombs_end_at_a_limit_or_cost_nothing() {
    // Nested far deeper than any stack: the arena has none.
    let mut nested = Pickle::new().raw(b")");
    nested.0.extend(std::iter::repeat_n(0x85, 1_000_000));
    assert!(refusal(&nested.stop()).contains("holds no tensors"));
    // Every level twice: 2^64 values if walked without sharing.
    let mut laughs = Pickle::new().raw(b"]");
    for _ in 0..64 {
        laughs = laughs.raw(b"q\x00h\x00\x86");
    }
    assert!(refusal(&laughs.stop()).contains("holds no tensors"));
    // The same through dictionaries that lead to a tensor.
    let mut dictionaries = Pickle::new().tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1]);
    for _ in 0..28 {
        dictionaries = dictionaries.raw(b"q\x000}(").str("a").raw(b"h\x00").str("b").raw(b"h\x00u");
    }
    assert!(
        refusal(&dictionaries.clone().stop()).contains("tensors are under"),
        "two ways down, none plainly the model"
    );
    let rooted = dictionaries.raw(b"q\x000}(").str("w");
    let rooted = rooted.tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1]).str("x").raw(b"h\x00u").stop();
    assert!(refusal(&rooted).contains("safety limit"));
    // A dictionary within itself.
    let cycle = Pickle::new().raw(b"}q\x00(").str("w").tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1]);
    assert!(refusal(&cycle.str("self").raw(b"h\x00u").stop()).contains("within themselves"));
    // A list copied again and again.
    let mut list = Pickle::new().raw(b"(");
    list.0.extend(std::iter::repeat_n(b'N', 100_000));
    let mut copies = list.raw(b"lq\x00").raw(b"0(");
    for _ in 0..1000 {
        copies = copies.global("builtins", "list").raw(b"(h\x00tR");
    }
    assert!(refusal(&copies.raw(b"l").stop()).contains("safety limit"));
    // Deeper marks and stacks than any writer makes.
    let mut marks = Pickle::new();
    marks.0.extend(std::iter::repeat_n(b'(', 2_000_000));
    assert!(refusal(&marks.stop()).contains("safety limit"));
    let mut stack = Pickle::new();
    stack.0.extend(std::iter::repeat_n(b'N', 2_000_000));
    assert!(refusal(&stack.stop()).contains("safety limit"));
    // A huge memo index costs one entry, not an array.
    let memo = Pickle::new().raw(b"}r\xff\xff\xff\xffj\xff\xff\xff\xff").stop();
    assert!(refusal(&memo).contains("holds no tensors"));
}

#[test]
fn tensors_that_reach_out_of_their_storage_are_refused() {
    let with = |elements: i64, offset: i64, shape: &[i64], strides: &[i64]| {
        refusal(
            &Pickle::new()
                .raw(b"}(")
                .str("w")
                .tensor("FloatStorage", "0", elements, offset, shape, strides)
                .raw(b"u")
                .stop(),
        )
    };
    assert!(with(6, 1, &[2, 3], &[3, 1]).contains("reaches to byte 28"));
    assert!(with(6, 0, &[2, 3], &[4, 1]).contains("reaches to byte 28"));
    assert!(with(7, 0, &[2, 3], &[3, 1]).contains("should have 7 elements"));
    assert!(with(6, i64::MAX, &[2, 3], &[3, 1]).contains("overflows"));
    assert!(with(6, 0, &[i64::MAX, 3], &[3, 1]).contains("overflows"));
    assert!(with(6, 0, &[2, 3], &[i64::MAX, i64::MAX]).contains("overflows"));
    assert!(with(6, -1, &[2, 3], &[3, 1]).contains("whole number"));
    assert!(with(6, 0, &[2, 3], &[3]).contains("2 axes with 1 strides"));
    let missing = Pickle::new()
        .raw(b"}(")
        .str("w")
        .tensor("FloatStorage", "9", 6, 0, &[2, 3], &[3, 1])
        .raw(b"u")
        .stop();
    assert!(refusal(&missing).contains("`data/9` is not in the archive"));
    let complex = Pickle::new()
        .raw(b"}(")
        .str("w")
        .tensor("ComplexFloatStorage", "0", 3, 0, &[3], &[1])
        .raw(b"u")
        .stop();
    assert!(refusal(&complex).contains("ComplexFloatStorage"));
    // An expanded scalar of 2^40 elements: its header is fine, the copy is refused, a stretch can be read.
    let huge = Pickle::new()
        .raw(b"}(")
        .str("w")
        .tensor("FloatStorage", "0", 6, 0, &[1 << 40], &[0])
        .raw(b"u")
        .stop();
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "model.pt", torch_file(&huge, &[("0", &[7; 24])]));
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert!(checkpoint.bytes(0).unwrap_err().to_string().contains("safety limit"));
    let mut out = [0; 8];
    checkpoint.read(0, (1 << 40) - 2..1 << 40, &mut out).unwrap();
    assert_eq!(out, [7; 8]);
}

#[test]
fn the_state_dict_is_found_or_the_choice_is_named() {
    let tensor = |pickle: Pickle| pickle.tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1]);
    let file = |pickle: Pickle| torch_file(&pickle.stop(), &[("0", &[0; 24])]);
    let nested = file(
        tensor(Pickle::new().raw(b"}(").str("state_dict").raw(b"}(").str("model").raw(b"}(").str("w"))
            .raw(b"uuu"),
    );
    assert_eq!(open_bytes(&nested).unwrap().tensors()[0].name, "w");
    let dotted = tensor(tensor(Pickle::new().raw(b"}(").str("w")).str("head").raw(b"}(").str("b")).raw(b"uu");
    let checkpoint = open_bytes(&file(dotted)).unwrap();
    assert_eq!(checkpoint.find("head.b"), Some(0));
    let two = tensor(Pickle::new().raw(b"}(").str("model").raw(b"}(").str("w")).raw(b"u").str("state_dict");
    let two = file(tensor(two.raw(b"}(").str("w")).raw(b"uu"));
    let error = open_bytes(&two).unwrap_err();
    assert!(
        matches!(error, CheckpointError::Ambiguous { .. })
            && error.to_string().contains("`model`, `state_dict`"),
        "{error}"
    );
    let optimizer = file(tensor(Pickle::new().raw(b"}(").str("optimizer").raw(b"}(").str("w")).raw(b"uu"));
    assert!(matches!(open_bytes(&optimizer), Err(CheckpointError::Ambiguous { .. })));
    // PyTorch's tutorial saves the last loss, a tensor, beside the model and its optimizer.
    let tutorial =
        tensor(tensor(Pickle::new().raw(b"}(").str("loss")).str("model_state_dict").raw(b"}(").str("w"))
            .raw(b"u");
    let tutorial = tensor(tutorial.str("optimizer_state_dict").raw(b"}(").str("m")).raw(b"uu");
    let checkpoint = open_bytes(&file(tutorial)).unwrap();
    assert_eq!((checkpoint.tensors().len(), checkpoint.find("w")), (1, Some(0)));
    assert_eq!(checkpoint.skipped()[0].name, "loss");
    let beside =
        tensor(tensor(Pickle::new().raw(b"}(").str("w")).str("optimizer").raw(b"}(").str("m")).raw(b"uu");
    let checkpoint = open_bytes(&file(beside)).unwrap();
    assert_eq!((checkpoint.tensors().len(), checkpoint.skipped()[0].what.as_str()), (1, "training state"));
    let list = file(tensor(Pickle::new().raw(b"](")).raw(b"e"));
    assert!(open_bytes(&list).unwrap_err().to_string().contains("a `list` object"));
    let twice = tensor(tensor(Pickle::new().raw(b"}(").str("w")).str("w"));
    assert!(open_bytes(&file(twice.raw(b"u"))).unwrap_err().to_string().contains("twice"));
}

#[test]
fn archives_that_are_not_what_they_claim_are_refused() {
    let whole = small_torch();
    for length in 0..whole.len() {
        let error = open_bytes(&whole[..length]).unwrap_err();
        assert!(error.to_string().contains("model.pt"), "{error}");
    }
    let empty = Pickle::new().raw(b"}").stop();
    let message = |entries: &[(&str, &[u8])]| open_bytes(&archive(entries)).unwrap_err().to_string();
    assert!(message(&[("notes.txt", b"hello")]).contains("without a `data.pkl`"));
    assert!(message(&[("a/data.pkl", &empty), ("b/data.pkl", &empty)]).contains("more than one `data.pkl`"));
    assert!(message(&[("a/data.pkl", &empty), ("a/constants.pkl", &empty)]).contains("TorchScript"));
    assert!(message(&[("a/data.pkl", &empty), ("a/byteorder", b"big")]).contains("byte order is `big`"));
    // A compressed pickle of 100 MB from 100 kB.
    let bomb = archive_with(&[("a/data.pkl", &vec![b'N'; 100 << 20])], zip::CompressionMethod::Deflated);
    assert!(bomb.len() < 1 << 20);
    assert!(open_bytes(&bomb).unwrap_err().to_string().contains("safety limit"));
    // A damaged pickle is caught by its checksum.
    let mut damaged = small_torch();
    let at = damaged.windows(12).position(|bytes| bytes == b"FloatStorage").unwrap();
    damaged[at] = b'G';
    assert!(open_bytes(&damaged).unwrap_err().to_string().contains("checksum"));
}

#[test]
fn compressed_storages_are_inflated_on_demand() {
    let pickle = Pickle::new()
        .raw(b"}(")
        .str("w")
        .tensor("FloatStorage", "0", 6, 0, &[3, 2], &[1, 3])
        .raw(b"u")
        .stop();
    let data: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let file =
        archive_with(&[("a/data.pkl", &pickle), ("a/data/0", &data)], zip::CompressionMethod::Deflated);
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(&write(folder.path(), "model.pt", &file)).unwrap();
    assert!(!checkpoint.is_mapped(0));
    let values: Vec<f32> = checkpoint
        .bytes(0)
        .unwrap()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    let mut out = [0; 4];
    checkpoint.read(0, 3..4, &mut out).unwrap();
    assert_eq!(f32::from_le_bytes(out), 4.0);
}

#[test]
fn bare_pickles_are_not_opened() {
    let message = open_bytes(&Pickle::new().global("os", "system").stop()).unwrap_err().to_string();
    assert!(message.contains("bare pickle"), "{message}");
}
