//! Interrupted runs go on, and never with bytes that they cannot trust.

use std::io::Write;

use super::*;

/// Starts, finishes tensors 0 to 2, writes half of the last, and is "killed". Returns the hidden folder.
fn interrupted(sample: &Sample, target: &Target) -> std::path::PathBuf {
    let (transaction, resumed) = sample.begin(target, false).unwrap();
    assert_eq!(resumed, Resumed::default());
    for tensor in 0..3 {
        sample.write(&transaction, tensor);
    }
    transaction.write_at(3, 0, &sample.data[3][..4]).unwrap();
    drop(transaction);
    let part = target.path().with_file_name(".merged.fusion-part");
    assert!(part.join("journal.jsonl").is_file());
    assert!(!target.path().exists());
    part
}

fn setup() -> (tempfile::TempDir, Target, Sample, BTreeMap<String, Vec<u8>>) {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(1, 200);
    let expected = listing(&sample.finish(&Target::Folder(root.path().join("whole")), false).path);
    let target = Target::Folder(root.path().join("merged"));
    (root, target, sample, expected)
}

#[test]
fn a_dropped_run_goes_on_and_ends_with_the_same_bytes() {
    let (root, target, sample, expected) = setup();
    interrupted(&sample, &target);
    let (transaction, resumed) = sample.begin(&target, false).unwrap();
    assert_eq!(resumed.done, (0..3).map(|tensor| (tensor, sample.hash(tensor))).collect());
    assert_eq!(resumed.note.unwrap(), "going on with an unfinished run: 3 of 4 tensors are written");
    sample.write(&transaction, 3);
    let done = transaction.commit(&slots(), &record()).unwrap();
    assert!(listing(&done.path) == expected);
    assert_eq!(names(root.path()), ["merged", "whole"]);
}

#[test]
fn a_resume_can_be_stopped_and_keeps_everything() {
    let (_root, target, sample, expected) = setup();
    interrupted(&sample, &target);
    let cancel = AtomicBool::new(true);
    let begin = Begin {
        target: &target,
        layout: &sample.layout,
        key: &sample.key,
        overwrite: false,
        sidecars: &sample.sidecars,
        cancel: &cancel,
    };
    assert!(matches!(Transaction::begin(begin), Err(WriteError::Cancelled)));
    let (transaction, resumed) = sample.begin(&target, false).unwrap();
    assert_eq!(resumed.done.len(), 3);
    sample.write(&transaction, 3);
    assert!(listing(&transaction.commit(&slots(), &record()).unwrap().path) == expected);
}

#[test]
fn a_torn_journal_line_costs_its_tensor_only() {
    let (_root, target, sample, expected) = setup();
    let journal = interrupted(&sample, &target).join("journal.jsonl");
    let text = fs::read(&journal).unwrap();
    fs::write(&journal, &text[..text.len() - 5]).unwrap();
    let (transaction, resumed) = sample.begin(&target, false).unwrap();
    assert_eq!(resumed.done.keys().copied().collect::<Vec<_>>(), [0, 1]);
    // The journal is whole again: another kill loses nothing.
    sample.write(&transaction, 2);
    drop(transaction);
    let (transaction, resumed) = sample.begin(&target, false).unwrap();
    assert_eq!(resumed.done.len(), 3);
    drop(transaction);
    assert!(listing(&sample.finish(&target, false).path) == expected);
}

#[test]
fn garbage_in_the_journal_is_no_danger() {
    let (_root, target, sample, expected) = setup();
    for garbage in [
        "{\"tensor\":3,\"hash\":\"00\"}\n",
        "{\"tensor\":99,\"hash\":\"",
        "\0\0\0\n",
        "[]\n\n",
        "\u{1F980}\n",
    ] {
        let journal = interrupted(&sample, &target).join("journal.jsonl");
        let mut file = fs::OpenOptions::new().append(true).open(&journal).unwrap();
        file.write_all(garbage.as_bytes()).unwrap();
        let absent = format!("{{\"tensor\":99,\"hash\":\"{}\"}}\n", "0".repeat(64));
        file.write_all(absent.as_bytes()).unwrap();
        let (transaction, resumed) = sample.begin(&target, false).unwrap();
        assert_eq!(resumed.done.len(), 3, "{garbage:?}");
        transaction.discard().unwrap();
    }
    let journal = interrupted(&sample, &target).join("journal.jsonl");
    fs::write(&journal, "not a journal\n").unwrap();
    let (transaction, resumed) = sample.begin(&target, false).unwrap();
    assert!(resumed.done.is_empty());
    drop(transaction);
    assert!(listing(&sample.finish(&target, false).path) == expected);
}

#[test]
fn a_flipped_byte_is_found_and_its_tensor_redone() {
    let (_root, target, sample, expected) = setup();
    let part = interrupted(&sample, &target);
    let place = sample.layout.places[0];
    let shard = part.join("new").join(&sample.layout.shards[place.shard].file);
    let mut bytes = fs::read(&shard).unwrap();
    bytes[place.offset as usize + 140_000] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let (transaction, resumed) = sample.begin(&target, false).unwrap();
    assert_eq!(resumed.done.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert!(
        resumed.note.unwrap().ends_with("2 of 4 tensors are written, 1 more were damaged and are redone")
    );
    drop(transaction);
    assert!(listing(&sample.finish(&target, false).path) == expected);
}

#[test]
fn lost_shards_and_strange_files_are_repaired() {
    let (_root, target, sample, expected) = setup();
    let part = interrupted(&sample, &target);
    let fresh = part.join("new");
    fs::remove_file(fresh.join(&sample.layout.shards[1].file)).unwrap();
    fs::write(fresh.join("stale.safetensors"), "stale").unwrap();
    fs::create_dir(fresh.join("folder")).unwrap();
    fs::write(fresh.join("config.json"), "half").unwrap();
    let (transaction, resumed) = sample.begin(&target, false).unwrap();
    assert_eq!(resumed.done.keys().copied().collect::<Vec<_>>(), [0]);
    drop(transaction);
    assert!(listing(&sample.finish(&target, false).path) == expected);
}

#[test]
fn another_recipe_starts_afresh() {
    let (_root, target, sample, _) = setup();
    interrupted(&sample, &target);
    let other = Sample::new(2, 200);
    let (transaction, resumed) = other.begin(&target, false).unwrap();
    assert!(resumed.done.is_empty());
    assert_eq!(resumed.note.unwrap(), "an unfinished run of another recipe was discarded");
    drop(transaction);
    // The same key with other shards cannot be resumed either.
    interrupted_again(&other, &target);
    let mut shards = Sample::new(2, 90);
    shards.key.clone_from(&other.key);
    let (transaction, resumed) = shards.begin(&target, false).unwrap();
    assert!(resumed.done.is_empty());
    assert_eq!(resumed.note.unwrap(), "an unfinished run of another version of fusion was discarded");
    drop(transaction);
    let done = shards.finish(&target, false);
    assert!(verify(&done.path).unwrap().is_intact());
    assert_eq!(listing(&done.path).len(), shards.layout.shards.len() + 3);
}

fn interrupted_again(sample: &Sample, target: &Target) {
    let (transaction, _) = sample.begin(target, false).unwrap();
    sample.write(&transaction, 1);
}
