//! Text, character by character. The vocabulary are the characters of the whole file in order of their code points, so parts of one file
//! share it. Example i starts `stride` characters after example i − 1; its targets are the characters that follow each of its own.

use std::collections::BTreeSet;
use std::path::Path;

use super::Outline;
use crate::error::DataError;
use crate::raw::{Answers, Inputs, Raw};
use crate::settings::DataSettings;

/// Characters of an example.
fn context(settings: &DataSettings) -> usize {
    settings.context.unwrap_or(64)
}

/// The characters of a text, and their numbers.
struct Vocabulary {
    /// Sorted.
    characters: Vec<char>,
    /// Of ASCII, for speed.
    ascii: [u16; 128],
}

impl Vocabulary {
    fn of(path: &Path, text: &str) -> Result<Self, DataError> {
        let (mut seen, mut others) = ([false; 128], BTreeSet::new());
        for character in text.chars() {
            match seen.get_mut(character as usize) {
                Some(seen) => *seen = true,
                None => {
                    others.insert(character);
                }
            }
        }
        let ascii = ('\0'..='\x7f').filter(|&character| seen[character as usize]);
        let characters: Vec<char> = ascii.chain(others).collect();
        if characters.len() > usize::from(u16::MAX) {
            return Err(DataError::unsupported(
                path,
                format!("it has {} different characters", characters.len()),
                "take a text with fewer than 65536",
            ));
        }
        let mut ascii = [0; 128];
        for (id, &character) in (0..).zip(&characters) {
            if let Some(slot) = ascii.get_mut(character as usize) {
                *slot = id;
            }
        }
        Ok(Vocabulary { characters, ascii })
    }

    fn id(&self, character: char) -> u16 {
        match self.ascii.get(character as usize) {
            Some(&id) => id,
            None => self.characters.binary_search(&character).unwrap_or(0) as u16,
        }
    }
}

pub(super) fn load(path: &Path, settings: &DataSettings) -> Result<Raw, DataError> {
    let bytes = std::fs::read(path).map_err(|error| DataError::io(path, "read", error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        DataError::unsupported(path, format!("byte {at} is no UTF-8"), "convert it to UTF-8")
    })?;
    let vocabulary = Vocabulary::of(path, &text)?;
    let mut tokens: Vec<u16> = text.chars().map(|character| vocabulary.id(character)).collect();
    if let Some(split) = settings.split {
        let range = split.of(tokens.len());
        tokens.truncate(range.end);
        tokens.drain(..range.start);
    }
    let context = context(settings);
    let stride = settings.stride.unwrap_or(context);
    if tokens.len() <= context {
        return Err(DataError::setting_fix(
            "context",
            format!(
                "one example needs {context} characters and the one that follows, and `{}` has {}{}",
                path.display(),
                tokens.len(),
                if settings.split.is_some() { " in this split" } else { "" }
            ),
            "take a smaller context or a longer text",
        ));
    }
    if u32::try_from(tokens.len()).is_err() {
        return Err(DataError::TooLarge { name: path.display().to_string(), bytes: tokens.len() as u64 * 2 });
    }
    let starts = (0..(tokens.len() - context) as u32).step_by(stride).collect();
    let names: Vec<String> = vocabulary.characters.iter().map(char::to_string).collect();
    let inputs = Inputs::Text { tokens, starts, context };
    Ok(Raw { inputs, answers: Answers::Next, classes: names.len(), names })
}

/// Nothing but reading tells the number of characters.
pub(super) fn outline(path: &Path, settings: &DataSettings) -> Result<Outline, DataError> {
    std::fs::File::open(path).map_err(|error| DataError::io(path, "open", error))?;
    Ok(Outline { shape: vec![context(settings)], ..Outline::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::settings::Kind;

    fn text(bytes: &[u8], settings: Json) -> Result<Raw, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        std::fs::write(&path, bytes).unwrap();
        let settings = DataSettings::read(settings.as_object().unwrap(), Kind::Text).unwrap();
        load(&path, &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn characters_become_tokens_in_order_of_code_points() {
        let raw = text("bäa€b\na".as_bytes(), json!({ "context": 2 })).unwrap();
        assert_eq!(raw.names, ["\n", "a", "b", "ä", "€"]);
        let Inputs::Text { tokens, starts, context: 2 } = &raw.inputs else { panic!() };
        assert_eq!(tokens, &[2, 3, 1, 4, 2, 0, 1]);
        // The last example's last target is the last character.
        assert_eq!(starts, &[0, 2, 4]);
        let raw = text(b"abcabc", json!({ "context": 2, "stride": 1 })).unwrap();
        assert_eq!(raw.len(), 4);
    }

    #[test]
    fn parts_share_the_vocabulary() {
        let half = |start, end| {
            let split = json!({ "start": start, "end": end });
            text(b"aabbccdd", json!({ "context": 3, "split": split })).unwrap()
        };
        let (first, second) = (half(0.0, 0.5), half(0.5, 1.0));
        assert_eq!(first.names, second.names);
        let Inputs::Text { tokens, .. } = second.inputs else { panic!() };
        assert_eq!(tokens, [2, 2, 3, 3]);
    }

    #[test]
    fn short_and_broken_texts_are_errors() {
        assert!(
            text(b"abc", json!({ "context": 3 })).unwrap_err().contains("needs 3 characters and the one")
        );
        assert!(text(b"", json!({})).unwrap_err().contains("has 0"));
        assert!(text(b"ab\xffcd", json!({ "context": 1 })).unwrap_err().contains("byte 2 is no UTF-8"));
    }
}
