//! What a child prints and logs: passed on as trace events, and its last lines kept, because they often say why it crashed.
//!
//! A child has nobody who would show its trace events, so what its plugin logs goes down the same pipe as what it prints, marked with its
//! level.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, PipeReader, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::host::callbacks::trace;

/// Lines that are kept.
const LINES: usize = 3;
/// Bytes of a line that are kept.
const LINE: u64 = 300;
/// How long the end of the output is waited for after a crash: a process that the plugin started may hold it open for ever.
const PATIENCE: Duration = Duration::from_millis(200);

/// Begins a line of the log; its level and a space follow.
const MARK: &str = "\u{1}log ";

/// Whether this process serves a plugin to another one.
static SERVING: AtomicBool = AtomicBool::new(false);

/// From now on, log lines of this process's plugins go to its parent.
pub(super) fn serving() {
    SERVING.store(true, Ordering::Relaxed);
}

/// In a child: hands a line of a plugin's log to the parent. Elsewhere does nothing and says so.
pub(in crate::host) fn pass_on(level: u32, message: &str) -> bool {
    let serving = SERVING.load(Ordering::Relaxed);
    if serving {
        for line in message.lines() {
            // Where the parent is gone, nobody is left to be told.
            let _ = writeln!(std::io::stderr().lock(), "{MARK}{level} {line}");
        }
    }
    serving
}

#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    over: bool,
}

/// The output of one child.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<(Mutex<Tail>, Condvar)>);

impl Output {
    /// Reads until the child is gone, on a thread of its own.
    pub(super) fn read(from: PipeReader) -> std::io::Result<Self> {
        let output = Output::default();
        let kept = output.clone();
        std::thread::Builder::new().name("plugin-output".to_owned()).spawn(move || {
            let mut from = BufReader::new(from);
            loop {
                let mut line = Vec::new();
                match from.by_ref().take(LINE).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => kept.keep(String::from_utf8_lossy(&line).trim_end()),
                }
            }
            kept.tail().over = true;
            kept.0.1.notify_all();
        })?;
        Ok(output)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, line: &str) {
        let logged = line.strip_prefix(MARK).and_then(|rest| rest.split_once(' '));
        let (level, line) = match logged.and_then(|(level, text)| Some((level.parse().ok()?, text))) {
            Some(logged) => logged,
            None => (2, line), // what is merely printed is information
        };
        trace(level, line);
        if line.is_empty() {
            return;
        }
        let mut tail = self.tail();
        if tail.lines.len() == LINES {
            tail.lines.pop_front();
        }
        tail.lines.push_back(line.to_owned());
    }

    /// The last words of a child that is gone.
    pub(super) fn last(&self) -> Option<String> {
        let waited = self.0.1.wait_timeout_while(self.tail(), PATIENCE, |tail| !tail.over);
        let (tail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = tail.lines.iter().map(String::as_str).collect();
        (!lines.is_empty()).then(|| lines.join(" / "))
    }
}
