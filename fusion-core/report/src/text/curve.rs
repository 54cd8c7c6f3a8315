//! A plot of curves in characters: each line has a sign of its own, so it needs no colour.

use unicode_width::UnicodeWidthStr;

use crate::model::Curve;
use crate::svg::scale::{Ends, Span, label};

use super::{Look, pad};

const SIGNS: [char; 7] = ['●', '■', '▲', '◆', '○', '□', '△'];
const ASCII: [char; 7] = ['*', '#', '+', 'x', 'o', '%', '@'];
/// Columns of the widest and rows of every plot.
const WIDE: usize = 72;
const ROWS: usize = 14;

/// The series of a curve in a grid of characters, with the ends of both axes and a legend. Lines are interpolated between their
/// points; where two meet, the later one is seen. `no data` where nothing can be drawn.
pub fn curve(plot: &Curve, look: Look) -> String {
    let title = if plot.title.is_empty() { String::new() } else { look.text(&plot.title) + "\n" };
    let xs = plot.series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let ys = plot.series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let (Some(x), Some(y)) = (Span::of(xs, &plot.x, Ends::Tight), Span::of(ys, &plot.y, Ends::Tight)) else {
        return title + "no data\n";
    };
    let (low, high) = (look.text(&y.show(y.ends().0)), look.text(&y.show(y.ends().1)));
    let margin = low.width().max(high.width());
    let columns = look.width.min(WIDE).saturating_sub(margin + 2).max(10);

    let mut cells = vec![vec![' '; columns]; ROWS];
    for (place, series) in plot.series.iter().enumerate() {
        let sign = sign(place, look);
        let points = series.points.iter().map(|(at, height)| Some((x.at(*at)?, y.at(*height)?)));
        let points: Vec<Option<(f64, f64)>> = points.collect();
        for pair in points.windows(2) {
            if let [Some(from), Some(to)] = pair {
                draw(&mut cells, *from, *to, sign);
            }
        }
        points.iter().flatten().for_each(|point| draw(&mut cells, *point, *point, sign));
    }

    let side = if look.ascii { '|' } else { '│' };
    let (corner, floor) = if look.ascii { ("+", "-") } else { ("└", "─") };
    let mut out = title;
    let name = label(&plot.y);
    if !name.is_empty() {
        out.push_str(&look.fit(&name, look.width));
        out.push('\n');
    }
    for (row, line) in cells.iter().enumerate() {
        let end = match row {
            0 => &high,
            row if row + 1 == ROWS => &low,
            _ => "",
        };
        let line: String = line.iter().collect();
        out.push_str(&format!("{} {side}{}\n", pad(end, margin, true), line.trim_end()));
    }
    out.push_str(&format!("{} {corner}{}\n", " ".repeat(margin), floor.repeat(columns)));
    let (first, last) = (look.text(&x.show(x.ends().0)), look.text(&x.show(x.ends().1)));
    let room = columns.saturating_sub(first.width() + last.width());
    let name = look.fit(&label(&plot.x), room.saturating_sub(2));
    let left = (room.saturating_sub(name.width())) / 2;
    let middle = pad(&format!("{}{name}", " ".repeat(left)), room, false);
    out.push_str(&format!("{}{first}{middle}{last}\n", " ".repeat(margin + 2)));
    for (place, series) in plot.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty()) {
        out.push_str(&look.fit(&format!("{} {}", sign(place, look), series.name), look.width));
        out.push('\n');
    }
    out
}

fn sign(place: usize, look: Look) -> char {
    if look.ascii { ASCII[place % ASCII.len()] } else { SIGNS[place % SIGNS.len()] }
}

/// One sign in each column between two points, places from 0 to 1.
fn draw(cells: &mut [Vec<char>], from: (f64, f64), to: (f64, f64), sign: char) {
    let (columns, rows) = ((cells[0].len() - 1) as f64, (cells.len() - 1) as f64);
    let steps = ((to.0 - from.0).abs() * columns).ceil().max(1.0) as usize;
    for step in 0..=steps {
        let part = step as f64 / steps as f64;
        let column = ((from.0 + (to.0 - from.0) * part) * columns).round() as usize;
        let row = ((1.0 - from.1 - (to.1 - from.1) * part) * rows).round() as usize;
        if let Some(cell) = cells.get_mut(row).and_then(|row| row.get_mut(column)) {
            *cell = sign;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Axis, Series, Style};

    fn plot(points: Vec<(f64, f64)>) -> Curve {
        Curve {
            title: "Loss".to_owned(),
            x: Axis::new("t", ""),
            y: Axis::new("loss", "nats"),
            series: vec![Series::new("naïve", points, Style::default())],
            ..Curve::default()
        }
    }

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let text = curve(&plot(vec![(0.0, 0.0), (1.0, 2.0)]), Look { ascii: true, width: 40 });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Loss");
        assert_eq!(lines[1], "loss (nats)");
        assert!(lines[2].starts_with("2 |") && lines[2].ends_with('*') && lines[2].len() == 40, "{text}");
        assert!(lines[15].starts_with("0 |*"), "{text}");
        assert!(lines[17].trim_start().starts_with('0') && lines[17].ends_with('1'), "{text}");
        assert_eq!(lines[18], "* na?ve");
        assert!(lines.iter().all(|line| line.len() <= 40));
    }

    #[test]
    fn gaps_stay_and_nothing_is_no_data() {
        let text = curve(
            &plot(vec![(0.0, 1.0), (0.4, 1.0), (0.5, f64::NAN), (0.6, 1.0), (1.0, 1.0)]),
            Look::default(),
        );
        assert!(text.contains("●●  ") || text.contains("●   "), "{text}");
        assert!(curve(&plot(vec![(f64::NAN, 1.0)]), Look::default()).ends_with("no data\n"));
        assert!(curve(&plot(vec![]), Look::default()).ends_with("no data\n"));
    }
}
