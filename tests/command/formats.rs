//! Inputs of other formats: adapters, PyTorch files, shards.

use safetensors::Dtype;

use crate::common::{SOUP, Space, Tensor, close, decoder, load, safetensors, values, weighted};

#[test]
fn an_adapter_is_added_on_the_fly() {
    let space = Space::new();
    let (a, b) = space.soup();
    let target = "model.layers.1.self_attn.q_proj";
    let (down, up) = (values(7, "A", 2 * 8), values(7, "B", 8 * 2));
    let part = |half: &str, shape: [usize; 2], values: &[f64]| Tensor {
        name: format!("base_model.model.{target}.lora_{half}.weight"),
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        values: values.to_vec(),
    };
    let adapter = [part("A", [2, 8], &down), part("B", [8, 2], &up)];
    space.write("lora/adapter_model.safetensors", safetensors(&adapter));
    space.write(
        "lora/adapter_config.json",
        r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}"#,
    );
    space.write(
        "soup.fusion",
        SOUP.replace("model a from \"a\"", "model a from \"a\" { adapter = \"lora\" }"),
    );
    space.ok(&["run", "soup.fusion"]);
    let mut adapted = a;
    for tensor in &mut adapted {
        if tensor.name == format!("{target}.weight") {
            for row in 0..8 {
                for column in 0..8 {
                    let delta: f64 = (0..2).map(|k| up[row * 2 + k] * down[k * 8 + column]).sum();
                    tensor.values[row * 8 + column] += 2.0 * delta;
                }
            }
        }
    }
    close(&space.path("out/soup"), &weighted(&[(&adapted, 0.75), (&b, 0.25)]));
    let done = space.ok(&["inspect", "lora"]);
    assert!(done.out.contains("LoRA adapter, rank 2"), "{}", done.out);
}

#[test]
fn pytorch_files_merge_like_any_other() {
    let space = Space::new();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fusion-core/tests/fixtures/torch/state_dict.pt");
    let bytes = std::fs::read(fixture).unwrap();
    space.write("a/pytorch_model.bin", &bytes);
    space.write("b/pytorch_model.bin", &bytes);
    space.write("soup.fusion", SOUP);
    // The file has a tensor of NaN and infinities on purpose.
    space.ok(&["run", "soup.fusion", "--allow-non-finite"]);
    let found = load(&space.path("out/soup"));
    assert!(found.len() >= 5, "{:?}", found.keys());
    // Weighted by 0.75 and 0.25, a model and its copy give the model again, exactly.
    let done = space.ok(&["inspect", "a", "--stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    for tensor in stats["tensors"].as_array().unwrap() {
        let name = tensor["name"].as_str().unwrap();
        if tensor["dtype"] == "f32" && name != "f32_special" {
            let max = found[name].2.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if let Some(of_input) = tensor["stats"]["max"].as_f64() {
                assert_eq!(max, of_input, "{name}");
            }
        }
    }
}

#[test]
fn shards_are_read_and_written() {
    let space = Space::new();
    let a = decoder(1, 2, 64);
    let b = decoder(2, 2, 64);
    space.model_of("b", 2, &b);
    space.model_of("a", 2, &a);
    std::fs::remove_file(space.path("a/model.safetensors")).unwrap();
    let mut map = serde_json::Map::new();
    for (index, part) in a.chunks(5).enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", index + 1);
        space.write(&format!("a/{name}"), safetensors(part));
        map.extend(part.iter().map(|tensor| (tensor.name.clone(), name.clone().into())));
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    space.write("a/model.safetensors.index.json", index.to_string());
    space.write("soup.fusion", SOUP.replace("\"out/soup\"", "\"out/soup\" { shard = 50 kB }"));
    space.ok(&["run", "soup.fusion"]);
    close(&space.path("out/soup"), &weighted(&[(&a, 0.75), (&b, 0.25)]));
    let names = space.names("out/soup");
    assert!(names.iter().filter(|name| name.ends_with(".safetensors")).count() > 1, "{names:?}");
    assert!(names.iter().any(|name| name == "model.safetensors.index.json"));
}
