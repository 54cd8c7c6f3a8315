//! One page for a whole recipe: opened from a disk, sent by mail, printed. It needs nothing but itself and runs no script.

mod figure;
mod recipe;
mod stages;
mod summary;
mod table;

use std::fmt::Write as _;

use crate::error::ReportError;
use crate::escape::{self, xml};
use crate::model::{Cell, Column, Report, Section, Table};
use crate::svg::{self, theme};

const STYLE: &str = include_str!("style.css");

/// The page.
///
/// # Errors
/// [`ReportError::Shape`]: the report does not fit together.
pub fn page(report: &Report) -> Result<String, ReportError> {
    report.check()?;
    let title = if report.title.is_empty() { "Report" } else { &report.title };
    let own = ["expectations", "graph", "stages", "scores", "recipe"];
    let titles = own.into_iter().chain(report.sections.iter().map(|section| section.title.as_str()));
    let ids: Vec<String> = escape::slugs(titles).split_off(own.len());

    let mut out = String::new();
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"generator\" content=\"{}\">\n<title>{}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n",
        xml(&report.tool),
        xml(title),
        theme::dark()
    );
    let _ = writeln!(out, "<header>\n<h1>{}</h1>", xml(title));
    summary::meta(&mut out, report);
    out.push_str("</header>\n");
    contents(&mut out, report, &ids);
    summary::verdicts(&mut out, report);
    summary::facts(&mut out, report);
    if !report.graph.nodes.is_empty() {
        heading(&mut out, "graph", "Graph");
        let _ = writeln!(out, "<figure class=\"graph\">\n{}</figure>", svg::graph(&report.graph));
    }
    if !report.stages.is_empty() {
        heading(&mut out, "stages", "Stages");
        stages::table(&mut out, &report.stages);
    }
    let mut anchors = figure::Anchors::default();
    for (section, id) in report.sections.iter().zip(&ids) {
        self::section(&mut out, section, id, &mut anchors);
    }
    if !report.facts.is_empty() {
        heading(&mut out, "scores", "All scores");
        let _ = writeln!(out, "<details>\n<summary>{} scores by name</summary>", report.facts.len());
        table::table(&mut out, &scores(report), None);
        out.push_str("</details>\n");
    }
    if !report.recipe_text.is_empty() {
        heading(&mut out, "recipe", "Recipe");
        recipe::text(&mut out, &report.recipe_text);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(out)
}

fn heading(out: &mut String, id: &str, title: &str) {
    let _ = writeln!(out, "<h2 id=\"{id}\"><a href=\"#{id}\">{}</a></h2>", xml(title));
}

fn contents(out: &mut String, report: &Report, ids: &[String]) {
    let mut links = Vec::new();
    let mut own = |there: bool, id: &str, title: &str| {
        if there {
            links.push((id.to_owned(), title.to_owned()));
        }
    };
    own(!report.graph.nodes.is_empty(), "graph", "Graph");
    own(!report.stages.is_empty(), "stages", "Stages");
    for (section, id) in report.sections.iter().zip(ids) {
        own(true, id, &section.title);
    }
    own(!report.facts.is_empty(), "scores", "All scores");
    own(!report.recipe_text.is_empty(), "recipe", "Recipe");
    out.push_str("<nav aria-label=\"Contents\">\n");
    for (id, title) in links {
        let _ = writeln!(out, "<a href=\"#{id}\">{}</a>", xml(&title));
    }
    out.push_str("</nav>\n");
}

fn section(out: &mut String, section: &Section, id: &str, anchors: &mut figure::Anchors) {
    heading(out, id, &section.title);
    for paragraph in section.text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        let _ = writeln!(out, "<p>{}</p>", xml(paragraph));
    }
    for plot in &section.plots {
        figure::plot(out, plot, anchors);
    }
    for table in &section.tables {
        table::table(out, table, Some(anchors));
    }
}

fn scores(report: &Report) -> Table {
    let rows = report.facts.iter().map(|(name, value)| vec![Cell::text(name), Cell::number(*value)]);
    Table {
        title: String::new(),
        columns: vec![Column::text("score"), Column::number("value", "")],
        rows: rows.collect(),
    }
}
