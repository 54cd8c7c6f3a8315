//! The page: its skeleton as a snapshot, names of others, no scripts, nothing from elsewhere.

mod common;

use common::{HOSTILE, everything_named, report, well_formed};
use fusion_report::model::Report;
use fusion_report::{csv, html, json};

const VOID: [&str; 2] = ["meta", "br"];

fn page(report: &Report) -> String {
    let page = html::page(report).unwrap();
    if let Err(fault) = well_formed(&page, &VOID) {
        panic!("{fault}\n{page}");
    }
    page
}

/// The page with the contents between two texts replaced by a dot.
fn without(page: &str, from: &str, to: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some(start) = rest.find(from) {
        let after = &rest[start + from.len()..];
        out.push_str(&rest[..start + from.len()]);
        out.push('…');
        rest = &after[after.find(to).unwrap()..];
    }
    out + rest
}

#[test]
fn the_skeleton_of_a_page() {
    let skeleton = without(&page(&report()), "<style>", "</style>");
    let skeleton = without(&skeleton, "<svg", "</svg>");
    insta::assert_snapshot!(without(&skeleton, "charset=utf-8,", "\""));
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let page = page(&report());
    for foreign in ["<script", "<link", "@import", "url(", "src=\"", "href=\"http"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn an_empty_report_is_a_page() {
    assert!(page(&Report::default()).contains("<h1>Report</h1>"));
}

#[test]
fn names_are_never_markup() {
    let page = page(&everything_named(HOSTILE));
    assert!(!page.contains("<script") && !page.contains("<b>&") && page.contains("&lt;script&gt;"));
}

#[test]
fn links_lead_somewhere_and_names_are_given_once() {
    let mut twice = report();
    // A section that is called like one of ours, and two that are called the same.
    let mut more = twice.sections[0].clone();
    twice.sections.push(more.clone());
    more.title = "Recipe".to_owned();
    twice.sections.push(more);
    let page = page(&twice);
    let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "{ids:?}");
    for target in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(ids.contains(&target), "#{target} leads nowhere");
    }
}

#[test]
fn json_gives_the_report_back() {
    let written = json::write(&report());
    let read = json::read(&written).unwrap();
    // NaN is not equal to itself, so the texts are compared.
    assert_eq!(json::write(&read), written);
    assert!(read.facts["a.nan"].is_nan());
    assert!(written.contains("\"format\": \"fusion-report\""));
    assert!(json::read("{}").is_err());
    assert!(json::read("{\"format\": \"other\", \"version\": 1}").unwrap_err().contains("other"));
    assert!(json::read("{\"format\": \"fusion-report\", \"version\": 99}").unwrap_err().contains("99"));
    assert!(json::read(&written[..written.len() / 2]).is_err());
}

#[test]
fn every_table_and_plot_is_a_file() {
    let files = csv::files(&report()).unwrap();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "scores",
            "barriers",
            "loss",
            "plane",
            "plane-places",
            "reliability",
            "training",
            "mergeable",
            "bars",
            "stages"
        ]
    );
    let text = |name: &str| &files.iter().find(|(found, _)| found == name).unwrap().1;
    assert_eq!(text("scores"), "score,value\na.loss,1.5\na.nan,NaN\n");
    assert_eq!(text("barriers"), "path,height (nats)\nnaive,1.5\ncurve,\n");
    assert_eq!(text("mergeable"), ",a,b\na,0,1.5\nb,1.5,0\n");
    assert_eq!(text("loss").lines().next().unwrap(), "series,t,loss (nats),low,high");
    assert_eq!(text("loss").lines().nth(4).unwrap(), "curve,0,0.5,,");
    assert_eq!(text("plane").lines().nth(2).unwrap(), "1,0,5.1");
}
