//! The running transaction: begin or resume, write, remember.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::Place as _;
use super::journal::{self, Head, JOURNAL, Journal};
use super::layout::{INDEX, Place};
use super::lock::{LOCK, Lock};
use super::target::{Goal, remove_empty};
use super::{Layout, RECORD, Sidecar, Target, WriteError, space};
use crate::checkpoint::blocks::{Hash, hash_block, hash_file};

/// What to write and where.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// Where the result goes.
    pub target: &'a Target,
    /// Every byte's place.
    pub layout: &'a Layout,
    /// Hash of everything that determines the bytes: only an unfinished run with the same key is resumed.
    pub key: &'a str,
    /// Whether a checkpoint at the target is replaced, as a whole.
    pub overwrite: bool,
    /// Files beside the weights, written first.
    pub sidecars: &'a [Sidecar],
    /// Set to give up while an earlier run's tensors are hashed again; they stay for the next run.
    pub cancel: &'a AtomicBool,
}

/// What an earlier run has left to go on with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Tensors that are on disk already, with their hashes: they need not be written again.
    pub done: BTreeMap<usize, Hash>,
    /// What the user should know about an earlier run or about the place.
    pub note: Option<String>,
}

/// A result in the making, shared between threads.
///
/// Dropped without [`commit`](Transaction::commit), the hidden folder and its journal stay for a resume;
/// [`discard`](Transaction::discard) removes them.
#[derive(Debug)]
pub struct Transaction {
    pub(super) goal: Goal,
    pub(super) layout: Layout,
    pub(super) key: String,
    pub(super) overwrite: bool,
    /// Files beside the weights with the hashes of their bytes.
    pub(super) sidecars: BTreeMap<String, Hash>,
    pub(super) files: Vec<File>,
    pub(super) journal: Journal,
    done: Mutex<BTreeMap<usize, Hash>>,
    created: Vec<PathBuf>,
    _lock: Lock,
}

impl Transaction {
    /// Starts writing, or goes on with an unfinished run with the same key, layout and tool version.
    ///
    /// Takes the lock, writes the sidecars and reserves the space of all shards. Tensors that an earlier run finished
    /// are hashed again, in parallel on the current rayon pool, and count only if their bytes are still the same; an
    /// unfinished run of anything else is discarded.
    ///
    /// # Errors
    /// The target cannot be written, exists, or is locked; the disk is full. Nothing is left behind then, except that
    /// the finished work of a run that could be resumed stays.
    pub fn begin(b: Begin<'_>) -> Result<(Self, Resumed), WriteError> {
        let goal = Goal::resolve(b.target)?;
        check_names(&b, &goal)?;
        // Where no unfinished run is waiting, a refused target must not be touched at all.
        if !goal.part.exists() {
            goal.check(b.overwrite)?;
        }
        let created = goal.create_parents()?;
        let mut lock = match Lock::acquire(&goal.part, &goal.path) {
            Ok(lock) => lock,
            Err(error) => {
                remove_empty(&created);
                return Err(error);
            }
        };
        let lock_note = lock.note.take();
        let mut keep = false;
        match prepare(&b, &goal, &mut keep) {
            Ok(ready) => {
                let note = [lock_note, ready.note].into_iter().flatten().collect::<Vec<_>>().join("; ");
                let resumed =
                    Resumed { done: ready.done.clone(), note: Some(note).filter(|note| !note.is_empty()) };
                let transaction = Self {
                    goal,
                    layout: b.layout.clone(),
                    key: b.key.to_owned(),
                    overwrite: b.overwrite,
                    sidecars: b.sidecars.iter().map(|s| (s.name.clone(), hash_block(&s.bytes))).collect(),
                    files: ready.files,
                    journal: ready.journal,
                    done: Mutex::new(ready.done),
                    created,
                    _lock: lock,
                };
                Ok((transaction, resumed))
            }
            Err(error) => {
                if !keep {
                    let _ = fs::remove_dir_all(&goal.part);
                    remove_empty(&created);
                }
                Err(match error {
                    // The whole result is what needs space, and what was tried here no longer takes any.
                    WriteError::DiskFull { .. } => {
                        let needed = b.layout.file_bytes()
                            + b.sidecars.iter().map(|s| s.bytes.len() as u64).sum::<u64>();
                        let free = space::free_or_zero(&goal.path);
                        WriteError::DiskFull { path: goal.path, needed, free }
                    }
                    other => other,
                })
            }
        }
    }

    /// Writes bytes of a tensor's data, `offset` counted from the tensor's start; any thread, any order.
    ///
    /// # Errors
    /// Bytes outside of the tensor, a full disk, a failing disk.
    pub fn write_at(&self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let place = self.place(tensor, offset, bytes.len())?;
        self.files[place.shard].write_all_at(bytes, place.offset + offset).map_err(|error| {
            let path = self.shard_path(place.shard);
            WriteError::io("write", &path, bytes.len() as u64, error)
        })
    }

    /// Reads bytes of a tensor's data back.
    ///
    /// # Errors
    /// Bytes outside of the tensor, a failing disk.
    pub fn read_at(&self, tensor: usize, offset: u64, buf: &mut [u8]) -> Result<(), WriteError> {
        let place = self.place(tensor, offset, buf.len())?;
        self.files[place.shard]
            .read_exact_at(buf, place.offset + offset)
            .map_err(|error| WriteError::io("read", &self.shard_path(place.shard), 0, error))
    }

    /// Notes that all bytes of a tensor are written; `hash` as [`blocks`](crate::checkpoint::blocks) defines it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn tensor_done(&self, tensor: usize, hash: Hash) -> Result<(), WriteError> {
        let place = self.place(tensor, 0, 0)?;
        space::start_flush(&self.files[place.shard], place.offset, place.bytes);
        self.journal.done(tensor, &hash)?;
        self.done().insert(tensor, hash);
        Ok(())
    }

    /// The plan that is being written.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Gives up: removes the hidden folder and the folders made for it. The target stays as it was.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn discard(self) -> Result<(), WriteError> {
        self.remove_part()?;
        remove_empty(&self.created);
        Ok(())
    }

    pub(super) fn remove_part(&self) -> Result<(), WriteError> {
        fs::remove_dir_all(&self.goal.part).place("remove", &self.goal.part)
    }

    pub(super) fn done(&self) -> MutexGuard<'_, BTreeMap<usize, Hash>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shard_path(&self, shard: usize) -> PathBuf {
        self.goal.fresh().join(&self.layout.shards[shard].file)
    }

    fn place(&self, tensor: usize, offset: u64, length: usize) -> Result<Place, WriteError> {
        let place = self.layout.places.get(tensor).copied();
        let place =
            place.ok_or(WriteError::NoSuchTensor { index: tensor, count: self.layout.places.len() })?;
        let length = length as u64;
        if offset.checked_add(length).is_none_or(|end| end > place.bytes) {
            let name = self.layout.tensors[tensor].name.clone();
            return Err(WriteError::OutOfBounds { name, offset, length, bytes: place.bytes });
        }
        Ok(place)
    }
}

/// Names of all files that the new folder may hold.
fn expected<'a>(b: &Begin<'a>) -> BTreeSet<&'a str> {
    let mut names: BTreeSet<&str> = b.layout.shards.iter().map(|shard| shard.file.as_str()).collect();
    names.extend(b.sidecars.iter().map(|sidecar| sidecar.name.as_str()));
    names.extend([RECORD, INDEX]);
    names
}

fn check_names(b: &Begin<'_>, goal: &Goal) -> Result<(), WriteError> {
    if goal.single {
        let refuse = |reason: String| Err(WriteError::SingleFile { path: goal.path.clone(), reason });
        if b.layout.shards.len() != 1 {
            return refuse(format!("the result has {} shards", b.layout.shards.len()));
        }
        if let Some(sidecar) = b.sidecars.first() {
            return refuse(format!("`{}` cannot go beside it", sidecar.name));
        }
    }
    let mut seen = BTreeSet::from([RECORD, INDEX]);
    seen.extend(b.layout.shards.iter().map(|shard| shard.file.as_str()));
    for sidecar in b.sidecars {
        let refuse = |reason| Err(WriteError::Sidecar { name: sidecar.name.clone(), reason });
        if sidecar.name.is_empty()
            || sidecar.name.contains(['/', '\0'])
            || [".", ".."].contains(&&*sidecar.name)
        {
            return refuse("it is not a plain file name");
        }
        if !seen.insert(&sidecar.name) {
            return refuse("the name is taken");
        }
    }
    Ok(())
}

struct Ready {
    files: Vec<File>,
    journal: Journal,
    done: BTreeMap<usize, Hash>,
    note: Option<String>,
}

/// Everything between the lock and the first tensor. Sets `keep` where an earlier run's work must outlive an error.
fn prepare(b: &Begin<'_>, goal: &Goal, keep: &mut bool) -> Result<Ready, WriteError> {
    let journal_path = goal.part.join(JOURNAL);
    let found = journal::read(&journal_path)?;
    *keep = found.as_ref().is_some_and(|found| !found.sealed && !found.done.is_empty());
    restore(goal)?;
    goal.check(b.overwrite)?;

    let head = Head::new(b.key, b.layout.hash());
    let mut note = None;
    let mut claimed = BTreeMap::new();
    let mut quiet = true;
    match found {
        Some(found) if found.head.as_ref() == Some(&head) && (!found.sealed || ours(goal, b.key)) => {
            claimed = found.done;
            quiet = found.sealed;
        }
        Some(found) => {
            if !found.sealed && !found.done.is_empty() {
                let other = found.head.as_ref().is_some_and(|found| found.key != b.key);
                let whose = if other { "recipe" } else { "version of fusion" };
                note = Some(format!("an unfinished run of another {whose} was discarded"));
            }
            *keep = false;
            clear(&goal.part)?;
        }
        None => clear(&goal.part)?,
    }

    let fresh = goal.fresh();
    if !fresh.is_dir() {
        fs::create_dir(&fresh).place("create", &fresh)?;
    }
    sweep(&fresh, &expected(b))?;
    for sidecar in b.sidecars {
        let path = fresh.join(&sidecar.name);
        fs::write(&path, &sidecar.bytes)
            .map_err(|error| WriteError::io("write", &path, sidecar.bytes.len() as u64, error))?;
    }
    let (files, sized) = open_shards(b.layout, &fresh)?;
    let done = confirm(b, &files, &sized, &claimed, &fresh)?;
    if !quiet && !claimed.is_empty() {
        let total = b.layout.tensors.len();
        let lost = claimed.len() - done.len();
        let again =
            if lost == 0 { String::new() } else { format!(", {lost} more were damaged and are redone") };
        note = Some(format!(
            "going on with an unfinished run: {} of {total} tensors are written{again}",
            done.len()
        ));
    }
    let journal = Journal::create(&journal_path, &head, &done)?;
    Ok(Ready { files, journal, done, note })
}

/// Puts the old target back where a run was killed in the middle of a swap by two renames.
fn restore(goal: &Goal) -> Result<(), WriteError> {
    let old = goal.old();
    if fs::symlink_metadata(&old).is_err() {
        return Ok(());
    }
    if fs::symlink_metadata(&goal.path).is_err() {
        return fs::rename(&old, &goal.path).place("restore", &goal.path);
    }
    fs::remove_dir_all(&old).place("remove", &old)
}

/// Whether the folder `new` is a complete result of this key, not the old target after a swap.
fn ours(goal: &Goal, key: &str) -> bool {
    let record = fs::read(goal.fresh().join(RECORD)).ok();
    let record = record.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    record.is_some_and(|record| record["key"] == key)
}

/// Empties the hidden folder except for the lock that is held.
fn clear(part: &Path) -> Result<(), WriteError> {
    sweep(part, &BTreeSet::from([LOCK]))
}

/// Removes everything in a folder that is not named: stale files must not end up in a result.
fn sweep(folder: &Path, keep: &BTreeSet<&str>) -> Result<(), WriteError> {
    for entry in fs::read_dir(folder).place("read", folder)? {
        let entry = entry.place("read", folder)?;
        let path = entry.path();
        let folder = entry.file_type().place("read", &path)?.is_dir();
        if entry.file_name().to_str().is_some_and(|name| keep.contains(name)) && !folder {
            continue;
        }
        let removed = if folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.place("remove", &path)?;
    }
    Ok(())
}

/// Opens all shards with their final length; tells which of them had it already.
fn open_shards(layout: &Layout, folder: &Path) -> Result<(Vec<File>, Vec<bool>), WriteError> {
    let mut files = Vec::with_capacity(layout.shards.len());
    let mut sized = Vec::with_capacity(layout.shards.len());
    let mut needed: u64 = layout.file_bytes();
    for shard in &layout.shards {
        let path = folder.join(&shard.file);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .place("create", &path)?;
        let whole = file.metadata().place("read", &path)?.len() == shard.bytes;
        if !whole {
            file.set_len(0)
                .and_then(|()| space::presize(&file, &path, shard.bytes, needed))
                .map_err(|error: io::Error| WriteError::io("reserve space for", &path, needed, error))?;
        }
        needed -= shard.bytes;
        files.push(file);
        sized.push(whole);
    }
    Ok((files, sized))
}

/// The tensors among `claimed` whose bytes still have the hash they were written with.
fn confirm(
    b: &Begin<'_>,
    files: &[File],
    sized: &[bool],
    claimed: &BTreeMap<usize, Hash>,
    folder: &Path,
) -> Result<BTreeMap<usize, Hash>, WriteError> {
    let layout = b.layout;
    let mut done = BTreeMap::new();
    for (&tensor, &hash) in claimed {
        if b.cancel.load(Ordering::Relaxed) {
            return Err(WriteError::Cancelled);
        }
        let Some(place) = layout.places.get(tensor).filter(|place| sized[place.shard]) else { continue };
        let found = hash_file(&files[place.shard], place.offset, place.bytes, layout.tensors[tensor].dtype)
            .place("read", &folder.join(&layout.shards[place.shard].file))?;
        if found == hash {
            done.insert(tensor, hash);
        }
    }
    Ok(done)
}
