//! The model card of a result: what it is, what it was made from, and how to make it again.

use std::fmt::Write;

use crate::tensor::Dtype;

/// What a card tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardInfo {
    /// The model's name.
    pub title: String,
    /// The recipe as run, with all settings resolved.
    pub recipe_text: String,
    /// One line per stage, in the order of the recipe.
    pub stages: Vec<String>,
    /// The models it was made from.
    pub inputs: Vec<CardInput>,
    /// The element type of most tensors, if the result has any.
    pub dtype: Option<Dtype>,
    /// Elements of all tensors.
    pub parameters: u64,
    /// Layers, where the names of the tensors show them.
    pub layers: Option<usize>,
    /// Version of fusion.
    pub tool_version: String,
    /// Seeds by what drew from them.
    pub seeds: Vec<(String, u64)>,
}

/// A model that the result was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardInput {
    /// Its name in the recipe.
    pub name: String,
    /// Its path, as the recipe has it.
    pub path: String,
    /// Hash of its contents, where it is known before the result is written.
    pub hash: Option<String>,
    /// Metadata entry of the result's safetensors files that holds the hash otherwise.
    pub slot: Option<String>,
}

/// The card as the text of a `README.md` with Hugging Face's YAML front matter.
///
/// `base_model` lists the inputs whose path is a hub id ([`hub_id`]); without any it is left out.
#[must_use]
pub fn card(info: &CardInfo) -> String {
    let mut text = String::from("---\n");
    let mut bases: Vec<String> = Vec::new();
    for id in info.inputs.iter().filter_map(|input| hub_id(&input.path)) {
        if !bases.contains(&id) {
            bases.push(id);
        }
    }
    if !bases.is_empty() {
        text.push_str("base_model:\n");
        for id in &bases {
            // Quoted: an id such as `0/1e3` is a string all the same.
            line(&mut text, format_args!("- \"{id}\""));
        }
    }
    text.push_str("tags:\n- merge\n- fusion\n---\n\n");
    line(&mut text, format_args!("# {}\n", one_line(&info.title)));
    let mut facts = vec![format!("{} parameters", grouped(info.parameters))];
    facts.extend(info.dtype.map(|dtype| format!("stored as {dtype}")));
    facts.extend(info.layers.map(|layers| format!("{layers} layers")));
    line(
        &mut text,
        format_args!(
            "Made with fusion {} from the recipe below: {}.\n",
            one_line(&info.tool_version),
            facts.join(", ")
        ),
    );
    if !info.inputs.is_empty() {
        text.push_str("## Made from\n\n| name | source | BLAKE3 |\n|---|---|---|\n");
        for input in &info.inputs {
            let hash = match (&input.hash, &input.slot) {
                (Some(hash), _) => format!("`{}`", cell(hash)),
                (None, Some(slot)) => format!("metadata `{}` of the safetensors files", cell(slot)),
                (None, None) => "not recorded".to_owned(),
            };
            line(&mut text, format_args!("| `{}` | `{}` | {hash} |", cell(&input.name), cell(&input.path)));
        }
        text.push('\n');
    }
    if !info.stages.is_empty() {
        text.push_str("## Stages\n\n");
        for (number, stage) in info.stages.iter().enumerate() {
            line(&mut text, format_args!("{}. {}", number + 1, one_line(stage)));
        }
        text.push('\n');
    }
    if !info.seeds.is_empty() {
        text.push_str("## Seeds\n\n");
        for (name, seed) in &info.seeds {
            line(&mut text, format_args!("- {}: {seed}", one_line(name)));
        }
        text.push('\n');
    }
    let fence = fence(&info.recipe_text);
    text.push_str("## Recipe\n\n");
    line(&mut text, format_args!("{fence}fusion\n{}\n{fence}\n", info.recipe_text.trim_end()));
    text.push_str(
        "## Make it again\n\nSave the recipe as `recipe.fusion` beside the inputs, at the paths it names, and run\n\n\
         ```sh\nfusion run recipe.fusion\n```\n\nThe same inputs, recipe and version give the same bytes. `fusion.json` \
         holds the hashes of all files; `fusion inspect --verify .` checks them.\n",
    );
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{arguments}");
}

/// The id `owner/name` on the Hugging Face hub that a path stands for, or `None`.
///
/// Certain for paths into its cache (`…/models--owner--name/snapshots/…`). A relative path of exactly two plain names
/// counts as an id too, unless the first is what people call folders of their own (`models/…`, `out/…`).
#[must_use]
pub fn hub_id(path: &str) -> Option<String> {
    const FOLDERS: [&str; 17] = [
        "base",
        "bench",
        "checkpoint",
        "checkpoints",
        "ckpt",
        "ckpts",
        "data",
        "examples",
        "merged",
        "model",
        "models",
        "out",
        "output",
        "outputs",
        "runs",
        "tmp",
        "weights",
    ];
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    if let Some((owner, name)) = parts.iter().find_map(|part| part.strip_prefix("models--")?.split_once("--"))
    {
        return (plain(owner) && plain(name)).then(|| format!("{owner}/{name}"));
    }
    match parts[..] {
        [owner, name]
            if plain(owner)
                && plain(name)
                && !FOLDERS.contains(&owner.to_ascii_lowercase().as_str())
                && !name.ends_with(".safetensors")
                && !name.ends_with(".bin")
                && !name.ends_with(".pt") =>
        {
            Some(format!("{owner}/{name}"))
        }
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text that stays within its cell and its backticks.
fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|").replace('`', "'")
}

/// A fence longer than any run of backticks within.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_tells_everything() {
        let input = |name: &str, path: &str, hash: Option<&str>, slot: Option<&str>| CardInput {
            name: name.to_owned(),
            path: path.to_owned(),
            hash: hash.map(str::to_owned),
            slot: slot.map(str::to_owned),
        };
        let text = card(&CardInfo {
            title: "merged\nmodel".to_owned(),
            recipe_text: "fusion 1\n# a ``` comment\n".to_owned(),
            stages: vec!["`merged`: ties of llama, chat".to_owned()],
            inputs: vec![
                input("llama", "meta-llama/Llama-2-7b", None, Some("fusion.input.llama")),
                input("chat", "models/a|b", Some("abc"), None),
            ],
            dtype: Some(Dtype::BF16),
            parameters: 1_100_048_384,
            layers: Some(22),
            tool_version: "0.1.0".to_owned(),
            seeds: vec![("dare".to_owned(), 7)],
        });
        assert!(text.starts_with(
            "---\nbase_model:\n- \"meta-llama/Llama-2-7b\"\ntags:\n- merge\n- fusion\n---\n\n# merged model\n"
        ));
        assert!(text.contains("1 100 048 384 parameters, stored as bf16, 22 layers"));
        assert!(text.contains("| `llama` | `meta-llama/Llama-2-7b` | metadata `fusion.input.llama` of"));
        assert!(text.contains("| `chat` | `models/a\\|b` | `abc` |"));
        assert!(text.contains("````fusion\nfusion 1\n# a ``` comment\n````\n"));
        assert!(text.contains("1. `merged`: ties of llama, chat"));
        assert!(text.contains("- dare: 7"));
    }

    #[test]
    fn hub_ids_are_told_from_paths() {
        let cache = "/root/.cache/huggingface/hub/models--Qwen--Qwen2.5-7B/snapshots/0abc";
        assert_eq!(hub_id(cache).as_deref(), Some("Qwen/Qwen2.5-7B"));
        assert_eq!(hub_id("Qwen/Qwen2.5-7B/").as_deref(), Some("Qwen/Qwen2.5-7B"));
        for path in [
            "models/llama",
            "../a/b",
            "/a/b",
            "./a",
            "a",
            "a/b/c",
            "a/b c",
            "../b",
            "x/model.safetensors",
            "",
        ] {
            assert_eq!(hub_id(path), None, "{path}");
        }
    }
}
