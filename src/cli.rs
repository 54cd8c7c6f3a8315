//! The command line, declared once: help texts, completions and the CLI reference all come from here.

use std::path::PathBuf;
use std::str::FromStr as _;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use fusion_core::method::DeviceName;
use fusion_core::method::device::DeviceError;
use fusion_core::plan::Options;
use fusion_dsl::codes::Code;

pub use crate::commands::plugin::check::PluginCheckArgs;
pub use crate::commands::plugin::new::{Kind, Language, PluginNewArgs};
use crate::exit;
use crate::failure::Failure;
use crate::ui::units;

const LONG: &str = "\
A compiler for deep model fusion: recipes in, merged checkpoints out.

A recipe (a `.fusion` file) names models and says how they become one. fusion checks it against the models' headers
before it reads a weight, streams the result to disk in bounded memory, and writes all of it or nothing.";

const EXAMPLES: &str = "\
First steps:
  fusion plan  merge.fusion            what would happen; reads headers only
  fusion run   merge.fusion            do it
  fusion methods ties                  parameters, defaults and formula of a method
  fusion inspect models/llama-7b       what is in a checkpoint
  fusion explain F0203                 what a message means
";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "fusion", version, about = "A compiler for deep model fusion: recipes in, merged checkpoints out",
    long_about = LONG, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n{}", exit::TABLE),
    disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; without it, a short guide is shown.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// When to colour text (colour never carries meaning alone; `NO_COLOR` is respected)
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
}

/// When to do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a recipe: check, plan, and write its outputs
    #[command(after_long_help = "\
Examples:
  fusion run merge.fusion
  fusion run merge.fusion --set keep=40% --set dtype=bf16
  fusion run merge.fusion --set keep=20%,50%        a list is a sweep: one result for each value
  fusion run merge.fusion --memory 256MB --threads 2 --overwrite
  fusion run merge.fusion --json > events.jsonl

Ctrl-C stops within a second; so may a crash or a power cut. The same command then goes on where it stopped and ends
with the same bytes. An output that is there already and would come out the same is not computed again.")]
    Run(RunArgs),
    /// Show what `run` would do and why; reads headers only
    #[command(after_long_help = "\
Examples:
  fusion plan merge.fusion
  fusion plan merge.fusion --json | jq '.variants[0].plan.cost'")]
    Plan(PlanArgs),
    /// Check recipes against their models' headers
    #[command(after_long_help = "\
Examples:
  fusion check merge.fusion
  fusion check recipes/*.fusion --json
  fusion check merge.fusion --fix              apply the fixes that are certain")]
    Check(CheckArgs),
    /// Format recipes in the one style
    #[command(after_long_help = "\
Examples:
  fusion fmt merge.fusion
  fusion fmt recipes/                          every `.fusion` file in the folder
  fusion fmt --check recipes/                  for CI: name what is not formatted, change nothing
  fusion fmt --stdin < merge.fusion            for editors")]
    Fmt(FmtArgs),
    /// Draw a recipe's graph
    #[command(after_long_help = "\
Examples:
  fusion graph merge.fusion --svg -o merge.svg
  fusion graph merge.fusion --mermaid          for Markdown
  fusion graph merge.fusion --dot | dot -Tpng > merge.png")]
    Graph(GraphArgs),
    /// Explain a message's code, or how one tensor of a recipe is made
    #[command(after_long_help = "\
Examples:
  fusion explain F0203
  fusion explain --list
  fusion explain merge.fusion --tensor model.layers.0.mlp.up_proj.weight")]
    Explain(ExplainArgs),
    /// List the methods, or show one with its parameters and formula
    #[command(after_long_help = "\
Examples:
  fusion methods
  fusion methods ties
  fusion methods ties --json")]
    Methods(MethodsArgs),
    /// Look into a checkpoint or adapter
    #[command(after_long_help = "\
Examples:
  fusion inspect models/llama-7b
  fusion inspect models/llama-7b --tensors '**.mlp.**'
  fusion inspect models/llama-7b --stats       range, mean, deviation, norm and NaN of every tensor
  fusion inspect out/merged --verify           are these still the bytes that were written?")]
    Inspect(InspectArgs),
    /// Show which units of a network may change places without changing what it computes
    #[command(after_long_help = "\
Examples:
  fusion symmetries models/llama-1b                     by the names of its tensors
  fusion symmetries 'mlp(inputs: 784, hidden: [512], outputs: 10)'
  fusion symmetries models/llama-1b --text -o models/llama-1b.symmetries    to change them by hand

A text `NAME.symmetries` beside the checkpoint `NAME` is taken instead of what the names say, unless it is empty. It is
held against the shapes: units that are made and never read, or a layer without its bias, are refused.
Tensors that it leaves out stay as they are and are named.")]
    Symmetries(SymmetriesArgs),
    /// Show a recipe's syntax tree or canonical graph as JSON, and turn a tree back into a recipe
    #[command(after_long_help = "\
Examples:
  fusion ast merge.fusion > merge.json
  fusion ast --from-json merge.json > again.fusion
  fusion ast merge.fusion --graph              names, loops and parameters resolved
  fusion ast --schema ast")]
    Ast(AstArgs),
    /// Write which plugins recipes may load, by version and hash, to `fusion.lock` beside them
    #[command(after_long_help = "\
Examples:
  fusion lock merge.fusion
  fusion lock recipes/*.fusion --check         for CI: change nothing, end with 1 where a lock file is stale

Plugins are native code with all your rights: fusion loads only those that a recipe asks for by `use plugin` and whose
library has the hash in the lock file. Keep the file with the recipe.")]
    Lock(LockArgs),
    /// List data sets, and download the named ones
    Data {
        /// What to do with data.
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Find, look into, pack and install plugins
    #[command(after_long_help = "\
Plugins are looked for in the folders of --plugin-path, in those of FUSION_PLUGIN_PATH, in .fusion/plugins beside the
recipe and in the working directory, in $XDG_DATA_HOME/fusion/plugins (~/.local/share/fusion/plugins), and in
/usr/lib/fusion/plugins.")]
    Plugin {
        /// What to do with plugins.
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Print shell completions
    #[command(after_long_help = "\
Examples:
  fusion completions bash > ~/.local/share/bash-completion/completions/fusion
  fusion completions zsh  > ~/.zfunc/_fusion
  fusion completions fish > ~/.config/fish/completions/fusion.fish")]
    Completions(CompletionsArgs),
    /// Serve a plugin to the fusion that started this process
    #[command(hide = true)]
    PluginHost(PluginHostArgs),
}

/// `fusion symmetries`
#[derive(Debug, Args)]
pub struct SymmetriesArgs {
    /// A checkpoint (folder or file), an architecture with its arguments as in a recipe, or a text of symmetries
    #[arg(value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub model: String,
    /// Name every layer, also where all are alike
    #[arg(long)]
    pub all: bool,
    /// Print the text that can be saved, changed and declared
    #[arg(long, conflicts_with_all = ["json", "all"])]
    pub text: bool,
    /// Write the text to a file
    #[arg(long, short, requires = "text", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Write one JSON object to stdout
    #[arg(long)]
    pub json: bool,
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the data sets that recipes can name, and where they are
    #[command(after_long_help = "\
Examples:
  fusion data list
  fusion data list --data ../shared/data")]
    List(DataListArgs),
    /// Download a named data set; every file is held against its checksum before it is put in place
    #[command(after_long_help = "\
Examples:
  fusion data fetch mnist
  fusion data fetch cifar10 --to data")]
    Fetch(DataFetchArgs),
}

/// `fusion data list`
#[derive(Debug, Args)]
pub struct DataListArgs {
    /// Look in this folder too; repeatable
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Vec<PathBuf>,
    /// Write one JSON object to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion data fetch`
#[derive(Debug, Args)]
pub struct DataFetchArgs {
    /// The data set: `mnist`, `fashion_mnist`, `kmnist`, `cifar10` or `cifar100`
    pub name: String,
    /// Put it into this folder [default: $XDG_DATA_HOME/fusion/data or ~/.local/share/fusion/data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// Download from this address instead of the set's own
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Say nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Start a plugin: a folder with a method that works, its tests and a recipe
    #[command(after_long_help = "\
Examples:
  fusion plugin new row_norms --kind tensor
  fusion plugin new spread --lang cpp --kind model --id org.acme.spread --dir plugins/spread")]
    New(PluginNewArgs),
    /// Run the conformance tests on a plugin's library
    #[command(after_long_help = "\
Examples:
  fusion plugin check target/release/libconsensus.so
  fusion plugin check libmedian.so --only chunk-invariant
  fusion plugin check libmedian.so --only chunk-invariant --in-process     for a debugger
  fusion plugin check --list")]
    Check(PluginCheckArgs),
    /// List the plugins that are found, and why others are not used; loads none
    #[command(after_long_help = "\
Examples:
  fusion plugin list
  fusion plugin list --why org.acme.fisher
  fusion plugin list --why org.acme.fisher --accept '^0.3'")]
    List(PluginListArgs),
    /// Show a plugin's methods with inputs and parameters, from its manifest alone
    #[command(after_long_help = "\
Examples:
  fusion plugin inspect org.acme.fisher
  fusion plugin inspect org.acme.fisher.diag_fisher --schema
  fusion plugin inspect dist/org.acme.fisher-0.3.1")]
    Inspect(PluginInspectArgs),
    /// Make a bundle of a plugin's library, or add this system's library to one; loads the library
    #[command(after_long_help = "\
Examples:
  fusion plugin pack target/release/libfisher.so --out dist --readme README.md --license LICENSE

A bundle is a folder `<id>-<version>` with `plugin.json`, which says all that recipes are checked with, and a library for
each system, `<target>/plugin.so`. Packing on another system into the same folder adds that system's library.")]
    Pack(PluginPackArgs),
    /// Install a bundle, or a library as one (which loads it)
    #[command(after_long_help = "\
Examples:
  fusion plugin add dist/org.acme.fisher-0.3.1             for recipes in this folder: ./.fusion/plugins
  fusion plugin add dist/org.acme.fisher-0.3.1 --global    for all recipes of this user
  fusion plugin add target/release/libfisher.so --replace")]
    Add(PluginAddArgs),
}

/// Where recipes get plugins from.
#[derive(Clone, Debug, Default, Args)]
pub struct PluginArgs {
    /// Look for plugins in this folder first; may be given several times
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub plugin_path: Vec<PathBuf>,
    /// Refuse recipes that use plugins
    #[arg(long)]
    pub no_plugins: bool,
}

/// A recipe and values for its parameters.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// The recipe; `-` reads it from stdin
    #[arg(value_hint = ValueHint::FilePath)]
    pub recipe: PathBuf,
    /// Set a parameter of the recipe; a list is a sweep
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Its plugins.
    #[command(flatten)]
    pub plugins: PluginArgs,
}

/// What a run may use.
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// Where the arithmetic runs: `cpu` (fused kernels), or burn's `flex`, `ndarray`, `cuda[:INDEX]`
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceArg,
    /// Memory for our own buffers, such as `256MB` or `2GiB`; the models do not count
    #[arg(long, value_name = "SIZE", default_value = "512MB", value_parser = units::parse_bytes)]
    pub memory: u64,
    /// Worker threads [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Replace outputs that are there, each as a whole
    #[arg(long)]
    pub overwrite: bool,
    /// Go on where inputs hold NaN or infinity, with a warning for each tensor
    #[arg(long)]
    pub allow_non_finite: bool,
    /// Folder with named data sets (`mnist/`, `cifar10/`, …); repeatable. After these come those of $FUSION_DATA, `data` beside the
    /// recipe, and what `fusion data fetch` has downloaded
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Vec<PathBuf>,
    /// Elements that a worker writes at once; the result does not depend on it
    #[arg(long, value_name = "ELEMENTS", hide = true, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub chunk: Option<u64>,
}

/// A device that is spelt right; whether it is in this build is another matter.
#[derive(Clone, Debug)]
pub struct DeviceArg(Result<DeviceName, DeviceError>);

/// `fusion run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What to run.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// What it may use.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Run this plugin in a process of its own, so that a crash of it is an error of the run; slower. Repeatable
    #[arg(long, value_name = "ID")]
    pub isolate: Vec<String>,
    /// Write events as JSON lines to stdout
    #[arg(long)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
}

/// `fusion plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What to plan.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// What it may use.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Write one JSON object to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The recipes
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub recipes: Vec<PathBuf>,
    /// Set a parameter of the recipes; a list is a sweep
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Their plugins.
    #[command(flatten)]
    pub plugins: PluginArgs,
    /// Apply the fixes that are certain to the files, then check again
    #[arg(long)]
    pub fix: bool,
    /// Write JSON lines to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion fmt`
#[derive(Debug, Args)]
pub struct FmtArgs {
    /// Recipes, or folders in which every `.fusion` file is meant
    #[arg(required_unless_present = "stdin", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Change nothing; name what is not formatted and end with 1
    #[arg(long)]
    pub check: bool,
    /// Read a recipe from stdin, write it formatted to stdout
    #[arg(long, conflicts_with = "files")]
    pub stdin: bool,
}

/// `fusion graph`
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// What to draw.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Graphviz
    #[arg(long, group = "format")]
    pub dot: bool,
    /// Mermaid (the default)
    #[arg(long, group = "format")]
    pub mermaid: bool,
    /// A drawing for browsers and documents
    #[arg(long, group = "format")]
    pub svg: bool,
    /// Write to a file; `.dot`, `.mmd` or `.svg` says which format is meant
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// `fusion explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A code such as `F0203`, or a recipe
    #[arg(required_unless_present = "list", value_name = "CODE|RECIPE", value_hint = ValueHint::FilePath)]
    pub what: Option<String>,
    /// List all codes
    #[arg(long, conflicts_with = "what")]
    pub list: bool,
    /// The tensor of the recipe's outputs to explain
    #[arg(long, value_name = "NAME", requires = "what")]
    pub tensor: Option<String>,
    /// Set a parameter of the recipe
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "tensor")]
    pub set: Vec<(String, String)>,
    /// Look for plugins in this folder first; may be given several times
    #[arg(long, value_name = "FOLDER", requires = "tensor", value_hint = ValueHint::DirPath)]
    pub plugin_path: Vec<PathBuf>,
    /// Refuse recipes that use plugins
    #[arg(long, requires = "tensor")]
    pub no_plugins: bool,
    /// Write JSON to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion methods`
#[derive(Debug, Args)]
pub struct MethodsArgs {
    /// A method, or a verb: its methods
    pub name: Option<String>,
    /// Write the descriptors as JSON to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A checkpoint file, a Hugging Face folder or a LoRA adapter folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// List tensors, all or those that match (`*` stops at dots, `**` does not)
    #[arg(long, value_name = "GLOB", num_args = 0..=1, default_missing_value = "**")]
    pub tensors: Option<String>,
    /// Read all weights: smallest, largest, mean, deviation, norm, NaN and infinities per tensor
    #[arg(long)]
    pub stats: bool,
    /// Hash all weights again and compare with what was written
    #[arg(long)]
    pub verify: bool,
    /// Threads for `--stats` [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Write one JSON object to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion ast`
#[derive(Debug, Args)]
pub struct AstArgs {
    /// The recipe; `-` reads it from stdin
    #[arg(required_unless_present_any = ["from_json", "schema"], value_hint = ValueHint::FilePath)]
    pub recipe: Option<PathBuf>,
    /// Set a parameter of the recipe
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "graph")]
    pub set: Vec<(String, String)>,
    /// Look for plugins in this folder first; may be given several times
    #[arg(long, value_name = "FOLDER", requires = "graph", value_hint = ValueHint::DirPath)]
    pub plugin_path: Vec<PathBuf>,
    /// Refuse recipes that use plugins
    #[arg(long, requires = "graph")]
    pub no_plugins: bool,
    /// On one line rather than indented
    #[arg(long)]
    pub json: bool,
    /// The canonical graph of each variant instead of the tree
    #[arg(long)]
    pub graph: bool,
    /// Print the recipe of a tree in JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["recipe", "graph", "schema"], value_hint = ValueHint::FilePath)]
    pub from_json: Option<PathBuf>,
    /// Print a JSON Schema
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["recipe", "graph"])]
    pub schema: Option<SchemaOf>,
}

/// What a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The syntax tree
    Ast,
    /// The canonical graph
    Graph,
    /// Diagnostics of `--json`
    Diagnostic,
    /// Method descriptors
    Method,
    /// Manifests of plugins
    Plugin,
}

/// `fusion lock`
#[derive(Debug, Args)]
pub struct LockArgs {
    /// The recipes
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub recipes: Vec<PathBuf>,
    /// Look for plugins in this folder first; may be given several times
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub plugin_path: Vec<PathBuf>,
    /// Change nothing; end with 1 if a lock file would change
    #[arg(long)]
    pub check: bool,
    /// Write one JSON object to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion plugin list`
#[derive(Debug, Args)]
pub struct PluginListArgs {
    /// Show every candidate for this plugin, and why it is taken or not
    #[arg(long, value_name = "ID")]
    pub why: Option<String>,
    /// As if a recipe asked for this version, such as `^0.3`
    #[arg(long, value_name = "REQUIREMENT", requires = "why")]
    pub accept: Option<String>,
    /// Look for plugins in this folder first; may be given several times
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub plugin_path: Vec<PathBuf>,
    /// Write one JSON object to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion plugin inspect`
#[derive(Debug, Args)]
pub struct PluginInspectArgs {
    /// A plugin's id, a method as `ID.METHOD`, or the folder of a bundle
    #[arg(value_name = "ID[.METHOD]|BUNDLE", value_hint = ValueHint::DirPath)]
    pub what: String,
    /// Print the JSON Schema of the parameters instead
    #[arg(long)]
    pub schema: bool,
    /// Look for plugins in this folder first; may be given several times
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub plugin_path: Vec<PathBuf>,
    /// Write the manifest, or the method's descriptor, as JSON to stdout
    #[arg(long, conflicts_with = "schema")]
    pub json: bool,
}

/// `fusion plugin pack`
#[derive(Debug, Args)]
pub struct PluginPackArgs {
    /// The plugin's library; its code is run
    #[arg(value_name = "LIBRARY", value_hint = ValueHint::FilePath)]
    pub library: PathBuf,
    /// The folder that the bundle is put into
    #[arg(long, value_name = "FOLDER", default_value = ".", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// A text for users, as README.md of the bundle
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub readme: Option<PathBuf>,
    /// The licence's text, as LICENSE of the bundle
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub license: Option<PathBuf>,
    /// Write one JSON object to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion plugin add`
#[derive(Debug, Args)]
pub struct PluginAddArgs {
    /// The folder of a bundle, or a plugin's library, whose code is run
    #[arg(value_name = "BUNDLE|LIBRARY", value_hint = ValueHint::AnyPath)]
    pub what: PathBuf,
    /// Install for all recipes of this user, in $XDG_DATA_HOME/fusion/plugins or ~/.local/share/fusion/plugins
    #[arg(long)]
    pub global: bool,
    /// Replace another build of the same version
    #[arg(long)]
    pub replace: bool,
    /// Write one JSON object to stdout
    #[arg(long)]
    pub json: bool,
}

/// `fusion completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `fusion plugin-host`
#[derive(Debug, Args)]
pub struct PluginHostArgs {
    /// The plugin's library
    pub library: PathBuf,
}

impl EngineArgs {
    /// The engine's options for a recipe in `root`.
    pub(crate) fn options(&self, root: &std::path::Path) -> Result<Options, Failure> {
        let mut options = Options::new(root);
        options.device = self.device.0.clone().map_err(|error| {
            Failure::new(Code::DeviceUnavailable, error.to_string())
                .note("without `--device`, the fused CPU kernels run")
        })?;
        options.memory = self.memory;
        if let Some(threads) = self.threads {
            options.threads = usize::from(threads);
        }
        options.cache = crate::cache::folder();
        options.data = crate::places::data(&self.data, root);
        options.overwrite = self.overwrite;
        options.allow_non_finite = self.allow_non_finite;
        if let Some(chunk) = self.chunk {
            options.chunk = chunk as usize;
        }
        Ok(options)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write `NAME=VALUE`, for example `keep=40%`".to_owned()),
    }
}

fn device(text: &str) -> Result<DeviceArg, DeviceError> {
    match DeviceName::from_str(text) {
        Err(error @ DeviceError::Unknown(_)) => Err(error),
        known => Ok(DeviceArg(known)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn pairs_split_at_the_first_equals() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err());
        assert!(pair("=b").is_err());
    }
}
