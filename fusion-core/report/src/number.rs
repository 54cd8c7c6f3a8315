//! Numbers as people read them: as many digits as their size asks for, groups of three, per cent, durations.
//!
//! The minus sign is U+2212 and the separator of groups U+202F (a narrow space that does not break), as in print. What
//! machines read is written elsewhere, in full.

use crate::model::Digits;

/// Separator of groups of three digits.
const GROUP: char = '\u{202f}';
/// Minus.
const MINUS: char = '\u{2212}';

/// A number: NaN is `NaN`, infinity `∞`.
///
/// `Auto` shows four significant digits without zeros at the end, whole numbers below 10⁹ in full, and exponents below 10⁻⁴
/// and from 10⁹ on. `Fixed(n)` shows n digits after the point, `Percent(n)` a fraction times 100 with the sign `%`.
pub fn show(value: f64, digits: Digits) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".to_owned() } else { format!("{MINUS}∞") };
    }
    match digits {
        Digits::Auto => significant(value, 4),
        Digits::Fixed(digits) => fixed(value, digits.into()),
        Digits::Percent(digits) => fixed(value * 100.0, digits.into()) + " %",
    }
}

/// A number in a column or on an axis of this unit: where the unit is `%`, the sign stands there and not at each number.
pub fn in_column(value: f64, digits: Digits, unit: &str) -> String {
    let text = show(value, digits);
    match text.strip_suffix(" %") {
        Some(bare) if unit == "%" => bare.to_owned(),
        _ => text,
    }
}

/// So many significant digits, see [`show`].
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = digits.max(1);
    if value == value.trunc() && value.abs() < 1e9 {
        return fixed(value, 0);
    }
    // The exponent of the rounded number: 9.9996 is 10.00 with four digits.
    let rounded = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..9).contains(&exponent) {
        return sign(&format!("{}e{exponent}", trim(mantissa)));
    }
    let after = (digits as i32 - 1 - exponent).max(0) as usize;
    sign(&group(trim(&format!("{value:.after$}"))))
}

/// So many digits after the point; exponents from 10¹⁵ on, where an f64 has no digits left.
fn fixed(value: f64, digits: usize) -> String {
    if value.abs() >= 1e15 {
        return sign(&format!("{value:.3e}"));
    }
    let text = format!("{value:.digits$}");
    let zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
    let text = if zero { text.trim_start_matches('-') } else { &text };
    sign(&group(text))
}

/// Without zeros at the end of the fraction.
fn trim(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn sign(text: &str) -> String {
    text.replace('-', &MINUS.to_string())
}

/// Groups of three before the point, from five digits on.
fn group(text: &str) -> String {
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let digits = whole.trim_start_matches('-');
    if digits.len() < 5 {
        return text.to_owned();
    }
    let mut out = String::from(&whole[..whole.len() - digits.len()]);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(GROUP);
        }
        out.push(digit);
    }
    out + rest
}

/// Seconds as people say them: `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min`. Negative and not finite: `–`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    match seconds {
        s if s < 0.0005 => "0 ms".to_owned(),
        s if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => {
            let whole = s.round() as u64;
            format!("{} min {:02} s", whole / 60, whole % 60)
        }
        s => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_size() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (0.123456, "0.1235"),
            (12.3456, "12.35"),
            (9.99996, "10"),
            (1234.5678, "1235"),
            (12345.678, "12\u{202f}346"),
            (1_234_567.0, "1\u{202f}234\u{202f}567"),
            (0.000123456, "0.0001235"),
            (0.0000123456, "1.235e\u{2212}5"),
            (-2.5, "\u{2212}2.5"),
            (1.5e9, "1.5e9"),
            (6.02e23, "6.02e23"),
            (f64::MAX, "1.798e308"),
            (5e-324, "4.941e\u{2212}324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "∞"),
            (f64::NEG_INFINITY, "\u{2212}∞"),
        ];
        for (value, text) in cases {
            assert_eq!(show(value, Digits::Auto), text, "{value:e}");
        }
    }

    #[test]
    fn fixed_and_percent_keep_their_digits() {
        assert_eq!(show(2.0, Digits::Fixed(3)), "2.000");
        assert_eq!(show(-0.0004, Digits::Fixed(2)), "0.00");
        assert_eq!(show(98765.4321, Digits::Fixed(1)), "98\u{202f}765.4");
        assert_eq!(show(0.98765, Digits::Percent(2)), "98.77 %");
        assert_eq!(show(-0.5, Digits::Percent(0)), "\u{2212}50 %");
        assert_eq!(show(1e18, Digits::Fixed(2)), "1.000e18");
    }

    #[test]
    fn durations_change_their_unit() {
        let cases = [
            (0.0, "0 ms"),
            (0.85, "850 ms"),
            (0.99951, "1.0 s"),
            (12.34, "12.3 s"),
            (59.96, "1 min 00 s"),
            (245.4, "4 min 05 s"),
            (7620.0, "2 h 07 min"),
            (-1.0, "–"),
            (f64::NAN, "–"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
