//! `fusion plugin new`: a folder from which the author of a method starts, complete from the first build.

mod project;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use fusion_dsl::codes::Code;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use project::Project;

/// `fusion plugin new`
#[derive(Debug, Args)]
pub struct PluginNewArgs {
    /// The method's name, as recipes say it after `using`: a lower-case word
    #[arg(value_name = "NAME", value_parser = word)]
    pub name: String,
    /// The language that the method is written in
    #[arg(long, value_enum, default_value_t)]
    pub lang: Language,
    /// What the method must see at once
    #[arg(long, value_enum, default_value_t)]
    pub kind: Kind,
    /// The plugin's id, a reverse domain name in lower case [default: org.example.NAME]
    #[arg(long, value_name = "ID", value_parser = domain)]
    pub id: Option<String>,
    /// The folder that is made [default: NAME]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// For Rust: fusion's sources, or `plugins/sdk` in them [default: those that this fusion was built from]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub sdk: Option<PathBuf>,
}

/// The language of a new plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust, with the kit: derived settings, unit tests without a host, no `unsafe`
    #[default]
    Rust,
    /// C11, with the contract's header alone
    C,
    /// C++17, with a header of classes over the contract
    Cpp,
}

/// The kernel class of a new method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Each element of the result from the same element of the models
    #[default]
    Elementwise,
    /// A whole tensor from whole tensors
    Tensor,
    /// The tensors of a layer together
    Group,
    /// Whole models
    Model,
}

fn word(text: &str) -> Result<String, String> {
    let mut letters = text.chars();
    let starts = letters.next().is_some_and(|first| first.is_ascii_lowercase());
    match starts && letters.all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_')) {
        true => Ok(text.to_owned()),
        false => Err("a method's name is a lower-case word, such as `row_norms`".to_owned()),
    }
}

fn domain(text: &str) -> Result<String, String> {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_' | '-'))
    };
    match text.contains('.') && text.split('.').all(part) {
        true => Ok(text.to_owned()),
        false => {
            Err("a plugin's id is a reverse domain name in lower case, such as `org.example.norms`"
                .to_owned())
        }
    }
}

pub(super) fn new(session: &Session, args: &PluginNewArgs) -> Result<Exit, Failure> {
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if fs::symlink_metadata(&folder).is_ok() {
        return Err(Failure::new(Code::TargetExists, format!("`{}` is there already", folder.display()))
            .help("choose another folder with `--dir`, or remove it"));
    }
    let project = Project {
        name: &args.name,
        id: args.id.clone().unwrap_or_else(|| format!("org.example.{}", args.name)),
        language: args.lang,
        kind: args.kind,
        sdk: sdk(args)?,
        models: models(),
    };
    write(&folder, &project.files()).map_err(|(path, error)| Failure::write(&path, &error))?;
    session.ui.print(&format!(
        "{} made: {} in {}, {}\n\n  cd {}\n{}  README.md says how to test, check, pack and run it\n",
        folder.display(),
        project.id,
        args.lang.title(),
        args.kind.title(),
        folder.display(),
        match args.lang {
            Language::Rust => "  cargo test\n  cargo build --release\n",
            Language::C | Language::Cpp => "  make\n",
        },
    ))?;
    Ok(Exit::Ok)
}

impl Language {
    fn title(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::C => "C",
            Language::Cpp => "C++",
        }
    }
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Kind::Elementwise => "element by element",
            Kind::Tensor => "whole tensors",
            Kind::Group => "the tensors of a layer together",
            Kind::Model => "whole models",
        }
    }
}

/// The sources that this program was built from, if they are still there.
fn sources() -> Option<&'static Path> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR"))).filter(|root| is_kit(&root.join("plugins/sdk")))
}

/// Models for the sample recipe: those of the first example, else a folder to be filled.
fn models() -> String {
    let example = sources().map(|root| root.join("examples/first/models")).filter(|folder| folder.is_dir());
    example.and_then(|folder| folder.to_str().map(str::to_owned)).unwrap_or_else(|| "models".to_owned())
}

/// Whether a folder is the Rust kit.
fn is_kit(folder: &Path) -> bool {
    fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|manifest| manifest.lines().any(|line| line.trim() == "name = \"fusion-sdk\""))
}

/// The Rust kit's folder, for a Rust project.
fn sdk(args: &PluginNewArgs) -> Result<Option<String>, Failure> {
    if args.lang != Language::Rust {
        return match args.sdk {
            Some(_) => {
                Err(Failure::usage("`--sdk` goes with `--lang rust`: C and C++ projects get the headers"))
            }
            None => Ok(None),
        };
    }
    let found = match &args.sdk {
        Some(given) => [given.clone(), given.join("plugins/sdk")].into_iter().find(|folder| is_kit(folder)),
        None => sources().map(|root| root.join("plugins/sdk")),
    };
    let Some(folder) = found else {
        return Err(Failure::usage(match &args.sdk {
            Some(given) => format!("`--sdk {}`: neither fusion's sources nor its folder `plugins/sdk`", given.display()),
            None => "the sources that this fusion was built from are gone, and a Rust plugin needs their kit: say \
                     `--sdk FOLDER` with a copy of fusion's sources, or choose `--lang c` or `--lang cpp`"
                .to_owned(),
        }));
    };
    let folder = folder.canonicalize().map_err(|error| Failure::read(&folder, &error))?;
    match folder.to_str() {
        Some(path) => Ok(Some(path.to_owned())),
        None => Err(Failure::usage(format!("`--sdk {}`: Cargo needs a path in UTF-8", folder.display()))),
    }
}

type Failed = (PathBuf, std::io::Error);

/// Writes a folder beside its place and moves it there, so that it is there as a whole or not at all.
fn write(folder: &Path, files: &[(String, String)]) -> Result<(), Failed> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    fs::create_dir_all(parent).map_err(at(parent))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let half = parent.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = fill(&half, files).and_then(|()| fs::rename(&half, folder).map_err(at(folder)));
    if written.is_err() {
        let _ = fs::remove_dir_all(&half); // what failed is what is told
    }
    written
}

fn fill(folder: &Path, files: &[(String, String)]) -> Result<(), Failed> {
    for (name, text) in files {
        let path = folder.join(name);
        let at = |error| (path.clone(), error);
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(at)?;
        fs::write(&path, text).map_err(at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_what_the_contract_wants() {
        for good in ["a", "row_norms", "ties2"] {
            assert!(word(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "2ties", "_x", "row-norms", "norm s", "é", "a/b"] {
            assert!(word(bad).is_err(), "{bad}");
        }
        for good in ["org.example.norms", "io.github.some-one.a_b"] {
            assert!(domain(good).is_ok(), "{good}");
        }
        for bad in ["norms", "Org.example", ".a", "a.", "a..b", "a.b c", "a./b"] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_is_written_whole_or_not_at_all() {
        let space = tempfile::tempdir().unwrap();
        let folder = space.path().join("deep/one");
        let file = |name: &str| (name.to_owned(), "text".to_owned());
        write(&folder, &[file("a"), file("b/c")]).unwrap();
        assert_eq!(fs::read_to_string(folder.join("b/c")).unwrap(), "text");
        // A file where a folder is needed.
        let other = space.path().join("other");
        let (path, _) = write(&other, &[file("a"), file("a/b")]).unwrap_err();
        assert!(path.ends_with("a/b"));
        let left: Vec<_> =
            fs::read_dir(space.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["deep"]);
    }
}
