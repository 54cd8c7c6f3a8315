//! Saved paths and alignments. A path is a folder with a checkpoint for every control point, and a file that says what lies between
//! them; an alignment is one file with its transforms.

use std::fs;
use std::io;
use std::path::Path as FilePath;

use fusion_network::Flat;
use fusion_sdk::path::Geometry;
use serde_json::json;

use super::run::Runtime;
use super::{SavePlan, Task, load, stages};
use crate::engine::{Event, RunError};

/// The file that makes a folder one of ours.
pub(crate) const PATH: &str = "path.json";

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
    if matches!(step.task, Task::Align(_)) {
        let from = runtime.store.folder(&step.key).join(stages::align::file(0));
        return copy(&from, &save.target).map_err(|error| {
            runtime.failed(step, format!("`{}` cannot be written: {error}", save.path), None)
        });
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
    });
    let fill = |folder: &FilePath| {
        for (index, state) in states.iter().enumerate() {
            load::save(state, &folder.join(file(index)))?;
        }
        fs::write(folder.join(PATH), serde_json::to_vec_pretty(&about)?)
    };
    replace(&save.target, fill)
        .map_err(|error| runtime.failed(step, format!("`{}` cannot be written: {error}", save.path), None))
}

fn file(index: usize) -> String {
    format!("point-{index:02}.safetensors")
}

/// Copies a file beside its place and puts it there.
fn copy(from: &FilePath, target: &FilePath) -> io::Result<()> {
    let parent = target.parent().unwrap_or(FilePath::new("."));
    fs::create_dir_all(parent)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = parent.join(format!(".{name}.{}.tmp", std::process::id()));
    let done = (|| {
        fs::copy(from, &temporary)?;
        fs::File::open(&temporary)?.sync_all()?;
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
