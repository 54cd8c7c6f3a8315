//! Tokens of a recipe with nothing left out: what the splitter cuts, the bracket check counts and the formatter prints.
//!
//! pest decides what is a recipe; this scan only finds where texts, comments and brackets are, in one linear pass that
//! cannot fail.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A dotted name or a word of the language.
    Word,
    /// `12`, `1e-3`
    Number,
    /// `"…"`
    Text,
    /// `"…` up to the end of the line
    OpenText,
    /// `'…'`, or a text in typographic quotes
    WrongQuotes,
    /// `# …`, without the line break
    Comment,
    /// A line break
    Newline,
    /// Punctuation
    Symbol,
    /// A character that means nothing
    Stray,
}

/// A token and its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn text<'a>(&self, source: &'a str) -> &'a str {
        &source[self.start..self.end]
    }

    pub(crate) fn is(&self, source: &str, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text(source) == symbol
    }
}

const SYMBOLS: &[&str] = &[
    "..=", "..", "==", "!=", "<=", ">=", ":=", "=>", "&&", "||", "//", "{", "}", "[", "]", "(", ")", "=",
    ":", ";", ",", "<", ">", "!", "+", "-", "*", "/", "%", "?", ".",
];

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// All tokens of a text. Blanks, carriage returns and a byte-order mark at the start are left out.
pub(crate) fn scan(source: &str) -> Vec<Token> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut at = if source.starts_with('\u{feff}') { 3 } else { 0 };
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b' ' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'\n' => {
                at += 1;
                Kind::Newline
            }
            b'#' => {
                at += line_length(&bytes[at..]);
                Kind::Comment
            }
            b'"' => {
                let (length, closed) = text_length(&bytes[at..]);
                at += length;
                if closed { Kind::Text } else { Kind::OpenText }
            }
            byte if starts_word(byte) => {
                at = word_end(bytes, at);
                Kind::Word
            }
            byte if byte.is_ascii_digit() => {
                at = number_end(bytes, at);
                Kind::Number
            }
            _ => match SYMBOLS.iter().find(|symbol| source[at..].starts_with(**symbol)) {
                Some(symbol) => {
                    at += symbol.len();
                    Kind::Symbol
                }
                None => {
                    let (length, kind) = odd(&source[at..]);
                    at += length;
                    kind
                }
            },
        };
        tokens.push(Token { kind, start, end: at });
    }
    tokens
}

/// Bytes to the end of the line, without a carriage return.
fn line_length(bytes: &[u8]) -> usize {
    let length = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    if length > 0 && bytes[length - 1] == b'\r' { length - 1 } else { length }
}

/// Length of a quoted text, and whether it is closed on its line.
fn text_length(bytes: &[u8]) -> (usize, bool) {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return (at + 1, true),
            b'\n' | b'\r' => break,
            b'\\' if bytes.get(at + 1).is_some_and(|next| *next != b'\n' && *next != b'\r') => at += 2,
            _ => at += 1,
        }
    }
    (line_length(bytes), false)
}

fn word_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        while at < bytes.len() && is_word(bytes[at]) {
            at += 1;
        }
        let dotted = bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_some_and(|next| starts_word(*next));
        if !dotted {
            return at;
        }
        at += 1;
    }
}

fn number_end(bytes: &[u8], mut at: usize) -> usize {
    let digits = |mut at: usize| {
        while at < bytes.len() && (bytes[at].is_ascii_digit() || bytes[at] == b'_') {
            at += 1;
        }
        at
    };
    let digit_at = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    at = digits(at);
    if bytes.get(at) == Some(&b'.') && digit_at(at + 1) {
        at = digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = matches!(bytes.get(at + 1), Some(b'+' | b'-')) as usize;
        if digit_at(at + 1 + sign) {
            at = digits(at + 1 + sign);
        }
    }
    at
}

/// A character that starts no token: a text in the wrong quotes, or a stray character.
fn odd(rest: &str) -> (usize, Kind) {
    let first = rest.chars().next().unwrap_or(' ');
    let closers: &[char] = match first {
        '\'' => &['\''],
        '`' => &['`'],
        '“' | '”' | '„' => &['“', '”', '"'],
        '‘' | '’' => &['‘', '’'],
        '«' => &['»'],
        _ => return (first.len_utf8(), Kind::Stray),
    };
    let line = &rest[..line_length(rest.as_bytes())];
    match line[first.len_utf8()..].char_indices().find(|(_, c)| closers.contains(c)) {
        Some((at, closer)) => (first.len_utf8() + at + closer.len_utf8(), Kind::WrongQuotes),
        None => (first.len_utf8(), Kind::Stray),
    }
}
