//! The graph as a drawing of our own, so that a browser is enough to look at it. Its colours suit light and dark pages.

use std::fmt::Write as _;

use fusion_core::plan::GraphView;

use super::layered;

const HEIGHT: f64 = 46.0;
const ROW_GAP: f64 = 26.0;
const COLUMN_GAP: f64 = 96.0;
const MARGIN: f64 = 24.0;
/// Width of a character of the small font, on the safe side.
const CHARACTER: f64 = 7.6;
/// Longest text of a box; the whole is in its tooltip.
const LONGEST: usize = 34;

const STYLE: &str = "
  text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 } .detail, .label { font-size: 11px; fill: #57606a }
  rect { fill: #f6f8fa; stroke: #8c959f } .model rect, .data rect { fill: #ddf4ff; stroke: #54aeff }
  .save rect, .report rect { fill: #dafbe1; stroke: #4ac26b } .expect rect { fill: #fff8c5; stroke: #d4a72c }
  path { fill: none; stroke: #8c959f; stroke-width: 1.3 } marker path { fill: #8c959f; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .detail, .label { fill: #9ea7b3 }
    rect { fill: #21262d; stroke: #6e7681 } .model rect, .data rect { fill: #0c2d6b; stroke: #388bfd }
    .save rect, .report rect { fill: #04260f; stroke: #2ea043 } .expect rect { fill: #341a00; stroke: #9e6a03 }
  }
";

pub(super) fn svg(view: &GraphView) -> String {
    let places = layered::places(view);
    let columns = places.iter().map(|(column, _)| column + 1).max().unwrap_or(0);
    let rows = places.iter().map(|(_, row)| row + 1).max().unwrap_or(0);
    let text = |index: usize| (short(&view.boxes[index].title), short(&view.boxes[index].detail));
    let mut widths = vec![90.0_f64; columns];
    let mut counts = vec![0_usize; columns];
    for (index, (column, _)) in places.iter().enumerate() {
        let (title, detail) = text(index);
        let longest = title.chars().count().max(detail.chars().count()) as f64;
        widths[*column] = widths[*column].max(longest * CHARACTER + 24.0);
        counts[*column] += 1;
    }
    let lefts: Vec<f64> = (0..columns)
        .map(|column| MARGIN + widths[..column].iter().sum::<f64>() + column as f64 * COLUMN_GAP)
        .collect();
    let inner = rows as f64 * (HEIGHT + ROW_GAP) - ROW_GAP;
    // Columns stand centred on each other.
    let top = |column: usize, row: usize| {
        let own = counts[column] as f64 * (HEIGHT + ROW_GAP) - ROW_GAP;
        MARGIN + (inner - own) / 2.0 + row as f64 * (HEIGHT + ROW_GAP)
    };
    let width = widths.iter().sum::<f64>() + COLUMN_GAP * columns.saturating_sub(1) as f64 + 2.0 * MARGIN;
    let height = inner.max(0.0) + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>recipe</title>\n<style>{STYLE}</style>\n<defs><marker id=\"tip\" \
         viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n"
    );
    // String never fails to be written to.
    for edge in &view.edges {
        let ((from, from_row), (to, to_row)) = (places[edge.from], places[edge.to]);
        let (x0, y0) = (lefts[from] + widths[from], top(from, from_row) + HEIGHT / 2.0);
        let (x1, y1) = (lefts[to], top(to, to_row) + HEIGHT / 2.0);
        let bend = ((x1 - x0) / 2.0).max(30.0);
        let _ = writeln!(
            out,
            "<path d=\"M{x0:.1} {y0:.1}C{:.1} {y0:.1} {:.1} {y1:.1} {x1:.1} {y1:.1}\" marker-end=\"url(#tip)\"/>",
            x0 + bend,
            x1 - bend
        );
        let _ = writeln!(
            out,
            "<text class=\"label\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x1 - 12.0,
            y1 + if y0 <= y1 { -5.0 } else { 14.0 },
            escape(&edge.label)
        );
    }
    for (index, one) in view.boxes.iter().enumerate() {
        let (column, row) = places[index];
        let (x, y, w) = (lefts[column], top(column, row), widths[column]);
        let (title, detail) = text(index);
        let _ = writeln!(
            out,
            "<g class=\"{}\"><title>{}: {}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{HEIGHT}\" \
             rx=\"7\"/><text class=\"title\" text-anchor=\"middle\" x=\"{cx:.1}\" y=\"{:.1}\">{}</text>\
             <text class=\"detail\" text-anchor=\"middle\" x=\"{cx:.1}\" y=\"{:.1}\">{}</text></g>",
            one.kind,
            escape(&one.title),
            escape(&one.detail),
            y + 19.0,
            escape(&title),
            y + 36.0,
            escape(&detail),
            cx = x + w / 2.0,
        );
    }
    out.push_str("</svg>\n");
    out
}

/// The end of a long text says more than its beginning: paths.
fn short(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(count - (LONGEST - 1)).collect();
    format!("…{tail}")
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            // Not allowed in XML.
            c if c.is_control() => " ".to_owned(),
            c => c.to_string(),
        })
        .collect()
}
