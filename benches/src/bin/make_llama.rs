//! Makes four synthetic Llama-shaped checkpoints (`base`, `chat`, `code`, `math`) to measure merges on.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use fusion_benches::folder::{Float, MODELS, Order, make};
use fusion_benches::llama::Shape;

/// Make synthetic Llama-shaped checkpoints: a base, and three fine-tunes whose changes have a tenth of the weights'
/// scale. The same seed gives the same bytes, for any number of threads (RAYON_NUM_THREADS).
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder that gets one subfolder per model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Size of each model
    #[arg(long, value_enum, default_value = "1b")]
    scale: Scale,
    /// Element type
    #[arg(long, value_enum, default_value = "bf16")]
    dtype: Dtype,
    /// Seed of all values
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Which models to make, with commas between
    #[arg(long, value_delimiter = ',', default_values_t = MODELS.map(str::to_owned))]
    models: Vec<String>,
    /// Largest shard in bytes
    #[arg(long, default_value_t = 5_000_000_000)]
    shard: u64,
    /// Replace the models' folders where they exist
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scale {
    /// 2 layers, hidden 64: for tests
    Tiny,
    /// 1.1 G parameters: 22 layers, hidden 2048, MLP 5632, vocabulary 32000, 32 heads, 4 KV heads
    #[value(name = "1b")]
    OneB,
    /// 11.1 G parameters: 39 layers, hidden 5120, MLP 13824, vocabulary 32000, 40 heads, 8 KV heads
    #[value(name = "10b")]
    TenB,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    Bf16,
    F16,
    F32,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let order = Order {
        shape: match arguments.scale {
            Scale::Tiny => Shape::TINY,
            Scale::OneB => Shape::ONE_B,
            Scale::TenB => Shape::TEN_B,
        },
        dtype: match arguments.dtype {
            Dtype::Bf16 => Float::Bf16,
            Dtype::F16 => Float::F16,
            Dtype::F32 => Float::F32,
        },
        seed: arguments.seed,
        shard_bytes: arguments.shard,
        models: arguments.models,
        overwrite: arguments.overwrite,
    };
    let start = Instant::now();
    let made = make(&arguments.out, &order)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut out = std::io::stdout();
    for name in &order.models {
        let (millions, gigabytes) = (made.parameters as f64 / 1e6, made.bytes as f64 / 1e9);
        let folder = arguments.out.join(name);
        let shards = if made.shards == 1 { "1 file".to_owned() } else { format!("{} shards", made.shards) };
        writeln!(out, "{}  {millions:.3} M parameters, {gigabytes:.3} GB in {shards}", folder.display())?;
    }
    writeln!(out, "{} models in {seconds:.1} s", order.models.len())?;
    Ok(())
}
