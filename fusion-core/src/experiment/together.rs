//! Paths that a report shows one by one, in one plot: whether the second barrier is lower than the first is seen at a glance.

use fusion_report::model::{Axis, Curve, Plot, Section, Style};

/// The curves of several sections over t, those of one metric on one data set in a plot; `None` where there is only one of each.
pub(super) fn together(sections: &[Section]) -> Option<Section> {
    let mut groups: Vec<(String, String, Curve)> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    for curve in sections.iter().flat_map(|section| &section.plots).filter_map(along) {
        // A curve's title ends with its data set: see the section of `barrier`.
        let set = curve.title.rsplit_once(", ").map_or("", |(_, set)| set).to_owned();
        let Some(path) = curve.series.first() else { continue };
        let known = groups.iter().position(|(metric, own, _)| *metric == curve.y.label && *own == set);
        let at = known.unwrap_or_else(|| {
            let title = format!("{} along the paths, {set}", curve.y.label);
            let whole =
                Curve { title, x: Axis::new("t", "").linear(), y: curve.y.clone(), ..Curve::default() };
            groups.push((curve.y.label.clone(), set.clone(), whole));
            counts.push(0);
            groups.len() - 1
        });
        let mut series = path.clone();
        series.style = Style::nth(counts[at]);
        counts[at] += 1;
        groups[at].2.series.push(series);
    }
    let plots: Vec<Plot> = groups
        .into_iter()
        .zip(counts)
        .filter(|(_, count)| *count > 1)
        .map(|((_, _, curve), _)| Plot::Curve(curve))
        .collect();
    (!plots.is_empty()).then(|| Section {
        title: "paths side by side".to_owned(),
        text: String::new(),
        tables: Vec::new(),
        plots,
    })
}

/// A curve over the parameter of a path.
fn along(plot: &Plot) -> Option<&Curve> {
    match plot {
        Plot::Curve(curve) if curve.x.label == "t" => Some(curve),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use fusion_report::model::{Dash, Series};

    use super::*;

    fn section(step: &str, metric: &str, set: &str) -> Section {
        let series = Series::new(step, vec![(0.0, 1.0), (1.0, 2.0)], Style::line(0, Dash::Solid));
        let curve = Curve {
            title: format!("{step}: {metric} along {step}, {set}"),
            x: Axis::new("t", "").linear(),
            y: Axis::new(metric, ""),
            series: vec![series],
            ..Curve::default()
        };
        Section {
            title: step.to_owned(),
            text: String::new(),
            tables: Vec::new(),
            plots: vec![Plot::Curve(curve)],
        }
    }

    #[test]
    fn curves_of_one_metric_and_set_share_a_plot() {
        let sections = [
            section("naive", "loss", "test"),
            section("aligned", "loss", "test"),
            section("aligned", "accuracy", "test"),
            section("aligned", "loss", "train"),
        ];
        let whole = together(&sections).unwrap();
        let [Plot::Curve(curve)] = whole.plots.as_slice() else { panic!("{:?}", whole.plots) };
        let names: Vec<&str> = curve.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!((curve.title.as_str(), names), ("loss along the paths, test", vec!["naive", "aligned"]));
        assert!(together(&sections[1..]).is_none());
    }
}
