//! The `evaluate` methods as the language sees them.

use fusion_sdk::{About, Category, Claim, Class, Described, MethodError, Port, Space};
use serde_json::{Map, Value as Json};

use super::params::{
    BarrierParams, CkaParams, EceParams, LandscapeParams, MergeableParams, Plain, read, schema, split,
};

/// An `evaluate` method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Loss,
    Accuracy,
    CrossEntropy,
    Perplexity,
    Brier,
    Ece,
    PerClass,
    Diversity,
    Cka,
    Distance,
    Barrier,
    Mergeable,
    Landscape,
}

impl Kind {
    const ALL: [Kind; 13] = [
        Kind::Accuracy,
        Kind::Loss,
        Kind::CrossEntropy,
        Kind::Perplexity,
        Kind::Brier,
        Kind::Ece,
        Kind::PerClass,
        Kind::Diversity,
        Kind::Cka,
        Kind::Distance,
        Kind::Barrier,
        Kind::Mergeable,
        Kind::Landscape,
    ];

    /// The word after `using`.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Kind::Loss => "loss",
            Kind::Accuracy => "accuracy",
            Kind::CrossEntropy => "cross_entropy",
            Kind::Perplexity => "perplexity",
            Kind::Brier => "brier",
            Kind::Ece => "ece",
            Kind::PerClass => "per_class",
            Kind::Diversity => "diversity",
            Kind::Cka => "cka",
            Kind::Distance => "distance",
            Kind::Barrier => "barrier",
            Kind::Mergeable => "mergeable",
            Kind::Landscape => "landscape",
        }
    }

    pub(crate) fn of(id: &str) -> Result<Kind, MethodError> {
        Kind::ALL.into_iter().find(|kind| kind.id() == id).ok_or_else(|| {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
            MethodError::invalid(format!("`evaluate` has no method `{id}`"))
                .help(format!("its methods are `{}`", known.join("`, `")))
        })
    }

    /// Summary, formula, citation.
    const fn texts(self) -> [&'static str; 3] {
        match self {
            Kind::Accuracy => ["share of examples whose class is found", "1/n Σ [argmaxₖ f(x)ₖ = y]", ""],
            Kind::Loss => [
                "the data's own loss: cross entropy for classes, mean squared error for numbers",
                "−1/n Σ ln p(y), or 1/(nd) Σ ‖f(x) − y‖²",
                "",
            ],
            Kind::CrossEntropy => ["negative log-likelihood, in nats", "−1/n Σ ln p(y)", ""],
            Kind::Perplexity => ["exponential of the cross entropy", "exp(−1/n Σ ln p(y))", ""],
            Kind::Brier => [
                "mean squared error of the probabilities",
                "1/n Σ Σₖ (pₖ − [k = y])²",
                "Brier, Verification of forecasts expressed in terms of probability, 1950",
            ],
            Kind::Ece => [
                "expected calibration error, with a reliability diagram",
                "Σ_b n_b/n · |acc(b) − conf(b)| over intervals b of the highest probability",
                "Guo et al., On calibration of modern neural networks, ICML 2017",
            ],
            Kind::PerClass => [
                "precision, recall, F1 and confusion by class",
                "precision = right/called, recall = right/present, F1 = 2·right/(called + present)",
                "",
            ],
            Kind::Diversity => [
                "how different models are in what they say",
                "disagreement = 1/n Σ [ŷᵢ ≠ ŷⱼ], divergence = 1/n Σ KL(pᵢ‖pⱼ),\n\
                 error_correlation = corr([ŷᵢ ≠ y], [ŷⱼ ≠ y]), weight_diversity = 1 − cos(θᵢ − base, θⱼ − base)",
                "Fort et al., Deep ensembles: a loss landscape perspective, 2019",
            ],
            Kind::Cka => [
                "how alike the layers of two models see the same examples",
                "‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) with centred columns",
                "Kornblith et al., Similarity of neural network representations revisited, ICML 2019",
            ],
            Kind::Distance => [
                "distances and cosines between models, as a whole and by layer",
                "‖a − b‖, a·b/(‖a‖‖b‖); of task vectors with a base",
                "",
            ],
            Kind::Barrier => [
                "how much worse a path is than its ends",
                "height = maxₜ L(t) − ½(L(0) + L(1)), chord = maxₜ [L(t) − (1−t)L(0) − tL(1)],\n\
                 gap = L(½) − ½(L(0) + L(1)), normalised = maxₜ [1 − acc(t)/((1−t)acc(0) + t·acc(1))]",
                "Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, ICML 2020; Garipov et al., NeurIPS 2018; \
                 Entezari et al., ICLR 2022",
            ],
            Kind::Mergeable => [
                "barriers between every two models: who can be merged with whom",
                "height, chord and gap of the straight line between θᵢ and θⱼ",
                "Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, ICML 2020",
            ],
            Kind::Landscape => [
                "loss and error on a grid over a plane of weights",
                "L(θ₁ + x·û + y·v̂), û towards the second point, v̂ orthogonal to it towards the third",
                "Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of DNNs, NeurIPS 2018",
            ],
        }
    }

    fn ports(self) -> Vec<Port> {
        let port = |role, space, min, max, doc| Port { role, space, min, max, settings: false, doc };
        let from = |min, doc| port("from", Space::Model, min, None, doc);
        let data = |max| port("data", Space::Dataset, 1, max, "examples to measure on");
        let train = port(
            "train",
            Space::Dataset,
            0,
            Some(1),
            "training data, for BatchNorm's statistics where `norm` counts them",
        );
        let base = port("base", Space::Model, 0, Some(1), "what task vectors are taken from");
        match self {
            Kind::Distance => vec![from(2, "the models, of one architecture"), base],
            Kind::Diversity => vec![from(2, "models and ensembles"), base, data(Some(1)), train],
            Kind::Cka => vec![from(2, "the models"), data(Some(1)), train],
            Kind::Mergeable => vec![from(2, "the models, of one architecture"), data(None), train],
            Kind::Barrier => {
                vec![port("path", Space::Path, 1, Some(1), "the path"), data(None), train]
            }
            Kind::Landscape => vec![
                port("path", Space::Path, 1, None, "the plane, and paths that are drawn on it"),
                from(0, "models that are drawn on it"),
                data(None),
                train,
            ],
            _ => vec![from(1, "models and ensembles"), data(Some(1)), train],
        }
    }

    fn schema(self) -> Json {
        match self {
            Kind::Ece => schema::<EceParams>(true),
            Kind::Cka => schema::<CkaParams>(true),
            Kind::Barrier => schema::<BarrierParams>(true),
            Kind::Mergeable => schema::<MergeableParams>(true),
            Kind::Landscape => schema::<LandscapeParams>(true),
            Kind::Distance => schema::<Plain>(false),
            _ => schema::<Plain>(true),
        }
    }
}

/// The methods of `evaluate`, for the registry.
#[must_use]
pub fn methods() -> Vec<Described> {
    let described = |kind: Kind| {
        let [summary, formula, citation] = kind.texts();
        let about = About {
            id: kind.id(),
            version: 1,
            category: Category::Evaluate,
            summary,
            formula,
            citation,
            ports: kind.ports(),
            random: kind != Kind::Distance,
            claims: &[Claim::Deterministic],
        };
        Described { about, class: Class::Learn, passes: 0, params: kind.schema() }
    };
    Kind::ALL.into_iter().map(described).collect()
}

/// Whether settings fit a method, before anything is read. The seed may be among them.
///
/// # Errors
/// No such method, unknown names, wrong types, values out of range.
pub fn check(id: &str, settings: &Map<String, Json>) -> Result<(), MethodError> {
    match Kind::of(id)? {
        Kind::Ece => split::<EceParams>(settings).map(drop),
        Kind::Cka => split::<CkaParams>(settings).map(drop),
        Kind::Barrier => split::<BarrierParams>(settings).map(drop),
        Kind::Mergeable => split::<MergeableParams>(settings).map(drop),
        Kind::Landscape => split::<LandscapeParams>(settings).map(drop),
        Kind::Distance => read::<Plain>(settings).map(drop),
        _ => split::<Plain>(settings).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_method_has_its_defaults_and_texts() {
        let all = methods();
        assert_eq!(all.len(), Kind::ALL.len());
        for described in all {
            let about = &described.about;
            assert!(!about.summary.is_empty() && !about.formula.is_empty(), "{}", about.id);
            assert!(check(about.id, &Map::new()).is_ok(), "{}", about.id);
            let properties = described.params["properties"].as_object().expect("an object");
            assert_eq!(properties.contains_key("seed"), about.random, "{}", about.id);
            assert!(!described.params.to_string().contains("$ref"), "{}", about.id);
            let data = about.ports.iter().any(|port| port.space == Space::Dataset);
            assert_eq!(data, about.random, "{}", about.id);
        }
    }

    #[test]
    fn settings_are_checked_by_name_and_range() {
        let of = |id, settings: Json| check(id, settings.as_object().expect("an object"));
        assert!(
            of("barrier", json!({ "points": 61, "metric": "accuracy", "norm": "reset", "seed": 7 })).is_ok()
        );
        assert!(of("ece", json!({ "bins": 10, "batch": 100 })).is_ok());
        let error = |id, settings| of(id, settings).unwrap_err();
        assert_eq!(error("barrier", json!({ "points": 1 })).parameter, Some("points"));
        assert_eq!(error("barrier", json!({ "norm": "rest" })).parameter, Some("norm"));
        assert_eq!(error("accuracy", json!({ "batch": 0 })).parameter, Some("batch"));
        assert_eq!(error("loss", json!({ "norm_momentum": 0.0 })).parameter, Some("norm_momentum"));
        assert!(error("distance", json!({ "batch": 5 })).message.contains("no parameter `batch`"));
        assert!(error("accurcy", json!({})).help.expect("a list").contains("`accuracy`"));
    }
}
