//! A whole curve in one line.

use crate::number;
use crate::svg::scale::drawable;

use super::Look;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['_', '.', '-', ':', '=', '+', '*', '#'];

/// The values as blocks between their least and greatest, with both: `0.075 ▁▃▆█▆▃▁ 1.74`. What is not finite is a space; where
/// there are more values than columns, each block is the mean of its part. `no data` where nothing is finite.
pub fn sparkline(values: &[f64], look: Look) -> String {
    let finite = || values.iter().copied().filter(|value| drawable(*value));
    let (low, high) =
        finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return "no data".to_owned();
    }
    let (least, most) = (look.text(&number::significant(low, 3)), look.text(&number::significant(high, 3)));
    let room = look.width.saturating_sub(least.len() + most.len() + 2).max(1);
    let columns = values.len().min(room);
    let blocks = if look.ascii { ASCII } else { BLOCKS };
    let line: String = (0..columns)
        .map(|column| {
            let part = &values[column * values.len() / columns..(column + 1) * values.len() / columns];
            let part: Vec<f64> = part.iter().copied().filter(|value| drawable(*value)).collect();
            if part.is_empty() {
                return ' ';
            }
            let mean = part.iter().sum::<f64>() / part.len() as f64;
            let at = if high > low { (mean - low) / (high - low) } else { 0.5 };
            blocks[((at * 8.0) as usize).min(7)]
        })
        .collect();
    format!("{least} {line} {most}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_the_values() {
        let look = Look::default();
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, f64::NAN, 4.0], look), "0 ▁▃▅ █ 4");
        assert_eq!(sparkline(&[2.0, 2.0], look), "2 ▅▅ 2");
        assert_eq!(sparkline(&[0.0, 8.0], Look { ascii: true, width: 80 }), "0 _# 8");
        assert_eq!(sparkline(&[f64::NAN], look), "no data");
        assert_eq!(sparkline(&[], look), "no data");
    }

    #[test]
    fn many_values_fit_the_terminal() {
        let values: Vec<f64> = (0..10_000).map(f64::from).collect();
        let line = sparkline(&values, Look { ascii: false, width: 40 });
        assert!(line.chars().count() <= 40, "{line}");
        assert!(line.contains("▁▁▁") && line.contains("███"), "the mean of each part rises: {line}");
    }
}
