//! PEFT adapters against deltas computed by hand.

mod support;

use std::path::Path;

use fusion_core::checkpoint::{Adapter, Bound, Checkpoint, LowRank};
use support::{Entry, Pickle, f32s, safetensors, torch_file, write};

const CONFIG: &str = r#"{"peft_type":"LORA","base_model_name_or_path":"org/base","r":2,"lora_alpha":8"#;

fn adapter(folder: &Path, more: &str, entries: &[Entry<'_>]) -> Result<Adapter, String> {
    write(folder, "adapter_config.json", format!("{CONFIG}{more}}}"));
    write(folder, "adapter_model.safetensors", safetensors(entries));
    Adapter::open(folder).map_err(|error| error.to_string())
}

fn base(folder: &Path) -> Checkpoint {
    let zeros = |n: usize| vec![0.0; n];
    let file = safetensors(&[
        f32s("model.q.weight", &[3, 4], &zeros(12)),
        f32s("model.k.weight", &[3, 4], &zeros(12)),
        f32s("model.embed.weight", &[5, 3], &zeros(15)),
        f32s("head.weight", &[5, 3], &zeros(15)),
        f32s("model.q.bias", &[3], &zeros(3)),
    ]);
    Checkpoint::open(&write(folder, "base.safetensors", file)).unwrap()
}

const A: [f32; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
const B: [f32; 6] = [1.0, -1.0, 2.0, 0.5, 0.0, 3.0];

fn pair<'a>(names: &'a [String; 2]) -> [Entry<'a>; 2] {
    [f32s(&names[0], &[2, 4], &A), f32s(&names[1], &[3, 2], &B)]
}

fn names(module: &str) -> [String; 2] {
    [format!("base_model.model.{module}.lora_A.weight"), format!("base_model.model.{module}.lora_B.weight")]
}

/// The delta as a dense matrix.
fn dense(delta: &LowRank) -> Vec<f32> {
    let mut out = Vec::new();
    for row in 0..delta.rows {
        for column in 0..delta.columns {
            let sum: f32 = (0..delta.rank)
                .map(|k| delta.b[row * delta.rank + k] * delta.a[k * delta.columns + column])
                .sum();
            out.push(delta.scale * sum);
        }
    }
    out
}

fn product(scale: f32) -> Vec<f32> {
    (0..3).flat_map(|i| (0..4).map(move |j| scale * (B[2 * i] * A[j] + B[2 * i + 1] * A[4 + j]))).collect()
}

#[test]
fn a_linear_layer_gets_its_scaled_product() {
    let folder = tempfile::tempdir().unwrap();
    let q = names("model.q");
    let opened = adapter(folder.path(), "", &pair(&q)).unwrap();
    let bound = opened.bind(&base(folder.path())).unwrap();
    assert_eq!(bound, Bound { deltas: vec!["model.q.weight".to_owned()], replacements: vec![] });
    let delta = opened.delta("model.q.weight").unwrap().unwrap();
    assert_eq!((delta.rows, delta.columns, delta.rank, delta.scale), (3, 4, 2, 4.0));
    assert_eq!(dense(&delta), product(4.0));
    assert_eq!(opened.delta("model.k.weight").unwrap(), None);
    assert_eq!((opened.rank(), opened.target_count(), opened.parameters(), opened.bytes()), (2, 1, 14, 56));
    assert_eq!(opened.base(), Some("org/base"));
    assert_eq!(opened.files().len(), 2);
}

#[test]
fn scales_follow_rank_stabilisation_and_patterns() {
    let folder = tempfile::tempdir().unwrap();
    let (q, k) = (names("model.q"), names("model.k"));
    let entries = || {
        let [a, b] = pair(&q);
        let [c, d] = pair(&k);
        [a, b, c, d]
    };
    let stable = adapter(folder.path(), r#","use_rslora":true"#, &entries()).unwrap();
    assert_eq!(stable.delta("model.q.weight").unwrap().unwrap().scale, (8.0 / 2f64.sqrt()) as f32);
    let first = stable.content_hash().unwrap();
    let pattern = adapter(folder.path(), r#","alpha_pattern":{"q":1,"^k":7}"#, &entries()).unwrap();
    assert_eq!(pattern.delta("model.q.weight").unwrap().unwrap().scale, 0.5);
    assert_eq!(pattern.delta("model.k.weight").unwrap().unwrap().scale, 4.0, "`^k` is not the end of a name");
    assert_ne!(first, pattern.content_hash().unwrap(), "the scale is part of what it computes");
    let message = adapter(folder.path(), r#","rank_pattern":{"k":4}"#, &entries()).unwrap_err();
    assert!(message.contains("rank 2") && message.contains("says 4"), "{message}");
    let message = adapter(folder.path(), r#","rank_pattern":{"layers.[0-9]+.k":4}"#, &entries()).unwrap_err();
    assert!(message.contains("regular expression"), "{message}");
}

#[test]
fn embeddings_and_conv1d_store_the_transpose() {
    let folder = tempfile::tempdir().unwrap();
    // Embedding of 5 tokens and 3 features: A is rank x tokens, B is features x rank, the weight is tokens x features.
    let a: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let entries = [
        f32s("base_model.model.model.embed.lora_embedding_A", &[2, 5], &a),
        f32s("base_model.model.model.embed.lora_embedding_B", &[3, 2], &B),
    ];
    let opened = adapter(folder.path(), "", &entries).unwrap();
    assert_eq!(opened.bind(&base(folder.path())).unwrap().deltas, ["model.embed.weight"]);
    let expected: Vec<f32> = (0..5)
        .flat_map(|t| {
            let a = &a;
            (0..3).map(move |f| 4.0 * (B[2 * f] * a[t] + B[2 * f + 1] * a[5 + t]))
        })
        .collect();
    assert_eq!(dense(&opened.delta("model.embed.weight").unwrap().unwrap()), expected);

    let q = names("model.q");
    let conv1d = adapter(folder.path(), r#","fan_in_fan_out":true"#, &pair(&q)).unwrap();
    let delta = conv1d.delta("model.q.weight").unwrap().unwrap();
    assert_eq!((delta.rows, delta.columns), (4, 3));
    let straight = product(4.0);
    let transposed: Vec<f32> = (0..4)
        .flat_map(|j| {
            let s = &straight;
            (0..3).map(move |i| s[i * 4 + j])
        })
        .collect();
    assert_eq!(dense(&delta), transposed);
    let message = conv1d.bind(&base(folder.path())).unwrap_err().to_string();
    assert!(message.contains("`fan_in_fan_out`"), "{message}");
}

#[test]
fn whole_tensors_replace_those_of_the_base() {
    let folder = tempfile::tempdir().unwrap();
    let q = names("model.q");
    let [a, b] = pair(&q);
    let entries = [
        a,
        b,
        f32s("base_model.model.head.modules_to_save.default.weight", &[5, 3], &[1.0; 15]),
        f32s("base_model.model.model.q.bias", &[3], &[1.0; 3]),
    ];
    let opened = adapter(folder.path(), r#","bias":"lora_only""#, &entries).unwrap();
    let bound = opened.bind(&base(folder.path())).unwrap();
    let replaced: Vec<&str> = bound.replacements.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(replaced, ["head.weight", "model.q.bias"]);
    assert_eq!(opened.weights().bytes(bound.replacements[0].1).unwrap().len(), 60);
}

#[test]
fn what_is_not_a_plain_low_rank_delta_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let q = names("model.q");
    for (more, part) in [
        (r#","use_dora":true"#, "use_dora"),
        (r#","lora_bias":true"#, "lora_bias"),
        (r#","layer_replication":[[0,2]]"#, "layer_replication"),
        (r#","target_parameters":["w"]"#, "target_parameters"),
        (r#","init_lora_weights":"pissa_niter_4""#, "pissa"),
        (r#","r":0"#, "`r`"),
        (r#","lora_alpha":null"#, "lora_alpha"),
        (r#","peft_type":"IA3""#, "IA3"),
    ] {
        let message = adapter(folder.path(), more, &pair(&q)).unwrap_err();
        assert!(message.contains(part) && message.contains("adapter_config.json"), "{message}");
    }
    let message = |entries: &[Entry<'_>]| adapter(folder.path(), "", entries).unwrap_err();
    let [a, b] = pair(&q);
    assert!(message(&[a]).contains("no B"));
    assert!(message(&[b]).contains("no A"));
    assert!(
        message(&[f32s(&q[0], &[2, 4, 1, 1], &A), f32s(&q[1], &[3, 2, 1, 1], &B)])
            .contains("no convolutions")
    );
    assert!(message(&[f32s(&q[0], &[4, 2], &A), f32s(&q[1], &[3, 2], &B)]).contains("ranks differ"));
    let [a, b] = pair(&q);
    assert!(
        message(&[a, b, f32s("base_model.model.model.q.lora_magnitude_vector", &[3], &[0.0; 3])])
            .contains("DoRA")
    );
    assert!(message(&[f32s("base_model.model.model.q.lora_what", &[1], &[0.0])]).contains("means nothing"));
    assert!(message(&[]).contains("holds no tensor"));
    let empty = tempfile::tempdir().unwrap();
    assert!(Adapter::open(empty.path()).unwrap_err().is_missing());
}

#[test]
fn a_base_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = names("model.v");
    let opened = adapter(folder.path(), "", &pair(&wrong)).unwrap();
    let message = opened.bind(&base(folder.path())).unwrap_err().to_string();
    assert!(message.contains("`model.v.weight`") && message.contains("`org/base`"), "{message}");
    let prefixed = names("transformer.model.q");
    let opened = adapter(folder.path(), "", &pair(&prefixed)).unwrap();
    let message = opened.bind(&base(folder.path())).unwrap_err().to_string();
    assert!(message.contains("it has `model.q.weight`"), "{message}");
    let embed = names("model.embed");
    let opened = adapter(folder.path(), "", &pair(&embed)).unwrap();
    let message = opened.bind(&base(folder.path())).unwrap_err().to_string();
    assert!(message.contains("shape [3, 4]") && message.contains("[5, 3]"), "{message}");
    let nan = names("model.q");
    let opened =
        adapter(folder.path(), "", &[f32s(&nan[0], &[2, 4], &[f32::NAN; 8]), f32s(&nan[1], &[3, 2], &B)])
            .unwrap();
    assert!(opened.delta("model.q.weight").unwrap_err().to_string().contains("NaN"));
}

#[test]
fn an_adapter_as_a_pytorch_file_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let q = names("model.q");
    let from_safetensors = adapter(folder.path(), "", &pair(&q)).unwrap().delta("model.q.weight").unwrap();
    let other = tempfile::tempdir().unwrap();
    let pickle = Pickle::new().raw(b"}(").str(&q[0]).tensor("FloatStorage", "0", 8, 0, &[2, 4], &[4, 1]);
    let pickle = pickle.str(&q[1]).tensor("FloatStorage", "1", 6, 0, &[3, 2], &[2, 1]).raw(b"u").stop();
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    write(other.path(), "adapter_config.json", format!("{CONFIG}}}"));
    write(other.path(), "adapter_model.bin", torch_file(&pickle, &[("0", &bytes(&A)), ("1", &bytes(&B))]));
    let opened = Adapter::open(other.path()).unwrap();
    assert_eq!(opened.delta("model.q.weight").unwrap(), from_safetensors);
}
