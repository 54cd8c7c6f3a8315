//! A report as a connect experiment leaves it, with made-up numbers: to look at plots and the page while working on them.
//!
//! `cargo run -p fusion-report --example demo -- target/report-demo` writes a folder, or a file by its extension.

use std::error::Error;
use std::path::PathBuf;

use fusion_report::Report;
use fusion_report::model::{
    Axis, Bar, Bars, Bin, Cell, Column, Curve, Dash, Expect, Graph, Landscape, Marker, Matrix, Node, Panel,
    Place, Plot, Polyline, Reliability, Section, Series, Shape, StageRow, Status, Style, Table, Training,
};

const RECIPE: &str = r#"# Two networks, the straight line between them, and a curve (Garipov et al., 2018).
let digits = data digits(train=8000, test=2000, seed=1)

model a = train mlp(widths=[256, 128]) on digits with adam(rate=1e-3, epochs=8, seed=1)
model b = train mlp(widths=[256, 128]) on digits with adam(rate=1e-3, epochs=8, seed=2)

path straight = connect linear from a, b
path curve    = connect bezier(bends=1, epochs=8) from a, b on digits

let naive_loss = evaluate barrier of straight on digits
let curve_loss = evaluate barrier of curve on digits
let plane      = evaluate landscape of curve on digits

expect naive_loss.height > 0.5
expect curve_loss.height < 5% * naive_loss.height
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let to = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target/report-demo"), PathBuf::from);
    fusion_report::write(&report(), &to)?;
    Ok(())
}

fn report() -> Report {
    Report {
        title: "Mode connectivity on digits: a straight line fails, a curve connects".to_owned(),
        recipe_text: RECIPE.to_owned(),
        graph: graph(),
        tool: "fusion 0.1.0".to_owned(),
        started: "2026-11-24T09:12:31Z".to_owned(),
        seconds: 61.4,
        device: "cpu (flex)".to_owned(),
        threads: 2,
        seeds: vec![1, 2],
        stages: stages(),
        sections: vec![barriers(), landscape(), calibration(), training(), many()],
        expects: vec![
            expect("naive_loss.height > 0.5", true, &[("naive_loss.height", 1.7324)], 14),
            expect(
                "curve_loss.height < 5% * naive_loss.height",
                false,
                &[("curve_loss.height", 0.0912), ("5% * naive_loss.height", 0.08662)],
                15,
            ),
        ],
        facts: [
            ("naive_loss.height", 1.7324),
            ("naive_loss.at_half", 1.701),
            ("curve_loss.height", 0.0912),
            ("a.test.accuracy", 0.9785),
            ("b.test.accuracy", 0.9774),
            ("curve.length", 21.73),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect(),
    }
}

fn expect(text: &str, holds: bool, values: &[(&str, f64)], line: usize) -> Expect {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    Expect { text: text.to_owned(), holds, values, line }
}

fn graph() -> Graph {
    let node = |name: &str, verb: &str, method: &str, column| Node {
        name: name.to_owned(),
        verb: verb.to_owned(),
        method: method.to_owned(),
        column,
    };
    Graph {
        nodes: vec![
            node("digits", "data", "digits", 0),
            node("a", "train", "mlp", 1),
            node("b", "train", "mlp", 1),
            node("straight", "connect", "linear", 2),
            node("curve", "connect", "bezier", 2),
            node("naive_loss", "evaluate", "barrier", 3),
            node("curve_loss", "evaluate", "barrier", 3),
            node("plane", "evaluate", "landscape", 3),
        ],
        edges: vec![
            (0, 1),
            (0, 2),
            (1, 3),
            (2, 3),
            (1, 4),
            (2, 4),
            (0, 4),
            (3, 5),
            (4, 6),
            (4, 7),
            (0, 5),
            (0, 6),
            (0, 7),
        ],
    }
}

fn stages() -> Vec<StageRow> {
    let row = |name: &str, verb: &str, method: &str, status, seconds, cost: &str, notes: &[&str]| StageRow {
        name: name.to_owned(),
        verb: verb.to_owned(),
        method: method.to_owned(),
        status,
        seconds,
        cost: cost.to_owned(),
        notes: notes.iter().map(|note| (*note).to_owned()).collect(),
    };
    vec![
        row("digits", "data", "digits", Status::Ran, 1.24, "10\u{202f}000 images", &[]),
        row("a", "train", "mlp", Status::Cached, 0.012, "235\u{202f}146 parameters", &[]),
        row("b", "train", "mlp", Status::Ran, 11.8, "64\u{202f}000 samples, 5\u{202f}420 samples/s", &[]),
        row("straight", "connect", "linear", Status::Ran, 0.0021, "", &[]),
        row(
            "curve",
            "connect",
            "bezier",
            Status::Ran,
            28.9,
            "8 epochs, 64\u{202f}000 samples",
            &["t is drawn anew for each batch"],
        ),
        row("naive_loss", "evaluate", "barrier", Status::Ran, 3.4, "25 points, 2 sets", &[]),
        row("curve_loss", "evaluate", "barrier", Status::Ran, 3.5, "25 points, 2 sets", &[]),
        row(
            "plane",
            "evaluate",
            "landscape",
            Status::Ran,
            12.5,
            "31 × 31 points",
            &["loss clipped at its 95% quantile"],
        ),
    ]
}

/// A bump of this height between two ends, a little crooked.
fn bump(height: f64, ends: (f64, f64), t: f64) -> f64 {
    let shape = (4.0 * t * (1.0 - t)).powi(2) * (1.0 + 0.12 * (t - 0.5));
    ends.0 * (1.0 - t) + ends.1 * t + height * shape
}

fn line(name: &str, style: Style, f: impl Fn(f64) -> f64) -> Series {
    let points = (0..=24).map(|k| f64::from(k) / 24.0).map(|t| (t, f(t))).collect();
    Series::new(name, points, style)
}

fn barriers() -> Section {
    let style = |colour, dash, shape| Style { colour, dash, shape: Some(shape) };
    let naive =
        line("straight, test", style(1, Dash::Dashed, Shape::Square), |t| bump(1.73, (0.075, 0.081), t));
    let peak = naive
        .points
        .iter()
        .copied()
        .fold((0.0, 0.0), |best, point| if point.1 > best.1 { point } else { best });
    let chord = 0.075 * (1.0 - peak.0) + 0.081 * peak.0;
    let loss = Curve {
        title: "Loss along the paths".to_owned(),
        caption: "Cross entropy at 25 points of each path. The barrier is the greatest height above the straight line between \
                  the losses of the ends."
            .to_owned(),
        x: Axis::new("position t on the path", ""),
        y: Axis::new("cross entropy", "nats"),
        series: vec![
            naive,
            line("straight, train", Style::line(1, Dash::Dotted), |t| bump(1.61, (0.004, 0.005), t)),
            line("curve, test", style(0, Dash::Solid, Shape::Circle), |t| bump(0.09, (0.075, 0.081), t)),
            line("curve, train", Style::line(0, Dash::Dotted), |t| bump(0.012, (0.004, 0.005), t)),
        ],
        markers: vec![
            Marker::Bracket { name: "barrier 1.73".to_owned(), x: peak.0, from: chord, to: peak.1 },
            Marker::Chord { name: "chord".to_owned(), from: (0.0, 0.075), to: (1.0, 0.081) },
            Marker::Point { name: "a".to_owned(), x: 0.0, y: 0.075 },
            Marker::Point { name: "b".to_owned(), x: 1.0, y: 0.081 },
            Marker::Level { name: "a and b as an ensemble: 0.058".to_owned(), y: 0.058 },
        ],
    };
    let mut broken = line("naive", Style::nth(1), |t| (1.0 - bump(0.8, (0.02, 0.02), t)).max(0.1));
    broken.points[9].1 = f64::NAN;
    let mut repaired = line("curve, mean of 5 seeds", Style::nth(0), |t| 1.0 - bump(0.01, (0.021, 0.023), t));
    repaired.band =
        repaired.points.iter().map(|(t, y)| (y - 0.01 - 0.03 * t * (1.0 - t), y + 0.008)).collect();
    let accuracy = Curve {
        title: "Accuracy along the paths, over five seeds".to_owned(),
        caption: "The band spans the least and the greatest value.".to_owned(),
        x: Axis::new("position t on the path", ""),
        y: Axis::new("test accuracy", "%"),
        series: vec![broken, repaired],
        markers: Vec::new(),
    };
    let mut table = Table::new(
        "Barriers",
        vec![
            Column::text("path"),
            Column::text("set"),
            Column::number("barrier", "nats"),
            Column::number("at t = ½", "nats"),
            Column::number("mean loss", "nats"),
            Column::number("accuracy drop", "%"),
        ],
    );
    for (path, set, numbers) in [
        ("straight", "train", [1.6131, 1.6012, 0.8123, 0.7712]),
        ("straight", "test", [1.7324, 1.701, 0.9021, 0.7791]),
        ("curve", "train", [0.0121, 0.0119, 0.0101, 0.0012]),
        ("curve", "test", [0.0912, 0.0904, 0.1202, 0.0098]),
    ] {
        table.rows.push(vec![
            Cell::text(path),
            Cell::text(set),
            Cell::fixed(numbers[0], 4),
            Cell::fixed(numbers[1], 4),
            Cell::fixed(numbers[2], 4),
            Cell::percent(numbers[3], 2),
        ]);
    }
    table.rows.push(vec![
        Cell::text("ensemble of a and b"),
        Cell::text("test"),
        Cell::Empty,
        Cell::Empty,
        Cell::fixed(0.0581, 4),
        Cell::percent(-0.0031, 2),
    ]);
    Section {
        title: "Barriers".to_owned(),
        text: "Both networks reach 97.8 % on the test set. On the straight line between them the loss rises to that of a guess.\n\n\
               The Bezier curve has one bend and was trained for 8 epochs."
            .to_owned(),
        tables: vec![table],
        plots: vec![Plot::Curve(loss), Plot::Curve(accuracy)],
    }
}

fn landscape() -> Section {
    let n = 31;
    let xs: Vec<f64> = (0..n).map(|i| -5.0 + 25.0 * f64::from(i) / f64::from(n - 1)).collect();
    let ys: Vec<f64> = (0..n).map(|j| -6.0 + 21.0 * f64::from(j) / f64::from(n - 1)).collect();
    // A valley on an arc through both models.
    let loss = |x: f64, y: f64| {
        let (dx, dy) = (x - 7.5, y + 1.0);
        let ring = dx.hypot(dy * 1.05) - 7.6;
        0.06 + 0.055 * ring * ring + 0.01 * (y - 8.0).min(0.0).powi(2) + 0.05 * (0.9 * x).sin().powi(2)
    };
    let mut values: Vec<f64> =
        ys.iter().flat_map(|y| xs.iter().map(|x| loss(*x, *y)).collect::<Vec<_>>()).collect();
    values[0] = f64::NAN;
    values[1] = f64::INFINITY;
    let arc: Vec<(f64, f64)> = (0..=40)
        .map(|k| f64::from(k) / 40.0)
        .map(|t| {
            let (a, b, c) = ((1.0 - t).powi(2), 2.0 * t * (1.0 - t), t * t);
            (b * 7.3 + c * 15.0 + a * 0.0, b * 14.0)
        })
        .collect();
    let plot = Landscape {
        title: "Test loss in the plane of a, b and the bend".to_owned(),
        caption: "Distances are those of the weights. Levels are spaced logarithmically above the least loss; what lies above the \
                  last level is clipped."
            .to_owned(),
        x: Axis::new("along a → b", ""),
        y: Axis::new("across, towards the bend", ""),
        value: Axis::new("test cross entropy", "nats"),
        xs,
        ys,
        values,
        levels: Vec::new(),
        points: vec![
            Place { name: "a".to_owned(), x: 0.0, y: 0.0 },
            Place { name: "b".to_owned(), x: 15.0, y: 0.0 },
            Place { name: "bend".to_owned(), x: 7.3, y: 14.0 },
        ],
        paths: vec![
            Polyline { name: "curve".to_owned(), points: arc, dash: Dash::Solid },
            Polyline { name: "straight".to_owned(), points: vec![(0.0, 0.0), (15.0, 0.0)], dash: Dash::Dashed },
        ],
    };
    Section { title: "Landscape".to_owned(), plots: vec![Plot::Landscape(plot)], ..Section::default() }
}

fn calibration() -> Section {
    let counts = [0_u64, 3, 9, 21, 33, 47, 62, 88, 143, 240, 1354];
    let bins: Vec<Bin> = (0..10)
        .map(|k| {
            let low = f64::from(k) / 10.0;
            let count = counts[k as usize + usize::from(k == 9)];
            let confidence = if count == 0 { f64::NAN } else { low + 0.06 };
            Bin {
                low,
                high: low + 0.1,
                confidence,
                accuracy: confidence - 0.16 * (1.0 - confidence) - 0.01,
                count,
            }
        })
        .collect();
    let plot = Reliability {
        title: "Reliability of a on the test set".to_owned(),
        caption: "Accuracy of the answers in each bin of confidence. A network that knows what it knows lies on the diagonal."
            .to_owned(),
        bins,
        ece: 0.0231,
    };
    Section { title: "Calibration".to_owned(), plots: vec![Plot::Reliability(plot)], ..Section::default() }
}

fn training() -> Section {
    let epochs =
        |f: &dyn Fn(f64) -> f64| (0..=8).map(f64::from).map(|epoch| (epoch, f(epoch))).collect::<Vec<_>>();
    let both = |a: &dyn Fn(f64) -> f64, b: &dyn Fn(f64) -> f64| {
        vec![
            Series::new("a, train", epochs(a), Style::line(0, Dash::Dotted)),
            Series::new(
                "a, test",
                epochs(&|e| 0.07 + 1.1 * a(e)),
                Style { shape: Some(Shape::Circle), ..Style::line(0, Dash::Solid) },
            ),
            Series::new("b, train", epochs(b), Style::line(1, Dash::Dotted)),
            Series::new(
                "b, test",
                epochs(&|e| 0.075 + 1.1 * b(e)),
                Style { shape: Some(Shape::Square), ..Style::line(1, Dash::Dashed) },
            ),
        ]
    };
    let mut loss = both(&|e| 2.3 * (-1.1 * e).exp() + 0.0004, &|e| 2.31 * (-0.9 * e).exp() + 0.0005);
    loss[0].points[0].1 = 2.3;
    let accuracy =
        [("a, test", 0, Dash::Solid, Shape::Circle, 1.1), ("b, test", 1, Dash::Dashed, Shape::Square, 0.9)];
    let accuracy = accuracy.map(|(name, colour, dash, shape, rate)| {
        let style = Style { colour, dash, shape: Some(shape) };
        Series::new(name, epochs(&|e| 0.978 - 0.88 * (-rate * e).exp()), style)
    });
    let plot = Training {
        title: "Training of a and b".to_owned(),
        caption: String::new(),
        x: Axis::new("epoch", ""),
        panels: vec![
            Panel { y: Axis::new("cross entropy", "nats"), series: loss },
            Panel { y: Axis::new("accuracy", "%"), series: accuracy.to_vec() },
            Panel {
                y: Axis::new("learning rate", ""),
                series: vec![Series::new(
                    "rate",
                    epochs(&|e| 1e-3 * (1.0 + (e * 0.39).cos()) / 2.0),
                    Style::line(2, Dash::DashDot),
                )],
            },
        ],
    };
    Section { title: "Training".to_owned(), plots: vec![Plot::Training(plot)], ..Section::default() }
}

fn many() -> Section {
    let names = ["a", "b", "c (wider)", "d, another data order"].map(str::to_owned).to_vec();
    let values = vec![
        0.0,
        1.7324,
        1.512,
        0.021, //
        1.7324,
        0.0,
        1.643,
        1.701, //
        1.512,
        1.643,
        0.0,
        f64::NAN, //
        0.021,
        1.701,
        f64::NAN,
        0.0,
    ];
    let matrix = Matrix {
        title: "Barriers between pairs".to_owned(),
        caption: "Greatest height of the test loss on the straight line between two networks above that of its ends.".to_owned(),
        value: Axis::new("barrier", "nats"),
        names,
        values,
    };
    let bar = |name: &str, value, spread| Bar { name: name.to_owned(), value, spread };
    let bars = Bars {
        title: "Test accuracy of what can be made of a path".to_owned(),
        caption: "Mean, least and greatest value of five seeds.".to_owned(),
        value: Axis::new("accuracy", "%"),
        bars: vec![
            bar("best end", 0.9785, Some((0.9761, 0.9802))),
            bar("middle of the line", 0.2013, Some((0.1204, 0.2911))),
            bar("middle of the curve", 0.9731, Some((0.9702, 0.9755))),
            bar("ensemble of both ends", 0.9822, None),
            bar("ensemble along the curve", 0.9831, Some((0.9811, 0.9849))),
        ],
    };
    Section {
        title: "More networks".to_owned(),
        plots: vec![Plot::Matrix(matrix), Plot::Bars(bars)],
        ..Section::default()
    }
}
