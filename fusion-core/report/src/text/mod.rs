//! Results for a terminal: tables, small plots and verdicts as lines of text.
//!
//! Nothing is coloured here and nothing is printed: the command decides. With [`Look::ascii`] every character is ASCII, for logs
//! and terminals that know no other.

mod curve;
mod sparkline;
mod table;
mod verdict;

use unicode_width::UnicodeWidthStr;

pub use curve::curve;
pub use sparkline::sparkline;
pub use table::table;
pub use verdict::expects;

use crate::escape;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// ASCII only.
    pub ascii: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Look {
    fn default() -> Look {
        Look { ascii: false, width: 80 }
    }
}

impl Look {
    /// A text in one line as this terminal can show it. In ASCII, signs of numbers get their usual stand-ins and other
    /// characters become `?`.
    fn text(self, text: &str) -> String {
        let text = escape::line(text);
        if !self.ascii {
            return text;
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '\u{2212}' | '–' | '—' => out.push('-'),
                '\u{202f}' | '\u{a0}' => out.push(' '),
                '∞' => out.push_str("inf"),
                '½' => out.push_str("1/2"),
                '×' | '·' => out.push('*'),
                '→' => out.push_str("->"),
                '…' => out.push_str("..."),
                '⁻' => out.push_str("^-"),
                c if c.is_ascii() => out.push(c),
                _ => out.push('?'),
            }
        }
        out
    }

    /// The text, or as much of it as fits into so many columns.
    fn fit(self, text: &str, most: usize) -> String {
        let text = self.text(text);
        if text.width() <= most {
            return text;
        }
        let end = if self.ascii { "." } else { "…" };
        let mut kept = String::new();
        for c in text.chars() {
            if format!("{kept}{c}{end}").width() > most {
                break;
            }
            kept.push(c);
        }
        if most == 0 { String::new() } else { kept + end }
    }
}

/// The text with spaces after it, or before it, to so many columns.
fn pad(text: &str, columns: usize, right: bool) -> String {
    let space = " ".repeat(columns.saturating_sub(text.width()));
    if right { space + text } else { text.to_owned() + &space }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_their_columns_whatever_their_characters() {
        let look = Look::default();
        assert_eq!(look.fit("日本語のモデル", 7), "日本語…");
        assert_eq!(look.fit("naïve", 5), "naïve");
        assert_eq!(look.fit("abc", 0), "");
        let ascii = Look { ascii: true, ..look };
        assert_eq!(ascii.text("−1\u{202f}234 → ∞ é"), "-1 234 -> inf ?");
        assert_eq!(pad("日本", 6, true), "  日本");
    }
}
