//! A kill between any two operations on files leaves the old target or the new one, and the next run completes.

use super::*;

/// Commits up to operation `stop`; `None` if it came to the end.
fn killed(
    sample: &Sample,
    target: &Target,
    overwrite: bool,
    exchange: bool,
    stop: usize,
) -> Option<&'static str> {
    let (transaction, resumed) = sample.begin(target, overwrite).unwrap();
    for tensor in (0..sample.data.len()).filter(|tensor| !resumed.done.contains_key(tensor)) {
        sample.write(&transaction, tensor);
    }
    let mut count = 0;
    let mut place = None;
    let result = transaction.commit_with(&slots(), &record(), exchange, &mut |step| {
        count += 1;
        if count <= stop {
            return Ok(());
        }
        place = Some(step);
        let source = std::io::Error::other("killed");
        Err(WriteError::Io { action: "go on with", path: target.path().to_owned(), source })
    });
    assert_eq!(result.is_err(), place.is_some(), "{result:?}");
    place
}

/// Kills at each step in turn; returns how many steps there were.
fn at_every_step(single: bool, replace: bool, exchange: bool, same_key: bool) -> usize {
    for stop in 0.. {
        let root = tempfile::tempdir().unwrap();
        let shard_bytes = if single { u64::MAX } else { 200 };
        let new = Sample::new(2, shard_bytes);
        let old = Sample::new(if same_key { 2 } else { 1 }, shard_bytes);
        let target = |name: &str| {
            let path = root.path().join(name);
            if single { Target::File(path.with_extension("safetensors")) } else { Target::Folder(path) }
        };
        let expected = listing(&new.finish(&target("reference"), false).path);
        let target = target("merged");
        let mut before = BTreeMap::new();
        if replace {
            let done = old.finish(&target, false);
            if !single {
                fs::write(done.path.join("mine.txt"), "added by the user").unwrap();
            }
            before = listing(&done.path);
        }
        let Some(step) = killed(&new, &target, replace, exchange, stop) else { return stop };
        let now = listing(target.path());
        // Without an atomic swap there is one moment without a target: the old one waits in the hidden folder.
        let gap = replace && !exchange && step == "rename" && !single;
        assert!(now == before || now == expected || (gap && now.is_empty()), "at `{step}`: {:?}", now.keys());
        if replace || !target.path().exists() {
            let done = new.finish(&target, true);
            assert!(listing(&done.path) == expected, "resumed after `{step}`");
        } else {
            assert!(matches!(new.begin(&target, false), Err(WriteError::Exists { .. })), "done at `{step}`");
        }
        let count = names(root.path()).len();
        assert_eq!(count, 2, "nothing is left behind after `{step}`: {:?}", names(root.path()));
    }
    unreachable!("the range has no end")
}

#[test]
fn what_a_kill_after_the_move_left_is_tidied_by_its_own_key_alone() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::Folder(root.path().join("merged"));
    let sample = Sample::new(1, 200);
    assert_eq!(killed(&sample, &target, false, true, 8), Some("remove"));
    let whole = listing(target.path());
    assert_eq!(names(root.path()), [".merged.fusion-part", "merged"]);
    assert!(!tidy(&target, "another").unwrap());
    assert!(tidy(&target, &sample.key).unwrap());
    assert_eq!(names(root.path()), ["merged"]);
    assert!(listing(target.path()) == whole);
    assert!(!tidy(&target, &sample.key).unwrap());
}

#[test]
fn a_new_folder_appears_whole() {
    assert_eq!(at_every_step(false, false, true, false), 9);
}

#[test]
fn a_replaced_folder_is_old_or_new() {
    assert_eq!(at_every_step(false, true, true, false), 9);
    assert_eq!(at_every_step(false, true, true, true), 9);
}

#[test]
fn a_replaced_folder_survives_without_exchange() {
    assert_eq!(at_every_step(false, true, false, false), 11);
    assert_eq!(at_every_step(false, true, false, true), 11);
}

#[test]
fn a_file_is_old_or_new() {
    assert_eq!(at_every_step(true, false, true, false), 6);
    assert_eq!(at_every_step(true, true, true, false), 6);
}

#[test]
fn the_gap_without_exchange_is_closed_by_any_next_run() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::Folder(root.path().join("merged"));
    let old = Sample::new(1, 200);
    let before = listing(&old.finish(&target, false).path);
    let new = Sample::new(2, 200);
    let step = (0..).find(|&stop| {
        killed(&new, &target, true, false, stop);
        !target.path().exists()
    });
    assert!(step.is_some());
    // Even a run that is refused puts the old target back first.
    assert!(matches!(Sample::new(3, 200).begin(&target, false), Err(WriteError::Exists { .. })));
    assert!(listing(target.path()) == before);
}
