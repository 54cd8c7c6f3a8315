//! Forward passes of the families.

use super::forward::{Image, Model, Rows, Shape, add, attend, both, columns, each, four, relu, silu};

/// Some tokens.
pub(super) const TOKENS: &[usize] = &[3, 1, 4, 1, 5, 9];

fn places() -> Vec<usize> {
    (0..TOKENS.len()).collect()
}

/// Numbers that look random.
fn noise(count: usize) -> Vec<f64> {
    (0..count).map(|at| ((at * 37 + 11) % 101) as f64 / 50.0 - 1.0).collect()
}

/// Llama and its kin.
pub(super) fn llama(m: &Model, prefix: &str, shape: Shape, rms: bool) -> Rows {
    let at = |name: &str| format!("{prefix}{name}");
    let mut x = m.rows(&at("embed_tokens.weight"), TOKENS);
    if m.has(&at("embed_positions.weight")) {
        x = add(&x, &m.rows(&at("embed_positions.weight"), &places()));
    }
    for layer in 0.. {
        let layer = at(&format!("layers.{layer}"));
        let attention = format!("{layer}.self_attn");
        if !["q_proj", "qkv_proj"].iter().any(|map| m.has(&format!("{attention}.{map}.weight"))) {
            break;
        }
        let has = |norm: &str| m.has(&format!("{layer}.{norm}.weight"));
        let norm = |norm: &str, x: &Rows| match has(norm) {
            true => m.norm(&format!("{layer}.{norm}"), x, !rms),
            false => x.clone(),
        };
        let before = norm("input_layernorm", &x);
        let mut attended = self_attention(m, &attention, shape, rms, &before);
        attended = norm("post_self_attn_layernorm", &attended);
        // The second norm is behind the attention or in front of the rest; without one both halves see the same.
        let sandwich = has("post_feedforward_layernorm");
        let inner = if sandwich {
            x = add(&x, &norm("post_attention_layernorm", &attended));
            norm("pre_feedforward_layernorm", &x)
        } else if has("post_attention_layernorm") {
            x = add(&x, &attended);
            norm("post_attention_layernorm", &x)
        } else {
            x = add(&x, &attended);
            before
        };
        let mut out = feed_forward(m, &layer, &inner);
        out = norm("post_mlp_layernorm", &norm("post_feedforward_layernorm", &out));
        x = add(&x, &out);
    }
    for norm in ["norm", "final_layernorm"] {
        if m.has(&at(&format!("{norm}.weight"))) {
            x = m.norm(&at(norm), &x, !rms);
        }
    }
    let embedding = m.get(&at("embed_tokens.weight"));
    match ["lm_head", "score"].into_iter().find(|head| m.has(&format!("{head}.weight"))) {
        Some(head) => m.linear(head, &x),
        None => {
            let dot = |row: &[f64], w: &[f64]| row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
            x.iter().map(|row| embedding.chunks(row.len()).map(|w| dot(row, w)).collect()).collect()
        }
    }
}

fn self_attention(m: &Model, name: &str, shape: Shape, rms: bool, x: &Rows) -> Rows {
    let at = |map: &str| format!("{name}.{map}");
    let (q, k, v) = match m.has(&at("qkv_proj.weight")) {
        true => {
            let all = m.linear(&at("qkv_proj"), x);
            let (a, b) = (shape.queries * shape.width, (shape.queries + shape.keys) * shape.width);
            (columns(&all, 0, a), columns(&all, a, b), columns(&all, b, all[0].len()))
        }
        false => (m.linear(&at("q_proj"), x), m.linear(&at("k_proj"), x), m.linear(&at("v_proj"), x)),
    };
    let of_heads = |x: Rows, norms: [&str; 2]| {
        let mut x = x;
        for norm in norms.map(at) {
            let each = m.has(&format!("{norm}.norms.0.weight"));
            if !each && !m.has(&format!("{norm}.weight")) {
                continue;
            }
            // Over all heads, or over each: by one norm, by a table, by a norm for each head.
            if !each && *m.shape(&format!("{norm}.weight")) == [x[0].len()] {
                x = m.norm(&norm, &x, !rms);
                continue;
            }
            let width = shape.width;
            x = x
                .iter()
                .map(|row| {
                    let heads = row.chunks(width).enumerate().map(|(head, own)| {
                        let own: Rows = vec![own.to_vec()];
                        let table = !each && m.shape(&format!("{norm}.weight")).len() == 2;
                        match (each, table) {
                            (true, _) => m.norm(&format!("{norm}.norms.{head}"), &own, !rms),
                            (false, false) => m.norm(&norm, &own, !rms),
                            (false, true) => {
                                let weight = &m.get(&format!("{norm}.weight"))[head * width..][..width];
                                let plain = m.norm("none", &own, !rms);
                                both(&plain, &vec![weight.to_vec()], |x, w| x * w)
                            }
                        }
                    });
                    heads.flatten().flatten().collect()
                })
                .collect();
        }
        x
    };
    let (q, k) = (of_heads(q, ["q_norm", "q_layernorm"]), of_heads(k, ["k_norm", "k_layernorm"]));
    let output = if m.has(&at("dense.weight")) { at("dense") } else { at("o_proj") };
    m.linear(&output, &attend(shape, &q, &k, &v, None))
}

fn feed_forward(m: &Model, layer: &str, x: &Rows) -> Rows {
    for module in ["mlp", "block_sparse_moe"].map(|module| format!("{layer}.{module}")) {
        for router in ["gate", "router.layer"].map(|router| format!("{module}.{router}")) {
            if m.has(&format!("{router}.weight")) {
                let mut out = mixture(m, &module, &m.linear(&router, x), x);
                let shared = format!("{layer}.shared_mlp");
                if m.has(&format!("{shared}.input_linear.weight")) {
                    out = add(
                        &out,
                        &halves(m, &format!("{shared}.input_linear"), &format!("{shared}.output_linear"), x),
                    );
                }
                return out;
            }
        }
    }
    dense(m, &format!("{layer}.mlp"), x)
}

/// Gate and rest behind each other.
fn halves(m: &Model, up: &str, down: &str, x: &Rows) -> Rows {
    let all = m.linear(up, x);
    let half = all[0].len() / 2;
    let hidden = both(&columns(&all, 0, half), &columns(&all, half, 2 * half), |gate, up| silu(gate) * up);
    m.linear(down, &hidden)
}

fn dense(m: &Model, name: &str, x: &Rows) -> Rows {
    let at = |map: &str| format!("{name}.{map}");
    let has = |map: &str| m.has(&format!("{name}.{map}.weight"));
    if has("gate_up_proj") {
        return halves(m, &at("gate_up_proj"), &at("down_proj"), x);
    }
    for (gate, up, down) in [("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2")] {
        if has(gate) {
            let hidden = both(&m.linear(&at(gate), x), &m.linear(&at(up), x), |gate, up| silu(gate) * up);
            return m.linear(&at(down), &hidden);
        }
    }
    let names = [("up_proj", "down_proj"), ("fc1", "fc2"), ("c_fc", "c_proj")];
    let (up, down) = names.into_iter().find(|(up, _)| has(up)).unwrap();
    m.linear(&at(down), &each(&m.linear(&at(up), x), silu))
}

/// The two best experts of each row, weighted.
fn mixture(m: &Model, name: &str, scores: &Rows, x: &Rows) -> Rows {
    let count = scores[0].len();
    let stacked =
        [("experts.gate_up_proj", "experts.down_proj"), ("input_linear.weight", "output_linear.weight")];
    let stacked = stacked.into_iter().find(|(up, _)| m.has(&format!("{name}.{up}")));
    let expert = |index: usize, row: &Rows| match stacked {
        None => dense(m, &format!("{name}.experts.{index}"), row),
        Some((up, down)) => {
            let part = |tensor: &str| {
                let name = format!("{name}.{tensor}");
                let size = m.get(&name).len() / count;
                let shape = m.shape(&name)[1..].to_vec();
                (shape, m.get(&name)[index * size..(index + 1) * size].to_vec())
            };
            let alone = [("up.weight".to_owned(), part(up)), ("down.weight".to_owned(), part(down))];
            halves(&Model(alone.into()), "up", "down", row)
        }
    };
    let mut out = Rows::new();
    for (row, scores) in x.iter().zip(scores) {
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let row = vec![row.clone()];
        let mut sum = vec![vec![0.0; row[0].len()]];
        for index in &order[..2] {
            let weight = scores[*index].exp();
            sum = both(&sum, &expert(*index, &row), |sum, own| sum + weight * own);
        }
        for shared in ["shared_expert", "shared_experts"].map(|own| format!("{name}.{own}")) {
            if m.has(&format!("{shared}.up_proj.weight")) {
                let gate = format!("{name}.shared_expert_gate");
                let weight = match m.has(&format!("{gate}.weight")) {
                    true => 1.0 / (1.0 + (-m.linear(&gate, &row)[0][0]).exp()),
                    false => 1.0,
                };
                sum = both(&sum, &dense(m, &shared, &row), |sum, own| sum + weight * own);
            }
        }
        out.extend(sum);
    }
    out
}

/// GPT-2.
pub(super) fn gpt2(m: &Model, shape: Shape) -> Rows {
    let mut x = add(&m.rows("wte.weight", TOKENS), &m.rows("wpe.weight", &places()));
    for layer in 0.. {
        let at = |name: &str| format!("h.{layer}.{name}");
        if !m.has(&at("ln_1.weight")) {
            break;
        }
        let all = m.linear_in_out(&at("attn.c_attn"), &m.norm(&at("ln_1"), &x, true));
        let own = shape.queries * shape.width;
        let [q, k, v] = [0, 1, 2].map(|part| columns(&all, part * own, (part + 1) * own));
        x = add(&x, &m.linear_in_out(&at("attn.c_proj"), &attend(shape, &q, &k, &v, None)));
        let hidden = each(&m.linear_in_out(&at("mlp.c_fc"), &m.norm(&at("ln_2"), &x, true)), silu);
        x = add(&x, &m.linear_in_out(&at("mlp.c_proj"), &hidden));
    }
    x = m.norm("ln_f", &x, true);
    let dot = |row: &[f64], w: &[f64]| row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
    x.iter().map(|row| m.get("wte.weight").chunks(row.len()).map(|w| dot(row, w)).collect()).collect()
}

/// GPT-NeoX: attention and feed-forward side by side.
pub(super) fn neox(m: &Model, shape: Shape) -> Rows {
    let mut x = m.rows("gpt_neox.embed_in.weight", TOKENS);
    for layer in 0.. {
        let at = |name: &str| format!("gpt_neox.layers.{layer}.{name}");
        if !m.has(&at("attention.dense.weight")) {
            break;
        }
        let all = m.linear(&at("attention.query_key_value"), &m.norm(&at("input_layernorm"), &x, true));
        // [heads, 3, width]
        let part = |part: usize| -> Rows {
            let of = |row: &Vec<f64>| {
                let heads = row.chunks(3 * shape.width);
                heads.flat_map(|head| head[part * shape.width..][..shape.width].to_vec()).collect()
            };
            all.iter().map(of).collect()
        };
        let attended = attend(shape, &part(0), &part(1), &part(2), None);
        let hidden = m.linear(&at("mlp.dense_h_to_4h"), &m.norm(&at("post_attention_layernorm"), &x, true));
        x = add(&x, &m.linear(&at("attention.dense"), &attended));
        x = add(&x, &m.linear(&at("mlp.dense_4h_to_h"), &each(&hidden, silu)));
    }
    m.linear("embed_out", &m.norm("gpt_neox.final_layer_norm", &x, true))
}

/// GPT-J.
pub(super) fn gptj(m: &Model, shape: Shape) -> Rows {
    let mut x = m.rows("transformer.wte.weight", TOKENS);
    for layer in 0.. {
        let at = |name: &str| format!("transformer.h.{layer}.{name}");
        if !m.has(&at("ln_1.weight")) {
            break;
        }
        let before = m.norm(&at("ln_1"), &x, true);
        let maps = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|map| at(&format!("attn.{map}")));
        let maps = [0, 1, 2, 3].map(|map| maps[map].as_str());
        let attended = four(m, shape, maps, &before, &before);
        let hidden = each(&m.linear(&at("mlp.fc_in"), &before), silu);
        x = add(&add(&x, &attended), &m.linear(&at("mlp.fc_out"), &hidden));
    }
    m.linear("lm_head", &m.norm("transformer.ln_f", &x, true))
}

/// OPT with norms in front.
pub(super) fn opt(m: &Model, shape: Shape) -> Rows {
    let at = |name: &str| format!("model.decoder.{name}");
    let words = m.rows(&at("embed_tokens.weight"), TOKENS);
    let narrow = m.has(&at("project_in.weight"));
    let mut x = if narrow { m.linear(&at("project_in"), &words) } else { words };
    x = add(&x, &m.rows(&at("embed_positions.weight"), &places()));
    for layer in 0.. {
        let at = |name: &str| at(&format!("layers.{layer}.{name}"));
        if !m.has(&at("fc1.weight")) {
            break;
        }
        let before = m.norm(&at("self_attn_layer_norm"), &x, true);
        let maps = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|map| at(&format!("self_attn.{map}")));
        let maps = [0, 1, 2, 3].map(|map| maps[map].as_str());
        x = add(&x, &four(m, shape, maps, &before, &before));
        let hidden = each(&m.linear(&at("fc1"), &m.norm(&at("final_layer_norm"), &x, true)), relu);
        x = add(&x, &m.linear(&at("fc2"), &hidden));
    }
    if m.has(&at("final_layer_norm.weight")) {
        x = m.norm(&at("final_layer_norm"), &x, true);
    }
    if narrow {
        x = m.linear(&at("project_out"), &x);
    }
    let embedding = m.get(&at("embed_tokens.weight"));
    let dot = |row: &[f64], w: &[f64]| row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
    x.iter().map(|row| embedding.chunks(row.len()).map(|w| dot(row, w)).collect()).collect()
}

/// BERT and DistilBERT, which say the same in other words: norms behind what is added. The words are those of the tables below.
pub(super) fn bert(m: &Model, prefix: &str, shape: Shape) -> Rows {
    let distilled = m.has(&format!("{prefix}transformer.layer.0.attention.q_lin.weight"));
    let at = |name: &str| format!("{prefix}{name}");
    let mut x = add(
        &m.rows(&at("embeddings.word_embeddings.weight"), TOKENS),
        &m.rows(&at("embeddings.position_embeddings.weight"), &places()),
    );
    if m.has(&at("embeddings.token_type_embeddings.weight")) {
        x = add(&x, &m.rows(&at("embeddings.token_type_embeddings.weight"), &[0, 0, 1, 1, 1, 1]));
    }
    x = m.norm(&at("embeddings.LayerNorm"), &x, true);
    let [layers, q, k, v, o, first, up, down, second] = match distilled {
        true => [
            "transformer.layer",
            "attention.q_lin",
            "attention.k_lin",
            "attention.v_lin",
            "attention.out_lin",
            "sa_layer_norm",
            "ffn.lin1",
            "ffn.lin2",
            "output_layer_norm",
        ],
        false => [
            "encoder.layer",
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "attention.output.LayerNorm",
            "intermediate.dense",
            "output.dense",
            "output.LayerNorm",
        ],
    };
    for layer in 0.. {
        let of = |name: &str| at(&format!("{layers}.{layer}.{name}"));
        if !m.has(&format!("{}.weight", of(q))) {
            break;
        }
        let maps = [q, k, v, o].map(of);
        let maps = [0, 1, 2, 3].map(|map| maps[map].as_str());
        x = m.norm(&of(first), &add(&x, &four(m, shape, maps, &x, &x)), true);
        let hidden = each(&m.linear(&of(up), &x), silu);
        x = m.norm(&of(second), &add(&x, &m.linear(&of(down), &hidden)), true);
    }
    let transform = [
        ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions"),
        ("lm_head.dense", "lm_head.layer_norm", "lm_head"),
        ("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    ];
    let has = |name: &str| m.has(&format!("{name}.weight"));
    if let Some((dense, norm, base)) = transform.into_iter().find(|(dense, _, _)| has(dense)) {
        let hidden = m.norm(norm, &each(&m.linear(dense, &x), silu), true);
        let table = m.get(&at("embeddings.word_embeddings.weight"));
        let bias = m.get(&format!("{base}.bias"));
        let dot = |row: &[f64], w: &[f64]| row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
        let of =
            |row: &Vec<f64>| table.chunks(row.len()).zip(bias).map(|(w, bias)| dot(row, w) + bias).collect();
        return hidden.iter().map(of).collect();
    }
    if has("pre_classifier") {
        x = each(&m.linear("pre_classifier", &x), relu);
    } else if has(&at("pooler.dense")) {
        x = each(&m.linear(&at("pooler.dense"), &x), f64::tanh);
    }
    m.linear("classifier", &x)
}

/// Patches of an image as rows: what a convolution with its kernel as stride sees.
fn patches(m: &Model, name: &str) -> Rows {
    let shape = m.shape(&format!("{name}.weight")).to_vec();
    let size: usize = shape[1..].iter().product();
    m.linear(name, &noise(6 * size).chunks(size).map(<[f64]>::to_vec).collect())
}

/// ViT and DINOv2.
pub(super) fn vit(m: &Model, prefix: &str, shape: Shape) -> Rows {
    let at = |name: &str| format!("{prefix}{name}");
    let tokens = |name: &str| {
        let width = *m.shape(&at(name)).last().unwrap();
        m.get(&at(name)).chunks(width).map(<[f64]>::to_vec).collect::<Rows>()
    };
    let mut x = tokens("embeddings.cls_token");
    x.extend(patches(m, &at("embeddings.patch_embeddings.projection")));
    x = add(&x, &tokens("embeddings.position_embeddings"));
    if m.has(&at("embeddings.register_tokens")) {
        x.splice(1..1, tokens("embeddings.register_tokens"));
    }
    for layer in 0.. {
        let of = |name: &str| at(&format!("encoder.layer.{layer}.{name}"));
        if !m.has(&of("attention.attention.query.weight")) {
            break;
        }
        let norms = if m.has(&of("norm1.weight")) {
            ["norm1", "norm2"]
        } else {
            ["layernorm_before", "layernorm_after"]
        };
        let scaled = |name: &str, x: Rows| match m.has(&of(name)) {
            true => both(&x, &vec![m.get(&of(name)).to_vec(); x.len()], |x, scale| x * scale),
            false => x,
        };
        let before = m.norm(&of(norms[0]), &x, true);
        let maps = ["attention.query", "attention.key", "attention.value", "output.dense"];
        let maps = maps.map(|map| of(&format!("attention.{map}")));
        let maps = [0, 1, 2, 3].map(|map| maps[map].as_str());
        x = add(&x, &scaled("layer_scale1.lambda1", four(m, shape, maps, &before, &before)));
        let before = m.norm(&of(norms[1]), &x, true);
        let out = if m.has(&of("mlp.weights_in.weight")) {
            halves(m, &of("mlp.weights_in"), &of("mlp.weights_out"), &before)
        } else if m.has(&of("mlp.fc1.weight")) {
            m.linear(&of("mlp.fc2"), &each(&m.linear(&of("mlp.fc1"), &before), silu))
        } else {
            m.linear(&of("output.dense"), &each(&m.linear(&of("intermediate.dense"), &before), silu))
        };
        x = add(&x, &scaled("layer_scale2.lambda1", out));
    }
    x = m.norm(&at("layernorm"), &x, true);
    if m.shape("classifier.weight")[1] == x[0].len() {
        return m.linear("classifier", &x[..1].to_vec());
    }
    let mean = |column: usize| x[1..].iter().map(|row| row[column]).sum::<f64>() / (x.len() - 1) as f64;
    let mut read = x[0].clone();
    read.extend((0..x[0].len()).map(mean));
    m.linear("classifier", &vec![read])
}

/// CLIP and SigLIP: the embeddings of both towers.
pub(super) fn clip(m: &Model, texts: Shape, images: Shape) -> Rows {
    let layers = |tower: &str, shape: Shape, mut x: Rows| {
        for layer in 0.. {
            let at = |name: &str| format!("{tower}.encoder.layers.{layer}.{name}");
            if !m.has(&at("mlp.fc1.weight")) {
                break;
            }
            let before = m.norm(&at("layer_norm1"), &x, true);
            let maps = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|map| at(&format!("self_attn.{map}")));
            let maps = [0, 1, 2, 3].map(|map| maps[map].as_str());
            x = add(&x, &four(m, shape, maps, &before, &before));
            let hidden = each(&m.linear(&at("mlp.fc1"), &m.norm(&at("layer_norm2"), &x, true)), silu);
            x = add(&x, &m.linear(&at("mlp.fc2"), &hidden));
        }
        x
    };
    let mut text = add(
        &m.rows("text_model.embeddings.token_embedding.weight", TOKENS),
        &m.rows("text_model.embeddings.position_embedding.weight", &places()),
    );
    text = m.norm("text_model.final_layer_norm", &layers("text_model", texts, text), true);
    let mut image = Rows::new();
    if m.has("vision_model.embeddings.class_embedding") {
        image.push(m.get("vision_model.embeddings.class_embedding").to_vec());
    }
    image.extend(patches(m, "vision_model.embeddings.patch_embedding"));
    let all: Vec<usize> = (0..image.len()).collect();
    image = add(&image, &m.rows("vision_model.embeddings.position_embedding.weight", &all));
    if m.has("vision_model.pre_layrnorm.weight") {
        image = m.norm("vision_model.pre_layrnorm", &image, true);
    }
    image = m.norm("vision_model.post_layernorm", &layers("vision_model", images, image), true);
    if m.has("text_projection.weight") {
        return [m.linear("text_projection", &text), m.linear("visual_projection", &image)].concat();
    }
    let head = |name: &str| format!("vision_model.head.{name}");
    let in_proj = |part: usize, x: &Rows| {
        let width = image[0].len();
        let fields = ["weight", "bias"].map(|field| {
            let all = m.get(&head(&format!("attention.in_proj_{field}")));
            let own = all[part * all.len() / 3..(part + 1) * all.len() / 3].to_vec();
            (format!("p.{field}"), (vec![width; if field == "weight" { 2 } else { 1 }], own))
        });
        Model(fields.into()).linear("p", x)
    };
    let probe = vec![m.get(&head("probe")).to_vec()];
    let attended = attend(images, &in_proj(0, &probe), &in_proj(1, &image), &in_proj(2, &image), None);
    let out = m.linear(&head("attention.out_proj"), &attended);
    let hidden = each(&m.linear(&head("mlp.fc1"), &m.norm(&head("layernorm"), &out, true)), silu);
    [m.linear("text_model.head", &text), add(&out, &m.linear(&head("mlp.fc2"), &hidden))].concat()
}

/// T5: tables of biases are those of the first block unless a block has its own.
pub(super) fn t5(m: &Model, shape: Shape) -> Rows {
    let encoded = t5_stack(m, "encoder", shape, None);
    let x = t5_stack(m, "decoder", Shape { causal: true, ..shape }, Some(&encoded));
    if m.has("lm_head.weight") {
        return m.linear("lm_head", &x);
    }
    let dot = |row: &[f64], w: &[f64]| row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
    x.iter().map(|row| m.get("shared.weight").chunks(row.len()).map(|w| dot(row, w)).collect()).collect()
}

fn t5_stack(m: &Model, name: &str, shape: Shape, encoded: Option<&Rows>) -> Rows {
    let mut x = m.rows("shared.weight", TOKENS);
    let mut table: &[f64] = &[];
    for block in 0.. {
        let at = |name_: &str| format!("{name}.block.{block}.layer.{name_}");
        if !m.has(&at("0.layer_norm.weight")) {
            break;
        }
        let own = at("0.SelfAttention.relative_attention_bias.weight");
        if m.has(&own) {
            table = m.get(&own);
        }
        let bias = |head: usize, distance: usize| {
            table[distance % (table.len() / shape.queries) * shape.queries + head]
        };
        let maps = ["q", "k", "v", "o"].map(|map| at(&format!("0.SelfAttention.{map}")));
        let before = m.norm(&at("0.layer_norm"), &x, false);
        let [q, k, v] = [0, 1, 2].map(|map| m.linear(&maps[map], &before));
        x = add(&x, &m.linear(&maps[3], &attend(shape, &q, &k, &v, Some(&bias))));
        let mut last = 1;
        if let Some(encoded) = encoded {
            let maps = ["q", "k", "v", "o"].map(|map| at(&format!("1.EncDecAttention.{map}")));
            let maps = [0, 1, 2, 3].map(|map| maps[map].as_str());
            let before = m.norm(&at("1.layer_norm"), &x, false);
            x = add(&x, &four(m, Shape { causal: false, ..shape }, maps, &before, encoded));
            last = 2;
        }
        let dense = |map: &str| at(&format!("{last}.DenseReluDense.{map}"));
        let before = m.norm(&at(&format!("{last}.layer_norm")), &x, false);
        let hidden = match m.has(&format!("{}.weight", dense("wi"))) {
            true => each(&m.linear(&dense("wi"), &before), relu),
            false => {
                both(&m.linear(&dense("wi_0"), &before), &m.linear(&dense("wi_1"), &before), |gate, up| {
                    silu(gate) * up
                })
            }
        };
        x = add(&x, &m.linear(&dense("wo"), &hidden));
    }
    m.norm(&format!("{name}.final_layer_norm"), &x, false)
}

fn image(colours: usize, size: usize) -> Image {
    let values = noise(colours * size * size);
    values.chunks(size * size).map(|own| own.chunks(size).map(<[f64]>::to_vec).collect()).collect()
}

/// Positions as rows.
fn pixels(x: &Image) -> Rows {
    let (height, width) = (x[0].len(), x[0][0].len());
    let at = |position: usize| x.iter().map(|own| own[position / width][position % width]).collect();
    (0..height * width).map(at).collect()
}

/// Rows as an image of this width.
fn picture(rows: &Rows, width: usize) -> Image {
    let channel = |c: usize| rows.chunks(width).map(|row| row.iter().map(|x| x[c]).collect()).collect();
    (0..rows[0].len()).map(channel).collect()
}

fn mean(x: &Image) -> Rows {
    let count = (x[0].len() * x[0][0].len()) as f64;
    vec![x.iter().map(|own| own.iter().flatten().sum::<f64>() / count).collect()]
}

/// ConvNeXt, both versions.
pub(super) fn convnext(m: &Model) -> Rows {
    let at = |name: &str| format!("convnext.{name}");
    let patch = m.shape(&at("embeddings.patch_embeddings.weight"))[2];
    let normed = |name: &str, x: &Image| picture(&m.norm(name, &pixels(x), true), x[0][0].len());
    let mut x = m.conv(&at("embeddings.patch_embeddings"), &image(3, 4 * patch), patch, 0);
    x = normed(&at("embeddings.layernorm"), &x);
    for stage in 0.. {
        let of = |name: &str| at(&format!("encoder.stages.{stage}.{name}"));
        if !m.has(&of("layers.0.dwconv.weight")) {
            break;
        }
        if m.has(&of("downsampling_layer.1.weight")) {
            x = m.conv(&of("downsampling_layer.1"), &normed(&of("downsampling_layer.0"), &x), 2, 0);
        }
        for layer in 0.. {
            let of = |name: &str| of(&format!("layers.{layer}.{name}"));
            if !m.has(&of("dwconv.weight")) {
                break;
            }
            let rows = pixels(&m.conv(&of("dwconv"), &x, 1, 3));
            let mut hidden = each(&m.linear(&of("pwconv1"), &m.norm(&of("layernorm"), &rows, true)), silu);
            if m.has(&of("grn.weight")) {
                let length = |c: usize| hidden.iter().map(|row| row[c] * row[c]).sum::<f64>().sqrt();
                let lengths: Vec<f64> = (0..hidden[0].len()).map(length).collect();
                let all = lengths.iter().sum::<f64>() / lengths.len() as f64;
                let (w, b) = (m.get(&of("grn.weight")), m.get(&of("grn.bias")));
                let of = |(c, x): (usize, &f64)| w[c] * x * lengths[c] / all + b[c] + x;
                hidden = hidden.iter().map(|row| row.iter().enumerate().map(of).collect()).collect();
            }
            let mut out = m.linear(&of("pwconv2"), &hidden);
            if m.has(&of("layer_scale_parameter")) {
                let scale = vec![m.get(&of("layer_scale_parameter")).to_vec(); out.len()];
                out = both(&out, &scale, |x, scale| x * scale);
            }
            let width = x[0][0].len();
            x = picture(&add(&pixels(&x), &out), width);
        }
    }
    m.linear("classifier", &m.norm(&at("layernorm"), &mean(&x), true))
}

/// Residual networks; shortcuts without a projection are padded, `front` of the channels in front.
pub(super) fn resnet(m: &Model, front: impl Fn(usize) -> usize) -> Rows {
    let act = |x: Image| -> Image {
        x.iter().map(|own| own.iter().map(|row| row.iter().map(|x| relu(*x)).collect()).collect()).collect()
    };
    let mut x = act(m.batch_norm("bn1", m.conv("conv1", &image(3, 4), 1, m.shape("conv1.weight")[2] / 2)));
    for stage in 1.. {
        if !m.has(&format!("layer{stage}.0.conv1.weight")) {
            break;
        }
        for block in 0.. {
            let at = |name: &str| format!("layer{stage}.{block}.{name}");
            if !m.has(&at("conv1.weight")) {
                break;
            }
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            let convs = (1..=3).filter(|conv| m.has(&at(&format!("conv{conv}.weight")))).count();
            let mut out = x.clone();
            for conv in 1..=convs {
                let name = at(&format!("conv{conv}"));
                let kernel = m.shape(&format!("{name}.weight"))[2];
                // The stride is where the kernel is 3 first.
                let own = if kernel == 3 && out[0].len() == x[0].len() { stride } else { 1 };
                out = m.batch_norm(&at(&format!("bn{conv}")), m.conv(&name, &out, own, kernel / 2));
                if conv < convs {
                    out = act(out);
                }
            }
            let short = ["downsample", "shortcut"].map(at);
            let skip = match short.into_iter().find(|name| m.has(&format!("{name}.0.weight"))) {
                Some(name) => m.batch_norm(&format!("{name}.1"), m.conv(&format!("{name}.0"), &x, stride, 0)),
                None => {
                    let own = |row: &Vec<f64>| row.iter().step_by(stride).copied().collect::<Vec<f64>>();
                    let small: Image =
                        x.iter().map(|own_| own_.iter().step_by(stride).map(own).collect()).collect();
                    let empty = vec![vec![0.0; small[0][0].len()]; small[0].len()];
                    let mut padded = vec![empty; out.len()];
                    let first = front(out.len() - small.len());
                    padded.splice(first..first + small.len(), small);
                    padded
                }
            };
            let sum = |(a, b): (&Vec<Vec<f64>>, &Vec<Vec<f64>>)| add(a, b);
            x = act(out.iter().zip(&skip).map(sum).collect());
        }
    }
    m.linear(if m.has("linear.weight") { "linear" } else { "fc" }, &mean(&x))
}
