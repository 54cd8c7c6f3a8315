//! From the text of a recipe (`digits`, `mnist:test`, `data/table.csv`) to the files behind it, without opening more than folders.

use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::places::Places;
use crate::sets::{self, Set};
use crate::settings::Kind;

/// One half of a set that comes in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Train,
    Test,
}

impl Part {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Test => "test",
        }
    }
}

/// Where the data of a source are.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Generated(Part),
    /// A pair of IDX files.
    Idx {
        images: PathBuf,
        labels: PathBuf,
    },
    /// CIFAR-10 or -100 in binary.
    Cifar {
        files: CifarFiles,
        hundred: bool,
    },
    /// A folder or zip of images.
    Images {
        path: PathBuf,
        zip: bool,
        part: Option<Part>,
    },
    Csv(PathBuf),
    Parquet(PathBuf),
    Text(PathBuf),
}

/// CIFAR's binary files.
#[derive(Clone, Debug)]
pub(crate) enum CifarFiles {
    Plain(Vec<PathBuf>),
    /// A gzipped tar with members of these names.
    Archive {
        path: PathBuf,
        members: Vec<&'static str>,
    },
}

/// A source that was found.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As the recipe has it.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
    /// The named set it is.
    pub(crate) set: Option<&'static Set>,
    /// The training part to compute statistics from, where this is the test part.
    pub(crate) training: Option<Box<Source>>,
}

/// What generators are called.
const GENERATORS: &[(&str, Kind)] = &[
    ("gaussians", Kind::Gaussians),
    ("spirals", Kind::Spirals),
    ("xor", Kind::Xor),
    ("teacher", Kind::Teacher),
    ("digits", Kind::Digits),
];

/// Names of the data sets that recipes can name without a path, generators first.
#[must_use]
pub fn names() -> Vec<&'static str> {
    GENERATORS.iter().map(|(name, _)| *name).chain(sets::SETS.iter().map(|set| set.name)).collect()
}

impl Source {
    /// Finds `NAME`, `NAME:train`, `NAME:test` or a path.
    pub(crate) fn find(text: &str, places: &Places) -> Result<Source, DataError> {
        let (name, part) = match text.rsplit_once(':') {
            Some((name, "train")) => (name, Some(Part::Train)),
            Some((name, "test")) => (name, Some(Part::Test)),
            Some((name, other))
                if sets::set(name).is_some() || GENERATORS.iter().any(|(known, _)| *known == name) =>
            {
                return Err(DataError::Missing {
                    name: text.to_owned(),
                    offence: format!("`{name}` has no part `{other}`"),
                    fix: "its parts are `train` and `test`".into(),
                });
            }
            _ => (text, None),
        };
        let found = Self::located(text, name, part, places)?;
        let parted = match &found.origin {
            Origin::Generated(part) => *part == Part::Test,
            Origin::Images { part, .. } => *part == Some(Part::Test),
            _ => part == Some(Part::Test),
        };
        if !parted {
            return Ok(found);
        }
        // Where there is no training part, statistics are the test part's own.
        let training = Self::located(text, name, Some(Part::Train), places).ok().map(Box::new);
        Ok(Source { training, ..found })
    }

    fn located(text: &str, name: &str, part: Option<Part>, places: &Places) -> Result<Source, DataError> {
        let source = |kind, origin, set| Source { name: text.to_owned(), kind, origin, set, training: None };
        if let Some(&(_, kind)) = GENERATORS.iter().find(|(known, _)| *known == name) {
            return Ok(source(kind, Origin::Generated(part.unwrap_or(Part::Train)), None));
        }
        let set = sets::set(name);
        let is_word = !name.is_empty() && !name.contains(['/', '\\', '.']);
        let mut candidates: Vec<PathBuf> = Vec::new();
        if is_word {
            candidates.extend(places.folders.iter().map(|folder| folder.join(name)));
        }
        let path = places.path(name);
        if !name.is_empty() && !candidates.contains(&path) {
            candidates.push(path);
        }
        let mut offences = Vec::new();
        for path in &candidates {
            let found = if path.is_dir() {
                in_folder(path, part, set)
            } else if path.is_file() {
                of_file(path, part).map(Some)
            } else {
                continue;
            };
            match found? {
                Some((kind, origin)) => return Ok(source(kind, origin, set)),
                None => offences.push(path.display().to_string()),
            }
        }
        Err(missing(text, name, set, is_word, &candidates, &offences))
    }

    /// The files that are read.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match &self.origin {
            Origin::Generated(_) => Vec::new(),
            Origin::Idx { images, labels } => vec![images.clone(), labels.clone()],
            Origin::Cifar { files: CifarFiles::Plain(paths), .. } => paths.clone(),
            Origin::Cifar { files: CifarFiles::Archive { path, .. }, .. } => vec![path.clone()],
            Origin::Images { path, .. } | Origin::Csv(path) | Origin::Parquet(path) | Origin::Text(path) => {
                vec![path.clone()]
            }
        }
    }
}

fn missing(
    text: &str,
    name: &str,
    set: Option<&Set>,
    is_word: bool,
    candidates: &[PathBuf],
    useless: &[String],
) -> DataError {
    let looked: Vec<String> = candidates.iter().map(|path| format!("`{}`", path.display())).collect();
    let mut offence = match looked.as_slice() {
        [] => "it has no name".to_owned(),
        looked => format!("looked for it as {}", looked.join(", ")),
    };
    if !useless.is_empty() {
        offence += &format!("; `{}` is there but holds no data in a known layout", useless.join("`, `"));
    }
    let fix = match set {
        Some(set) => {
            format!("put {} into one of these folders, or run `fusion data fetch {}`", set.layout, set.name)
        }
        None if is_word => {
            let made: Vec<String> = GENERATORS.iter().map(|(name, _)| format!("`{name}`")).collect();
            format!(
                "the built-in generators are {}, the named sets {}; anything else is the path of a folder or file",
                made.join(", "),
                sets::listed()
            )
        }
        None if !useless.is_empty() => LAYOUTS.to_owned(),
        None => format!("check the path `{name}`; relative paths start at the recipe's folder"),
    };
    DataError::Missing { name: text.to_owned(), offence, fix }
}

/// What a folder may hold.
const LAYOUTS: &str = "a folder holds IDX files (train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz] and t10k-…), CIFAR's \
                       binary files, or images as CLASS/NAME.png, train/CLASS/NAME.png and test/CLASS/NAME.png (or .jpg)";

type Found = Option<(Kind, Origin)>;

fn in_folder(folder: &Path, part: Option<Part>, set: Option<&'static Set>) -> Result<Found, DataError> {
    let wanted = part.unwrap_or(Part::Train);
    if let Some(found) = idx_in(folder, wanted)? {
        return Ok(Some(found));
    }
    if let Some(found) = cifar_in(folder, wanted) {
        return Ok(Some(found));
    }
    let entries = folder.read_dir().map_err(|error| DataError::io(folder, "list", error))?;
    let (mut zips, mut has_folders) = (Vec::new(), false);
    for entry in entries {
        let path = entry.map_err(|error| DataError::io(folder, "list", error))?.path();
        if path.is_dir() {
            has_folders = true;
        } else if has_extension(&path, &["zip"]) {
            zips.push(path);
        }
    }
    Ok(match zips.as_slice() {
        [zip] if set.is_some() || !has_folders => {
            Some((Kind::Images, Origin::Images { path: zip.clone(), zip: true, part }))
        }
        _ if has_folders => {
            Some((Kind::Images, Origin::Images { path: folder.to_owned(), zip: false, part }))
        }
        _ => None,
    })
}

/// The IDX files of a part, if the folder holds any.
fn idx_in(folder: &Path, part: Part) -> Result<Found, DataError> {
    let named = |stem: &str, what: &str| -> Option<PathBuf> {
        [format!("{stem}-{what}-ubyte"), format!("{stem}-{}-ubyte", what.replacen('-', ".", 1))]
            .into_iter()
            .flat_map(|name| [name.clone(), name + ".gz"])
            .map(|name| folder.join(name))
            .find(|path| path.is_file())
    };
    let stems = |part| match part {
        Part::Train => &["train"][..],
        Part::Test => &["t10k", "test"],
    };
    let images = |part| stems(part).iter().find_map(|stem| Some((*stem, named(stem, "images-idx3")?)));
    let Some((stem, path)) = images(part) else {
        let other = if part == Part::Train { Part::Test } else { Part::Train };
        return match images(other) {
            None => Ok(None),
            Some(_) => Err(DataError::Missing {
                name: folder.display().to_string(),
                offence: format!(
                    "its part `{}` has images, its part `{}` has none",
                    other.word(),
                    part.word()
                ),
                fix: format!("add {0}-images-idx3-ubyte[.gz] and {0}-labels-idx1-ubyte[.gz]", stems(part)[0]),
            }),
        };
    };
    match named(stem, "labels-idx1") {
        Some(labels) => Ok(Some((Kind::Images, Origin::Idx { images: path, labels }))),
        None => Err(DataError::Missing {
            name: folder.display().to_string(),
            offence: format!("the images `{}` have no labels beside them", path.display()),
            fix: format!("add {stem}-labels-idx1-ubyte[.gz]"),
        }),
    }
}

/// Members of CIFAR's archives.
const CIFAR10_TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];

fn cifar_members(hundred: bool, part: Part) -> Vec<&'static str> {
    match (hundred, part) {
        (false, Part::Train) => CIFAR10_TRAIN.to_vec(),
        (false, Part::Test) => vec!["test_batch.bin"],
        (true, Part::Train) => vec!["train.bin"],
        (true, Part::Test) => vec!["test.bin"],
    }
}

fn cifar_in(folder: &Path, part: Part) -> Found {
    for (hundred, inner, archive) in [
        (false, "cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
        (true, "cifar-100-binary", "cifar-100-binary.tar.gz"),
    ] {
        let members = cifar_members(hundred, part);
        for folder in [folder.to_owned(), folder.join(inner)] {
            let paths: Vec<PathBuf> = members.iter().map(|member| folder.join(member)).collect();
            // One is enough to know the layout; reading says which others are missing.
            if paths.iter().any(|path| path.is_file()) {
                return Some((Kind::Images, Origin::Cifar { files: CifarFiles::Plain(paths), hundred }));
            }
        }
        let path = folder.join(archive);
        if path.is_file() {
            let files = CifarFiles::Archive { path, members };
            return Some((Kind::Images, Origin::Cifar { files, hundred }));
        }
    }
    None
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|found| extensions.iter().any(|extension| found.eq_ignore_ascii_case(extension)))
}

fn of_file(path: &Path, part: Option<Part>) -> Result<(Kind, Origin), DataError> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if has_extension(path, &["zip"]) {
        return Ok((Kind::Images, Origin::Images { path: path.to_owned(), zip: true, part }));
    }
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        let hundred = name.contains("100");
        let members = cifar_members(hundred, part.unwrap_or(Part::Train));
        let files = CifarFiles::Archive { path: path.to_owned(), members };
        return Ok((Kind::Images, Origin::Cifar { files, hundred }));
    }
    if let Some(part) = part {
        return Err(DataError::unsupported(
            path,
            format!("a single file has no part `{}`", part.word()),
            "take a share of it with `split`",
        ));
    }
    if name.contains("idx3-ubyte") {
        let labels = path.with_file_name(
            path.file_name()
                .map(|name| name.to_string_lossy().replace("images", "labels").replace("idx3", "idx1"))
                .unwrap_or_default(),
        );
        let bare = labels.with_extension("");
        let zipped = PathBuf::from(format!("{}.gz", labels.display()));
        let labels =
            [labels.clone(), bare, zipped].into_iter().find(|path| path.is_file()).ok_or_else(|| {
                DataError::Missing {
                    name: path.display().to_string(),
                    offence: format!("its labels are not at `{}`", labels.display()),
                    fix: "put the labels beside the images, named alike with `labels-idx1` for `images-idx3`"
                        .into(),
                }
            })?;
        return Ok((Kind::Images, Origin::Idx { images: path.to_owned(), labels }));
    }
    if has_extension(path, &["csv", "tsv"]) {
        return Ok((Kind::Csv, Origin::Csv(path.to_owned())));
    }
    if has_extension(path, &["parquet"]) {
        return Ok((Kind::Parquet, Origin::Parquet(path.to_owned())));
    }
    if has_extension(path, &["txt", "text", "md"]) {
        return Ok((Kind::Text, Origin::Text(path.to_owned())));
    }
    if has_extension(path, &["bin"]) {
        let hundred = ["train.bin", "test.bin"].contains(&name.as_str());
        let files = CifarFiles::Plain(vec![path.to_owned()]);
        return Ok((Kind::Images, Origin::Cifar { files, hundred }));
    }
    Err(DataError::unsupported(
        path,
        "its name does not say what it is",
        "fusion reads .csv, .tsv, .parquet, .txt, .zip of images, …-images-idx3-ubyte[.gz] and CIFAR's .bin and .tar.gz",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn places(folder: &Path) -> Places {
        Places { folders: vec![folder.join("data"), folder.join("more")], root: folder.to_owned() }
    }

    #[test]
    fn names_parts_and_paths_are_found() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        at("more/mnist/train-images-idx3-ubyte.gz");
        at("more/mnist/train-labels-idx1-ubyte");
        at("more/mnist/t10k-images.idx3-ubyte");
        at("more/mnist/t10k-labels.idx1-ubyte");
        at("more/cifar10/one.zip");
        at("more/cifar100/cifar-100-binary/test.bin");
        at("table.csv");
        at("x/cat/1.png");
        let places = places(temp.path());
        let find = |text: &str| Source::find(text, &places).map_err(|error| error.to_string());

        let train = find("mnist").unwrap();
        assert!(matches!(&train.origin, Origin::Idx { images, labels }
            if images.ends_with("train-images-idx3-ubyte.gz") && labels.ends_with("train-labels-idx1-ubyte")));
        let test = find("mnist:test").unwrap();
        assert!(
            matches!(&test.origin, Origin::Idx { images, .. } if images.ends_with("t10k-images.idx3-ubyte"))
        );
        assert_eq!(test.training.unwrap().files(), train.files());
        assert!(matches!(
            find("cifar10:test").unwrap().origin,
            Origin::Images { zip: true, part: Some(Part::Test), .. }
        ));
        assert!(matches!(find("cifar100:test").unwrap().origin, Origin::Cifar { hundred: true, .. }));
        assert!(matches!(find("table.csv").unwrap().origin, Origin::Csv(_)));
        assert!(matches!(find("x").unwrap().origin, Origin::Images { zip: false, part: None, .. }));
        assert!(matches!(find("digits:test").unwrap().origin, Origin::Generated(Part::Test)));
        for (text, part) in [
            ("digits:validation", "its parts are `train` and `test`"),
            ("kmnist", "run `fusion data fetch kmnist`"),
            ("kmnist", "data/kmnist"),
            ("nonsense", "`gaussians`, `spirals`"),
            ("no/such.csv", "check the path `no/such.csv`"),
            ("table.csv:test", "take a share of it with `split`"),
            ("", "it has no name"),
        ] {
            let error = find(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        fs::remove_file(temp.path().join("more/mnist/t10k-labels.idx1-ubyte")).unwrap();
        assert!(find("mnist:test").unwrap_err().contains("add t10k-labels-idx1-ubyte"));
        fs::remove_file(temp.path().join("more/mnist/t10k-images.idx3-ubyte")).unwrap();
        assert!(find("mnist:test").unwrap_err().contains("add t10k-images-idx3-ubyte"));
        at("what.xyz");
        assert!(find("what.xyz").unwrap_err().contains(".parquet"));
    }
}
