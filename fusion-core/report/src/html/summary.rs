//! The top of the page: what ran where, and whether what was expected holds.

use std::fmt::Write as _;

use crate::escape::xml;
use crate::model::{Digits, Report, Status};
use crate::number;

/// One line: program, time, place.
pub(super) fn meta(out: &mut String, report: &Report) {
    let parts: Vec<String> = [&report.tool, &report.started]
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(|part| xml(part))
        .collect();
    if !parts.is_empty() {
        let _ = writeln!(out, "<p class=\"meta\">{}</p>", parts.join(" · "));
    }
}

/// Each `expect` with its verdict.
pub(super) fn verdicts(out: &mut String, report: &Report) {
    let all = report.expects.len();
    if all == 0 {
        return;
    }
    let failed = report.expects.iter().filter(|expect| !expect.holds).count();
    let (class, title) = match (failed, all) {
        (0, 1) => ("good", "✓ The expectation holds".to_owned()),
        (0, n) => ("good", format!("✓ All {n} expectations hold")),
        (1, 1) => ("bad", "✗ The expectation does not hold".to_owned()),
        (1, n) => ("bad", format!("✗ 1 of {n} expectations does not hold")),
        (failed, n) => ("bad", format!("✗ {failed} of {n} expectations do not hold")),
    };
    let _ =
        writeln!(out, "<section class=\"card verdict {class}\" id=\"expectations\">\n<h2>{title}</h2>\n<ul>");
    for expect in &report.expects {
        let (class, mark) = if expect.holds { ("good", "✓ holds") } else { ("bad", "✗ does not hold") };
        let line = match expect.line {
            0 => String::new(),
            n => format!(" <a href=\"#L{n}\">line {n}</a>"),
        };
        let _ = write!(out, "<li><span class=\"mark {class}\">{mark}</span>");
        let _ = write!(out, "<span><code>{}</code>{line}</span>", xml(&expect.text));
        if !expect.values.is_empty() {
            let values = expect.values.iter().map(|(name, value)| {
                format!("{} = <b>{}</b>", xml(name), xml(&number::show(*value, Digits::Auto)))
            });
            let _ = write!(out, "<span class=\"values\">{}</span>", values.collect::<Vec<_>>().join(", "));
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n</section>\n");
}

/// Time, place, seeds.
pub(super) fn facts(out: &mut String, report: &Report) {
    let ran = report.stages.iter().filter(|stage| stage.status == Status::Ran).count();
    let cached = report.stages.len() - ran;
    let mut facts = vec![("Wall time", number::duration(report.seconds))];
    if !report.stages.is_empty() {
        let cached = if cached == 0 { String::new() } else { format!(", {cached} from the cache") };
        facts.push(("Stages", format!("{ran} ran{cached}")));
    }
    if !report.device.is_empty() {
        facts.push(("Device", report.device.clone()));
    }
    if report.threads > 0 {
        facts.push(("Threads", report.threads.to_string()));
    }
    if !report.seeds.is_empty() {
        let seeds: Vec<String> = report.seeds.iter().map(u64::to_string).collect();
        facts.push((if seeds.len() == 1 { "Seed" } else { "Seeds" }, seeds.join(", ")));
    }
    out.push_str("<dl class=\"card facts\">\n");
    for (name, value) in facts {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", xml(&value));
    }
    out.push_str("</dl>\n");
}
