//! Templates proved: random elements of every node, and of all together, leave the outputs of a forward pass that knows nothing of templates.
//! Outputs are sums of some hundred f64 terms of order 1 in another order, so they agree to about 10⁻¹³; the bound is 10⁻⁹ of the largest.

use fusion_sdk::alignment::{Alignment, Transform};
use fusion_sdk::rng::Key;
use fusion_sdk::symmetry::{NodeId, Symmetries};
use serde_json::{Value as Json, json};

use super::forward::{Model, Rows, Shape};
use super::models;
use super::{Header, axes, batch_norm, header, layer_norm, linear, of_class, of_names, of_text, tied};

/// Largest difference of outputs, in units of the largest output.
fn difference(a: &Rows, b: &Rows) -> f64 {
    let largest = a.iter().flatten().fold(0.0_f64, |most, x| most.max(x.abs()));
    let each = a.iter().flatten().zip(b.iter().flatten());
    assert!(largest > 1e-3 && largest.is_finite() && a.len() == b.len(), "{largest}");
    each.fold(0.0_f64, |most, (x, y)| most.max((x - y).abs())) / largest
}

fn moved(model: &Model, found: &Symmetries, alignment: &Alignment) -> Model {
    let mut model = model.clone();
    for (index, tensor) in found.tensors.iter().enumerate() {
        let (_, values) = model.0.get_mut(&tensor.name).unwrap();
        *values = alignment.apply_f64(found, found, index, values).unwrap();
    }
    model
}

/// Factors between 1/2 and 2 for the units of a node.
fn scaled(found: &Symmetries, id: NodeId) -> Alignment {
    let key = |copy: usize| Key::new(9, &found.node(id).name, copy as u64);
    let factor = |copy: usize, unit: u64| 4.0_f64.powf(f64::from(key(copy).uniform(unit)) - 0.5);
    let factors = |copy| (0..found.node(id).size as u64).map(|unit| factor(copy, unit)).collect();
    let transforms = found.ids().map(|other| match other == id {
        true => Transform::Scale((0..found.copies(id)).map(factors).collect()),
        false => Transform::Identity,
    });
    Alignment::new(found, found, transforms.collect())
}

/// The symmetries of a model by names, proved; they must have this many nodes. The pass must depend on every tensor that is described but for
/// biases, which have no part where they shift all products of a query alike.
fn proved(tensors: &[Header], config: Json, nodes: usize, forward: impl Fn(&Model) -> Rows) -> Symmetries {
    let found = of_names(tensors, Some(&config)).unwrap();
    let model = Model::random(tensors);
    let outputs = forward(&model);
    for tensor in &found.tensors {
        let mut other = model.clone();
        let (_, values) = other.0.get_mut(&tensor.name).unwrap();
        values.iter_mut().enumerate().for_each(|(at, value)| *value *= 1.2 + 0.1 * (at % 7) as f64);
        let change = difference(&outputs, &forward(&other));
        assert!(change > 1e-7 || tensor.name.ends_with("bias"), "{}: {change}", tensor.name);
    }
    for id in found.ids() {
        let name = &found.node(id).name;
        let other = moved(&model, &found, &Alignment::random_of(&found, id, 1));
        assert!(other.0.iter().any(|(name, values)| model.0[name] != *values), "{name}");
        let change = difference(&outputs, &forward(&other));
        assert!(change < 1e-9, "{name}: {change}");
        if found.node(id).scalable {
            let change = difference(&outputs, &forward(&moved(&model, &found, &scaled(&found, id))));
            assert!(change < 1e-9, "{name} scaled: {change}");
        }
    }
    for seed in 0..3 {
        let change = difference(&outputs, &forward(&moved(&model, &found, &Alignment::random(&found, seed))));
        assert!(change < 1e-9, "all: {change}");
    }
    assert_eq!(found.nodes.len(), nodes, "{found}");
    // What a template says passes as a declaration, and there is nothing to warn of.
    let declared = of_text(Symmetries::parse(&found.to_string()).unwrap(), tensors).unwrap();
    assert_eq!((&declared.nodes, &declared.tensors), (&found.nodes, &found.tensors));
    assert!(!declared.notes.iter().any(|note| note.contains("nothing is declared")), "{:?}", declared.notes);
    found
}

/// Sizes of the decoders: stream 20, 4 heads of queries and 2 of keys with 8 numbers, 14 hidden units, 11 words.
const SHAPE: Shape = Shape { queries: 4, keys: 2, width: 8, rotated: 8, causal: true };

/// Two layers with these linear maps, other tensors of a layer, and other tensors.
fn decoder(
    linears: &[(&str, usize, usize)],
    bias: bool,
    layer: &[(&str, &[usize])],
    rest: &[&str],
) -> Vec<Header> {
    let mut all = vec![header("model.embed_tokens.weight", &[11, 20])];
    for index in 0..2 {
        let at = |name: &str| format!("model.layers.{index}.{name}");
        for (name, out, from) in linears {
            all.push(header(&at(&format!("{name}.weight")), &[*out, *from]));
            if bias {
                all.push(header(&at(&format!("{name}.bias")), &[*out]));
            }
        }
        all.extend(layer.iter().map(|(name, shape)| header(&at(name), shape)));
    }
    for name in rest {
        let shape: &[usize] = match *name {
            "lm_head.weight" => &[11, 20],
            "lm_head.bias" => &[11],
            "score.weight" => &[3, 20],
            _ => &[20],
        };
        all.push(header(name, shape));
    }
    all
}

const SELF: [(&str, usize, usize); 4] = [
    ("self_attn.q_proj", 32, 20),
    ("self_attn.k_proj", 16, 20),
    ("self_attn.v_proj", 16, 20),
    ("self_attn.o_proj", 20, 32),
];

const GATED: [(&str, usize, usize); 3] =
    [("mlp.gate_proj", 14, 20), ("mlp.up_proj", 14, 20), ("mlp.down_proj", 20, 14)];

fn maps(parts: &[&[(&'static str, usize, usize)]]) -> Vec<(&'static str, usize, usize)> {
    parts.concat()
}

const TWO: [(&str, &[usize]); 2] =
    [("input_layernorm.weight", &[20]), ("post_attention_layernorm.weight", &[20])];

fn heads() -> Json {
    tied(json!({"num_attention_heads": 4}))
}

/// A stream, and for each layer heads of keys, of queries, dimensions of values, hidden units.
const PLAIN: usize = 1 + 2 * 4;

#[test]
fn llama_and_models_with_biases_or_other_heads() {
    let forward = |m: &Model| models::llama(m, "model.", SHAPE, true);
    let linears = maps(&[&SELF, &GATED]);
    let plain = decoder(&linears, false, &TWO, &["model.norm.weight", "lm_head.weight"]);
    proved(&plain, heads(), PLAIN, forward);
    let tied = decoder(&linears, true, &TWO, &["model.norm.weight"]);
    proved(&tied, heads(), PLAIN, forward);
    // A classifier of sequences reads the stream; the embedding is then no head.
    let classes = decoder(&linears, false, &TWO, &["model.norm.weight", "score.weight"]);
    let found = proved(&classes, heads(), PLAIN, forward);
    assert_eq!(axes(&found, "model.embed_tokens.weight"), "pin[11], stream");
    // Its numbers are in a part of the configuration where a model also sees images.
    of_names(&plain, Some(&json!({"text_config": heads()}))).unwrap();
}

#[test]
fn norms_of_queries_and_keys() {
    let linears = maps(&[&SELF, &GATED]);
    let with = |more: &[(&'static str, &'static [usize])]| [&TWO, more].concat();
    // Over a head (Qwen3), whose width it tells.
    let qwen = with(&[("self_attn.q_norm.weight", &[8]), ("self_attn.k_norm.weight", &[8])]);
    let qwen = decoder(&linears, false, &qwen, &["model.norm.weight"]);
    let found = proved(&qwen, tied(json!({})), PLAIN, |m| models::llama(m, "model.", SHAPE, true));
    assert_eq!(axes(&found, "model.layers.0.self_attn.q_norm.weight"), "pin[8]");
    // Over all heads (OLMo 2), with norms behind attention and feed-forward alone.
    let olmo: [(&str, &[usize]); 4] = [
        ("self_attn.q_norm.weight", &[32]),
        ("self_attn.k_norm.weight", &[16]),
        ("post_attention_layernorm.weight", &[20]),
        ("post_feedforward_layernorm.weight", &[20]),
    ];
    let olmo = decoder(&linears, false, &olmo, &["model.norm.weight", "lm_head.weight"]);
    let found = proved(&olmo, heads(), PLAIN, |m| models::llama(m, "model.", SHAPE, true));
    let at = "model.layers.1.self_attn";
    assert_eq!(
        axes(&found, &format!("{at}.q_norm.weight")),
        format!("{at}.head · {at}.q_proj.head · pin[8]")
    );
    let error = of_names(&olmo, None).unwrap_err();
    assert!(error.to_string().contains("`num_attention_heads`"), "{error}");
    // A row for each head (Cohere), which also has attention and feed-forward side by side.
    let cohere: [(&str, &[usize]); 3] = [
        ("self_attn.q_norm.weight", &[4, 8]),
        ("self_attn.k_norm.weight", &[2, 8]),
        ("input_layernorm.weight", &[20]),
    ];
    let cohere = decoder(&linears, false, &cohere, &["model.norm.weight"]);
    proved(&cohere, tied(json!({})), PLAIN, |m| models::llama(m, "model.", SHAPE, false));
    // A norm for each head (StableLM 2): heads stay, values move within each.
    let names: Vec<String> =
        (0..4).map(|head| format!("self_attn.q_layernorm.norms.{head}.weight")).collect();
    let mut stable = with(&[
        ("self_attn.k_layernorm.norms.0.weight", &[8]),
        ("self_attn.k_layernorm.norms.1.weight", &[8]),
    ]);
    stable.extend(names.iter().map(|name| (name.as_str(), &[8_usize] as &[usize])));
    let stable = decoder(&linears, false, &stable, &["model.norm.weight", "lm_head.weight"]);
    let found = proved(&stable, heads(), 1 + 2 * 3, |m| models::llama(m, "model.", SHAPE, false));
    assert_eq!(
        axes(&found, &format!("{at}.o_proj.weight")),
        format!("stream, reads pin[2] · {at}.v_proj.0 ++ pin[2] · {at}.v_proj.1")
    );
}

#[test]
fn gemma_olmo_and_starcoder() {
    let linears = maps(&[&SELF, &GATED]);
    let four = [
        &TWO[..],
        &[("pre_feedforward_layernorm.weight", &[20]), ("post_feedforward_layernorm.weight", &[20])],
    ]
    .concat();
    let gemma2 = decoder(&linears, false, &four, &["model.norm.weight"]);
    proved(&gemma2, tied(json!({"head_dim": 8})), PLAIN, |m| models::llama(m, "model.", SHAPE, true));
    let over_heads: [(&str, &[usize]); 2] =
        [("self_attn.q_norm.weight", &[8]), ("self_attn.k_norm.weight", &[8])];
    let gemma3 = decoder(&linears, false, &[&four[..], &over_heads].concat(), &["model.norm.weight"]);
    proved(&gemma3, tied(json!({"head_dim": 8})), PLAIN, |m| models::llama(m, "model.", SHAPE, true));
    // Norms without parameters.
    let olmo = decoder(&linears, false, &[], &["lm_head.weight"]);
    proved(&olmo, heads(), PLAIN, |m| models::llama(m, "model.", SHAPE, false));
    let linears = maps(&[&SELF, &[("mlp.c_fc", 14, 20), ("mlp.c_proj", 20, 14)]]);
    let norms =
        [&TWO[..], &[("input_layernorm.bias", &[20]), ("post_attention_layernorm.bias", &[20])]].concat();
    let starcoder = decoder(&linears, true, &norms, &["model.norm.weight", "model.norm.bias"]);
    proved(&starcoder, heads(), PLAIN, |m| models::llama(m, "model.", SHAPE, false));
}

#[test]
fn a_part_of_a_head_is_rotated() {
    let partial = |rotated| move |m: &Model| models::llama(m, "model.", Shape { rotated, ..SHAPE }, false);
    let phi = maps(&[&SELF[..3], &[("self_attn.dense", 20, 32), ("mlp.fc1", 14, 20), ("mlp.fc2", 20, 14)]]);
    let rest =
        ["model.final_layernorm.weight", "model.final_layernorm.bias", "lm_head.weight", "lm_head.bias"];
    let norms: [(&str, &[usize]); 2] = [("input_layernorm.weight", &[20]), ("input_layernorm.bias", &[20])];
    let phi = decoder(&phi, true, &norms, &rest);
    let config = |kind: &str, share: f64| json!({"num_attention_heads": 4, "model_type": kind, "partial_rotary_factor": share});
    let found = proved(&phi, config("phi", 0.5), PLAIN + 2, partial(4));
    let at = "model.layers.0.self_attn";
    assert_eq!(
        axes(&found, &format!("{at}.q_proj.weight")),
        format!("{at}.head · {at}.q_proj.head · (pin[4] ++ {at}.q_proj), reads stream")
    );
    assert_eq!(axes(&found, &format!("{at}.k_proj.bias")), format!("{at}.head · (pin[4] ++ {at}.q_proj)"));
    // Written as of version 5.
    let five = json!({"num_attention_heads": 4, "model_type": "phi", "rope_parameters": {"partial_rotary_factor": 0.5}});
    assert_eq!(of_names(&phi, Some(&five)).unwrap(), found);
    // What does not say so, or is not known to be so, stays.
    assert_eq!(of_names(&phi, Some(&heads())).unwrap().nodes.len(), PLAIN);
    assert_eq!(of_names(&phi, Some(&config("llama", 0.5))).unwrap().nodes.len(), PLAIN);
    let error = of_names(&phi, Some(&config("phi", 1.5))).unwrap_err();
    assert!(error.to_string().contains("1.5, which is no fraction"), "{error}");

    let stable = decoder(&maps(&[&SELF, &GATED]), false, &TWO, &["model.norm.weight", "lm_head.weight"]);
    proved(&stable, config("stablelm", 0.25), PLAIN + 2, partial(2));
    let glm = maps(&[&SELF, &[("mlp.gate_up_proj", 28, 20), ("mlp.down_proj", 20, 14)]]);
    let norms =
        [&TWO[..], &[("post_self_attn_layernorm.weight", &[20]), ("post_mlp_layernorm.weight", &[20])]];
    let glm = decoder(&glm, false, &norms.concat(), &["model.norm.weight", "lm_head.weight"]);
    let rms = |m: &Model| models::llama(m, "model.", Shape { rotated: 4, ..SHAPE }, true);
    proved(&glm, config("glm4", 0.5), PLAIN + 2, rms);
}

#[test]
fn phi3_has_fused_maps() {
    let linears = [
        ("self_attn.qkv_proj", 64, 20),
        ("self_attn.o_proj", 20, 32),
        ("mlp.gate_up_proj", 28, 20),
        ("mlp.down_proj", 20, 14),
    ];
    let phi = decoder(&linears, false, &TWO, &["model.norm.weight", "lm_head.weight"]);
    let found = proved(&phi, heads(), PLAIN, |m| models::llama(m, "model.", SHAPE, true));
    let at = "model.layers.0.self_attn";
    assert_eq!(
        axes(&found, &format!("{at}.qkv_proj.weight")),
        format!(
            "{at}.head · {at}.qkv_proj.head · pin[8] ++ {at}.head · pin[8] ++ {at}.head · {at}.qkv_proj.v, reads stream"
        )
    );
    let up = "model.layers.0.mlp.gate_up_proj";
    assert_eq!(axes(&found, &format!("{up}.weight")), format!("{up} ++ {up}, reads stream"));
}

#[test]
fn mixtures_of_experts() {
    let forward = |m: &Model| models::llama(m, "model.", SHAPE, true);
    let rest = ["model.norm.weight", "lm_head.weight"];
    let names = |module: &str, maps: [(&str, usize, usize); 3]| -> Vec<(String, usize, usize)> {
        let of = |expert: usize| {
            maps.map(|(map, out, from)| (format!("{module}.experts.{expert}.{map}"), out, from))
        };
        (0..3).flat_map(of).collect()
    };
    fn with<'a>(
        names: &'a [(String, usize, usize)],
        more: &[(&'a str, usize, usize)],
    ) -> Vec<(&'a str, usize, usize)> {
        let each = names.iter().map(|(name, out, from)| (name.as_str(), *out, *from));
        SELF.into_iter().chain(each).chain(more.iter().copied()).collect()
    }
    // Stream, and in each layer three of attention, one in each of three experts.
    let mixtral = names("block_sparse_moe", [("w1", 14, 20), ("w2", 20, 14), ("w3", 14, 20)]);
    let mixtral = with(&mixtral, &[("block_sparse_moe.gate", 3, 20)]);
    let found = proved(&decoder(&mixtral, false, &TWO, &rest), heads(), 1 + 2 * 6, forward);
    assert_eq!(found.notes, ["experts are tensors of their own: they stay, and units move within each"]);
    assert_eq!(axes(&found, "model.layers.0.block_sparse_moe.gate.weight"), "pin[3], reads stream");
    let qwen = names("mlp", [("gate_proj", 14, 20), ("down_proj", 20, 14), ("up_proj", 14, 20)]);
    let shared = [
        ("mlp.gate", 3, 20),
        ("mlp.shared_expert.gate_proj", 10, 20),
        ("mlp.shared_expert.up_proj", 10, 20),
        ("mlp.shared_expert.down_proj", 20, 10),
        ("mlp.shared_expert_gate", 1, 20),
    ];
    proved(&decoder(&with(&qwen, &shared), false, &TWO, &rest), heads(), 1 + 2 * 7, forward);
    // Experts in one tensor move with the router's rows: an expert and its units, besides the three of attention.
    let stacked: [(&str, &[usize]); 2] =
        [("mlp.experts.gate_up_proj", &[3, 28, 20]), ("mlp.experts.down_proj", &[3, 20, 14])];
    let stacked = [&TWO[..], &stacked].concat();
    let router = maps(&[&SELF, &[("mlp.gate", 3, 20)]]);
    let found = proved(&decoder(&router, false, &stacked, &rest), heads(), 1 + 2 * 5, forward);
    let at = "model.layers.0.mlp";
    let units = format!("{at}.experts.gate_up_proj");
    assert_eq!(axes(&found, &format!("{at}.gate.weight")), format!("{at}.expert, reads stream"));
    assert_eq!(axes(&found, &units), format!("{at}.expert, {units} ++ {units}, reads stream"));
    let grouped = json!({"num_attention_heads": 4, "n_group": 3});
    let found = of_names(&decoder(&router, false, &stacked, &rest), Some(&grouped)).unwrap();
    assert_eq!(axes(&found, &format!("{at}.gate.weight")), "pin[3], reads stream");
    let granite: [(&str, &[usize]); 2] = [
        ("block_sparse_moe.input_linear.weight", &[3, 28, 20]),
        ("block_sparse_moe.output_linear.weight", &[3, 20, 14]),
    ];
    let linears = maps(&[
        &SELF,
        &[
            ("block_sparse_moe.router.layer", 3, 20),
            ("shared_mlp.input_linear", 20, 20),
            ("shared_mlp.output_linear", 20, 10),
        ],
    ]);
    let granite = decoder(&linears, false, &[&TWO[..], &granite].concat(), &rest);
    proved(&granite, heads(), 1 + 2 * 6, forward);
}

#[test]
fn what_may_move_with_a_layer_is_not_left_behind() {
    let linears = maps(&[&SELF, &GATED]);
    // A number for each head.
    let sinks = [&TWO[..], &[("self_attn.sinks", &[4])]].concat();
    let error =
        of_names(&decoder(&linears, false, &sinks, &["model.norm.weight"]), Some(&heads())).unwrap_err();
    assert!(error.to_string().contains("`model.layers.0.self_attn.sinks`"), "{error}");
    // One number for a whole matrix moves nothing.
    let scale = [&TWO[..], &[("self_attn.q_proj.weight_scale", &[])]].concat();
    let found = of_names(&decoder(&linears, false, &scale, &["model.norm.weight"]), Some(&heads())).unwrap();
    assert_eq!(found.notes.len(), 1);
}

#[test]
fn gpts() {
    let causal = |width: usize, rotated: usize| Shape { rotated, ..Shape::new(4, width, true) };
    let mut gpt2 = vec![header("wte.weight", &[11, 20]), header("wpe.weight", &[6, 20])];
    for layer in 0..2 {
        let at = |name: &str| format!("h.{layer}.{name}");
        for (name, from, to) in
            [("attn.c_attn", 20, 60), ("attn.c_proj", 20, 20), ("mlp.c_fc", 20, 14), ("mlp.c_proj", 14, 20)]
        {
            gpt2.push(header(&at(&format!("{name}.weight")), &[from, to]));
            gpt2.push(header(&at(&format!("{name}.bias")), &[to]));
        }
        layer_norm(&mut gpt2, &at("ln_1"), 20);
        layer_norm(&mut gpt2, &at("ln_2"), 20);
    }
    layer_norm(&mut gpt2, "ln_f", 20);
    proved(&gpt2, tied(json!({"n_head": 4})), 1 + 2 * 4, |m| models::gpt2(m, causal(5, 0)));

    let mut neox = vec![header("gpt_neox.embed_in.weight", &[11, 24])];
    let mut gptj = vec![header("transformer.wte.weight", &[11, 24])];
    for layer in 0..2 {
        let at = |name: &str| format!("gpt_neox.layers.{layer}.{name}");
        linear(&mut neox, &at("attention.query_key_value"), 72, 24);
        linear(&mut neox, &at("attention.dense"), 24, 24);
        linear(&mut neox, &at("mlp.dense_h_to_4h"), 14, 24);
        linear(&mut neox, &at("mlp.dense_4h_to_h"), 24, 14);
        layer_norm(&mut neox, &at("input_layernorm"), 24);
        layer_norm(&mut neox, &at("post_attention_layernorm"), 24);
        let at = |name: &str| format!("transformer.h.{layer}.{name}");
        for map in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            gptj.push(header(&at(&format!("attn.{map}.weight")), &[24, 24]));
        }
        linear(&mut gptj, &at("mlp.fc_in"), 14, 24);
        linear(&mut gptj, &at("mlp.fc_out"), 24, 14);
        layer_norm(&mut gptj, &at("ln_1"), 24);
    }
    layer_norm(&mut neox, "gpt_neox.final_layer_norm", 24);
    neox.push(header("embed_out.weight", &[11, 24]));
    layer_norm(&mut gptj, "transformer.ln_f", 24);
    linear(&mut gptj, "lm_head", 11, 24);

    // Stream; heads, dimensions of values, hidden units, and what is not rotated of queries and keys.
    let neox_config = json!({"num_attention_heads": 4, "rotary_pct": 0.34});
    let found = proved(&neox, neox_config, 1 + 2 * 4, |m| models::neox(m, causal(6, 2)));
    let at = "gpt_neox.layers.0.attention";
    let fused = format!("{at}.query_key_value");
    assert_eq!(
        axes(&found, &format!("{fused}.weight")),
        format!("{at}.head · (pin[2] ++ {fused} ++ pin[2] ++ {fused} ++ {fused}.v), reads stream")
    );
    proved(&neox, heads(), 1 + 2 * 3, |m| models::neox(m, causal(6, 6)));
    proved(&gptj, json!({"n_head": 4, "rotary_dim": 2}), 1 + 2 * 4, |m| models::gptj(m, causal(6, 2)));
    proved(&gptj, json!({"n_head": 4}), 1 + 2 * 3, |m| models::gptj(m, causal(6, 6)));
}

#[test]
fn opt_narrow_or_not() {
    for narrow in [false, true] {
        let words = if narrow { 12 } else { 20 };
        let at = |name: &str| format!("model.decoder.{name}");
        let mut all = vec![
            header(&at("embed_tokens.weight"), &[11, words]),
            header(&at("embed_positions.weight"), &[8, 20]),
        ];
        if narrow {
            all.push(header(&at("project_in.weight"), &[20, 12]));
            all.push(header(&at("project_out.weight"), &[12, 20]));
        }
        for layer in 0..2 {
            let at = |name: &str| at(&format!("layers.{layer}.{name}"));
            for map in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                linear(&mut all, &at(&format!("self_attn.{map}")), 20, 20);
            }
            layer_norm(&mut all, &at("self_attn_layer_norm"), 20);
            layer_norm(&mut all, &at("final_layer_norm"), 20);
            linear(&mut all, &at("fc1"), 14, 20);
            linear(&mut all, &at("fc2"), 20, 14);
        }
        layer_norm(&mut all, &at("final_layer_norm"), 20);
        let config = tied(json!({"num_attention_heads": 4, "activation_function": "relu"}));
        let nodes = 1 + 2 * 4 + usize::from(narrow);
        let found = proved(&all, config, nodes, |m| models::opt(m, Shape::new(4, 5, true)));
        assert!(found.node(found.named("model.decoder.layers.1.fc1").unwrap()).scalable);
    }
}

#[test]
fn bert_and_distilbert() {
    let shape = Shape::new(4, 5, false);
    let mut masked = super::bert_of("bert.", 11, 20);
    linear(&mut masked, "cls.predictions.transform.dense", 20, 20);
    layer_norm(&mut masked, "cls.predictions.transform.LayerNorm", 20);
    masked.push(header("cls.predictions.bias", &[11]));
    proved(&masked, heads(), 1 + 2 * 4, |m| models::bert(m, "bert.", shape));
    let mut classes = super::bert_of("bert.", 11, 20);
    linear(&mut classes, "bert.pooler.dense", 20, 20);
    linear(&mut classes, "classifier", 3, 20);
    let config = of_class("BertForSequenceClassification");
    proved(&classes, config, 2 + 2 * 4, |m| models::bert(m, "bert.", shape));

    let mut body = vec![
        header("distilbert.embeddings.word_embeddings.weight", &[11, 20]),
        header("distilbert.embeddings.position_embeddings.weight", &[6, 20]),
    ];
    layer_norm(&mut body, "distilbert.embeddings.LayerNorm", 20);
    for layer in 0..2 {
        let at = |name: &str| format!("distilbert.transformer.layer.{layer}.{name}");
        for map in ["q_lin", "k_lin", "v_lin", "out_lin"] {
            linear(&mut body, &at(&format!("attention.{map}")), 20, 20);
        }
        layer_norm(&mut body, &at("sa_layer_norm"), 20);
        linear(&mut body, &at("ffn.lin1"), 14, 20);
        linear(&mut body, &at("ffn.lin2"), 20, 14);
        layer_norm(&mut body, &at("output_layer_norm"), 20);
    }
    let config = json!({"n_heads": 4});
    let mut classes = body.clone();
    linear(&mut classes, "pre_classifier", 20, 20);
    linear(&mut classes, "classifier", 3, 20);
    proved(&classes, config.clone(), 2 + 2 * 4, |m| models::bert(m, "distilbert.", shape));
    let mut masked = body;
    linear(&mut masked, "vocab_transform", 20, 20);
    layer_norm(&mut masked, "vocab_layer_norm", 20);
    masked.push(header("vocab_projector.bias", &[11]));
    proved(&masked, config, 1 + 2 * 4, |m| models::bert(m, "distilbert.", shape));
}

#[test]
fn vit_and_dinov2() {
    let shape = Shape::new(2, 4, false);
    proved(&super::vit(), json!({"num_attention_heads": 2}), 5, |m| models::vit(m, "vit.", shape));
    for gated in [false, true] {
        let prefix = "dinov2_with_registers.";
        let at = |name: &str| format!("{prefix}{name}");
        let mut all = vec![
            header(&at("embeddings.cls_token"), &[1, 1, 8]),
            header(&at("embeddings.register_tokens"), &[1, 2, 8]),
            header(&at("embeddings.position_embeddings"), &[1, 7, 8]),
            header(&at("embeddings.patch_embeddings.projection.weight"), &[8, 2, 2, 2]),
            header(&at("embeddings.patch_embeddings.projection.bias"), &[8]),
        ];
        for layer in 0..2 {
            let at = |name: &str| at(&format!("encoder.layer.{layer}.{name}"));
            for map in ["query", "key", "value"] {
                linear(&mut all, &at(&format!("attention.attention.{map}")), 8, 8);
            }
            linear(&mut all, &at("attention.output.dense"), 8, 8);
            all.push(header(&at("layer_scale1.lambda1"), &[8]));
            all.push(header(&at("layer_scale2.lambda1"), &[8]));
            layer_norm(&mut all, &at("norm1"), 8);
            layer_norm(&mut all, &at("norm2"), 8);
            let (up, down) = if gated { ("weights_in", "weights_out") } else { ("fc1", "fc2") };
            linear(&mut all, &at(&format!("mlp.{up}")), if gated { 20 } else { 10 }, 8);
            linear(&mut all, &at(&format!("mlp.{down}")), 8, 10);
        }
        layer_norm(&mut all, &at("layernorm"), 8);
        linear(&mut all, "classifier", 3, 16);
        let config = json!({"num_attention_heads": 2});
        let found = proved(&all, config.clone(), 1 + 2 * 4, |m| models::vit(m, prefix, shape));
        assert_eq!(axes(&found, "classifier.weight"), "pin[3], reads stream ++ stream");
        // The token for masked patches has one axis less than the others.
        all.push(header(&at("embeddings.mask_token"), &[1, 8]));
        let found = of_names(&all, Some(&config)).unwrap();
        assert_eq!(axes(&found, &at("embeddings.mask_token")), "1, stream");
    }
}

#[test]
fn clip_and_siglip() {
    let heads =
        json!({"text_config": {"num_attention_heads": 4}, "vision_config": {"num_attention_heads": 3}});
    let tower = |all: &mut Vec<Header>, tower: &str, width: usize| {
        for layer in 0..2 {
            let at = |name: &str| format!("{tower}.encoder.layers.{layer}.{name}");
            for map in ["q", "k", "v", "out"] {
                linear(all, &at(&format!("self_attn.{map}_proj")), width, width);
            }
            linear(all, &at("mlp.fc1"), 10, width);
            linear(all, &at("mlp.fc2"), width, 10);
            layer_norm(all, &at("layer_norm1"), width);
            layer_norm(all, &at("layer_norm2"), width);
        }
    };
    let mut common = vec![
        header("text_model.embeddings.token_embedding.weight", &[11, 16]),
        header("text_model.embeddings.position_embedding.weight", &[6, 16]),
        header("vision_model.embeddings.patch_embedding.weight", &[12, 2, 2, 2]),
    ];
    tower(&mut common, "text_model", 16);
    tower(&mut common, "vision_model", 12);
    layer_norm(&mut common, "text_model.final_layer_norm", 16);
    layer_norm(&mut common, "vision_model.post_layernorm", 12);
    let (texts, images) = (Shape::new(4, 4, false), Shape::new(3, 4, false));
    let mut clip = common.clone();
    clip.extend([
        header("vision_model.embeddings.class_embedding", &[12]),
        header("vision_model.embeddings.position_embedding.weight", &[7, 12]),
        header("visual_projection.weight", &[9, 12]),
        header("text_projection.weight", &[9, 16]),
    ]);
    layer_norm(&mut clip, "vision_model.pre_layrnorm", 12);
    proved(&clip, heads.clone(), 2 + 4 * 4, |m| models::clip(m, texts, images));
    let mut siglip = common;
    siglip.extend([
        header("vision_model.embeddings.patch_embedding.bias", &[12]),
        header("vision_model.embeddings.position_embedding.weight", &[6, 12]),
        header("vision_model.head.probe", &[1, 1, 12]),
        header("vision_model.head.attention.in_proj_weight", &[36, 12]),
        header("vision_model.head.attention.in_proj_bias", &[36]),
    ]);
    linear(&mut siglip, "text_model.head", 12, 16);
    linear(&mut siglip, "vision_model.head.attention.out_proj", 12, 12);
    layer_norm(&mut siglip, "vision_model.head.layernorm", 12);
    linear(&mut siglip, "vision_model.head.mlp.fc1", 10, 12);
    linear(&mut siglip, "vision_model.head.mlp.fc2", 12, 10);
    let found = proved(&siglip, heads.clone(), 2 + 4 * 4 + 4, |m| models::clip(m, texts, images));
    assert_eq!(axes(&found, "vision_model.head.probe"), "1, 1, vision_model.stream");
    siglip.extend([header("logit_scale", &[1]), header("logit_bias", &[1])]);
    assert_eq!(of_names(&siglip, Some(&heads)).unwrap().notes, [] as [String; 0]);
}

/// T5 (`own` false) or UMT5, with or without a gate and a head of its own.
fn t5(own: bool, gated: bool, head: bool) -> Vec<Header> {
    let mut all = vec![header("shared.weight", &[11, 20])];
    if head {
        all.push(header("lm_head.weight", &[11, 20]));
    }
    for stack in ["encoder", "decoder"] {
        for block in 0..2 {
            let at = |name: &str| format!("{stack}.block.{block}.layer.{name}");
            let cross = stack == "decoder";
            for module in ["0.SelfAttention", "1.EncDecAttention"].into_iter().take(if cross { 2 } else { 1 })
            {
                for map in ["q", "k", "v"] {
                    all.push(header(&at(&format!("{module}.{map}.weight")), &[12, 20]));
                }
                all.push(header(&at(&format!("{module}.o.weight")), &[20, 12]));
            }
            if own || block == 0 {
                all.push(header(&at("0.SelfAttention.relative_attention_bias.weight"), &[5, 4]));
            }
            let last = if cross { 2 } else { 1 };
            for layer in 0..=last {
                all.push(header(&at(&format!("{layer}.layer_norm.weight")), &[20]));
            }
            for map in if gated { &["wi_0", "wi_1"][..] } else { &["wi"] } {
                all.push(header(&at(&format!("{last}.DenseReluDense.{map}.weight")), &[14, 20]));
            }
            all.push(header(&at(&format!("{last}.DenseReluDense.wo.weight")), &[20, 14]));
        }
        all.push(header(&format!("{stack}.final_layer_norm.weight"), &[20]));
    }
    all
}

#[test]
fn t5_has_one_order_of_heads_in_a_stack() {
    let forward = |m: &Model| models::t5(m, Shape::new(4, 3, false));
    // Stream; heads of two stacks; dimensions of queries and of values in six attentions, heads of two that look at the encoder; four hidden.
    let found = proved(&t5(false, false, false), tied(json!({})), 1 + 2 + 6 * 2 + 2 + 4, forward);
    let head = "encoder.block.0.layer.0.SelfAttention.head";
    let at = "encoder.block.1.layer.0.SelfAttention";
    assert_eq!(axes(&found, &format!("{at}.q.weight")), format!("{head} · {at}.q, reads stream"));
    let table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    assert_eq!(axes(&found, table), format!("pin[5], {head}"));
    assert_eq!(axes(&found, "shared.weight"), "pin[11], both stream");
    proved(&t5(true, true, true), json!({}), 1 + 4 + 6 * 2 + 2 + 4, forward);
}

#[test]
fn convnext_both_versions() {
    for second in [false, true] {
        let at = |name: &str| format!("convnext.{name}");
        let mut all = vec![
            header(&at("embeddings.patch_embeddings.weight"), &[6, 3, 2, 2]),
            header(&at("embeddings.patch_embeddings.bias"), &[6]),
        ];
        layer_norm(&mut all, &at("embeddings.layernorm"), 6);
        for (stage, width) in [(0, 6), (1, 10)] {
            let at = |name: &str| at(&format!("encoder.stages.{stage}.{name}"));
            if stage > 0 {
                layer_norm(&mut all, &at("downsampling_layer.0"), 6);
                all.push(header(&at("downsampling_layer.1.weight"), &[10, 6, 2, 2]));
                all.push(header(&at("downsampling_layer.1.bias"), &[10]));
            }
            for layer in 0..2 {
                let at = |name: &str| at(&format!("layers.{layer}.{name}"));
                all.push(header(&at("dwconv.weight"), &[width, 1, 7, 7]));
                all.push(header(&at("dwconv.bias"), &[width]));
                layer_norm(&mut all, &at("layernorm"), width);
                linear(&mut all, &at("pwconv1"), 15, width);
                linear(&mut all, &at("pwconv2"), width, 15);
                match second {
                    true => {
                        all.push(header(&at("grn.weight"), &[1, 1, 1, 15]));
                        all.push(header(&at("grn.bias"), &[1, 1, 1, 15]));
                    }
                    false => all.push(header(&at("layer_scale_parameter"), &[width])),
                }
            }
        }
        layer_norm(&mut all, &at("layernorm"), 10);
        linear(&mut all, "classifier", 3, 10);
        proved(&all, json!({}), 2 + 4, models::convnext);
    }
}

/// A network for CIFAR: three stages of two blocks with widths 4, 8, 16, and no projections.
fn cifar(head: &str) -> Vec<Header> {
    let mut all = vec![header("conv1.weight", &[4, 3, 3, 3])];
    batch_norm(&mut all, "bn1", 4);
    let mut from = 4;
    for (stage, width) in [(1, 4), (2, 8), (3, 16)] {
        for block in 0..2 {
            let at = |name: &str| format!("layer{stage}.{block}.{name}");
            all.push(header(&at("conv1.weight"), &[width, from, 3, 3]));
            all.push(header(&at("conv2.weight"), &[width, width, 3, 3]));
            batch_norm(&mut all, &at("bn1"), width);
            batch_norm(&mut all, &at("bn2"), width);
            from = width;
        }
    }
    linear(&mut all, head, 10, 16);
    all
}

#[test]
fn shortcuts_of_zeros() {
    let both = |more: usize| more / 2;
    // The stream, two pads of two stages, a unit in each of six blocks.
    let found = proved(&cifar("linear"), json!({}), 1 + 4 + 6, |m| models::resnet(m, both));
    assert_eq!(
        axes(&found, "linear.weight"),
        "pin[10], reads layer3.low ++ layer2.low ++ layer1.stream ++ layer2.high ++ layer3.high"
    );
    assert!(found.nodes.iter().all(|node| node.scalable));
    assert!(found.notes[0].contains("pytorch_resnet_cifar10"), "{:?}", found.notes);
    let behind = json!({"shortcut_padding": "behind"});
    let found = proved(&cifar("linear"), behind.clone(), 1 + 2 + 6, |m| models::resnet(m, |_| 0));
    assert_eq!(axes(&found, "linear.weight"), "pin[10], reads layer1.stream ++ layer2.rest ++ layer3.rest");
    assert_eq!(found.notes, [] as [String; 0]);
    // Each is wrong for the other.
    let model = Model::random(&cifar("linear"));
    let other = moved(&model, &found, &Alignment::random(&found, 1));
    assert!(difference(&models::resnet(&model, both), &models::resnet(&other, both)) > 1e-3);
    // Another head does not tell.
    let error = of_names(&cifar("fc"), None).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("from 4 to 8") && text.contains("`both` (2 in front, 2 behind)"), "{text}");
    assert!(text.contains("`behind` (4)") && error.help().unwrap().contains("`shortcut_padding`"), "{text}");
    proved(&cifar("fc"), json!({"shortcut_padding": "both"}), 1 + 4 + 6, |m| models::resnet(m, both));
    let error = of_names(&cifar("fc"), Some(&json!({"shortcut_padding": "left"}))).unwrap_err();
    assert!(error.to_string().contains("neither `both` nor `behind`"), "{error}");
}

#[test]
fn residual_networks_with_projections() {
    let none = |_: usize| 0;
    proved(&super::bottleneck(1), json!({}), 1 + 4 * 3, |m| models::resnet(m, none));
    proved(&super::bottleneck(4), json!({}), 1 + 4 * 4, |m| models::resnet(m, none));
    // Projections are called `shortcut`, the head `linear`.
    let mut all = cifar("linear");
    for (stage, from, to) in [(2, 4, 8), (3, 8, 16)] {
        all.push(header(&format!("layer{stage}.0.shortcut.0.weight"), &[to, from, 1, 1]));
        batch_norm(&mut all, &format!("layer{stage}.0.shortcut.1"), to);
    }
    proved(&all, json!({}), 3 + 6, |m| models::resnet(m, none));
    // Norms in front of convolutions: another kind.
    let early = all.into_iter().filter(|(name, _)| !name.starts_with("bn1")).collect::<Vec<_>>();
    assert!(of_names(&early, None).unwrap_err().to_string().contains("`bn1.weight`"));
}
