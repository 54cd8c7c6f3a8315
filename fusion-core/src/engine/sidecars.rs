//! What stands beside the weights: the donor's configuration (patched), its tokenizer, the model card, the record.

use std::collections::BTreeMap;

use fusion_dsl::graph::NodeId;

use crate::checkpoint::write::{
    CardInfo, CardInput, ConfigChange, LayerChange, Sidecar, Target, card, config::patch, donor_files,
};
use crate::plan::ir::Source;
use crate::plan::lineage::{ancestors, loop_index};
use crate::plan::{Output, Plan};
use crate::tensor::Dtype;

/// The sidecars of an output, and what to tell the user about them.
pub(super) fn sidecars(plan: &Plan, output: &Output, recipe: &str) -> (Vec<Sidecar>, Vec<String>) {
    let (mut files, mut notes) = (Vec::new(), Vec::new());
    if matches!(output.target, Target::File(_)) {
        return (files, notes);
    }
    let source = |index: Option<usize>| index.map(|index| &plan.program.sources[index].checkpoint);
    if let Some(config) = source(output.config).and_then(|checkpoint| checkpoint.config()) {
        let layers = (!output.view.layer_origin.is_empty()).then(|| LayerChange {
            old: donor_layers(plan, output),
            origin: output.view.layer_origin.iter().map(|&layer| layer as usize).collect(),
        });
        let (patched, said) =
            patch(config, &ConfigChange { dtype: written_dtype(output), layers, tie_word_embeddings: None });
        notes.extend(said);
        let mut bytes = serde_json::to_vec_pretty(&patched).unwrap_or_default();
        bytes.push(b'\n');
        files.push(Sidecar { name: "config.json".to_owned(), bytes });
    }
    if let Some(donor) = source(output.tokenizer) {
        let folder = if donor.path().is_dir() { Some(donor.path()) } else { donor.path().parent() };
        if let Some(folder) = folder.filter(|_| donor.path().is_dir()) {
            match donor_files(folder) {
                Ok(found) => files.extend(found),
                Err(error) => {
                    notes.push(format!("tokenizer files of `{}` were not copied: {error}", folder.display()))
                }
            }
        }
    }
    files
        .push(Sidecar { name: "README.md".to_owned(), bytes: model_card(plan, output, recipe).into_bytes() });
    (files, notes)
}

fn donor_layers(plan: &Plan, output: &Output) -> usize {
    output
        .config
        .and_then(|source| plan.program.sources[source].layout.main().map(|stack| stack.count))
        .unwrap_or(0)
}

/// The dtype that most bytes of the output have.
fn written_dtype(output: &Output) -> Option<Dtype> {
    let mut count: BTreeMap<Dtype, usize> = BTreeMap::new();
    for tensor in output.tensors.iter().filter(|tensor| tensor.dtype.is_float()) {
        *count.entry(tensor.dtype).or_default() += 1;
    }
    count.into_iter().max_by_key(|(_, count)| *count).map(|(dtype, _)| dtype)
}

fn model_card(plan: &Plan, output: &Output, recipe: &str) -> String {
    let report = plan.report.outputs.iter().find(|report| report.path == output.path);
    let stages = plan.report.stages_before(&plan.graph, output.node);
    card(&CardInfo {
        title: output.name.clone(),
        recipe_text: recipe.to_owned(),
        stages: stages
            .iter()
            .map(|stage| format!("{} {}: {}", stage.verb, stage.name, stage.summary))
            .collect(),
        inputs: card_inputs(plan, output),
        dtype: written_dtype(output),
        parameters: report.map_or(0, |report| report.parameters),
        layers: (output.view.layers > 0).then_some(output.view.layers as usize),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        seeds: seeds(plan, output),
    })
}

/// The inputs of an output, in the order of the recipe. What stages have made is none.
fn card_inputs(plan: &Plan, output: &Output) -> Vec<CardInput> {
    let program = &plan.program;
    let mut sources: Vec<&Source> = output
        .used
        .sources()
        .into_iter()
        .map(|source| &program.sources[source])
        .filter(|source| source.made_by.is_none())
        .collect();
    sources.sort_by_key(|source| source.span);
    let adapters = output.used.adapters.iter().map(|adapter| &program.adapters[*adapter]);
    let adapters = adapters.map(|adapter| (format!("{}+adapter", adapter.name), adapter.path.clone()));
    sources
        .into_iter()
        .map(|source| (source.name.clone(), source.path.clone()))
        .chain(adapters)
        .map(|(name, path)| {
            let slot = Some(super::slot(&name));
            CardInput { name, path, hash: None, slot }
        })
        .collect()
}

/// Seeds of all that was drawn on the way to an output, in the order of the recipe: by stages, and as first weights of networks.
fn seeds(plan: &Plan, output: &Output) -> Vec<(String, u64)> {
    let before = ancestors(&plan.graph, output.node);
    let mut found: Vec<(NodeId, String, u64)> = Vec::new();
    for stage in &plan.report.stages {
        found.extend(stage.seed.map(|seed| (stage.node, stage.name.clone(), seed)));
    }
    #[cfg(feature = "learn")]
    for step in &plan.experiment.steps {
        let seed = step.settings.get("seed").and_then(serde_json::Value::as_u64);
        found.extend(seed.map(|seed| (step.node, step.name.clone(), seed)));
    }
    found.retain(|(node, ..)| before.contains(node));
    found.sort_by_key(|(node, name, _)| (plan.graph.node(*node).span, loop_index(name)));
    found.into_iter().map(|(_, name, seed)| (name, seed)).collect()
}
