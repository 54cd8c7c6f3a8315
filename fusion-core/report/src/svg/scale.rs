//! Axes as arithmetic: which values they span, where values lie, which ticks a reader expects.

use crate::model::{Axis, Digits, Scale};
use crate::number;

/// Beyond this, differences of two values may overflow. No measurement is there.
const LARGEST: f64 = 1e150;

/// Whether a value can be drawn at all.
pub(crate) fn drawable(value: f64) -> bool {
    value.abs() < LARGEST
}

/// The values between two ends of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    low: f64,
    high: f64,
    log: bool,
    /// Fractions are shown times 100.
    percent: bool,
}

/// How the ends are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ends {
    /// A little more than the data; from 0 where that is near.
    Loose,
    /// The data's ends.
    Tight,
    /// From zero to a little more than the data, in both directions: lengths are compared.
    Zero,
}

/// A tick.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) at: f64,
    /// Empty for a fine line between labels.
    pub(crate) label: String,
}

impl Span {
    /// The span of the values that can be drawn; `None` where there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>, axis: &Axis, ends: Ends) -> Option<Span> {
        let only_positive = axis.scale == Scale::Log;
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            if drawable(value) && (value > 0.0 || !only_positive) {
                (low, high) = (low.min(value), high.max(value));
            }
        }
        if low > high {
            return None;
        }
        let log = match axis.scale {
            Scale::Log => true,
            Scale::Linear => false,
            Scale::Auto => ends != Ends::Zero && low > 0.0 && high / low > 100.0,
        };
        let percent = axis.unit == "%";
        let data = (low, high);
        let (mut low, mut high) = if log { log_ends(low, high, ends) } else { linear_ends(low, high, ends) };
        if percent && data.0 >= 0.0 && data.1 <= 1.0 && !log {
            // Nothing is above 100 %, so the axis does not pretend that something could be.
            (low, high) = (low.max(0.0), high.min(1.0));
        }
        Some(Span { low, high, log, percent })
    }

    /// Exactly from one end to the other.
    pub(crate) fn exactly(low: f64, high: f64, percent: bool) -> Span {
        Span { low, high, log: false, percent }
    }

    /// Both ends.
    pub(crate) fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// From end to end, in the units of the values.
    pub(crate) fn length(&self) -> f64 {
        self.high - self.low
    }

    /// Where a value lies: 0 is the low end, 1 the high one. `None` where it cannot be drawn.
    pub(crate) fn at(&self, value: f64) -> Option<f64> {
        if !drawable(value) || (self.log && value <= 0.0) {
            return None;
        }
        let at = if self.log {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        at.is_finite().then_some(at)
    }

    /// About `wanted` ticks at round numbers, rising.
    pub(crate) fn ticks(&self, wanted: usize) -> Vec<Tick> {
        if self.log {
            let ticks = self.log_ticks(wanted);
            if ticks.iter().filter(|tick| !tick.label.is_empty()).count() > 1 {
                return ticks;
            }
        }
        self.linear_ticks(wanted)
    }

    /// A number as this axis shows it, without the sign of its unit.
    pub(crate) fn show(&self, value: f64) -> String {
        number::significant(if self.percent { value * 100.0 } else { value }, 3)
    }

    /// Numbers with the same digits after the point: three significant ones of the largest.
    pub(crate) fn alike(&self, values: &[f64]) -> Vec<String> {
        let factor = if self.percent { 100.0 } else { 1.0 };
        let largest = values
            .iter()
            .filter(|value| drawable(**value))
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        let size = (largest * factor).log10().floor();
        if !(-4.0..9.0).contains(&size) {
            return values.iter().map(|value| self.show(*value)).collect();
        }
        let digits = Digits::Fixed((2.0 - size).max(0.0) as u8);
        values.iter().map(|value| number::show(value * factor, digits)).collect()
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<Tick> {
        let factor = if self.percent { 100.0 } else { 1.0 };
        let (low, high) = (self.low * factor, self.high * factor);
        let step = nice((high - low) / wanted.max(1) as f64);
        // A hair more than the ends, so that an end that is itself a round number keeps its tick.
        let hair = step * 1e-6;
        let first = ((low - hair) / step).ceil() as i64;
        let last = ((high + hair) / step).floor() as i64;
        let digits = (-step.log10() - 1e-9).ceil().clamp(0.0, 12.0) as u8;
        let digits =
            if (step * 10f64.powi(digits.into()) - (step * 10f64.powi(digits.into())).round()).abs() > 1e-6 {
                digits + 1
            } else {
                digits
            };
        let largest = low.abs().max(high.abs());
        (first..=last)
            .map(|n| {
                let value = n as f64 * step;
                let label = if largest >= 1e7 || step < 1e-6 {
                    if n == 0 { "0".to_owned() } else { number::significant(value, 3) }
                } else {
                    number::show(value, Digits::Fixed(digits))
                };
                Tick { at: value / factor, label }
            })
            .collect()
    }

    fn log_ticks(&self, wanted: usize) -> Vec<Tick> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let decades = self.high.log10() - self.low.log10();
        let every = (decades / wanted.max(1) as f64).ceil().max(1.0) as i32;
        let labelled: &[u32] = match decades {
            d if d < 1.6 => &[1, 2, 5],
            d if d < 3.2 => &[1, 3],
            _ => &[1],
        };
        let mut ticks = Vec::new();
        for exponent in first..=last {
            for digit in 1..10u32 {
                let at = 10f64.powi(exponent) * f64::from(digit);
                if at < self.low * (1.0 - 1e-9) || at > self.high * (1.0 + 1e-9) || (every > 1 && digit > 1) {
                    continue;
                }
                let named = labelled.contains(&digit) && exponent.rem_euclid(every) == 0;
                let label = if named { self.power(digit, exponent) } else { String::new() };
                ticks.push(Tick { at, label });
            }
        }
        ticks
    }

    /// d·10ᵉ: in full near 1, with a raised exponent elsewhere.
    fn power(&self, digit: u32, exponent: i32) -> String {
        let exponent = if self.percent { exponent + 2 } else { exponent };
        if (-3..=4).contains(&exponent) {
            return number::significant(f64::from(digit) * 10f64.powi(exponent), 3);
        }
        let raised: String = exponent
            .to_string()
            .chars()
            .map(|c| match c {
                '-' => '⁻',
                '1' => '¹',
                '2' => '²',
                '3' => '³',
                c => char::from_u32('⁰' as u32 + c.to_digit(10).unwrap_or(0)).unwrap_or(c),
            })
            .collect();
        if digit == 1 { format!("10{raised}") } else { format!("{digit}·10{raised}") }
    }
}

/// The label of an axis with its unit.
pub(crate) fn label(axis: &Axis) -> String {
    match (axis.label.as_str(), axis.unit.as_str()) {
        (label, "") => label.to_owned(),
        ("", unit) => unit.to_owned(),
        (label, unit) => format!("{label} ({unit})"),
    }
}

fn linear_ends(low: f64, high: f64, ends: Ends) -> (f64, f64) {
    let spread = high - low;
    if spread <= (low.abs().max(high.abs())) * 1e-12 {
        // All the same: a span around it.
        let half = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
        return match ends {
            Ends::Zero if low > 0.0 => (0.0, high * 1.1),
            Ends::Zero if low < 0.0 => (low * 1.1, 0.0),
            Ends::Zero => (0.0, 1.0),
            _ => (low - half, high + half),
        };
    }
    match ends {
        Ends::Tight => (low, high),
        Ends::Zero => {
            let (low, high) = (low.min(0.0), high.max(0.0));
            let more = (high - low) * 0.06;
            (if low < 0.0 { low - more } else { 0.0 }, if high > 0.0 { high + more } else { 0.0 })
        }
        Ends::Loose => {
            let more = spread * 0.06;
            let near_zero = low >= 0.0 && low < high * 0.3;
            (if near_zero { 0.0 } else { low - more }, high + more)
        }
    }
}

fn log_ends(low: f64, high: f64, ends: Ends) -> (f64, f64) {
    let (low, high) = (low.max(1e-300), high.max(1e-300));
    if high / low < 1.0 + 1e-9 {
        return (low / 2.0, high * 2.0);
    }
    if ends == Ends::Tight {
        return (low, high);
    }
    let more = (high / low).powf(0.05);
    (low / more, high * more)
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| step / power <= factor * (1.0 + 1e-9));
    power * factor.unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(span: Span, wanted: usize) -> Vec<String> {
        span.ticks(wanted).into_iter().map(|tick| tick.label).filter(|label| !label.is_empty()).collect()
    }

    fn axis(scale: Scale, unit: &str) -> Axis {
        Axis { label: "x".to_owned(), unit: unit.to_owned(), scale }
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(Span::exactly(0.0, 1.0, false), 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Span::exactly(0.0, 1.0, true), 4), ["0", "25", "50", "75", "100"]);
        assert_eq!(labels(Span::exactly(-0.3, 0.31, false), 3), ["−0.25", "0.00", "0.25"]);
        assert_eq!(
            labels(Span::exactly(0.0, 30_000.0, false), 3),
            ["0", "10\u{202f}000", "20\u{202f}000", "30\u{202f}000"]
        );
        assert_eq!(labels(Span::exactly(0.0, 4e-8, false), 2), ["0", "2e−8", "4e−8"]);
        assert_eq!(labels(Span::exactly(97.3, 99.1, false), 4), ["97.5", "98.0", "98.5", "99.0"]);
    }

    #[test]
    fn a_wide_positive_range_is_logarithmic_and_only_that() {
        let auto = axis(Scale::Auto, "");
        let span = Span::of([0.001, 10.0], &auto, Ends::Tight).unwrap();
        assert_eq!(labels(span, 6), ["0.001", "0.01", "0.1", "1", "10"]);
        let span = Span::of([1e-9, 1e6], &auto, Ends::Tight).unwrap();
        assert_eq!(labels(span, 5), ["10⁻⁹", "10⁻⁶", "0.001", "1", "1000", "10⁶"]);
        assert!(!Span::of([0.0, 10.0], &auto, Ends::Tight).unwrap().log);
        assert!(!Span::of([1.0, 99.0], &auto, Ends::Tight).unwrap().log);
        assert!(!Span::of([1e-3, 99.0], &axis(Scale::Linear, ""), Ends::Tight).unwrap().log);
    }

    #[test]
    fn a_short_logarithmic_axis_still_has_labels() {
        for (low, high) in [(2.1, 4.9), (3.1, 3.3), (1.0, 9.0), (0.2, 40.0)] {
            let span = Span::of([low, high], &axis(Scale::Log, ""), Ends::Loose).unwrap();
            assert!(labels(span, 5).len() >= 2, "{low} to {high}: {:?}", labels(span, 5));
        }
    }

    #[test]
    fn a_single_value_gets_a_span_around_it() {
        for value in [0.0, 1.0, -3.0, 1e-30, 1e100] {
            for scale in [Scale::Auto, Scale::Linear, Scale::Log] {
                for ends in [Ends::Loose, Ends::Tight, Ends::Zero] {
                    let Some(span) = Span::of([value], &axis(scale, ""), ends) else {
                        assert!(scale == Scale::Log && value <= 0.0);
                        continue;
                    };
                    let at = span.at(value).unwrap();
                    assert!((0.0..=1.0).contains(&at), "{value} {scale:?} {ends:?}: {at}");
                    assert!(span.ticks(5).len() < 40);
                }
            }
        }
    }

    #[test]
    fn fractions_stay_within_a_hundred_per_cent() {
        let of = |values: [f64; 2], ends| Span::of(values, &axis(Scale::Auto, "%"), ends).unwrap().ends();
        assert_eq!(of([0.5, 0.99], Ends::Zero), (0.0, 1.0));
        assert!(of([0.9, 0.99], Ends::Loose).1 <= 1.0 && of([0.9, 0.99], Ends::Loose).0 > 0.8);
        assert_eq!(of([1.0, 1.0], Ends::Loose).1, 1.0);
        assert!(of([-0.2, 1.2], Ends::Loose).0 < -0.2 && of([-0.2, 1.2], Ends::Loose).1 > 1.2);
        let none = of([0.0, 0.0], Ends::Loose);
        assert!(none.0 < none.1, "{none:?}");
    }

    #[test]
    fn what_cannot_be_drawn_is_nowhere() {
        let span =
            Span::of([f64::NAN, 1.0, f64::INFINITY, 2.0, f64::MAX], &axis(Scale::Auto, ""), Ends::Tight)
                .unwrap();
        assert_eq!((span.low, span.high), (1.0, 2.0));
        assert_eq!(span.at(f64::NAN), None);
        assert_eq!(span.at(f64::MAX), None);
        assert_eq!(Span::of([f64::NAN], &axis(Scale::Auto, ""), Ends::Tight), None);
        assert_eq!(Span::of([-1.0, 0.0], &axis(Scale::Log, ""), Ends::Tight), None);
    }
}
