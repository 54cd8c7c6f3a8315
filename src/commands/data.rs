//! `fusion data`: which data sets there are, where they are looked for, and downloading the named ones.

use fusion_core::experiment::data;
use fusion_dsl::codes::Code;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::cli::{DataCommand, DataFetchArgs, DataListArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::places;
use crate::session::Session;
use crate::ui::table::{Side, Table};

pub(super) fn data(session: &Session, command: &DataCommand) -> Result<Exit, Failure> {
    match command {
        DataCommand::List(args) => list(session, args),
        DataCommand::Fetch(args) => fetch(session, args),
    }
}

fn list(session: &Session, args: &DataListArgs) -> Result<Exit, Failure> {
    let folders = places::data(&args.data, std::path::Path::new(""));
    let found = data::inventory(&folders);
    if args.json {
        session.ui.json(&json!({ "sets": found, "folders": folders }))?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[Side::Left, Side::Left, Side::Left]);
    for set in &found {
        let place = match (&set.path, set.built_in) {
            (_, true) => "built in".to_owned(),
            (Some(path), _) => path.display().to_string(),
            (None, _) => format!("not here; `fusion data fetch {}`", set.name),
        };
        table.row([session.ui.style.bold(&set.name), place, set.summary.clone()]);
    }
    let mut out = table.render(session.ui.width);
    out.push_str("\nnamed sets are looked for in\n");
    for folder in folders {
        out.push_str(&format!("  {}\n", folder.display()));
    }
    session.ui.print(&out)?;
    Ok(Exit::Ok)
}

/// A download on the terminal.
struct Bar(ProgressBar);

impl data::Watch for Bar {
    fn progress(&self, done: u64, total: u64, note: &str) {
        self.0.set_length(total);
        self.0.set_position(done);
        self.0.set_message(note.to_owned());
    }

    fn cancelled(&self) -> bool {
        false
    }
}

fn fetch(session: &Session, args: &DataFetchArgs) -> Result<Exit, Failure> {
    let into = match &args.to {
        Some(folder) => folder.clone(),
        None => places::downloads().ok_or_else(|| {
            Failure::new(Code::CannotWrite, "there is no home folder to download to")
                .help("name one with `--to DIR`")
        })?,
    };
    let target = match session.ui.live {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template(
        "{msg}  [{bar:28}] {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left",
    ) {
        bar.set_style(style.progress_chars("=> "));
    }
    let result = data::fetch(&args.name, &into, args.from.as_deref(), &Bar(bar.clone()));
    bar.finish_and_clear();
    result.map_err(|error| Failure::new(Code::CannotReadData, error.to_string()))?;
    if !args.quiet {
        session.ui.print(&format!("{} is in {}\n", args.name, into.join(&args.name).display()))?;
    }
    Ok(Exit::Ok)
}
