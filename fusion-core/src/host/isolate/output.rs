//! What a child prints: passed on as trace events, and its last lines kept, because they often say why it crashed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, PipeReader, Read as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that are kept.
const LINES: usize = 3;
/// Bytes of a line that are kept.
const LINE: u64 = 300;
/// How long the end of the output is waited for after a crash: a process that the plugin started may hold it open for ever.
const PATIENCE: Duration = Duration::from_millis(200);

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
        tracing::info!(target: "plugin", "{line}");
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
