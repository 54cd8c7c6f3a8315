//! Patterns over tensor names, for `on "glob"` rules: our own matcher because `.` separates here and time must stay linear.
//!
//! A pattern matches whole names.
//!
//! | in a pattern | matches |
//! |---|---|
//! | `*` | any text without `.` (also none) |
//! | `*` alone as the first or the last segment (`*.mlp.*`, `*.bias`, `lm_head.*`) | one or more whole segments |
//! | `**` | any text |
//! | `?` | one character other than `.` |
//! | `[0-9]`, `[!a-c]` | one character of (not of) the class |
//! | `{q,k,v}` | one of the alternatives, which are patterns |
//! | `\` | takes the next character as it is |
//!
//! Matching simulates a nondeterministic automaton: O(pattern × name), no backtracking.

use std::collections::BTreeSet;

/// How deep `{…}` may be nested.
const MAX_DEPTH: usize = 16;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    program: Vec<Step>,
}

/// Why a pattern is not one, and where (byte offset in the pattern).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// No characters.
    #[error("the pattern is empty")]
    Empty,
    /// `[` or `{` without its end.
    #[error("`{open}` is never closed")]
    Unclosed {
        /// The bracket.
        open: char,
        /// Where it stands.
        at: usize,
    },
    /// `]` or `}` without its start.
    #[error("`{close}` closes nothing")]
    Unopened {
        /// The bracket.
        close: char,
        /// Where it stands.
        at: usize,
    },
    /// `[]`, `[z-a]`
    #[error("the class `{class}` can match nothing")]
    EmptyClass {
        /// Its text.
        class: String,
        /// Where it stands.
        at: usize,
    },
    /// `\` at the end.
    #[error("`\\` at the end escapes nothing")]
    Escape {
        /// Where it stands.
        at: usize,
    },
    /// Braces in braces in braces.
    #[error("`{{` is nested more than {MAX_DEPTH} deep")]
    Deep {
        /// Where it stands.
        at: usize,
    },
}

impl GlobError {
    /// Byte offset in the pattern.
    pub fn at(&self) -> usize {
        match self {
            GlobError::Empty => 0,
            GlobError::Unclosed { at, .. }
            | GlobError::Unopened { at, .. }
            | GlobError::EmptyClass { at, .. }
            | GlobError::Escape { at }
            | GlobError::Deep { at } => *at,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Char(char),
    One,
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    Star,
    /// A lone `*` at either end: one or more of anything.
    Segments,
    Deep,
    Either(Vec<Vec<Piece>>),
}

#[derive(Clone, Debug)]
enum Step {
    Char(char),
    NotDot,
    Any,
    Class { ranges: Vec<(char, char)>, negated: bool },
    Split(usize, usize),
    Jump(usize),
    Match,
}

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`GlobError`] with the place, for brackets that do not pair, empty classes and an empty pattern.
    pub fn new(pattern: &str) -> Result<Glob, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        let mut reader = Reader { text: pattern, at: 0 };
        let mut pieces = reader.sequence(0)?;
        if let Some(close) = reader.peek() {
            return Err(GlobError::Unopened { close, at: reader.at });
        }
        widen_ends(&mut pieces, true, true);
        let mut program = Vec::new();
        emit(&pieces, &mut program);
        program.push(Step::Match);
        Ok(Glob { program })
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let mut current = Threads::new(self.program.len());
        let mut next = Threads::new(self.program.len());
        current.add(&self.program, 0);
        for c in name.chars() {
            next.clear();
            for &at in &current.order {
                let takes = match &self.program[at] {
                    Step::Char(want) => *want == c,
                    Step::NotDot => c != '.',
                    Step::Any => true,
                    Step::Class { ranges, negated } => {
                        c != '.' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
                    }
                    Step::Split(..) | Step::Jump(_) | Step::Match => false,
                };
                if takes {
                    next.add(&self.program, at + 1);
                }
            }
            std::mem::swap(&mut current, &mut next);
            if current.order.is_empty() {
                return false;
            }
        }
        current.order.iter().any(|at| matches!(self.program[*at], Step::Match))
    }

    /// How many of `names` match.
    pub fn count<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> usize {
        names.into_iter().filter(|name| self.matches(name)).count()
    }
}

/// States of the automaton that are alive, each once.
struct Threads {
    order: Vec<usize>,
    seen: Vec<bool>,
    stack: Vec<usize>,
}

impl Threads {
    fn new(size: usize) -> Threads {
        Threads { order: Vec::with_capacity(size), seen: vec![false; size], stack: Vec::new() }
    }

    fn clear(&mut self) {
        self.order.clear();
        self.seen.fill(false);
    }

    fn add(&mut self, program: &[Step], start: usize) {
        self.stack.push(start);
        while let Some(at) = self.stack.pop() {
            if std::mem::replace(&mut self.seen[at], true) {
                continue;
            }
            match program[at] {
                Step::Split(first, second) => self.stack.extend([second, first]),
                Step::Jump(to) => self.stack.push(to),
                _ => self.order.push(at),
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Up to the end, or up to a `,` or `}` when inside braces, or a stray `}` outside.
    fn sequence(&mut self, depth: usize) -> Result<Vec<Piece>, GlobError> {
        let mut pieces = Vec::new();
        while let Some(c) = self.peek() {
            let at = self.at;
            if c == '}' || (depth > 0 && c == ',') {
                break;
            }
            self.next();
            pieces.push(match c {
                '*' if self.peek() == Some('*') => {
                    while self.peek() == Some('*') {
                        self.next();
                    }
                    Piece::Deep
                }
                '*' => Piece::Star,
                '?' => Piece::One,
                '[' => self.class(at)?,
                ']' => return Err(GlobError::Unopened { close: ']', at }),
                '{' => self.either(at, depth + 1)?,
                '\\' => Piece::Char(self.next().ok_or(GlobError::Escape { at })?),
                c => Piece::Char(c),
            });
        }
        Ok(pieces)
    }

    fn either(&mut self, at: usize, depth: usize) -> Result<Piece, GlobError> {
        if depth > MAX_DEPTH {
            return Err(GlobError::Deep { at });
        }
        let mut branches = Vec::new();
        loop {
            branches.push(self.sequence(depth)?);
            match self.next() {
                Some(',') => {}
                Some(_) => return Ok(Piece::Either(branches)),
                None => return Err(GlobError::Unclosed { open: '{', at }),
            }
        }
    }

    fn class(&mut self, at: usize) -> Result<Piece, GlobError> {
        let unclosed = GlobError::Unclosed { open: '[', at };
        let negated = matches!(self.peek(), Some('!' | '^'));
        if negated {
            self.next();
        }
        let mut ranges = Vec::new();
        loop {
            let mut low = self.next().ok_or_else(|| unclosed.clone())?;
            if low == ']' {
                break;
            }
            if low == '\\' {
                low = self.next().ok_or_else(|| unclosed.clone())?;
            }
            let mut high = low;
            if self.peek() == Some('-') && !self.text[self.at + 1..].starts_with(']') {
                self.next();
                high = self.next().ok_or_else(|| unclosed.clone())?;
            }
            if low <= high {
                ranges.push((low, high));
            }
        }
        if ranges.is_empty() {
            return Err(GlobError::EmptyClass { class: self.text[at..self.at].to_owned(), at });
        }
        Ok(Piece::Class { ranges, negated })
    }
}

/// Turns a `*` that is the whole first or last segment into "one or more segments".
fn widen_ends(pieces: &mut [Piece], first: bool, last: bool) {
    let count = pieces.len();
    let dot = Piece::Char('.');
    if first {
        let lone = if count == 1 { last } else { pieces.get(1) == Some(&dot) };
        match pieces.first_mut() {
            Some(piece @ Piece::Star) if lone => *piece = Piece::Segments,
            Some(Piece::Either(branches)) => {
                branches.iter_mut().for_each(|branch| widen_ends(branch, true, last && count == 1));
            }
            _ => {}
        }
    }
    if last && count > 1 {
        let lone = pieces[count - 2] == dot;
        match pieces.last_mut() {
            Some(piece @ Piece::Star) if lone => *piece = Piece::Segments,
            Some(Piece::Either(branches)) => {
                branches.iter_mut().for_each(|branch| widen_ends(branch, false, true));
            }
            _ => {}
        }
    }
}

fn emit(pieces: &[Piece], program: &mut Vec<Step>) {
    for piece in pieces {
        match piece {
            Piece::Char(c) => program.push(Step::Char(*c)),
            Piece::One => program.push(Step::NotDot),
            Piece::Class { ranges, negated } => {
                program.push(Step::Class { ranges: ranges.clone(), negated: *negated });
            }
            Piece::Star => repeat(Step::NotDot, program),
            Piece::Deep => repeat(Step::Any, program),
            Piece::Segments => {
                program.push(Step::Any);
                repeat(Step::Any, program);
            }
            Piece::Either(branches) => {
                let mut exits = Vec::new();
                for (index, branch) in branches.iter().enumerate() {
                    if index + 1 < branches.len() {
                        let split = program.len();
                        program.push(Step::Match);
                        emit(branch, program);
                        exits.push(program.len());
                        program.push(Step::Match);
                        program[split] = Step::Split(split + 1, program.len());
                    } else {
                        emit(branch, program);
                    }
                }
                let end = program.len();
                for exit in exits {
                    program[exit] = Step::Jump(end);
                }
            }
        }
    }
}

fn repeat(step: Step, program: &mut Vec<Step>) {
    let start = program.len();
    program.push(Step::Split(start + 1, start + 3));
    program.push(step);
    program.push(Step::Jump(start));
}

/// A pattern near to `pattern` that does match some of `names`, with how many it matches: the help of "no tensor matches".
///
/// Tries, from the smallest change on: misspelt words replaced by segments of the names, `*` widened to `**`, and the pattern
/// as one segment inside the name. `None` if nothing helps.
pub fn nearest(pattern: &str, names: &[&str]) -> Option<(String, usize)> {
    let vocabulary: BTreeSet<&str> = names
        .iter()
        .flat_map(|name| name.split('.'))
        .filter(|segment| !segment.is_empty() && !segment.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    let words = words_of(pattern);
    let mut candidates = Vec::new();
    let mut all_fixed = pattern.to_owned();
    for (start, end) in words.iter().rev() {
        let word = &pattern[*start..*end];
        if vocabulary.contains(word) {
            continue;
        }
        if let Some(better) = crate::suggest::closest(word, vocabulary.iter().copied()) {
            candidates.push(format!("{}{better}{}", &pattern[..*start], &pattern[*end..]));
            all_fixed.replace_range(*start..*end, better);
        }
    }
    candidates.push(all_fixed.clone());
    for text in [pattern, all_fixed.as_str()] {
        let bare = text.trim_matches('*').trim_matches('.');
        candidates.push(text.replace("**", "*").replace('*', "**"));
        if !bare.is_empty() {
            candidates.push(format!("*.{bare}"));
            candidates.push(format!("{bare}.*"));
            candidates.push(format!("*.{bare}.*"));
            candidates.push(format!("**{bare}**"));
        }
    }
    candidates.into_iter().filter(|candidate| candidate != pattern).find_map(|candidate| {
        let count = Glob::new(&candidate).ok()?.count(names.iter().copied());
        (count > 0).then_some((candidate, count))
    })
}

/// Byte ranges of runs of letters, digits, `_` and `-` outside classes.
fn words_of(pattern: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    let mut in_class = false;
    for (at, c) in pattern.char_indices() {
        let part = !in_class && (c.is_alphanumeric() || c == '_' || c == '-');
        match (part, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
        in_class = (in_class || c == '[') && c != ']';
    }
    words.extend(start.map(|from| (from, pattern.len())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str) -> bool {
        Glob::new(pattern).expect("the pattern is well formed").matches(name)
    }

    #[test]
    fn star_stays_within_a_segment() {
        assert!(check("model.layers.*.mlp.up_proj.weight", "model.layers.12.mlp.up_proj.weight"));
        assert!(!check("model.*.weight", "model.layers.12.weight"));
        assert!(check("model.**.weight", "model.layers.12.weight"));
        assert!(check("a.*_proj.weight", "a.up_proj.weight"));
        assert!(check("a*b", "ab"));
    }

    #[test]
    fn a_lone_star_at_either_end_spans_segments() {
        let name = "model.layers.0.mlp.gate_proj.weight";
        assert!(check("*.mlp.*", name));
        assert!(check("*.weight", name));
        assert!(check("model.*", name));
        assert!(check("*", name));
        assert!(!check("*.mlp", name));
        assert!(!check("*.weight", "weight"));
        assert!(check("{*.mlp,*.attn}.*", name));
        assert!(check("model.{layers.*,norm}", name));
        assert!(!check("*mlp.*", name));
    }

    #[test]
    fn classes_and_alternatives() {
        assert!(check("l.[0-3].w", "l.2.w"));
        assert!(!check("l.[0-3].w", "l.4.w"));
        assert!(check("l.[!0-3].w", "l.4.w"));
        assert!(check("l.[a-].w", "l.-.w"));
        assert!(check("l.{q,k,v}_proj", "l.k_proj"));
        assert!(!check("l.{q,k,v}_proj", "l.o_proj"));
        assert!(check("{a,{b,c}d}", "cd"));
        assert!(check("x{,y}", "x"));
        assert!(check(r"a\*b", "a*b"));
        assert!(!check(r"a\*b", "aab"));
        assert!(check("l.?", "l.7"));
        assert!(!check("l.?", "l.17"));
    }

    #[test]
    fn malformed_patterns_say_where() {
        assert_eq!(Glob::new("").unwrap_err(), GlobError::Empty);
        assert_eq!(Glob::new("a[0-").unwrap_err(), GlobError::Unclosed { open: '[', at: 1 });
        assert_eq!(Glob::new("a{b").unwrap_err(), GlobError::Unclosed { open: '{', at: 1 });
        assert_eq!(Glob::new("a}b").unwrap_err(), GlobError::Unopened { close: '}', at: 1 });
        assert_eq!(Glob::new("a]").unwrap_err(), GlobError::Unopened { close: ']', at: 1 });
        assert!(matches!(Glob::new("a[z-b]"), Err(GlobError::EmptyClass { at: 1, .. })));
        assert_eq!(Glob::new("a\\").unwrap_err(), GlobError::Escape { at: 1 });
        assert!(matches!(Glob::new(&"{".repeat(40)), Err(GlobError::Deep { .. })));
    }

    #[test]
    fn hostile_patterns_stay_linear() {
        let pattern = "*a".repeat(200) + "b";
        let name = "a".repeat(2000);
        assert!(!check(&pattern, &name));
    }

    #[test]
    fn nearest_pattern_matches() {
        let names: Vec<String> = (0..4)
            .flat_map(|layer| {
                ["mlp.up_proj", "mlp.down_proj", "self_attn.q_proj"]
                    .map(|part| format!("model.layers.{layer}.{part}.weight"))
            })
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(nearest("*.mpl.*", &names), Some(("*.mlp.*".into(), 8)));
        assert_eq!(nearest("mlp", &names), Some(("*.mlp.*".into(), 8)));
        assert_eq!(nearest("model.*.mlp.*", &names), Some(("model.**.mlp.**".into(), 8)));
        assert_eq!(nearest("zebra", &names), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_literals_match_themselves(pattern in "\\PC{0,20}", name in "[a-z.0-9]{1,20}") {
            if let Ok(glob) = Glob::new(&pattern) {
                glob.matches(&name);
            }
            proptest::prop_assert!(Glob::new(&name).unwrap().matches(&name));
            nearest(&pattern, &[&name]);
        }
    }
}
