//! Drawings: one snapshot of each kind, and what must hold for all data.

mod common;

use common::{HOSTILE, everything_named, plots, well_formed};
use fusion_report::model::*;
use fusion_report::{ReportError, svg};

fn draw(plot: &Plot) -> String {
    let drawing = svg::plot(plot).unwrap();
    if let Err(fault) = well_formed(&drawing, &[]) {
        panic!("{}: {fault}\n{drawing}", plot.title());
    }
    drawing
}

/// A drawing without the rules for dark screens, which are the same in all.
fn short(drawing: &str) -> String {
    let (before, after) = drawing.split_once("<style>").unwrap();
    before.to_owned() + after.split_once("</style>\n").unwrap().1
}

#[test]
fn each_kind_as_it_is_drawn() {
    for plot in plots() {
        let kind = plot.title().to_lowercase();
        insta::assert_snapshot!(kind, short(&draw(&plot)));
    }
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    for plot in plots() {
        assert_eq!(draw(&plot), draw(&plot.clone()));
    }
}

/// Every number of a plot replaced.
fn with_numbers(plot: &Plot, number: &serde_json::Value) -> Plot {
    fn replace(value: &mut serde_json::Value, key: &str, number: &serde_json::Value) {
        use serde_json::Value;
        match value {
            // Grid lines must rise, and these are whole numbers.
            _ if ["xs", "ys", "levels", "style", "count"].contains(&key) => {}
            Value::Number(_) => *value = number.clone(),
            Value::String(text) if text == "nan" => *value = number.clone(),
            Value::Array(values) => values.iter_mut().for_each(|value| replace(value, key, number)),
            Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| replace(value, key, number)),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(plot).unwrap();
    replace(&mut value, "", number);
    serde_json::from_value(value).unwrap()
}

#[test]
fn numbers_of_any_size_give_a_drawing() {
    let numbers = [
        "\"nan\"",
        "\"inf\"",
        "\"-inf\"",
        "0.0",
        "-1.0",
        "1.7e308",
        "-1.7e308",
        "5e-324",
        "1e-30",
        "1e30",
        "123456789.0",
    ];
    for number in numbers {
        let number: serde_json::Value = serde_json::from_str(number).unwrap();
        for plot in plots() {
            let drawing = draw(&with_numbers(&plot, &number));
            // Coordinates are whole numbers; a NaN would be 0, an infinity the greatest.
            assert!(
                !drawing.contains("2147483647") && !drawing.contains("-2147483648"),
                "{} {number}",
                plot.title()
            );
        }
    }
}

#[test]
fn nothing_to_show_says_so() {
    let empty = [
        Plot::Curve(Curve::default()),
        Plot::Landscape(Landscape::default()),
        Plot::Reliability(Reliability::default()),
        Plot::Training(Training::default()),
        Plot::Matrix(Matrix::default()),
        Plot::Bars(Bars::default()),
    ];
    for plot in empty.iter().cloned().chain(plots().iter().map(|plot| with_numbers(plot, &"nan".into()))) {
        assert!(draw(&plot).contains("no data"), "{plot:?}");
    }
}

#[test]
fn a_point_that_is_not_finite_leaves_a_gap_and_a_note() {
    let mut curve = common::curve();
    curve.series[1].points[1].1 = f64::INFINITY;
    let drawing = draw(&Plot::Curve(curve));
    assert!(drawing.contains("1 point cannot be drawn"));
    let lines = |drawing: &str| drawing.matches("<polyline").count();
    assert_eq!(
        lines(&drawing),
        lines(&draw(&Plot::Curve(common::curve()))) - 1,
        "the line of three points is gone"
    );
    let mut landscape = common::landscape();
    landscape.values[7] = f64::NAN;
    assert!(draw(&Plot::Landscape(landscape)).contains("1 of 25 values are not finite"));
}

#[test]
fn names_are_never_markup() {
    let report = everything_named(HOSTILE);
    for plot in &report.sections[0].plots {
        let drawing = draw(plot);
        assert!(!drawing.contains("<script") && !drawing.contains("<b>") && !drawing.contains('\u{202e}'));
        assert!(drawing.contains("&lt;script&gt;"), "the name is still shown");
    }
}

#[test]
fn long_names_and_many_series_stay_within_the_drawing() {
    let mut curve = common::curve();
    curve.series = (0..40)
        .map(|n| {
            Series::new(
                "a very long name of a series ".repeat(8) + &n.to_string(),
                vec![(0.0, 0.0), (1.0, 1.0)],
                Style::nth(n),
            )
        })
        .collect();
    curve.title = "title ".repeat(100);
    let drawing = draw(&Plot::Curve(curve));
    assert!(drawing.contains('…'));
    // 40 rows of the legend come above the area, and the drawing grows by them.
    let height: f64 =
        drawing.split("height=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().parse().unwrap();
    assert!(height > 40.0 * 19.0 + 300.0, "{height}");
}

#[test]
fn parts_that_do_not_fit_together_are_an_error() {
    let mut landscape = common::landscape();
    landscape.values.pop();
    let mut falling = common::landscape();
    falling.xs.reverse();
    let mut matrix = common::matrix();
    matrix.names.pop();
    let mut curve = common::curve();
    curve.series[0].band.pop();
    for plot in
        [Plot::Landscape(landscape), Plot::Landscape(falling), Plot::Matrix(matrix), Plot::Curve(curve)]
    {
        let error = svg::plot(&plot).unwrap_err();
        assert!(matches!(&error, ReportError::Shape { part, .. } if part == plot.title()), "{error}");
    }
}
