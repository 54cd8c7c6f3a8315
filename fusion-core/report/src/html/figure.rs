//! Plots with captions, and their numbers to take away.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::escape::{self, xml};
use crate::model::Plot;
use crate::{csv, svg};

/// Names of figures and tables on the page, each one once.
#[derive(Default)]
pub(super) struct Anchors {
    taken: BTreeSet<String>,
}

impl Anchors {
    /// A name for a title. No heading has an underscore, so none has the same.
    pub(super) fn take(&mut self, title: &str) -> String {
        let base = format!("d_{}", escape::slug(title));
        let mut name = base.clone();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}-{number}");
            number += 1;
        }
        name
    }
}

/// A plot.
pub(super) fn plot(out: &mut String, plot: &Plot, anchors: &mut Anchors) {
    let id = anchors.take(plot.title());
    let link = download(&id, &csv::plot(plot));
    let drawing = svg::inline(plot);
    let _ = writeln!(
        out,
        "<figure id=\"{id}\">\n{drawing}<figcaption>{} {link}</figcaption>\n</figure>",
        xml(plot.caption())
    );
}

/// A link that holds the data.
pub(super) fn download(id: &str, csv: &str) -> String {
    let name = id.strip_prefix("d_").unwrap_or(id);
    format!(
        "<a download=\"{name}.csv\" href=\"data:text/csv;charset=utf-8,{}\">CSV ↓</a>",
        escape::percent(csv)
    )
}
