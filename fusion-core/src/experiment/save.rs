//! Saved paths and alignments. A path is a folder with a checkpoint for every control point, and a file that says what lies between
//! them; an alignment is one file with its transforms.

use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};

use fusion_network::Flat;
use fusion_sdk::path::Geometry;
use serde_json::json;

use super::run::Runtime;
use super::{SavePlan, Task, load, stages};
use crate::engine::{Access, Event, RunError};

/// The file that makes a folder one of ours.
const PATH: &str = "path.json";

/// What to do where one cannot be written.
const ELSEWHERE: &str = "make room or allow it to be written, or save elsewhere; what was computed is kept, and the next run only writes it";

/// The entry of a saved path or alignment that says which result it is.
const KEY: &str = "result";

/// Which result a saved alignment (a file) or path (a folder) is: the key of its stage, and for one of several `/` and its name there. Empty
/// where it does not say so, `None` where it is neither.
pub(crate) fn result_in(target: &FilePath, alignment: bool) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Found {
        result: Option<String>,
        /// Of alignments.
        alignments: Option<serde::de::IgnoredAny>,
        /// Of one that stands alone.
        nodes: Option<serde::de::IgnoredAny>,
        /// Of paths.
        geometry: Option<serde::de::IgnoredAny>,
    }
    let file = if alignment { target.to_owned() } else { target.join(PATH) };
    let read = io::BufReader::new(fs::File::open(file).ok()?);
    let found: Found = serde_json::from_reader(read).ok()?;
    let ours = match alignment {
        true => found.alignments.is_some() || found.nodes.is_some(),
        false => found.geometry.is_some(),
    };
    ours.then(|| found.result.unwrap_or_default())
}

/// Writes the paths that the recipe saves. What was there before is replaced as a whole, or stays.
pub(super) fn write(runtime: &Runtime<'_>) -> Result<Vec<String>, RunError> {
    let mut written = Vec::new();
    for save in &runtime.plan.experiment.saves {
        one(runtime, save)?;
        runtime.emit(&Event::Reported { path: save.path.clone(), files: 1 });
        written.push(save.path.clone());
    }
    Ok(written)
}

fn one(runtime: &Runtime<'_>, save: &SavePlan) -> Result<(), RunError> {
    let Some(step) = runtime.plan.experiment.step(save.input) else { return Ok(()) };
    let unwritten =
        |what: &str, error| RunError::file(what, &save.target, Access::Write, error).advised(ELSEWHERE);
    if matches!(step.task, Task::Align(_)) {
        let parts = stages::align::kept(runtime, step);
        return put(&parts, &step.key, &save.target).map_err(|error| unwritten("the alignment", error));
    }
    let architecture = runtime.architecture(step);
    let network = runtime.build(step, architecture)?;
    let walked = runtime.path(step, save.input)?;
    // Of a Gaussian only the mean is a model; points on the way have no statistics of their own.
    let models = match walked.path.geometry {
        Geometry::Gaussian => 1,
        _ => walked.path.points.len(),
    };
    let fresh = architecture.initial(0);
    let fresh = network.flatten(&fresh).map_err(|error| runtime.failed(step, error.to_string(), None))?;
    let mut states = Vec::new();
    for (index, weights) in walked.path.points.iter().enumerate().take(models) {
        let known = walked.statistics.len() == walked.path.points.len();
        let statistics = if known { walked.statistics[index].clone() } else { fresh.statistics.clone() };
        let flat = Flat { weights: weights.clone(), statistics };
        let state =
            network.unflatten(&flat, 0).map_err(|error| runtime.failed(step, error.to_string(), None))?;
        states.push(state);
    }
    let about = json!({
        "format": "fusion-path", "version": 1,
        "geometry": walked.path.geometry,
        "knots": walked.path.knots,
        "network": architecture.to_string(),
        "points": (0..models).map(file).collect::<Vec<_>>(),
        "statistics": walked.statistics.len() == walked.path.points.len(),
        "tool": env!("CARGO_PKG_VERSION"),
        KEY: step.key,
    });
    let fill = |folder: &FilePath| {
        for (index, state) in states.iter().enumerate() {
            load::save(state, &folder.join(file(index)))?;
        }
        fs::write(folder.join(PATH), serde_json::to_vec_pretty(&about)?)
    };
    replace(&save.target, fill).map_err(|error| unwritten("the path", error))
}

fn file(index: usize) -> String {
    format!("point-{index:02}.safetensors")
}

/// Writes the alignments of a stage beside their place, and puts them there.
fn put(parts: &[(&str, PathBuf)], key: &str, target: &FilePath) -> io::Result<()> {
    let parent = target.parent().unwrap_or(FilePath::new("."));
    fs::create_dir_all(parent)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = parent.join(format!(".{name}.{}.tmp", std::process::id()));
    let done = (|| {
        let mut file = io::BufWriter::new(fs::File::create(&temporary)?);
        stages::align::files::write(&mut file, key, parts)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, target)
    })();
    let _ = fs::remove_file(&temporary);
    done
}

/// Makes a folder beside its place and puts it there.
fn replace(target: &FilePath, fill: impl FnOnce(&FilePath) -> io::Result<()>) -> io::Result<()> {
    let parent = target.parent().unwrap_or(FilePath::new("."));
    fs::create_dir_all(parent)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = parent.join(format!(".{name}.{}.tmp", std::process::id()));
    let aside = parent.join(format!(".{name}.{}.old", std::process::id()));
    let done = (|| {
        fs::create_dir(&temporary)?;
        fill(&temporary)?;
        for entry in fs::read_dir(&temporary)? {
            fs::File::open(entry?.path())?.sync_all()?;
        }
        if !target.exists() {
            return fs::rename(&temporary, target);
        }
        fs::rename(target, &aside)?;
        fs::rename(&temporary, target).inspect_err(|_| {
            let _ = fs::rename(&aside, target);
        })?;
        fs::remove_dir_all(&aside)
    })();
    let _ = fs::remove_dir_all(&temporary);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_as_a_whole_or_stays() {
        let space = tempfile::tempdir().unwrap();
        let target = space.path().join("out/curve");
        replace(&target, |folder| fs::write(folder.join("a"), "1")).unwrap();
        replace(&target, |_| Err(io::Error::other("full"))).unwrap_err();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");
        replace(&target, |folder| fs::write(folder.join("b"), "2")).unwrap();
        assert!(!target.join("a").exists() && target.join("b").exists());
        assert_eq!(fs::read_dir(space.path().join("out")).unwrap().count(), 1);
    }
}
