//! What was expected, and whether it holds.

use crate::model::{Digits, Expect};
use crate::number;

use super::Look;

/// A line for each `expect`, and its values in a second one where it has any.
pub fn expects(expects: &[Expect], look: Look) -> String {
    let mut out = String::new();
    for expect in expects {
        let mark = match (expect.holds, look.ascii) {
            (true, false) => "✓ holds         ",
            (true, true) => "[ok]   holds         ",
            (false, false) => "✗ does not hold ",
            (false, true) => "[fail] does not hold ",
        };
        out.push_str(mark);
        out.push_str(&look.text(&expect.text));
        if expect.line > 0 {
            out.push_str(&format!("  (line {})", expect.line));
        }
        out.push('\n');
        if !expect.values.is_empty() {
            let values = expect.values.iter().map(|(name, value)| {
                format!("{} = {}", look.text(name), look.text(&number::show(*value, Digits::Auto)))
            });
            out.push_str(&format!("    {}\n", values.collect::<Vec<_>>().join(", ")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_name_the_values() {
        let fails = Expect {
            text: "barrier.height < 0.1".to_owned(),
            holds: false,
            values: vec![("barrier.height".to_owned(), 1.73241)],
            line: 7,
        };
        assert_eq!(
            expects(std::slice::from_ref(&fails), Look::default()),
            "✗ does not hold barrier.height < 0.1  (line 7)\n    barrier.height = 1.732\n"
        );
        assert!(expects(&[fails], Look { ascii: true, width: 80 }).is_ascii());
    }
}
