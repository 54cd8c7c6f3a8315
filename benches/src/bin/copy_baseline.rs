//! The yardstick for a merge: how long it takes merely to read all inputs and write one output of the first one's size.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;

/// Read every input whole, copy the first one to a new folder, and print the time it took as one line of JSON.
///
/// Each thread reads pieces with `pread` into one buffer that it keeps. Pieces of the first input are written with
/// `pwrite`; of the others all 64-bit words are summed, so that no byte goes unread. Pieces come in the order in which
/// a merge needs them: the same place of every input, then the next place.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Safetensors files, or folders that hold some; the first is copied
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Folder for the copy; must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Bytes read at a time by each thread
    #[arg(long, default_value_t = 1 << 20)]
    piece: usize,
    /// Flush the copy to the disk before the clock stops
    #[arg(long)]
    fsync: bool,
}

struct Source {
    path: PathBuf,
    file: File,
    length: u64,
}

struct Piece<'a> {
    source: &'a Source,
    target: Option<&'a File>,
    offset: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.piece == 0 || arguments.threads == 0 {
        bail!("`--piece` and `--threads` must be at least 1");
    }
    let start = Instant::now();
    let inputs: Vec<Vec<Source>> = arguments.inputs.iter().map(|path| open(path)).collect::<Result<_>>()?;
    fs::create_dir_all(arguments.out.parent().unwrap_or(Path::new(".")))?;
    fs::create_dir(&arguments.out).with_context(|| format!("cannot create `{}`", arguments.out.display()))?;
    let targets: Vec<File> =
        inputs[0].iter().map(|source| create(&arguments.out, source)).collect::<Result<_>>()?;

    let pieces = pieces(&inputs, &targets, arguments.piece);
    let (next, sum) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let work = || -> io::Result<()> {
            let mut buffer = vec![0; arguments.piece];
            while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                let count = (piece.source.length - piece.offset).min(arguments.piece as u64) as usize;
                let bytes = &mut buffer[..count];
                piece.source.file.read_exact_at(bytes, piece.offset)?;
                match piece.target {
                    Some(target) => target.write_all_at(bytes, piece.offset)?,
                    None => {
                        sum.fetch_add(add_up(bytes), Ordering::Relaxed);
                    }
                }
            }
            Ok(())
        };
        let threads: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done.context("cannot copy"),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    if arguments.fsync {
        for target in &targets {
            target.sync_all()?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();

    let length = |sources: &[Source]| sources.iter().map(|source| source.length).sum::<u64>();
    let line = serde_json::json!({
        "seconds": seconds,
        "bytes_read": inputs.iter().map(|sources| length(sources)).sum::<u64>(),
        "bytes_written": length(&inputs[0]),
        "threads": arguments.threads,
        "fsync": arguments.fsync,
        "sum": sum.into_inner(),
    });
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

/// Opens a file, or the safetensors files of a folder in the order of their names.
fn open(path: &Path) -> Result<Vec<Source>> {
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        let entries =
            fs::read_dir(path).and_then(|entries| entries.map(|e| Ok(e?.path())).collect::<io::Result<_>>());
        paths = entries.with_context(|| format!("cannot list `{}`", path.display()))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
        paths.sort();
        if paths.is_empty() {
            bail!("`{}` holds no safetensors file", path.display());
        }
    }
    let open = |path: PathBuf| {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.with_context(|| format!("cannot open `{}`", path.display()))?;
        Ok(Source { path, file, length })
    };
    paths.into_iter().map(open).collect()
}

fn create(folder: &Path, source: &Source) -> Result<File> {
    let path = folder.join(source.path.file_name().unwrap_or_default());
    let file = File::create_new(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
    file.set_len(source.length).with_context(|| format!("cannot size `{}`", path.display()))?;
    Ok(file)
}

fn pieces<'a>(inputs: &'a [Vec<Source>], targets: &'a [File], size: usize) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for (input, sources) in inputs.iter().enumerate() {
        let mut place = 0;
        for (index, source) in sources.iter().enumerate() {
            let target = (input == 0).then(|| &targets[index]);
            for offset in (0..source.length).step_by(size) {
                pieces.push((place, input, Piece { source, target, offset }));
                place += 1;
            }
        }
    }
    pieces.sort_by_key(|&(place, input, _)| (place, input));
    pieces.into_iter().map(|(_, _, piece)| piece).collect()
}

/// The wrapping sum of all whole 64-bit words, plus the bytes that are left.
fn add_up(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(words, |sum, &byte| sum.wrapping_add(u64::from(byte)))
}
