//! The files that make weights a model: tokenizer and friends, taken from a donor.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A small file beside the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Plain file name.
    pub name: String,
    /// The whole content.
    pub bytes: Vec<u8>,
}

/// Names that are copied as they are, besides `tokenizer*.json` and `chat_template.*`.
const NAMES: [&str; 17] = [
    "added_tokens.json",
    "bpe.codes",
    "generation_config.json",
    "image_processor_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tekken.json",
    "tokenizer.model",
    "tokenizer.model.v3",
    "video_preprocessor_config.json",
    "vocab.json",
    "vocab.txt",
];

/// Reads the tokenizer, its vocabulary and templates, generation and preprocessor settings of a model folder.
///
/// Sorted by name. Not taken: `config.json` (see [`config`](super::config)), weights, README, Python code
/// (see [`custom_code`]), and folders. Links are followed, as the Hugging Face cache consists of them.
///
/// # Errors
/// If the folder or one of the files cannot be read.
pub fn donor_files(folder: &Path) -> io::Result<Vec<Sidecar>> {
    let read = |(name, path): (String, PathBuf)| Ok(Sidecar { bytes: fs::read(path)?, name });
    donor_paths(folder)?.into_iter().map(read).collect()
}

/// Name and path of each of these files, sorted by name.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn donor_paths(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let all = names(folder)?.into_iter().filter(|name| is_donated(name));
    Ok(all
        .map(|name| (folder.join(&name), name))
        .filter(|(path, _)| path.is_file())
        .map(|(path, name)| (name, path))
        .collect())
}

/// Names of the Python files in a model folder, sorted: they are never copied, so a model that needs them
/// (`trust_remote_code`) must get them by hand.
///
/// # Errors
/// If the folder cannot be read.
pub fn custom_code(folder: &Path) -> io::Result<Vec<String>> {
    Ok(names(folder)?.into_iter().filter(|name| name.ends_with(".py")).collect())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        // All names of interest are ASCII.
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn is_donated(name: &str) -> bool {
    NAMES.contains(&name)
        || (name.starts_with("tokenizer") && name.ends_with(".json"))
        || name.starts_with("chat_template.")
        || name.ends_with(".tiktoken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_tokenizer_and_leaves_weights_and_code() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "tokenizer.json",
            "tokenizer_config.json",
            "tokenizer.model",
            "chat_template.jinja",
            "merges.txt",
            "generation_config.json",
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "README.md",
            "modeling_x.py",
            "configuration_x.py",
        ] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("vocab.txt")).unwrap();
        let files = donor_files(folder.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "chat_template.jinja",
                "generation_config.json",
                "merges.txt",
                "tokenizer.json",
                "tokenizer.model",
                "tokenizer_config.json"
            ]
        );
        assert_eq!(files[0].bytes, b"chat_template.jinja");
        assert_eq!(custom_code(folder.path()).unwrap(), ["configuration_x.py", "modeling_x.py"]);
    }
}
