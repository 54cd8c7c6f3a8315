//! Stages with their times as bars: where did the time go?

use std::fmt::Write as _;

use crate::escape::xml;
use crate::model::{StageRow, Status};
use crate::number;

pub(super) fn table(out: &mut String, stages: &[StageRow]) {
    let longest =
        stages.iter().map(|stage| stage.seconds).filter(|seconds| seconds.is_finite()).fold(0.0, f64::max);
    out.push_str(
        "<div class=\"scroll\">\n<table>\n<thead><tr><th scope=\"col\">stage</th><th scope=\"col\">what it does</th>\
         <th scope=\"col\">cost</th><th scope=\"col\">status</th><th scope=\"col\" class=\"time\">time</th></tr></thead>\n<tbody>\n",
    );
    for stage in stages {
        let part =
            if longest > 0.0 && stage.seconds > 0.0 { (stage.seconds / longest).min(1.0) } else { 0.0 };
        let status = match stage.status {
            Status::Ran => "ran",
            Status::Cached => "↺ cached",
        };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{} <code>{}</code></td><td>{}</td><td class=\"status\">{status}</td>\
             <td class=\"time\"><span class=\"track\"><i style=\"width:{:.1}%\"></i></span><span class=\"t\">{}</span></td></tr>",
            xml(&stage.name),
            xml(&stage.verb),
            xml(&stage.method),
            xml(&stage.cost),
            part * 100.0,
            number::duration(stage.seconds),
        );
        if !stage.notes.is_empty() {
            let notes: Vec<String> = stage.notes.iter().map(|note| xml(note)).collect();
            let _ = writeln!(
                out,
                "<tr class=\"note\"><td></td><td colspan=\"4\">{}</td></tr>",
                notes.join("<br>")
            );
        }
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}
