//! The recipe's text with numbered lines, to which the expectations lead.

use std::fmt::Write as _;

use crate::escape::xml;

pub(super) fn text(out: &mut String, text: &str) {
    let lines = text.lines().count();
    let _ = write!(out, "<details>\n<summary>{lines} lines</summary>\n<pre><code>");
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        // An empty line keeps its height.
        let line = if line.is_empty() { " ".to_owned() } else { xml(line) };
        let _ = write!(out, "<span class=\"l\" id=\"L{number}\" data-n=\"{number}\">{line}</span>");
    }
    out.push_str("</code></pre>\n</details>\n");
}
