//! Runs tests in child processes: a plugin that crashes, hangs or ends the process costs one test and no more.

use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::table::Test;
use crate::verdict::{Report, Verdict};

/// What a child may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time until it is ended.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { time: Duration::from_secs(30) }
    }
}

/// Runs tests one after the other, each in a child that `command` makes, and tells each result. The child runs
/// [`run_in_process`](crate::run_in_process) and writes its [`Report`] as one line of JSON to stdout; what else it writes is ignored.
///
/// Once `load-now-local` has failed, nothing else can be found out, and the rest is skipped.
///
/// # Errors
/// Those of starting a child, and those of `each`.
pub fn supervise<E: From<std::io::Error>>(
    tests: &[&'static Test],
    seed: u64,
    limits: Limits,
    mut command: impl FnMut(&Test) -> Command,
    mut each: impl FnMut(&'static Test, &Report) -> Result<(), E>,
) -> Result<(), E> {
    let mut loads = true;
    for test in tests {
        let report = if loads {
            child(command(test), test, seed, limits)?
        } else {
            let verdict = Verdict::Skipped { reason: "it does not load".to_owned() };
            Report { test: test.id.to_owned(), verdict, milliseconds: 0, seed }
        };
        if test.id == "load-now-local" {
            loads = !report.verdict.is_failure();
        }
        each(test, &report)?;
    }
    Ok(())
}

fn child(mut command: Command, test: &Test, seed: u64, limits: Limits) -> Result<Report, std::io::Error> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, limits.time)?;
    let milliseconds = started.elapsed().as_millis() as u64;
    let made = |verdict| Report { test: test.id.to_owned(), verdict, milliseconds, seed };
    let Some(status) = status else {
        return Ok(made(Verdict::TimedOut { seconds: limits.time.as_secs() }));
    };
    if let Some(signal) = status.signal() {
        return Ok(made(Verdict::Crashed { signal }));
    }
    // A grandchild may hold the pipe open.
    let text = |from: Receiver<Vec<u8>>| {
        String::from_utf8_lossy(&from.recv_timeout(Duration::from_secs(1)).unwrap_or_default()).into_owned()
    };
    let said = text(out).lines().rev().find_map(|line| serde_json::from_str::<Report>(line).ok());
    Ok(match said {
        Some(report) if report.test == test.id => report,
        _ => {
            let last = text(err).lines().last().unwrap_or_default().to_owned();
            let code = status.code().unwrap_or_default();
            let end = if last.is_empty() { String::new() } else { format!(": {last}") };
            made(Verdict::Failed {
                reason: format!("the process ended with code {code} before the test did{end}"),
            })
        }
    })
}

/// Reads a pipe to its end beside everything else, so that the child never waits for us.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    receive
}

/// Waits for a child until its time is over; `None` if it had to be ended.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<std::process::ExitStatus>, std::io::Error> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(script: &str) -> Verdict {
        let test = Test::find("ids-unique").unwrap();
        let mut found = None;
        let limits = Limits { time: Duration::from_secs(1) };
        let command = |_: &Test| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        supervise::<std::io::Error>(&[test], 5, limits, command, |_, report| {
            found = Some(report.verdict.clone());
            Ok(())
        })
        .unwrap();
        found.unwrap()
    }

    #[test]
    fn every_end_of_a_child_has_its_verdict() {
        let line = r#"{"test":"ids-unique","verdict":"passed","milliseconds":1,"seed":5}"#;
        assert_eq!(verdict(&format!("echo noise; echo '{line}'; echo more")), Verdict::Passed);
        assert_eq!(verdict("kill -SEGV $$"), Verdict::Crashed { signal: 11 });
        assert_eq!(verdict("exec sleep 20"), Verdict::TimedOut { seconds: 1 });
        let Verdict::Failed { reason } = verdict("echo oh no >&2; exit 3") else { panic!("it failed") };
        assert_eq!(reason, "the process ended with code 3 before the test did: oh no");
    }
}
