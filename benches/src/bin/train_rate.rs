//! Images a second of the training loop, as the product runs it; `benches/peers/train.py` sets it beside PyTorch.

use std::io::{self, Write};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use fusion_benches::training::clock::{Cost, side_by_side};
use fusion_benches::training::{CASES, Case, Training};
use serde_json::{Map, Value as Json, json};

/// The product's: see `src/main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Batches that loops without the product's data go round: as many as it keeps in its caches.
const READY: u64 = 4;
/// Steps in front of the measured ones.
const WARM: u64 = 4;

/// Measure trainings and print images a second: the median of some rounds, with the lowest and the highest.
///
/// What is compared takes turns within a round, so a ratio of one run means something on a noisy machine too.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Which cases (default: all): mlp-128, mlp-500, cnn-128, resnet20-128
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Which loops
    #[arg(long, value_delimiter = ',', default_value = "train")]
    loops: Vec<Loop>,
    /// How a training is spread: networks side by side / threads of each / shards of a batch. `bare` and `burn` have no shards
    #[arg(long, value_delimiter = ',', value_name = "N/T/S", default_value = "1/1/1,1/1/2,1/2/2,2/1/1")]
    spread: Vec<Spread>,
    /// About how long a measurement takes
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Measurements of each row
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A setting of the training (`clip=1`); the value is JSON
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, Json)>,
    /// Print one line of JSON for each row
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Loop {
    /// The product's
    Train,
    /// Gradient and update alone, on batches that lie ready
    Bare,
    /// burn's own modules, loss and optimiser (MLP only)
    Burn,
}

#[derive(Clone, Copy, Debug)]
struct Spread {
    networks: usize,
    threads: usize,
    shards: usize,
}

impl FromStr for Spread {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split('/').map(str::parse).collect::<Result<Vec<usize>, _>>();
        let Ok([networks, threads, shards]) = numbers.as_deref() else {
            anyhow::bail!("write NETWORKS/THREADS/SHARDS, for instance 1/2/2");
        };
        ensure!(networks.min(threads).min(shards) > &0, "each number is at least 1");
        Ok(Spread { networks: *networks, threads: *threads, shards: *shards })
    }
}

fn setting(text: &str) -> Result<(String, Json)> {
    let (name, value) = text.split_once('=').context("write NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).context("the value is JSON")?))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.rounds > 0, "`--rounds` must be at least 1");
    let known = |name: &String| CASES.into_iter().find(|case| case.name == name);
    let cases: Vec<Case> = match arguments.cases.is_empty() {
        true => CASES.to_vec(),
        false => {
            let found = |name| known(name).with_context(|| format!("there is no case `{name}`"));
            arguments.cases.iter().map(found).collect::<Result<_>>()?
        }
    };
    let mut out = io::stdout().lock();
    if !arguments.json {
        writeln!(
            out,
            "{:<14}{:<7}{:>9}{:>8}{:>7}{:>10}{:>9}{:>9}{:>13}",
            "case", "loop", "networks", "threads", "shards", "images/s", "lowest", "highest", "cpu µs/image"
        )?;
    }
    for case in cases {
        measure(&case, &arguments, &mut out)?;
    }
    Ok(())
}

/// A row with its measurements so far.
struct Row {
    which: Loop,
    spread: Spread,
    costs: Vec<Cost>,
}

fn measure(case: &Case, arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    // The MLP goes through MNIST's 60 000 images in seconds; the others see few batches anyway.
    let training = Training::new(*case, if case.name.starts_with("mlp") { 60_000 } else { 2_000 })?;
    let more: Map<String, Json> = arguments.settings.iter().cloned().collect();
    let mut rows: Vec<Row> = Vec::new();
    for &spread in &arguments.spread {
        for &which in &arguments.loops {
            let shards = which == Loop::Train || spread.shards == 1;
            if shards && (which != Loop::Burn || training.burn(&training.batches(1)?, 1)?.is_some()) {
                rows.push(Row { which, spread, costs: Vec::new() });
            }
        }
    }
    let alone = Spread { networks: 1, threads: 1, shards: 1 };
    // First steps fault in memory and start threads: neither the length of a measurement nor a rate shall have that in it.
    for row in &rows {
        run(&training, row.which, row.spread, WARM, &more)?;
    }
    let steps =
        (arguments.seconds / (run(&training, Loop::Bare, alone, WARM, &more)?.wall / WARM as f64)) as u64;
    let steps = steps.max(2);
    for _ in 0..arguments.rounds {
        for row in &mut rows {
            row.costs.push(run(&training, row.which, row.spread, steps, &more)?);
        }
    }
    let images = |row: &Row| (steps * (case.batch * row.spread.networks) as u64) as f64;
    for row in &rows {
        let spread = row.spread;
        let mut rates: Vec<f64> = row.costs.iter().map(|cost| images(row) / cost.wall).collect();
        rates.sort_by(f64::total_cmp);
        let mut cpu: Vec<f64> = row.costs.iter().map(|cost| 1e6 * cost.cpu / images(row)).collect();
        cpu.sort_by(f64::total_cmp);
        let (median, cpu) = (rates[rates.len() / 2], cpu[cpu.len() / 2]);
        let which = row.which.to_possible_value().map(|value| value.get_name().to_owned());
        let which = which.unwrap_or_default();
        if arguments.json {
            let line = json!({
                "case": case.name, "loop": which, "networks": spread.networks, "threads": spread.threads,
                "shards": spread.shards, "images_per_second": median, "lowest": rates[0],
                "highest": rates[rates.len() - 1], "cpu_us_per_image": cpu, "steps": steps,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "{:<14}{:<7}{:>9}{:>8}{:>7}{:>10.0}{:>9.0}{:>9.0}{:>13.2}",
                case.name,
                which,
                spread.networks,
                spread.threads,
                spread.shards,
                median,
                rates[0],
                rates[rates.len() - 1],
                cpu
            )?;
        }
    }
    Ok(())
}

/// `steps` steps of each network; what is made before does not count.
fn run(
    training: &Training,
    which: Loop,
    spread: Spread,
    steps: u64,
    more: &Map<String, Json>,
) -> Result<Cost> {
    match which {
        Loop::Train => {
            let mut settings = more.clone();
            settings.insert("shards".to_owned(), spread.shards.into());
            let params = training.params(steps, &settings)?;
            let network = |_| training.sharded(params.common.shards, spread.threads);
            let mut networks = (0..spread.networks).map(network).collect::<Result<Vec<_>>>()?;
            // The pool is for what is outside shards; they have threads of their own.
            side_by_side(&mut networks, 1, |network| training.train(network, &params, &[]).map(|_| ()))
        }
        Loop::Bare => {
            let batches = training.batches(steps.min(READY))?;
            let network = |_| training.network();
            let mut networks = (0..spread.networks).map(network).collect::<Result<Vec<_>>>()?;
            side_by_side(&mut networks, spread.threads, |network| {
                training.bare(network, &batches, steps).map(|_| ())
            })
        }
        Loop::Burn => {
            let batches = training.batches(steps.min(READY))?;
            side_by_side(&mut vec![(); spread.networks], spread.threads, |()| {
                training.burn(&batches, steps).map(|_| ())
            })
        }
    }
}
