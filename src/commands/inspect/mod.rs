//! `fusion inspect`: what a checkpoint or adapter is made of, and whether its bytes are well.

mod stats;

use fusion_core::checkpoint::write::{VerifyError, VerifyReport, verify};
use fusion_core::checkpoint::{Adapter, Checkpoint, Layout, TieReason};
use fusion_dsl::codes::Code;
use fusion_dsl::glob::Glob;
use serde_json::{Value as Json, json};

use crate::cli::InspectArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::ui::table::{Side, Table};
use crate::ui::units::{count, grouped, plural, size};
use stats::Stats;

pub(super) fn inspect(session: &Session, args: &InspectArgs) -> Result<Exit, Failure> {
    if args.path.join("adapter_config.json").is_file() {
        return adapter(session, args);
    }
    let checkpoint = Checkpoint::open(&args.path).map_err(|error| Failure::from(&error))?;
    let layout = checkpoint.layout();
    let shown = chosen(&checkpoint, args)?;
    let threads =
        args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let stats = match args.stats {
        true => Some(stats::all(&checkpoint, &shown, threads).map_err(|error| Failure::from(&error))?),
        false => None,
    };
    let verified = match args.verify {
        true => Some(verify(&args.path).map_err(|error| {
            match error {
                VerifyError::NoRecord { .. } => Failure::new(Code::VerificationFailed, error.to_string())
                    .help("only what fusion has written carries its hashes"),
                other => Failure::new(Code::CannotReadFile, other.to_string()),
            }
        })?),
        false => None,
    };
    if args.json {
        session.ui.json(&as_json(&checkpoint, &layout, args, &shown, stats.as_deref(), verified.as_ref()))?;
    } else {
        let mut out = summary(session, &checkpoint, &layout);
        if args.tensors.is_some() || args.stats {
            out.push('\n');
            out.push_str(&tensors(session, &checkpoint, &shown, stats.as_deref()));
        }
        if let Some(report) = &verified {
            out.push('\n');
            out.push_str(&verdict(session, report));
        }
        session.ui.print(&out)?;
    }
    match verified {
        Some(report) if !report.is_intact() => Err(Failure::Said(crate::exit::of(Code::VerificationFailed))),
        _ => Ok(Exit::Ok),
    }
}

/// Positions of the tensors to show.
fn chosen(checkpoint: &Checkpoint, args: &InspectArgs) -> Result<Vec<usize>, Failure> {
    let pattern = args.tensors.as_deref().unwrap_or("**");
    let glob = Glob::new(pattern)
        .map_err(|error| Failure::usage(format!("the pattern `{pattern}` is malformed: {error}")))?;
    let shown: Vec<usize> = checkpoint
        .tensors()
        .iter()
        .enumerate()
        .filter(|(_, tensor)| pattern == "**" || glob.matches(&tensor.name))
        .map(|(index, _)| index)
        .collect();
    if shown.is_empty() && !checkpoint.tensors().is_empty() {
        return Err(Failure::new(Code::MatchesNothing, format!("no tensor matches `{pattern}`"))
            .help("`*` stops at dots, `**` does not; `--tensors` alone lists all"));
    }
    Ok(shown)
}

fn shape(shape: &[usize]) -> String {
    let parts: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", parts.join(", "))
}

fn summary(session: &Session, checkpoint: &Checkpoint, layout: &Layout) -> String {
    let mut table = Table::new(&[Side::Left, Side::Left]);
    let mut row = |name: &str, text: String| table.row([session.ui.style.bold(name), text]);
    row("path", checkpoint.path().display().to_string());
    let bytes: u64 = checkpoint.files().iter().map(|file| file.size).sum();
    row(
        "format",
        format!("{}, {}, {}", checkpoint.kind(), plural(checkpoint.files().len(), "file"), size(bytes)),
    );
    if let Some(config) = checkpoint.config() {
        let name = config
            .get("architectures")
            .and_then(|all| all.get(0))
            .or_else(|| config.get("model_type"))
            .and_then(Json::as_str);
        if let Some(name) = name {
            row("architecture", name.to_owned());
        }
    }
    let (short, exact) = (count(layout.parameters), grouped(layout.parameters));
    row("parameters", if short == exact { exact } else { format!("{short} ({exact})") });
    let dtypes: Vec<String> = layout
        .dtypes
        .iter()
        .map(|(dtype, (tensors, elements))| {
            format!("{dtype} ({}, {})", plural(*tensors as usize, "tensor"), count(*elements))
        })
        .collect();
    row("dtypes", dtypes.join(", "));
    row("tensors", grouped(checkpoint.tensors().len() as u64));
    for stack in &layout.stacks {
        let of = if stack.prefix.is_empty() { "numbered".to_owned() } else { format!("`{}`", stack.prefix) };
        row("layers", format!("{} in {of}, {} parameters", stack.count, count(stack.parameters)));
    }
    for tie in &layout.ties {
        let why = match tie.reason {
            TieReason::SharedStorage => "stored once",
            TieReason::Declared => "declared in config.json",
            TieReason::Absent => "the head is not in the file",
        };
        row("tied", format!("{} ({why})", tie.names.join(" = ")));
    }
    if let Some(vocabulary) = &layout.vocabulary {
        row("vocabulary", grouped(vocabulary.size as u64));
    }
    if !checkpoint.tokenizer_files().is_empty() {
        let names: Vec<String> = checkpoint
            .tokenizer_files()
            .iter()
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        row("tokenizer", names.join(", "));
    }
    if let Some(version) = checkpoint.metadata().get("fusion.version") {
        row("made by", format!("fusion {version}; `--verify` checks its hashes"));
    }
    if !checkpoint.skipped().is_empty() {
        row("left out", format!("{} that hold no tensor", plural(checkpoint.skipped().len(), "entry")));
    }
    let mut out = table.render(session.ui.width);
    // One layer of the main stack says what all are made of.
    if let Some(stack) = layout.main() {
        out.push_str(&format!("\n{}\n", session.ui.style.bold("each layer")));
        let mut table = Table::new(&[Side::Left, Side::Left, Side::Left]).indent(2);
        for template in &stack.templates {
            let several =
                if template.experts > 1 { format!("{} experts", template.experts) } else { String::new() };
            let some = if template.layers < stack.count {
                format!("in {} layers", template.layers)
            } else {
                String::new()
            };
            let notes: Vec<String> = [several, some].into_iter().filter(|note| !note.is_empty()).collect();
            table.row([
                template.suffix.clone(),
                template.dtype.map_or_else(|| "mixed".to_owned(), |dtype| dtype.to_string()),
                template.shape.as_deref().map_or_else(|| "shapes differ".to_owned(), shape),
                notes.join(", "),
            ]);
        }
        out.push_str(&table.render(session.ui.width));
    }
    out
}

fn tensors(session: &Session, checkpoint: &Checkpoint, shown: &[usize], stats: Option<&[Stats]>) -> String {
    let style = session.ui.style;
    let mut table = Table::new(&[
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Right,
    ]);
    let mut head = vec!["tensor", "dtype", "shape", "size"];
    if stats.is_some() {
        head.extend(["min", "max", "mean", "deviation", "norm", "not finite"]);
    }
    table.row(head.into_iter().map(|text| style.bold(text)));
    for (place, index) in shown.iter().enumerate() {
        let tensor = &checkpoint.tensors()[*index];
        let mut cells = vec![
            tensor.name.clone(),
            tensor.dtype.to_string(),
            shape(&tensor.shape),
            size(tensor.bytes() as u64),
        ];
        if let Some(stats) = stats.and_then(|stats| stats.get(place)) {
            cells.extend([stats.min, stats.max, stats.mean, stats.std, stats.norm].map(
                |value| match value {
                    Some(value) => format!("{value:.4e}"),
                    None => "-".to_owned(),
                },
            ));
            cells.push(match (stats.nan, stats.infinite) {
                (0, 0) => String::new(),
                (nan, infinite) => style.bad(&format!("{nan} NaN, {infinite} infinite")),
            });
        }
        table.row(cells);
    }
    table.render(session.ui.width)
}

fn verdict(session: &Session, report: &VerifyReport) -> String {
    let style = session.ui.style;
    let what = format!(
        "{} in {}, {}",
        plural(report.tensors, "tensor"),
        plural(report.shards, "shard"),
        size(report.bytes)
    );
    let mut out = match report.is_intact() {
        true => format!("{}: {what} are the bytes that were written\n", style.good("intact")),
        false => format!("{}: {what} were checked\n", style.bad("damaged")),
    };
    for damage in &report.damage {
        let tensor = damage.tensor.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
        out.push_str(&format!("  {}{tensor}: {}\n", damage.file, damage.what));
    }
    if !report.changed_files.is_empty() {
        out.push_str(&format!("  edited since, which may be meant: {}\n", report.changed_files.join(", ")));
    }
    out
}

fn as_json(
    checkpoint: &Checkpoint,
    layout: &Layout,
    args: &InspectArgs,
    shown: &[usize],
    stats: Option<&[Stats]>,
    verified: Option<&VerifyReport>,
) -> Json {
    let mut value = json!({
        "path": checkpoint.path(),
        "kind": checkpoint.kind().to_string(),
        "bytes": checkpoint.files().iter().map(|file| file.size).sum::<u64>(),
        "files": checkpoint.files().iter().map(|file| json!({
            "path": file.path, "bytes": file.size, "role": file.role,
        })).collect::<Vec<_>>(),
        "tensor_count": checkpoint.tensors().len(),
        "layout": layout,
        "config": checkpoint.config(),
        "metadata": checkpoint.metadata(),
    });
    if args.tensors.is_some() || args.stats {
        let list: Vec<Json> = shown
            .iter()
            .enumerate()
            .map(|(place, index)| {
                let tensor = &checkpoint.tensors()[*index];
                json!({
                    "name": tensor.name,
                    "dtype": tensor.dtype,
                    "shape": tensor.shape,
                    "bytes": tensor.bytes(),
                    "stats": stats.and_then(|stats| stats.get(place)),
                })
            })
            .collect();
        value["tensors"] = list.into();
    }
    if let Some(report) = verified {
        value["verify"] = json!({
            "intact": report.is_intact(),
            "tensors": report.tensors,
            "bytes": report.bytes,
            "damage": report.damage.iter().map(|damage| json!({
                "file": damage.file, "tensor": damage.tensor, "what": damage.what,
            })).collect::<Vec<_>>(),
            "changed_files": report.changed_files,
        });
    }
    value
}

fn adapter(session: &Session, args: &InspectArgs) -> Result<Exit, Failure> {
    if args.stats || args.verify || args.tensors.is_some() {
        let file = args.path.join("adapter_model.safetensors");
        return Err(Failure::usage(format!(
            "`--stats`, `--tensors` and `--verify` are for checkpoints; try them on `{}`",
            file.display()
        )));
    }
    let adapter = Adapter::open(&args.path).map_err(|error| Failure::from(&error))?;
    if args.json {
        session.ui.json(&json!({
            "path": adapter.path(),
            "kind": "lora",
            "base": adapter.base(),
            "rank": adapter.rank(),
            "parameters": adapter.parameters(),
            "bytes": adapter.bytes(),
            "targets": adapter.targets().keys().collect::<Vec<_>>(),
            "replaced": adapter.replacements().keys().collect::<Vec<_>>(),
            "config": adapter.config(),
        }))?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[Side::Left, Side::Left]);
    let mut row = |name: &str, text: String| table.row([session.ui.style.bold(name), text]);
    row("path", adapter.path().display().to_string());
    row("format", format!("LoRA adapter, rank {}", adapter.rank()));
    if let Some(base) = adapter.base() {
        row("base", base.to_owned());
    }
    row("parameters", format!("{} ({})", count(adapter.parameters()), size(adapter.bytes())));
    row("targets", plural(adapter.target_count(), "tensor"));
    if !adapter.replacements().is_empty() {
        row("replaced", format!("{} as a whole", plural(adapter.replacements().len(), "tensor")));
    }
    let mut out = table.render(session.ui.width);
    for name in adapter.targets().keys() {
        out.push_str(&format!("  {name}\n"));
    }
    session.ui.print(&out)?;
    Ok(Exit::Ok)
}
