//! Results from begin to commit, opened by others' readers and verified.

use safetensors::SafeTensors;

use super::*;

fn sync<T: Send + Sync>() {}

#[test]
fn a_folder_holds_shards_index_sidecars_and_record() {
    sync::<Transaction>();
    let root = tempfile::tempdir().unwrap();
    let target = Target::Folder(root.path().join("deep/er/merged"));
    let sample = Sample::new(1, 200);
    let done = sample.finish(&target, false);
    assert_eq!(names(&root.path().join("deep/er")), ["merged"], "nothing else is left");
    assert_eq!(
        names(&done.path),
        [
            "config.json",
            "fusion.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json"
        ]
    );
    assert!(done.files.iter().all(|file| file.is_file()));
    assert_eq!((done.files.len(), done.shards.len(), done.note), (5, 2, None));
    let index: Value =
        serde_json::from_slice(&fs::read(done.path.join("model.safetensors.index.json")).unwrap()).unwrap();
    for (tensor, data) in sample.layout.tensors.iter().zip(&sample.data) {
        let file = fs::read(done.path.join(index["weight_map"][&tensor.name].as_str().unwrap())).unwrap();
        let read = SafeTensors::deserialize(&file).unwrap();
        assert!(read.tensor(&tensor.name).unwrap().data() == data, "{}", tensor.name);
        let metadata = SafeTensors::read_metadata(&file).unwrap().1.metadata().clone().unwrap();
        assert_eq!(metadata[SLOT], "ab".repeat(32));
    }
    let json: Value = serde_json::from_slice(&fs::read(done.path.join(RECORD)).unwrap()).unwrap();
    assert_eq!(json["record"], record());
    assert_eq!(json["key"], sample.key);
    let report = verify(&done.path).unwrap();
    assert!(report.is_intact() && report.changed_files.is_empty(), "{report:?}");
    assert_eq!((report.shards, report.tensors, report.bytes), (2, 4, sample.layout.total_bytes));
}

#[test]
fn one_file_is_one_shard_with_nothing_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("merged.safetensors");
    let target = Target::File(path.clone());
    let sample = Sample::new(1, u64::MAX);
    let done = sample.finish(&target, false);
    assert_eq!(names(root.path()), ["merged.safetensors"]);
    assert_eq!(done.files, std::slice::from_ref(&path));
    let file = fs::read(&path).unwrap();
    let read = SafeTensors::deserialize(&file).unwrap();
    assert!(read.tensor("embed").unwrap().data() == sample.data[0]);
    assert!(verify(&path).unwrap().is_intact());

    assert!(matches!(sample.begin(&target, false), Err(WriteError::Exists { .. })));
    Sample::new(2, u64::MAX).finish(&target, true);
    assert!(fs::read(&path).unwrap() != file);
    assert_eq!(names(root.path()), ["merged.safetensors"]);

    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(!verify(&path).unwrap().is_intact());

    assert!(matches!(Sample::new(1, 200).begin(&target, true), Err(WriteError::SingleFile { .. })));
    let begin = Begin {
        target: &target,
        layout: &sample.layout,
        key: "",
        overwrite: true,
        sidecars: &sample.sidecars,
        cancel: &NEVER,
    };
    assert!(matches!(Transaction::begin(begin), Err(WriteError::SingleFile { .. })));
    let odd = Target::File(root.path().join("merged.bin"));
    assert!(matches!(sample.begin(&odd, false), Err(WriteError::Target { .. })));
}

#[test]
fn the_same_result_has_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(1, 200);
    let one = sample.finish(&Target::Folder(root.path().join("one")), false);
    let two = sample.finish(&Target::Folder(root.path().join("two")), false);
    assert!(listing(&one.path) == listing(&two.path));
}

#[test]
fn verify_names_what_changed() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(1, 200);
    let done = sample.finish(&Target::Folder(root.path().join("merged")), false);
    let damage = |report: VerifyReport| -> Vec<(Option<String>, String)> {
        report.damage.into_iter().map(|damage| (damage.tensor, damage.what)).collect()
    };
    let shard = done.path.join("model-00002-of-00002.safetensors");
    let whole = fs::read(&shard).unwrap();

    let mut bytes = whole.clone();
    bytes[sample.layout.places[2].offset as usize] ^= 0x80;
    fs::write(&shard, &bytes).unwrap();
    let changed = (Some("layers.1.weight".to_owned()), "its bytes have changed".to_owned());
    assert_eq!(damage(verify(&done.path).unwrap()), [changed]);

    bytes = whole.clone();
    let at = bytes.windows(8).position(|part| part == b"abababab").unwrap();
    bytes[at] = b'0';
    fs::write(&shard, &bytes).unwrap();
    assert_eq!(damage(verify(&done.path).unwrap()), [(None, "its header has changed".to_owned())]);

    for length in [0, 7, 100, whole.len() - 1] {
        fs::write(&shard, &whole[..length]).unwrap();
        assert_eq!(damage(verify(&done.path).unwrap()).len(), 1, "{length}");
    }
    bytes = whole.clone();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&shard, &bytes).unwrap();
    assert!(damage(verify(&done.path).unwrap())[0].1.contains("impossible header length"));
    fs::remove_file(&shard).unwrap();
    assert_eq!(damage(verify(&done.path).unwrap()), [(None, "is missing".to_owned())]);

    fs::write(&shard, &whole).unwrap();
    fs::write(done.path.join("model-00003-of-00003.safetensors"), "stale").unwrap();
    fs::write(done.path.join("config.json"), "{}").unwrap();
    let report = verify(&done.path).unwrap();
    assert_eq!(report.changed_files, ["config.json"]);
    assert_eq!(report.damage[0].file, "model-00003-of-00003.safetensors");

    fs::write(done.path.join(RECORD), r#"{"fusion_record":1,"shards":[],"files":{"../x":""}}"#).unwrap();
    assert!(verify(&done.path).unwrap_err().to_string().contains("outside of the folder"));
    fs::remove_file(done.path.join(RECORD)).unwrap();
    assert!(matches!(verify(&done.path), Err(VerifyError::NoRecord { .. })));
    assert!(matches!(verify(root.path()), Err(VerifyError::NoRecord { .. })));
}

#[test]
fn threads_write_at_once() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::Folder(root.path().join("merged"));
    let sample = Sample::new(9, 200);
    let (transaction, _) = sample.begin(&target, false).unwrap();
    std::thread::scope(|scope| {
        for tensor in 0..sample.data.len() {
            let (sample, transaction) = (&sample, &transaction);
            scope.spawn(move || sample.write(transaction, tensor));
        }
    });
    let mut back = vec![0; 10];
    transaction.read_at(0, 5, &mut back).unwrap();
    assert_eq!(back, sample.data[0][5..15]);
    let done = transaction.commit(&slots(), &record()).unwrap();
    assert!(verify(&done.path).unwrap().is_intact());
}

#[test]
fn misuse_is_an_error_with_a_name() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::Folder(root.path().join("merged"));
    let sample = Sample::new(1, 200);
    let (transaction, _) = sample.begin(&target, false).unwrap();
    assert!(matches!(transaction.write_at(4, 0, &[]), Err(WriteError::NoSuchTensor { index: 4, count: 4 })));
    for (offset, length) in [(83, 2), (84, 1), (u64::MAX, 1)] {
        let error = transaction.write_at(1, offset, &vec![0; length]).unwrap_err();
        assert!(
            matches!(&error, WriteError::OutOfBounds { name, bytes: 84, .. } if name == "layers.0.weight"),
            "{error}"
        );
    }
    sample.write(&transaction, 0);
    let error = transaction.commit(&slots(), &record()).unwrap_err();
    assert!(
        matches!(&error, WriteError::Unfinished { missing: 3, total: 4, first } if first == "layers.0.weight")
    );

    for (slots, reason) in [
        (BTreeMap::new(), "has no value"),
        (
            BTreeMap::from([(SLOT.to_owned(), [0; 32]), ("other".to_owned(), [0; 32])]),
            "is not part of the layout",
        ),
    ] {
        let (transaction, resumed) = sample.begin(&target, false).unwrap();
        for tensor in (0..4).filter(|tensor| !resumed.done.contains_key(tensor)) {
            sample.write(&transaction, tensor);
        }
        let error = transaction.commit(&slots, &record()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    for name in
        ["", "..", "a/b", "fusion.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"]
    {
        let sidecars = [Sidecar { name: name.to_owned(), bytes: vec![] }];
        let begin = Begin {
            target: &target,
            layout: &sample.layout,
            key: "",
            overwrite: false,
            sidecars: &sidecars,
            cancel: &NEVER,
        };
        assert!(matches!(Transaction::begin(begin), Err(WriteError::Sidecar { .. })), "{name}");
    }
}
