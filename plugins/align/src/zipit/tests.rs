use serde_json::json;

use super::*;
use crate::activations::{Backwards, Chains, runnable};
use crate::held::Held;
use crate::oracle::{chain, moved, params, values};
use crate::state::State;
use fusion_sdk::align::{Features, Rows, Tap, Watched};
use fusion_sdk::context::{Alone, Context, Host};

const DEFAULTS: ZipItParams = ZipItParams { ratio: None, alpha: 0.3, beta: 0.125, until: None, share: None };

fn prepared(params: ZipItParams, from: usize) -> ZipIt {
    ZipIt::prepare(params, Incoming { reference: 0, from, data: true }).unwrap()
}

/// The target of a method, and what it finds.
fn aligned_on(
    host: &dyn Host,
    method: &ZipIt,
    models: &[Candidate<'_>],
    features: &mut dyn Features,
) -> Result<(Symmetries, Aligned), MethodError> {
    let described: Vec<&Symmetries> = models.iter().map(|model| model.symmetries).collect();
    let widths = method.widths(&described)?;
    let target = widths.map_or(models[0].symmetries.clone(), |sizes| models[0].symmetries.resized(&sizes));
    let found = method.align(Matching {
        models,
        reference: false,
        target: &target,
        features: Some(features),
        objective: None,
        alignments: &[],
        seed: 0,
        context: Context::new(host),
    })?;
    Ok((target, found))
}

/// All aligned models.
fn applied(target: &Symmetries, found: &Aligned, models: &[(&Symmetries, &Held)]) -> Vec<Held> {
    let of = |(alignment, (symmetries, held)): (&Alignment, &(&Symmetries, &Held))| {
        alignment.check(symmetries, target).unwrap();
        let each = held.tensors.iter().enumerate();
        Held {
            tensors: each
                .map(|(at, own)| alignment.apply_f64(symmetries, target, at, own).unwrap())
                .collect(),
        }
    };
    found.alignments.iter().zip(models).map(of).collect()
}

fn mean_of(models: &[Held]) -> Held {
    let n = models.len() as f64;
    let tensor = |at: usize| {
        let value = |place: usize| models.iter().map(|model| model.tensors[at][place]).sum::<f64>() / n;
        (0..models[0].tensors[at].len()).map(value).collect()
    };
    Held { tensors: (0..models[0].tensors.len()).map(tensor).collect() }
}

fn near(a: &Held, b: &Held) {
    assert_eq!(a.tensors.len(), b.tensors.len());
    for (a, b) in a.tensors.iter().flatten().zip(b.tensors.iter().flatten()) {
        assert!((a - b).abs() < 1e-13, "{a} {b}");
    }
}

/// A model with itself, and with itself in another order, is itself.
#[test]
fn a_model_zipped_with_itself_is_itself() {
    let symmetries = chain(&[4, 7, 6, 3]);
    let held = params(1, &[4, 7, 6, 3]);
    for other in [held.clone(), moved(&symmetries, &held, &State::random(&symmetries, 3))] {
        let each = [(&symmetries, &held), (&symmetries, &other)];
        let models = [runnable("a", &symmetries, &held), runnable("b", &symmetries, &other)];
        let mut features = Chains::new(&each, &[300]);
        let (target, found) = aligned_on(&Alone, &prepared(DEFAULTS, 2), &models, &mut features).unwrap();
        assert_eq!(target, symmetries);
        near(&mean_of(&applied(&target, &found, &each)), &held);
        assert!(found.shared.is_empty());
        assert_eq!(found.facts[0], ("merges".to_owned(), 13.0));
        assert_eq!(found.facts[1], ("within".to_owned(), 0.0));
        assert!((found.facts[2].1 - 1.0).abs() < 1e-6, "{:?}", found.facts);
    }
}

/// W* = (1/K) Σ (K·Mₖ)WₖUₖ from the clusters: a merged row is the mean over the cluster's units of their weights, summed over the units of the
/// cluster that they read.
#[test]
fn the_mean_is_the_merged_model() {
    let widths = [[3, 6, 5, 2], [3, 6, 5, 2], [3, 4, 7, 2]];
    let symmetries = widths.map(|widths| chain(&widths));
    let held: Vec<Held> =
        widths.iter().enumerate().map(|(at, widths)| params(at as u64 + 1, widths)).collect();
    let each: Vec<(&Symmetries, &Held)> = symmetries.iter().zip(&held).collect();
    let models: Vec<Candidate<'_>> =
        each.iter().map(|(symmetries, held)| runnable("m", symmetries, held)).collect();
    for (ratio, alpha, beta) in [(None, 0.3, 0.125), (Some(0.4), 1.0, 1.0), (Some(0.8), 0.1, 0.0)] {
        let method = prepared(ZipItParams { ratio, alpha, beta, ..DEFAULTS }, 3);
        let mut features = Chains::new(&each, &[50, 20]);
        let (target, found) = aligned_on(&Alone, &method, &models, &mut features).unwrap();
        let merged = mean_of(&applied(&target, &found, &each));
        // Clusters as (model, unit), from the 0/1 matrices.
        let clusters = |layer: usize| {
            let mut clusters = vec![Vec::new(); target.nodes[layer].size];
            for (model, alignment) in found.alignments.iter().enumerate() {
                let Transform::Map(mixes) = alignment.transform(NodeId(layer as u32)) else { panic!() };
                let unmerge = &mixes[0].unmerge;
                for unit in 0..unmerge.rows {
                    let slot = (0..unmerge.columns).find(|slot| unmerge.at(unit, *slot) == 1.0).unwrap();
                    clusters[slot].push((model, unit));
                }
            }
            clusters
        };
        let (first, second) = (clusters(0), clusters(1));
        let mut wanted = Vec::new();
        for to in &second {
            for from in &first {
                let mut sum = 0.0;
                for (model, row) in to {
                    for (_, column) in from.iter().filter(|(own, _)| own == model) {
                        sum += held[*model].tensors[2][row * widths[*model][1] + column] / to.len() as f64;
                    }
                }
                wanted.push(sum);
            }
        }
        for (found, wanted) in merged.tensors[2].iter().zip(&wanted) {
            assert!((found - wanted).abs() < 1e-14, "{found} {wanted}");
        }
        // The output is the mean of the three models' outputs on merged units.
        let output = |row: usize, slot: &Vec<(usize, usize)>| {
            slot.iter()
                .map(|(model, unit)| held[*model].tensors[4][row * widths[*model][2] + unit])
                .sum::<f64>()
                / 3.0
        };
        let outputs: Vec<f64> =
            (0..2).flat_map(|row| second.iter().map(move |slot| output(row, slot))).collect();
        merged.tensors[4].iter().zip(&outputs).for_each(|(a, b)| assert!((a - b).abs() < 1e-14));
        assert_eq!(first.len(), ratio.map_or(5, |ratio| (16.0 * (1.0 - ratio) + 1e-4) as usize));
        let mut features = Chains::new(&each, &[50, 20]);
        let again = aligned_on(&Backwards, &method, &models, &mut features).unwrap();
        assert_eq!(again, (target, found));
    }
}

/// Behind the cut every model keeps its own layers, which read merged units; before it all have the mean.
#[test]
fn a_partial_zip_leaves_heads_to_the_models() {
    let symmetries = chain(&[4, 7, 6, 3]);
    let held = [params(1, &[4, 7, 6, 3]), params(2, &[4, 7, 6, 3])];
    let each = [(&symmetries, &held[0]), (&symmetries, &held[1])];
    let models = [runnable("a", &symmetries, &held[0]), runnable("b", &symmetries, &held[1])];
    let mut features = Chains::new(&each, &[60]);
    for params in
        [ZipItParams { until: Some("w0".into()), ..DEFAULTS }, ZipItParams { share: Some(0.33), ..DEFAULTS }]
    {
        let (target, found) = aligned_on(&Alone, &prepared(params, 2), &models, &mut features).unwrap();
        assert_eq!(found.shared, ["w0", "b0"]);
        let results = applied(&target, &found, &each);
        for ((alignment, result), (_, held)) in found.alignments.iter().zip(&results).zip(each) {
            assert!(matches!(alignment.transform(NodeId(0)), Transform::Map(_)));
            assert_eq!(*alignment.transform(NodeId(1)), Transform::Identity);
            assert_eq!(result.tensors[3..], held.tensors[3..]);
            // Every unit's column is one of the merged columns: sums are the same.
            let sum = |tensors: &Held| tensors.tensors[2].iter().sum::<f64>();
            assert!((sum(result) - sum(held)).abs() < 1e-12);
        }
    }
}

#[test]
fn a_single_model_is_compressed() {
    let symmetries = chain(&[4, 9, 3]);
    let mut held = params(1, &[4, 9, 3]);
    // Three units are there twice.
    for twin in 0..3 {
        held.tensors[0].copy_within(4 * twin..4 * twin + 4, 4 * (twin + 6));
        held.tensors[1].copy_within(twin..twin + 1, twin + 6);
    }
    let models = [runnable("a", &symmetries, &held)];
    let mut features = Chains::new(&[(&symmetries, &held)], &[40]);
    let method = prepared(ZipItParams { ratio: Some(1.0 / 3.0), ..DEFAULTS }, 1);
    assert_eq!(method.widths(&[&symmetries]).unwrap(), Some(vec![6]));
    let (target, found) = aligned_on(&Alone, &method, &models, &mut features).unwrap();
    let result = applied(&target, &found, &[(&symmetries, &held)]).remove(0);
    // The same function: outgoing weights of twins are summed.
    for row in 0..3 {
        for unit in 0..6 {
            let own = held.tensors[2][row * 9 + unit]
                + if unit < 3 { held.tensors[2][row * 9 + unit + 6] } else { 0.0 };
            assert!((result.tensors[2][row * 6 + unit] - own).abs() < 1e-14);
        }
    }
    assert!((result.tensors[0].iter().zip(&held.tensors[0][..24]).all(|(a, b)| (a - b).abs() < 1e-15)));
}

/// Heads in another order, with dimensions in another order: what is shown are values of a linear map of the input.
struct Attention<'a> {
    models: [&'a Held; 2],
    taps: Vec<Tap>,
    inputs: Vec<f64>,
}

impl Features for Attention<'_> {
    fn taps(&self) -> &[Tap] {
        &self.taps
    }

    fn pass(
        &mut self,
        models: &[Watched<'_>],
        taps: &[usize],
        visit: &mut fusion_sdk::align::Visit<'_>,
    ) -> Result<(), MethodError> {
        // v and qk are 6 units each, of 4 inputs.
        let run = |model: &Watched<'_>, tap: &usize| {
            let weights = &self.models[model.candidate].tensors[*tap];
            let row =
                |input: &[f64], row: &[f64]| row.iter().zip(input).map(|(w, x)| w * x).sum::<f64>() as f32;
            self.inputs
                .chunks(4)
                .flat_map(|x| weights.chunks(4).map(move |w| row(x, w)))
                .collect::<Vec<f32>>()
        };
        let values: Vec<Vec<Vec<f32>>> =
            models.iter().map(|model| taps.iter().map(|tap| run(model, tap)).collect()).collect();
        let rows: Vec<Vec<Rows<'_>>> =
            values.iter().map(|taps| taps.iter().map(|values| Rows { width: 6, values }).collect()).collect();
        visit(&rows)
    }
}

#[test]
fn heads_are_assigned_and_merged_within() {
    let text = "node head[3]\nnode v[2] in head\nnode qk[2] in head\nv = head · v, reads pin[4]\nk = head · qk, reads pin[4]\no = pin[2], reads head · v\n";
    let symmetries = Symmetries::parse(text).unwrap();
    let held = values(&symmetries, 1);
    let other = moved(&symmetries, &held, &State::random(&symmetries, 5));
    let tap = |tensor: usize, when| Tap {
        layer: symmetries.tensors[tensor].name.clone(),
        when,
        units: symmetries.tensors[tensor].axes[0].segments.clone(),
    };
    let taps = vec![tap(0, When::After), tap(1, When::Before)];
    let inputs = crate::oracle::uniform(7, 400);
    let mut features = Attention { models: [&held, &other], taps, inputs };
    let models = [runnable("a", &symmetries, &held), runnable("b", &symmetries, &other)];
    let (target, found) = aligned_on(&Alone, &prepared(DEFAULTS, 2), &models, &mut features).unwrap();
    let each = [(&symmetries, &held), (&symmetries, &other)];
    near(&mean_of(&applied(&target, &found, &each)), &held);
    assert!(matches!(found.alignments[1].transform(NodeId(0)), Transform::Permutation(_)));
    // Nothing shows the values: the message says which node.
    features.taps.remove(0);
    let error = aligned_on(&Alone, &prepared(DEFAULTS, 2), &models, &mut features).unwrap_err();
    assert!(error.message.contains("`v`"), "{error}");
}

#[test]
fn dead_units_and_bad_input() {
    let symmetries = chain(&[4, 7, 3]);
    let (mut held, other) = (params(1, &[4, 7, 3]), params(2, &[4, 7, 3]));
    // Units 0 and 1 never wake up.
    held.tensors[0][..8].fill(0.0);
    held.tensors[1][..2].fill(-1.0);
    let each = [(&symmetries, &held), (&symmetries, &other)];
    let models = [runnable("a", &symmetries, &held), runnable("b", &symmetries, &other)];
    let (target, found) =
        aligned_on(&Alone, &prepared(DEFAULTS, 2), &models, &mut Chains::new(&each, &[30])).unwrap();
    assert!(
        applied(&target, &found, &each)
            .iter()
            .flat_map(|held| &held.tensors)
            .flatten()
            .all(|x| x.is_finite())
    );
    held.tensors[1][4] = f64::INFINITY;
    let each = [(&symmetries, &held), (&symmetries, &other)];
    let models = [runnable("a", &symmetries, &held), runnable("b", &symmetries, &other)];
    let error =
        aligned_on(&Alone, &prepared(DEFAULTS, 2), &models, &mut Chains::new(&each, &[30])).unwrap_err();
    assert!(error.message.contains("`w0` of `a` is inf"), "{error}");
    let refused = |settings: serde_json::Value, from: usize| {
        let incoming = Incoming { reference: 0, from, data: true };
        let method = fusion_sdk::align::method::<ZipIt>();
        method.prepare(settings.as_object().unwrap(), incoming).err().unwrap().parameter
    };
    assert_eq!(refused(json!({}), 1), Some("ratio"));
    assert_eq!(refused(json!({"ratio": 1.0}), 2), Some("ratio"));
    assert_eq!(refused(json!({"until": "w0", "share": 0.5}), 2), Some("share"));
    let stuck = ZipItParams { ratio: Some(0.8), alpha: 0.0, ..DEFAULTS };
    let error =
        aligned_on(&Alone, &prepared(stuck, 2), &models, &mut Chains::new(&[each[1], each[1]], &[30]))
            .unwrap_err();
    assert_eq!(error.parameter, Some("beta"));
}
