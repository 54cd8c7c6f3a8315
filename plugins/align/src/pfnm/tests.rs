use serde_json::json;

use super::*;
use crate::activations::Backwards;
use crate::held::Held;
use crate::oracle::{candidate, chain, moved, params, uniform};
use crate::state::State;
use fusion_sdk::context::{Alone, Host};

const DEFAULTS: PfnmParams = PfnmParams {
    gamma: 1.0,
    sigma: 1.0,
    sigma0: 1.0,
    passes: 5,
    width: 1.5,
    outgoing: true,
    after: None,
    until: None,
};

/// Chains whose biases go by the names of their matrices.
fn named(dims: &[usize]) -> Symmetries {
    let mut symmetries = chain(dims);
    for (at, tensor) in symmetries.tensors.iter_mut().enumerate() {
        tensor.name = format!("fc{}.{}", at / 2, if at % 2 == 0 { "weight" } else { "bias" });
    }
    symmetries
}

/// The target of a method, and what it finds.
fn aligned_on(
    host: &dyn Host,
    params: PfnmParams,
    models: &[Candidate<'_>],
) -> Result<(Symmetries, Aligned), MethodError> {
    let method = Pfnm::prepare(params, Incoming { reference: 0, from: models.len(), data: false })?;
    let described: Vec<&Symmetries> = models.iter().map(|model| model.symmetries).collect();
    let widths = method.widths(&described)?;
    let target = widths.map_or(models[0].symmetries.clone(), |sizes| models[0].symmetries.resized(&sizes));
    let found = method.align(Matching {
        models,
        reference: false,
        target: &target,
        features: None,
        objective: None,
        alignments: &[],
        seed: 3,
        context: Context::new(host),
    })?;
    Ok((target, found))
}

/// The mean of the aligned models.
fn mean(target: &Symmetries, found: &Aligned, models: &[(&Symmetries, &Held)]) -> Held {
    let n = models.len() as f64;
    let mut sum = Held::default();
    for (alignment, (symmetries, held)) in found.alignments.iter().zip(models) {
        alignment.check(symmetries, target).unwrap();
        for (at, values) in held.tensors.iter().enumerate() {
            let values = alignment.apply_f64(symmetries, target, at, values).unwrap();
            if sum.tensors.len() == at {
                sum.tensors.push(vec![0.0; values.len()]);
            }
            sum.tensors[at].iter_mut().zip(values).for_each(|(sum, value)| *sum += value / n);
        }
    }
    sum
}

/// Clients that are one network in several orders: no growth, and with a wide prior the network comes back.
#[test]
fn equal_clients_give_no_growth() {
    let symmetries = named(&[6, 8, 7, 3]);
    let held = params(1, &[6, 8, 7, 3]);
    let others = [1, 2].map(|seed| moved(&symmetries, &held, &State::random(&symmetries, seed)));
    let models = [&held, &others[0], &others[1]].map(|held| candidate("c", &symmetries, held));
    let params = PfnmParams { sigma0: 1e9, width: 1.0, ..DEFAULTS };
    let (target, found) = aligned_on(&Alone, params, &models).unwrap();
    assert_eq!(target, symmetries);
    let wanted = [("units", 15.0), ("growth", 1.0), ("common", 1.0)];
    assert_eq!(found.facts, wanted.map(|(name, value)| (name.to_owned(), value)));
    let each = [&held, &others[0], &others[1]].map(|held| (&symmetries, held));
    let result = mean(&target, &found, &each);
    for (a, b) in result.tensors.iter().flatten().zip(held.tensors.iter().flatten()) {
        assert!((a - b).abs() < 1e-8, "{a} {b}"); // 1/σ₀ is 10⁻⁹
    }
}

/// The mean of the aligned clients is g/s for what comes into a unit and for the outgoing weights of the last layer, by the definition; slots
/// that nobody needs are 0. Clients of different widths.
#[test]
fn the_mean_is_the_posterior_mean() {
    let widths = [[3, 5, 4, 2], [3, 4, 6, 2], [3, 5, 5, 2]];
    let symmetries = widths.map(|widths| named(&widths));
    let held: Vec<Held> = (0..3).map(|at| params(at as u64 + 1, &widths[at])).collect();
    let each: Vec<(&Symmetries, &Held)> = symmetries.iter().zip(&held).collect();
    let models: Vec<Candidate<'_>> =
        each.iter().map(|(symmetries, held)| candidate("c", symmetries, held)).collect();
    let (sigma, sigma0) = (0.5, 2.0);
    for outgoing in [true, false] {
        let params = PfnmParams { sigma, sigma0, width: 3.0, outgoing, ..DEFAULTS };
        let (target, found) = aligned_on(&Alone, params.clone(), &models).unwrap();
        let result = mean(&target, &found, &each);
        assert_eq!(target.nodes.iter().map(|node| node.size).collect::<Vec<_>>(), [15, 18]);
        // Global unit of each client's units.
        let slots = |layer: u32, model: usize| -> Vec<usize> {
            let Transform::Map(mixes) = found.alignments[model].transform(NodeId(layer)) else { panic!() };
            let merge = &mixes[0].merge;
            (0..merge.columns)
                .map(|unit| (0..merge.rows).find(|slot| merge.at(*slot, unit) > 0.0).unwrap())
                .collect()
        };
        let mut grown = 0;
        for slot in 0..18 {
            let members: Vec<(usize, usize)> = (0..3)
                .filter_map(|model| Some((model, slots(1, model).iter().position(|own| *own == slot)?)))
                .collect();
            grown += usize::from(!members.is_empty());
            let s = 1.0 / sigma0 + members.len() as f64 / sigma;
            let bias: f64 = members.iter().map(|(model, unit)| held[*model].tensors[3][*unit] / sigma).sum();
            assert!((result.tensors[3][slot] - bias / s).abs() < 1e-14);
            for input in 0..15 {
                // Inputs that a client does not have are 0.
                let weight = |(model, unit): &(usize, usize)| {
                    let column = slots(0, *model).iter().position(|own| *own == input);
                    column.map_or(0.0, |column| held[*model].tensors[2][unit * widths[*model][1] + column])
                };
                let wanted = members.iter().map(|member| weight(member) / sigma).sum::<f64>() / s;
                assert!((result.tensors[2][slot * 15 + input] - wanted).abs() < 1e-14);
            }
            for row in 0..2 {
                let weight =
                    |(model, unit): &(usize, usize)| held[*model].tensors[4][row * widths[*model][2] + unit];
                let sum: f64 = members.iter().map(weight).sum();
                let wanted = if outgoing { sum / sigma / s } else { sum / 3.0 };
                assert!((result.tensors[4][row * 18 + slot] - wanted).abs() < 1e-14);
            }
        }
        assert!((6..=15).contains(&grown));
        assert_eq!(aligned_on(&Backwards, params, &models).unwrap(), (target, found));
    }
}

#[test]
fn too_few_units_are_an_error_that_says_how_many() {
    let symmetries = named(&[2, 3, 1]);
    let client = |seed: u64| Held {
        tensors: vec![
            uniform(seed, 6).iter().map(|w| 30.0 * w).collect(),
            vec![0.0; 3],
            vec![0.0; 3],
            vec![0.0],
        ],
    };
    let clients = [client(1), client(2), client(3)];
    let models: Vec<Candidate<'_>> = clients.iter().map(|held| candidate("c", &symmetries, held)).collect();
    let error = aligned_on(&Alone, PfnmParams { width: 1.0, ..DEFAULTS }, &models).unwrap_err();
    assert_eq!(error.parameter, Some("width"));
    assert!(error.message.starts_with("`h0` needs ") && error.message.ends_with("gives it 3"), "{error}");
    let needed: f64 =
        error.help.unwrap().split("width = ").nth(1).unwrap().split('`').next().unwrap().parse().unwrap();
    assert!(aligned_on(&Alone, PfnmParams { width: needed, ..DEFAULTS }, &models).is_ok());
}

/// FedMA's steps: the first layer matched and shared, then the second behind it.
#[test]
fn layers_can_be_matched_one_by_one() {
    let symmetries = named(&[4, 5, 6, 2]);
    let held = params(1, &[4, 5, 6, 2]);
    let other = moved(&symmetries, &held, &State::random(&symmetries, 4));
    let models = [candidate("a", &symmetries, &held), candidate("b", &symmetries, &other)];
    let wide = PfnmParams { sigma0: 1e12, ..DEFAULTS };
    let first = PfnmParams { until: Some("fc0".into()), ..wide.clone() };
    let (target, found) = aligned_on(&Alone, first, &models).unwrap();
    assert_eq!(found.shared, ["fc0.weight", "fc0.bias"]);
    assert_eq!((target.nodes[0].size, target.nodes[1].size), (8, 6));
    let mut second: Vec<Held> = Vec::new();
    for (alignment, own) in found.alignments.iter().zip([&held, &other]) {
        assert_eq!(*alignment.transform(NodeId(1)), Transform::Identity);
        let each = own.tensors.iter().enumerate();
        let tensors = each.map(|(at, own)| alignment.apply_f64(&symmetries, &target, at, own).unwrap());
        second.push(Held { tensors: tensors.collect() });
    }
    for at in 0..2 {
        let mean: Vec<f64> =
            second[0].tensors[at].iter().zip(&second[1].tensors[at]).map(|(a, b)| 0.5 * (a + b)).collect();
        second.iter_mut().for_each(|held| held.tensors[at].clone_from(&mean));
    }
    let models = [candidate("a", &target, &second[0]), candidate("b", &target, &second[1])];
    let after = PfnmParams { after: Some("fc0".into()), width: 1.0, ..wide };
    let (end, found) = aligned_on(&Alone, after, &models).unwrap();
    assert_eq!(*found.alignments[0].transform(NodeId(0)), Transform::Identity);
    assert_eq!(found.facts[0].1, 6.0);
    let result = mean(&end, &found, &[(&target, &second[0]), (&target, &second[1])]);
    // The same function: outputs for one input.
    let run = |held: &Held, widths: [usize; 3]| {
        let mut value = vec![0.3, -0.7, 0.9, 0.1];
        for (layer, width) in widths.into_iter().enumerate() {
            let rows = held.tensors[2 * layer].chunks(value.len()).zip(&held.tensors[2 * layer + 1]);
            let next: Vec<f64> =
                rows.map(|(row, b)| b + row.iter().zip(&value).map(|(w, x)| w * x).sum::<f64>()).collect();
            assert_eq!(next.len(), width);
            value = if layer < 2 { next.iter().map(|x| x.max(0.0)).collect() } else { next };
        }
        value
    };
    for (a, b) in run(&result, [8, 6, 2]).iter().zip(run(&held, [5, 6, 2])) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
}

#[test]
fn bad_input_is_named() {
    let symmetries = named(&[2, 3, 1]);
    let mut held = params(1, &[2, 3, 1]);
    held.tensors[0].fill(0.0); // dead units are no trouble
    let models = [candidate("a", &symmetries, &held), candidate("b", &symmetries, &held)];
    assert!(aligned_on(&Alone, PfnmParams { width: 2.0, ..DEFAULTS }, &models).is_ok());
    let mut broken = held.clone();
    broken.tensors[1][2] = f64::NAN;
    let models = [candidate("a", &symmetries, &held), candidate("b", &symmetries, &broken)];
    let error = aligned_on(&Alone, DEFAULTS, &models).unwrap_err();
    assert!(error.message.contains("element 2 of `fc0.bias` in `b`"), "{error}");
    let heads =
        Symmetries::parse("node h[2]\nnode d[2] in h\nv = h · d, reads pin[2]\no = pin[2], reads h · d\n")
            .unwrap();
    let held = crate::oracle::values(&heads, 1);
    let models = [candidate("a", &heads, &held), candidate("b", &heads, &held)];
    let error = aligned_on(&Alone, DEFAULTS, &models).unwrap_err();
    assert!(error.message.contains("`h` is made of heads"), "{error}");
    let method = fusion_sdk::align::method::<Pfnm>();
    let incoming = Incoming { reference: 0, from: 2, data: false };
    let settings = json!({"width": 0.5});
    let error = method.prepare(settings.as_object().unwrap(), incoming).err().unwrap();
    assert_eq!(error.parameter, Some("width"));
}
