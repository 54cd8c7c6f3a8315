//! Places that refuse: occupied, locked, full, read-only.
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::process::{Command, Stdio};

use super::*;

fn target(root: &Path) -> Target {
    Target::Folder(root.join("merged"))
}

#[test]
fn an_existing_target_is_only_replaced_on_demand_and_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let target = target(root.path());
    let old = Sample::new(1, 90).finish(&target, false);
    fs::write(old.path.join("model-00009-of-00009.safetensors"), "stale").unwrap();
    let before = listing(&old.path);
    let new = Sample::new(2, 200);
    let error = new.begin(&target, false).unwrap_err();
    assert!(matches!(error, WriteError::Exists { .. }));
    assert!(error.to_string().contains("--overwrite"));
    assert!(listing(&old.path) == before);
    assert_eq!(names(root.path()), ["merged"]);
    let done = new.finish(&target, true);
    assert_eq!(names(&done.path).len(), 5);
    assert!(verify(&done.path).unwrap().is_intact());
    assert_eq!(names(root.path()), ["merged"]);
}

#[test]
fn discarding_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::Folder(root.path().join("a/b/merged"));
    let sample = Sample::new(1, 200);
    let (transaction, _) = sample.begin(&target, false).unwrap();
    sample.write(&transaction, 0);
    transaction.discard().unwrap();
    assert!(names(root.path()).is_empty());
}

#[test]
fn things_that_are_no_target_are_refused_and_kept() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(1, 200);
    let begin = |path: &Path| sample.begin(&Target::Folder(path.to_owned()), true).unwrap_err();

    let file = root.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(begin(&file), WriteError::NotAFolder { path } if path == file));
    assert!(matches!(begin(&file.join("merged")), WriteError::NotAFolder { path } if path == file));
    assert!(matches!(begin(&file.join("deep/merged")), WriteError::NotAFolder { path } if path == file));

    let home = root.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("thesis.tex"), "x").unwrap();
    assert!(matches!(begin(&home), WriteError::NotACheckpoint { .. }));
    assert_eq!(names(&home), ["thesis.tex"]);

    assert!(matches!(begin(Path::new("")), WriteError::Target { .. }));
    assert!(matches!(begin(Path::new("/")), WriteError::Target { .. }));
    assert!(matches!(begin(&root.path().join("..")), WriteError::Target { .. }));
    let link = root.path().join("link");
    std::os::unix::fs::symlink(root.path().join("nowhere"), &link).unwrap();
    assert!(matches!(begin(&link), WriteError::Target { .. }));

    let folder = root.path().join("x.safetensors");
    fs::create_dir(&folder).unwrap();
    let whole = Sample::new(1, u64::MAX);
    assert!(matches!(whole.begin(&Target::File(folder.clone()), true), Err(WriteError::NotAFile { .. })));
    assert!(matches!(whole.begin(&Target::Folder("/proc".into()), true), Err(WriteError::Target { .. })));
    assert_eq!(names(root.path()), ["file", "home", "link", "x.safetensors"]);
}

#[test]
fn empty_folders_and_links_to_folders_are_fine() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(1, 200);
    fs::create_dir(root.path().join("empty")).unwrap();
    sample.finish(&Target::Folder(root.path().join("empty")), false);

    let disk = root.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let link = root.path().join("link");
    std::os::unix::fs::symlink(disk.join("real"), &link).unwrap();
    fs::create_dir(disk.join("real")).unwrap();
    sample.finish(&Target::Folder(link.clone()), false);
    Sample::new(2, 200).finish(&Target::Folder(link.clone()), true);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(verify(&disk.join("real")).unwrap().is_intact());
    assert_eq!(names(&disk), ["real"]);
}

#[test]
fn a_target_that_appears_meanwhile_is_kept_and_so_is_the_work() {
    let root = tempfile::tempdir().unwrap();
    let target = target(root.path());
    let sample = Sample::new(1, 200);
    let (transaction, _) = sample.begin(&target, false).unwrap();
    (0..4).for_each(|tensor| sample.write(&transaction, tensor));
    fs::create_dir(target.path()).unwrap();
    fs::write(target.path().join("config.json"), "theirs").unwrap();
    assert!(matches!(transaction.commit(&slots(), &record()), Err(WriteError::Exists { .. })));
    assert_eq!(listing(target.path())["config.json"], b"theirs");
    fs::remove_dir_all(target.path()).unwrap();
    let (transaction, resumed) = sample.begin(&target, false).unwrap();
    assert_eq!(resumed.done.len(), 4);
    transaction.commit(&slots(), &record()).unwrap();
}

#[test]
fn two_runs_on_one_target_are_one_too_many() {
    let root = tempfile::tempdir().unwrap();
    let target = target(root.path());
    let sample = Sample::new(1, 200);
    let (first, _) = sample.begin(&target, false).unwrap();
    sample.write(&first, 0);
    let error = Sample::new(2, 200).begin(&target, false).unwrap_err();
    assert!(matches!(error, WriteError::Locked { pid, .. } if pid == Some(std::process::id())), "{error}");
    assert!(
        error.to_string().starts_with(&format!("another run (process {}) is writing", std::process::id()))
    );
    (1..4).for_each(|tensor| sample.write(&first, tensor));
    assert!(verify(&first.commit(&slots(), &record()).unwrap().path).unwrap().is_intact());
}

#[test]
fn a_lock_of_another_process_counts() {
    let root = tempfile::tempdir().unwrap();
    let target = target(root.path());
    let part = root.path().join(".merged.fusion-part");
    fs::create_dir(&part).unwrap();
    fs::write(part.join("lock"), "4711\n").unwrap();
    let holder = Command::new("flock")
        .arg("--exclusive")
        .arg(part.join("lock"))
        .args(["sh", "-c", "echo locked; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut holder) = holder else {
        eprintln!("skipped: the `flock` command is missing");
        return;
    };
    let mut line = String::new();
    let mut out = std::io::BufReader::new(holder.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let sample = Sample::new(1, 200);
    let error = sample.begin(&target, false).unwrap_err();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(matches!(error, WriteError::Locked { pid: Some(4711), .. }), "{error}");
    // The other process has ended: its lock with it.
    sample.finish(&target, false);
    assert_eq!(names(root.path()), ["merged"]);
}

/// A small tmpfs, unmounted on drop; `None` with a printed reason where mounting is not permitted.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Option<Self> {
        Self::of("tmpfs", options)
    }

    fn of(kind: &str, options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let done = Command::new("mount").args(["-t", kind, "-o", options, kind]).arg(folder.path()).output();
        match done {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                eprintln!("skipped: cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: cannot mount: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// One tensor of so many bytes.
fn big(bytes: usize) -> Layout {
    let tensor = OutTensor { name: "big".to_owned(), dtype: Dtype::U8, shape: vec![bytes] };
    layout(&[tensor], 300_000, &BTreeMap::new(), &[]).unwrap()
}

#[test]
fn a_full_disk_is_found_before_work_begins() {
    let Some(mount) = Mount::new("size=1m") else { return };
    let target = Target::Folder(mount.path().join("a/merged"));
    let layout = big(4_000_000);
    let begin =
        Begin { target: &target, layout: &layout, key: "k", overwrite: false, sidecars: &[], cancel: &NEVER };
    let error = Transaction::begin(begin).unwrap_err();
    assert!(
        matches!(error, WriteError::DiskFull { needed, free, .. } if needed > 4_000_000 && free > 1_000_000),
        "{error:?}"
    );
    assert!(names(mount.path()).is_empty());
}

#[test]
fn a_disk_that_fills_up_later_leaves_nothing_behind() {
    let Some(mount) = Mount::new("size=1m") else { return };
    let target = target(mount.path());
    let layout = big(600_000);
    let begin =
        Begin { target: &target, layout: &layout, key: "k", overwrite: false, sidecars: &[], cancel: &NEVER };
    let (transaction, _) = Transaction::begin(begin).unwrap();
    let data = vec![7; 600_000];
    transaction.write_at(0, 0, &data).unwrap();
    transaction.tensor_done(0, hash_blocks(Dtype::U8, &data)).unwrap();
    // Someone else takes the rest; the record has no space.
    let other = mount.path().join("other");
    let _ = fs::write(&other, vec![0; 1 << 20]);
    let error = transaction.commit(&BTreeMap::new(), &record()).unwrap_err();
    assert!(matches!(error, WriteError::DiskFull { .. }), "{error:?}");
    assert_eq!(names(mount.path()), ["other"]);
}

#[test]
fn a_read_only_place_says_so() {
    if let Some(mount) = Mount::new("size=1m,ro") {
        let sample = Sample::new(1, 200);
        let error = sample.begin(&target(mount.path()), false).unwrap_err();
        assert!(matches!(&error, WriteError::ReadOnly { path, .. } if path == mount.path()), "{error:?}");
        let error = sample.begin(&Target::Folder(mount.path().join("a/b")), false).unwrap_err();
        assert!(matches!(error, WriteError::ReadOnly { .. }), "{error:?}");
    }
}

#[test]
fn a_mount_point_is_no_target() {
    let Some(mount) = Mount::new("size=1m") else { return };
    let error = Sample::new(1, 200).begin(&Target::Folder(mount.path().to_owned()), true).unwrap_err();
    assert!(error.to_string().contains("mount point"), "{error}");
}

#[test]
fn file_systems_that_cannot_reserve_space_still_work() {
    // ramfs knows neither `fallocate` nor free space.
    let Some(mount) = Mount::of("ramfs", "mode=700") else { return };
    let target = target(mount.path());
    Sample::new(1, 200).finish(&target, false);
    let done = Sample::new(2, 200).finish(&target, true);
    assert!(verify(&done.path).unwrap().is_intact());
    assert_eq!(names(mount.path()), ["merged"]);
}
