//! Text of others in our documents: names, recipes and paths must not become markup.

/// A text for XML and HTML, in elements and in attributes. Characters that XML forbids become U+FFFD.
pub(crate) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if forbidden(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A text in one line: breaks and tabs become spaces, and what XML forbids U+FFFD. Not escaped.
pub(crate) fn line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if forbidden(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Control characters, also those that turn the direction of a line and so could hide what a name says.
fn forbidden(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text as a part of a file name or an anchor: lower case letters, digits and single dashes, at most 60 bytes; `part` where
/// nothing is left.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if out.len() >= 60 {
            break;
        }
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "part".to_owned() } else { out.to_owned() }
}

/// Slugs of several titles, made different by numbers.
pub(crate) fn slugs<'a>(titles: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken = std::collections::BTreeSet::new();
    titles
        .into_iter()
        .map(|title| {
            let base = slug(title);
            let mut name = base.clone();
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{base}-{number}");
                number += 1;
            }
            name
        })
        .collect()
}

/// A text as the rest of a `data:` address (RFC 3986): everything but unreserved characters is a percent sign and two digits.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(xml("<script>\"'&\u{0}\u{202e}é"), "&lt;script&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}é");
        assert_eq!(line("a\nb\tc\u{1b}"), "a b c\u{fffd}");
    }

    #[test]
    fn slugs_are_safe_and_different() {
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("Barrier: naïve → Bézier (test)"), "barrier-na-ve-b-zier-test");
        assert_eq!(slug("…"), "part");
        assert!(slug(&"x".repeat(500)).len() <= 60);
        assert_eq!(slugs(["A", "a", "a 2", "a"]), ["a", "a-2", "a-2-2", "a-3"]);
    }

    #[test]
    fn addresses_hold_only_what_they_may() {
        assert_eq!(percent("a,b\n\"é\"#"), "a,b%0A%22%C3%A9%22%23");
    }
}
