//! What several tests need: a report with everything in it, and a checker for tags.

#![allow(dead_code, reason = "each test file uses its part")]

use fusion_report::Report;
use fusion_report::model::*;

/// A name that is markup, breaks out of attributes and turns the direction of the line.
pub(crate) const HOSTILE: &str = "<script>alert('x')</script>\"><b>&amp;\u{202e}\u{0}\nñ 日本";

pub(crate) fn curve() -> Curve {
    Curve {
        title: "Loss".to_owned(),
        caption: "Along a path.".to_owned(),
        x: Axis::new("t", ""),
        y: Axis::new("loss", "nats"),
        series: vec![
            Series {
                band: vec![(0.4, 0.6), (1.8, 2.1), (0.4, 0.7)],
                ..Series::new("naive", vec![(0.0, 0.5), (0.5, 2.0), (1.0, 0.5)], Style::nth(1))
            },
            Series::new("curve", vec![(0.0, 0.5), (0.5, 0.6), (1.0, 0.5)], Style::line(0, Dash::Solid)),
        ],
        markers: vec![
            Marker::Point { name: "a".to_owned(), x: 0.0, y: 0.5 },
            Marker::Bracket { name: "barrier 1.5".to_owned(), x: 0.5, from: 0.5, to: 2.0 },
            Marker::Chord { name: "chord".to_owned(), from: (0.0, 0.5), to: (1.0, 0.5) },
            Marker::Level { name: "ensemble".to_owned(), y: 0.4 },
        ],
    }
}

pub(crate) fn landscape() -> Landscape {
    let line: Vec<f64> = (0..5).map(f64::from).collect();
    let values =
        line.iter().flat_map(|y| line.iter().map(move |x| (x - 2.0).powi(2) + (y - 2.0).powi(2) + 0.1));
    Landscape {
        title: "Plane".to_owned(),
        caption: String::new(),
        x: Axis::new("along", ""),
        y: Axis::new("across", ""),
        value: Axis::new("loss", "nats"),
        values: values.collect(),
        xs: line.clone(),
        ys: line,
        levels: vec![0.5, 1.5, 3.5],
        points: vec![Place { name: "a".to_owned(), x: 1.0, y: 1.0 }],
        paths: vec![Polyline {
            name: "path".to_owned(),
            points: vec![(1.0, 1.0), (3.0, 3.0)],
            dash: Dash::Dashed,
        }],
    }
}

pub(crate) fn reliability() -> Reliability {
    let bin =
        |low: f64, confidence, accuracy, count| Bin { low, high: low + 0.5, confidence, accuracy, count };
    Reliability {
        title: "Reliability".to_owned(),
        caption: String::new(),
        bins: vec![bin(0.0, f64::NAN, f64::NAN, 0), bin(0.5, 0.9, 0.8, 100)],
        ece: 0.1,
    }
}

pub(crate) fn training() -> Training {
    let series = |points| vec![Series::new("a", points, Style::nth(0))];
    Training {
        title: "Training".to_owned(),
        caption: String::new(),
        x: Axis::new("epoch", ""),
        panels: vec![
            Panel {
                y: Axis::new("loss", "nats"),
                series: series(vec![(0.0, 2.3), (1.0, 0.5), (2.0, 0.001)]),
            },
            Panel {
                y: Axis::new("accuracy", "%"),
                series: series(vec![(0.0, 0.1), (1.0, 0.9), (2.0, 0.98)]),
            },
        ],
    }
}

pub(crate) fn matrix() -> Matrix {
    Matrix {
        title: "Mergeable".to_owned(),
        caption: String::new(),
        value: Axis::new("barrier", "nats"),
        names: vec!["a".to_owned(), "b".to_owned()],
        values: vec![0.0, 1.5, 1.5, 0.0],
    }
}

pub(crate) fn bars() -> Bars {
    let bar = |name: &str, value, spread| Bar { name: name.to_owned(), value, spread };
    Bars {
        title: "Bars".to_owned(),
        caption: String::new(),
        value: Axis::new("accuracy", "%"),
        bars: vec![bar("a", 0.9, Some((0.8, 0.95))), bar("b", 0.5, None)],
    }
}

pub(crate) fn plots() -> Vec<Plot> {
    vec![
        Plot::Curve(curve()),
        Plot::Landscape(landscape()),
        Plot::Reliability(reliability()),
        Plot::Training(training()),
        Plot::Matrix(matrix()),
        Plot::Bars(bars()),
    ]
}

pub(crate) fn report() -> Report {
    let node = |name: &str, verb: &str, column| Node {
        name: name.to_owned(),
        verb: verb.to_owned(),
        method: "mlp".to_owned(),
        column,
    };
    let mut table = Table::new("Barriers", vec![Column::text("path"), Column::number("height", "nats")]);
    table.rows.push(vec![Cell::text("naive"), Cell::fixed(1.5, 3)]);
    table.rows.push(vec![Cell::text("curve"), Cell::Empty]);
    Report {
        title: "A run".to_owned(),
        recipe_text: "model a = train mlp\n\nexpect a.loss < 1\n".to_owned(),
        graph: Graph {
            nodes: vec![node("a", "train", 0), node("score", "evaluate", 1)],
            edges: vec![(0, 1)],
        },
        tool: "fusion 0.1.0".to_owned(),
        started: "2026-11-24T09:00:00Z".to_owned(),
        seconds: 12.5,
        device: "cpu (flex)".to_owned(),
        threads: 2,
        seeds: vec![1],
        stages: vec![StageRow {
            name: "a".to_owned(),
            verb: "train".to_owned(),
            method: "mlp".to_owned(),
            status: Status::Cached,
            seconds: 12.0,
            cost: "3 epochs".to_owned(),
            notes: vec!["a note".to_owned()],
        }],
        sections: vec![Section {
            title: "Barriers".to_owned(),
            text: "First.\n\nSecond.".to_owned(),
            tables: vec![table],
            plots: plots(),
        }],
        expects: vec![Expect {
            text: "a.loss < 1".to_owned(),
            holds: false,
            values: vec![("a.loss".to_owned(), 1.5)],
            line: 3,
        }],
        facts: [("a.loss".to_owned(), 1.5), ("a.nan".to_owned(), f64::NAN)].into_iter().collect(),
    }
}

/// Every title, name, label and text of a report replaced.
pub(crate) fn everything_named(text: &str) -> Report {
    fn replace(value: &mut serde_json::Value, key: &str, text: &str) {
        use serde_json::Value;
        const KEPT: [&str; 8] = ["kind", "scale", "dash", "shape", "status", "align", "digits", "colour"];
        match value {
            Value::String(old)
                if !KEPT.contains(&key) && !["nan", "inf", "-inf", "empty"].contains(&old.as_str()) =>
            {
                *old = text.to_owned();
            }
            Value::Array(values) => values.iter_mut().for_each(|value| replace(value, key, text)),
            Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| replace(value, key, text)),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(report()).unwrap();
    replace(&mut value, "", text);
    let mut named: Report = serde_json::from_value(value).unwrap();
    named.facts.insert(text.to_owned(), 1.0);
    named
}

/// Checks that tags are closed in order, attributes quoted, entities known and no control character is there. `void` are tags
/// that need no end.
pub(crate) fn well_formed(text: &str, void: &[&str]) -> Result<(), String> {
    if let Some(c) = text.chars().find(|c| c.is_control() && *c != '\n') {
        return Err(format!("control character {:?}", c));
    }
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        entities(&rest[..at])?;
        if rest[..at].contains('>') && open.last() != Some(&"style") {
            return Err(format!("a bare > in {:?}", &rest[..at]));
        }
        rest = &rest[at + 1..];
        let end =
            tag_end(rest).ok_or_else(|| format!("a tag without end: {:?}", &rest[..rest.len().min(60)]))?;
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if tag.starts_with("!DOCTYPE") {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("</{name}> closes {last:?}"));
            }
            continue;
        }
        let name = tag.split([' ', '/', '\n']).next().unwrap_or("");
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("a tag called {tag:?}"));
        }
        attributes(&tag[name.len()..])?;
        if !tag.ends_with('/') && !void.contains(&name) {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("not closed: {open:?}")) }
}

fn tag_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices()
        .find(|(_, c)| {
            quoted ^= *c == '"';
            *c == '>' && !quoted
        })
        .map(|(at, _)| at)
}

fn attributes(text: &str) -> Result<(), String> {
    let mut rest = text.trim().trim_end_matches('/').trim();
    while !rest.is_empty() {
        let (name, after) =
            rest.split_once("=\"").ok_or_else(|| format!("an attribute without value: {rest:?}"))?;
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-:".contains(c)) {
            return Err(format!("an attribute called {name:?}"));
        }
        if name.starts_with("on") {
            return Err(format!("a handler: {name}"));
        }
        let (value, after) = after.split_once('"').ok_or_else(|| format!("no closing quote: {after:?}"))?;
        if value.contains('<') {
            return Err(format!("< in a value: {value:?}"));
        }
        entities(value)?;
        rest = after.trim();
    }
    Ok(())
}

fn entities(text: &str) -> Result<(), String> {
    for part in text.split('&').skip(1) {
        if !["amp;", "lt;", "gt;", "quot;", "apos;", "#39;"].iter().any(|known| part.starts_with(known)) {
            return Err(format!("a bare & before {part:?}"));
        }
    }
    Ok(())
}

#[test]
fn the_checker_finds_faults() {
    assert!(well_formed("<a b=\"1>\"><c/></a>", &[]).is_ok());
    for fault in [
        "<a>",
        "<a></b>",
        "<a b></a>",
        "<a b=\"<\"></a>",
        "a & b<a/>",
        "<a onclick=\"\"/>",
        "\u{1b}",
        "> <a/>",
    ] {
        assert!(well_formed(fault, &[]).is_err(), "{fault}");
    }
}
