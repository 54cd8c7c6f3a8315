//! `fusion plugin check`: runs the conformance kit on a library, each test in a child process of this very program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueHint};
use fusion_conformance::{Group, Limits, Report, Summary, TESTS, Test, Verdict, run_in_process, supervise};
use fusion_dsl::codes::Code;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::ui::table::{Side, Table, wrap};

/// `fusion plugin check`
#[derive(Debug, Args)]
pub struct PluginCheckArgs {
    /// The plugin's library
    #[arg(required_unless_present = "list", value_name = "LIB", value_hint = ValueHint::FilePath)]
    pub library: Option<PathBuf>,
    /// Run this test alone; may be given several times
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,
    /// What the random tests start from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Seconds that a test may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub limit: u64,
    /// Run the tests in this process and without a limit, for debuggers and sanitizers
    #[arg(long)]
    pub in_process: bool,
    /// Show all tests and run none
    #[arg(long, conflicts_with_all = ["library", "only", "in_process"])]
    pub list: bool,
    /// Write JSON lines to stdout: one for each test, then a summary
    #[arg(long)]
    pub json: bool,
}

pub(super) fn check(session: &Session, args: &PluginCheckArgs) -> Result<Exit, Failure> {
    let Some(library) = args.library.as_deref().filter(|_| !args.list) else {
        return list(session, args.json).map(|()| Exit::Ok);
    };
    if let Err(error) = std::fs::metadata(library) {
        return Err(Failure::read(library, &error));
    }
    let tests = chosen(&args.only)?;
    let mut summary = Summary::default();
    let mut group = None;
    let mut tell = |test: &'static Test, report: &Report| -> Result<(), Stopped> {
        summary.add(&report.verdict);
        if args.json {
            return Ok(session.ui.json_line(report)?);
        }
        let heading = (group != Some(test.group)).then_some(test.group);
        group = Some(test.group);
        Ok(session.ui.print(&row(session, library, test, report, heading))?)
    };
    if args.in_process {
        for test in tests {
            tell(test, &run_in_process(library, test, args.seed)).map_err(Stopped::into_failure)?;
        }
    } else {
        let program = std::env::current_exe().map_err(|error| Stopped::Io(error).into_failure())?;
        let command = |test: &Test| {
            let mut command = Command::new(&program);
            let seed = args.seed.to_string();
            command.args([
                "plugin",
                "check",
                "--in-process",
                "--json",
                "--only",
                test.id,
                "--seed",
                &seed,
                "--",
            ]);
            command.arg(library);
            command
        };
        let limits = Limits { time: Duration::from_secs(args.limit) };
        supervise(&tests, args.seed, limits, command, &mut tell).map_err(Stopped::into_failure)?;
    }
    match args.json {
        true => session.ui.json_line(&json!({ "summary": summary }))?,
        false => session.ui.print(&format!("\n{summary}\n"))?,
    }
    Ok(if summary.is_failure() { Exit::Plugin } else { Exit::Ok })
}

/// What ends the run of the tests early.
enum Stopped {
    Io(std::io::Error),
    Failure(Failure),
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Stopped::Io(error)
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failure(failure)
    }
}

impl Stopped {
    fn into_failure(self) -> Failure {
        match self {
            Stopped::Io(error) => Failure::new(Code::Io, format!("the tests cannot be started: {error}")),
            Stopped::Failure(failure) => failure,
        }
    }
}

/// The tests of these ids, in the order of the table; all without.
fn chosen(ids: &[String]) -> Result<Vec<&'static Test>, Failure> {
    for id in ids {
        if Test::find(id).is_none() {
            let near = fusion_dsl::suggest::closest(id, TESTS.iter().map(|test| test.id));
            let help = near.map_or("`--list` shows all".to_owned(), |near| format!("did you mean `{near}`?"));
            return Err(Failure::usage(format!("there is no test `{id}`; {help}")));
        }
    }
    Ok(TESTS.iter().filter(|test| ids.is_empty() || ids.iter().any(|id| id == test.id)).collect())
}

fn list(session: &Session, as_json: bool) -> Result<(), Failure> {
    if as_json {
        for test in TESTS {
            let group = test.group.word();
            session.ui.json_line(&json!({ "test": test.id, "group": group, "sentence": test.sentence }))?;
        }
        return Ok(());
    }
    let mut out = String::new();
    for group in Group::ALL {
        out.push_str(&format!("{}\n", session.ui.style.bold(group.word())));
        let mut table = Table::new(&[Side::Left, Side::Left]).indent(2);
        for test in TESTS.iter().filter(|test| test.group == group) {
            table.row([test.id, test.sentence]);
        }
        out.push_str(&table.render(session.ui.width));
    }
    session.ui.print(&out)
}

/// One test's line, with the reason and how to repeat it below where it did not pass.
fn row(session: &Session, library: &Path, test: &Test, report: &Report, heading: Option<Group>) -> String {
    let style = session.ui.style;
    let width = session.ui.width.unwrap_or(100).clamp(40, 120);
    let mut out = heading.map_or_else(String::new, |group| format!("{}\n", style.bold(group.word())));
    let word = format!("{:<9}", report.verdict.word());
    let word = match &report.verdict {
        Verdict::Passed => style.good(&word),
        Verdict::Skipped { .. } => style.dim(&word),
        Verdict::Warning { .. } => style.act(&word),
        _ => style.bad(&word),
    };
    out.push_str(&format!("  {word}  {}\n", test.id));
    match &report.verdict {
        Verdict::Passed => {}
        verdict if verdict.is_failure() => {
            out.push_str(&wrap(&format!("promised: {}", test.sentence), 13, width));
            out.push_str(&wrap(&format!("found: {verdict}"), 13, width));
            let again = format!(
                "fusion plugin check {} --only {} --seed {}",
                library.display(),
                test.id,
                report.seed
            );
            out.push_str(&format!("{:13}again: {again}\n", ""));
        }
        verdict => out.push_str(&wrap(&verdict.to_string(), 13, width)),
    }
    out
}
