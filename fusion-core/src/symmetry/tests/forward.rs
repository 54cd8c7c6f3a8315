//! Small networks in f64, by the names of their tensors: an oracle that shares nothing with templates but those names. What a model lacks is
//! left out, so one function serves a family.

use std::collections::BTreeMap;

use fusion_sdk::rng::Key;

use super::Header;

/// Rows of numbers: a token, a patch.
pub(super) type Rows = Vec<Vec<f64>>;

/// Channels of images: `[channel][y][x]`.
pub(super) type Image = Vec<Vec<Vec<f64>>>;

/// Tensors by name, with their shapes.
#[derive(Clone)]
pub(super) struct Model(pub BTreeMap<String, (Vec<usize>, Vec<f64>)>);

impl Model {
    /// 0.4 times standard normal, about 1 for what multiplies; variances are positive.
    pub(super) fn random(tensors: &[Header]) -> Model {
        let each = tensors.iter().map(|(name, shape)| {
            let key = Key::new(3, name, 0);
            let value = |at: u64| {
                let value = 0.4 * f64::from(key.normal(at));
                match name.contains("norm") && name.ends_with("weight") {
                    _ if name.ends_with("running_var") => 0.5 + value.abs(),
                    true => 1.0 + value,
                    false => value,
                }
            };
            let elements = shape.iter().product::<usize>() as u64;
            (name.clone(), (shape.clone(), (0..elements).map(value).collect()))
        });
        Model(each.collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> &[f64] {
        &self.0.get(name).unwrap_or_else(|| panic!("no {name}")).1
    }

    pub(super) fn shape(&self, name: &str) -> &[usize] {
        &self.0.get(name).unwrap_or_else(|| panic!("no {name}")).0
    }

    fn bias(&self, name: &str, rows: &mut Rows) {
        if let Some((_, bias)) = self.0.get(name) {
            rows.iter_mut().for_each(|row| row.iter_mut().zip(bias).for_each(|(x, b)| *x += b));
        }
    }

    /// `name.weight` [out, in], `name.bias`.
    pub(super) fn linear(&self, name: &str, x: &Rows) -> Rows {
        let mut out = times(self.get(&format!("{name}.weight")), x);
        self.bias(&format!("{name}.bias"), &mut out);
        out
    }

    /// The same as [in, out].
    pub(super) fn linear_in_out(&self, name: &str, x: &Rows) -> Rows {
        let weight = self.get(&format!("{name}.weight"));
        let columns = weight.len() / x[0].len();
        let out = |row: &Vec<f64>| {
            let at = |column: usize| row.iter().zip(weight.chunks(columns)).map(|(x, w)| x * w[column]).sum();
            (0..columns).map(at).collect()
        };
        let mut out: Rows = x.iter().map(out).collect();
        self.bias(&format!("{name}.bias"), &mut out);
        out
    }

    /// A normalisation of each row: without its mean if `centred`.
    pub(super) fn norm(&self, name: &str, x: &Rows, centred: bool) -> Rows {
        let mut out: Rows = x.iter().map(|row| normalised(row, centred)).collect();
        if let Some((_, weight)) = self.0.get(&format!("{name}.weight")) {
            out.iter_mut().for_each(|row| row.iter_mut().zip(weight).for_each(|(x, w)| *x *= w));
        }
        self.bias(&format!("{name}.bias"), &mut out);
        out
    }

    /// Rows of a table.
    pub(super) fn rows(&self, name: &str, indices: &[usize]) -> Rows {
        let width = *self.shape(name).last().unwrap();
        let table = self.get(name);
        indices.iter().map(|index| table[index * width..(index + 1) * width].to_vec()).collect()
    }

    /// A convolution with bias, stride and padding; groups by the shape.
    pub(super) fn conv(&self, name: &str, x: &Image, stride: usize, padding: usize) -> Image {
        let weight = format!("{name}.weight");
        let [out, taken, high, wide] = *self.shape(&weight) else { panic!("{name}") };
        let weight = self.get(&weight);
        let per_group = out / (x.len() / taken);
        let (height, width) = (x[0].len(), x[0][0].len());
        let size = |length: usize, kernel: usize| (length + 2 * padding - kernel) / stride + 1;
        let at = |to: usize, y: usize, x_at: usize| {
            let mut sum = self.0.get(&format!("{name}.bias")).map_or(0.0, |(_, bias)| bias[to]);
            for from in 0..taken {
                for (ky, kx) in (0..high).flat_map(|ky| (0..wide).map(move |kx| (ky, kx))) {
                    let place = |at: usize, k: usize, length: usize| {
                        (at * stride + k).checked_sub(padding).filter(|at| *at < length)
                    };
                    if let (Some(y), Some(x_at)) = (place(y, ky, height), place(x_at, kx, width)) {
                        let w = weight[((to * taken + from) * high + ky) * wide + kx];
                        sum += w * x[to / per_group * taken + from][y][x_at];
                    }
                }
            }
            sum
        };
        let rows = |to: usize| {
            (0..size(height, high)).map(|y| (0..size(width, wide)).map(|x| at(to, y, x)).collect()).collect()
        };
        (0..out).map(rows).collect()
    }

    /// BatchNorm by its running statistics, with ε = 0; nothing where there is none.
    pub(super) fn batch_norm(&self, name: &str, mut x: Image) -> Image {
        let field = |field: &str| format!("{name}.{field}");
        if !self.has(&field("running_var")) {
            return x;
        }
        let [w, b, m, v] = ["weight", "bias", "running_mean", "running_var"].map(|own| self.get(&field(own)));
        for (c, channel) in x.iter_mut().enumerate() {
            let of = |x: &mut f64| *x = (*x - m[c]) / v[c].sqrt() * w[c] + b[c];
            channel.iter_mut().flatten().for_each(of);
        }
        x
    }
}

fn times(weight: &[f64], x: &Rows) -> Rows {
    let dot = |row: &[f64], w: &[f64]| row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
    x.iter().map(|row| weight.chunks(row.len()).map(|w| dot(row, w)).collect()).collect()
}

fn normalised(row: &[f64], centred: bool) -> Vec<f64> {
    let n = row.len() as f64;
    let mean = if centred { row.iter().sum::<f64>() / n } else { 0.0 };
    let square = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    row.iter().map(|x| (x - mean) / (square + 1e-6).sqrt()).collect()
}

pub(super) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

pub(super) fn relu(x: f64) -> f64 {
    x.max(0.0)
}

pub(super) fn each(x: &Rows, of: impl Fn(f64) -> f64) -> Rows {
    x.iter().map(|row| row.iter().map(|x| of(*x)).collect()).collect()
}

pub(super) fn both(x: &Rows, y: &Rows, of: impl Fn(f64, f64) -> f64) -> Rows {
    x.iter().zip(y).map(|(x, y)| x.iter().zip(y).map(|(x, y)| of(*x, *y)).collect()).collect()
}

pub(super) fn add(x: &Rows, y: &Rows) -> Rows {
    both(x, y, |x, y| x + y)
}

/// Columns from..to.
pub(super) fn columns(x: &Rows, from: usize, to: usize) -> Rows {
    x.iter().map(|row| row[from..to].to_vec()).collect()
}

/// Heads of attention.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub queries: usize,
    pub keys: usize,
    pub width: usize,
    /// The first numbers of a head that are rotated.
    pub rotated: usize,
    pub causal: bool,
}

impl Shape {
    pub(super) fn new(heads: usize, width: usize, causal: bool) -> Shape {
        Shape { queries: heads, keys: heads, width, rotated: 0, causal }
    }
}

/// Turns pairs (i, i + half) of the first numbers of every head by the place of its row.
fn rotate(x: &Rows, width: usize, rotated: usize) -> Rows {
    let mut out = x.clone();
    let half = rotated / 2;
    for (place, (row, from)) in out.iter_mut().zip(x).enumerate() {
        for (head, from) in row.chunks_mut(width).zip(from.chunks(width)) {
            for at in 0..half {
                let (sin, cos) = (place as f64 * 5.0_f64.powf(-(at as f64))).sin_cos();
                head[at] = from[at] * cos - from[at + half] * sin;
                head[at + half] = from[at + half] * cos + from[at] * sin;
            }
        }
    }
    out
}

/// Softmax attention; `bias` [head][distance] is added to the products, distances taken modulo its length.
pub(super) fn attend(
    shape: Shape,
    q: &Rows,
    k: &Rows,
    v: &Rows,
    bias: Option<&dyn Fn(usize, usize) -> f64>,
) -> Rows {
    let Shape { queries, keys, width, rotated, causal } = shape;
    let (q, k) = (rotate(q, width, rotated), rotate(k, width, rotated));
    let of = |(place, query): (usize, &Vec<f64>)| {
        let mut out = Vec::new();
        for head in 0..queries {
            let own = head / (queries / keys) * width;
            let query = &query[head * width..(head + 1) * width];
            let seen = if causal { place + 1 } else { k.len() };
            let scores: Vec<f64> = (0..seen)
                .map(|at| {
                    let dot: f64 = query.iter().zip(&k[at][own..own + width]).map(|(q, k)| q * k).sum();
                    let bias = bias.map_or(0.0, |bias| bias(head, place.abs_diff(at)));
                    (dot / (width as f64).sqrt() + bias).exp()
                })
                .collect();
            let sum: f64 = scores.iter().sum();
            let value = |column: usize| {
                scores.iter().zip(&v[..seen]).map(|(s, v)| s / sum * v[own + column]).sum::<f64>()
            };
            out.extend((0..width).map(value));
        }
        out
    };
    q.iter().enumerate().map(of).collect()
}

/// Attention with four maps of these names.
pub(super) fn four(m: &Model, shape: Shape, maps: [&str; 4], x: &Rows, source: &Rows) -> Rows {
    let (q, k, v) = (m.linear(maps[0], x), m.linear(maps[1], source), m.linear(maps[2], source));
    m.linear(maps[3], &attend(shape, &q, &k, &v, None))
}
