//! The files of a new plugin: templates that stand beside this module as the files that they become, with a few words replaced.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};

use super::{Kind, Language};

/// The contract, for projects in C and C++.
const HEADER: &str = include_str!("../../../../plugins/abi/include/fusion_plugin.h");
const CLASSES: &str = include_str!("../../../../plugins/abi/include/fusion_plugin.hpp");

/// A plugin to be.
pub(super) struct Project<'a> {
    /// The method's name.
    pub(super) name: &'a str,
    /// The plugin's id.
    pub(super) id: String,
    pub(super) language: Language,
    pub(super) kind: Kind,
    /// Where the Rust kit is; for Rust alone.
    pub(super) sdk: Option<String>,
    /// The folder of the sample recipe's models.
    pub(super) models: String,
}

macro_rules! of_kind {
    ($kind:expr, $before:literal, $after:literal) => {
        match $kind {
            Kind::Elementwise => include_str!(concat!("templates/", $before, "elementwise", $after)),
            Kind::Tensor => include_str!(concat!("templates/", $before, "tensor", $after)),
            Kind::Group => include_str!(concat!("templates/", $before, "group", $after)),
            Kind::Model => include_str!(concat!("templates/", $before, "model", $after)),
        }
    };
}

impl Project<'_> {
    /// All files, by their path in the project's folder.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let (name, kind) = (self.name, self.kind);
        let mut files: Vec<(String, &str)> = match self.language {
            Language::Rust => vec![
                ("Cargo.toml".to_owned(), include_str!("templates/rust/Cargo.toml.in")),
                ("rustfmt.toml".to_owned(), include_str!("templates/rust/rustfmt.toml")),
                ("src/lib.rs".to_owned(), of_kind!(kind, "rust/", ".rs")),
                ("README.md".to_owned(), include_str!("templates/rust/README.md")),
                (".gitignore".to_owned(), include_str!("templates/rust/gitignore")),
                (".github/workflows/ci.yml".to_owned(), include_str!("templates/rust/ci.yml")),
            ],
            Language::C => vec![
                (format!("{name}.c"), of_kind!(kind, "c/", ".c")),
                ("Makefile".to_owned(), include_str!("templates/c/Makefile")),
                ("README.md".to_owned(), include_str!("templates/c/README.md")),
            ],
            Language::Cpp => vec![
                (format!("{name}.cpp"), of_kind!(kind, "cpp/", ".cpp")),
                ("Makefile".to_owned(), include_str!("templates/cpp/Makefile")),
                ("README.md".to_owned(), include_str!("templates/cpp/README.md")),
            ],
        };
        if self.language != Language::Rust {
            files.push(("reference.json".to_owned(), of_kind!(kind, "reference/", ".json")));
            files.push((".gitignore".to_owned(), include_str!("templates/c/gitignore")));
            files.push((".github/workflows/ci.yml".to_owned(), include_str!("templates/c/ci.yml")));
        }
        files.push(("recipe.fusion".to_owned(), of_kind!(kind, "recipe/", ".fusion")));
        let mut files: Vec<(String, String)> =
            files.into_iter().map(|(path, template)| (path, self.filled(template))).collect();
        // The headers are the product's own, with nothing to replace.
        if self.language != Language::Rust {
            files.push(("fusion_plugin.h".to_owned(), HEADER.to_owned()));
        }
        if self.language == Language::Cpp {
            files.push(("fusion_plugin.hpp".to_owned(), CLASSES.to_owned()));
        }
        files
    }

    /// The name of a Rust project's package.
    fn package(&self) -> String {
        format!("fusion-plugin-{}", self.name.replace('_', "-"))
    }

    /// The library, from the project's folder.
    fn library(&self) -> String {
        match self.language {
            Language::Rust => {
                format!("target/release/{DLL_PREFIX}{}{DLL_SUFFIX}", self.package().replace('-', "_"))
            }
            Language::C | Language::Cpp => format!("{DLL_PREFIX}{}{DLL_SUFFIX}", self.name),
        }
    }

    /// What the method computes before its author changes it: a sentence and a formula.
    fn texts(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::Elementwise => ("the weighted mean of models, element by element.", "θ = Σ wᵢθᵢ / Σ wᵢ"),
            Kind::Tensor => (
                "the mean of models, whose rows keep the models' norms.",
                "m = mean row, r = mean ‖rowᵢ‖ / ‖m‖\nrow = m · (1 + strength · (r − 1))",
            ),
            Kind::Group => (
                "the mean of models, whose layers keep the models' norms.",
                "m = mean θᵢ, r = mean ‖layerᵢ‖ / ‖layer of m‖\nθ = m · (1 + strength · (r − 1))",
            ),
            Kind::Model => (
                "a mean of models in which odd ones count less.",
                "dᵢ = ‖θᵢ − mean θ‖, D = mean dᵢ, wᵢ = (D / (D + dᵢ))^power\nθ = Σ wᵢθᵢ / Σ wᵢ",
            ),
        }
    }

    fn filled(&self, template: &str) -> String {
        let (what, formula) = self.texts();
        let mut text = template.to_owned();
        for (word, value) in [
            ("{{name}}", self.name),
            ("{{id}}", &self.id),
            ("{{package}}", &self.package()),
            ("{{library}}", &self.library()),
            ("{{what}}", what),
            ("{{formula}}", formula),
            ("{{sdk}}", &quoted(self.sdk.as_deref().unwrap_or_default())),
            ("{{models}}", &quoted(&self.models)),
        ] {
            text = text.replace(word, value);
        }
        text
    }
}

/// A path within double quotes, as TOML and recipes read it.
fn quoted(path: &str) -> String {
    path.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn nothing_is_left_to_replace() {
        for language in Language::value_variants() {
            for kind in Kind::value_variants() {
                let project = Project {
                    name: "row_norms",
                    id: "org.example.row_norms".to_owned(),
                    language: *language,
                    kind: *kind,
                    sdk: Some("/src/\"sdk\"".to_owned()),
                    models: "models".to_owned(),
                };
                let files = project.files();
                for (path, text) in &files {
                    // `${{ … }}` belongs to the CI's own language.
                    assert!(!text.replace("${{ ", "").contains("{{"), "{path}: {text}");
                    assert!(text.ends_with('\n'), "{path}");
                }
                for wanted in ["README.md", ".gitignore", "recipe.fusion", ".github/workflows/ci.yml"] {
                    assert!(files.iter().any(|(path, _)| path == wanted), "{wanted} in {language:?}");
                }
                let readme = &files.iter().find(|(path, _)| path == "README.md").unwrap().1;
                for command in ["check", "pack", "add dist/org.example.row_norms-0.1.0"] {
                    assert!(
                        readme.contains(&format!("`fusion plugin {command} "))
                            || readme.contains(&format!("`fusion plugin {command}`"))
                    );
                }
            }
        }
    }
}
