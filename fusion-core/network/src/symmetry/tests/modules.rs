//! The modules of the notes' prototype, and one with an operation that has no rule.

use burn::module::Module;
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, LayerNorm,
    LayerNormConfig, Linear, LinearConfig, Lstm, LstmConfig, PaddingConfig2d, RmsNorm, RmsNormConfig,
    RotaryEncoding, RotaryEncodingConfig,
};
use burn::tensor::activation::{relu, silu, softmax};
use burn::tensor::{Device, Tensor};

use super::toy::{Batch, Input, Toy};

fn conv(device: &Device, from: usize, to: usize, groups: usize) -> Conv2d {
    Conv2dConfig::new([from, to], [3, 3])
        .with_groups(groups)
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(device)
}

fn linear(device: &Device, from: usize, to: usize) -> Linear {
    LinearConfig::new(from, to).init(device)
}

fn plain(device: &Device, from: usize, to: usize) -> Linear {
    LinearConfig::new(from, to).with_bias(false).init(device)
}

#[derive(Module, Debug)]
pub(super) struct Mlp {
    l1: Linear,
    l2: Linear,
    l3: Linear,
}

impl Toy for Mlp {
    fn batch() -> Batch {
        Batch::Numbers(vec![2, 5])
    }
    fn new(device: &Device) -> Self {
        Mlp { l1: linear(device, 5, 8), l2: linear(device, 8, 6), l3: linear(device, 6, 3) }
    }
    fn forward(&self, input: Input) -> Tensor<1> {
        let x = relu(self.l1.forward(input.rows.unwrap()));
        self.l3.forward(relu(self.l2.forward(x))).flatten(0, 1)
    }
}

#[derive(Module, Debug)]
pub(super) struct Cnn {
    stem: Conv2d,
    bn: BatchNorm,
    a: Conv2d,
    gn: GroupNorm,
    dw: Conv2d,
    fc: Linear,
}

impl Toy for Cnn {
    fn batch() -> Batch {
        Batch::Numbers(vec![3, 2, 4, 4])
    }
    fn new(device: &Device) -> Self {
        Cnn {
            stem: conv(device, 2, 4, 1),
            bn: BatchNormConfig::new(4).init(device),
            a: conv(device, 4, 4, 2),
            gn: GroupNormConfig::new(2, 4).init(device),
            dw: conv(device, 4, 4, 4),
            fc: linear(device, 4 * 16, 3),
        }
    }
    fn forward(&self, input: Input) -> Tensor<1> {
        let h = relu(self.bn.forward(self.stem.forward(input.images.unwrap())));
        let h = h.clone() + self.gn.forward(self.a.forward(h));
        let h: Tensor<2> = relu(self.dw.forward(h)).flatten(1, 3);
        self.fc.forward(h).flatten(0, 1)
    }
}

#[derive(Module, Debug)]
pub(super) struct Res {
    stem: Conv2d,
    bn0: BatchNorm,
    c1: Conv2d,
    bn1: BatchNorm,
    c2: Conv2d,
    bn2: BatchNorm,
    c3: Conv2d,
    c4: Conv2d,
    sc: Conv2d,
    p1: Conv2d,
    p2: Conv2d,
    da: Conv2d,
    fc: Linear,
}

impl Toy for Res {
    fn batch() -> Batch {
        Batch::Numbers(vec![3, 2, 4, 4])
    }
    fn new(device: &Device) -> Self {
        Res {
            stem: conv(device, 2, 4, 1),
            bn0: BatchNormConfig::new(4).init(device),
            c1: conv(device, 4, 5, 1),
            bn1: BatchNormConfig::new(5).init(device),
            c2: conv(device, 5, 4, 1),
            bn2: BatchNormConfig::new(4).init(device),
            c3: conv(device, 4, 7, 1),
            c4: conv(device, 7, 6, 1),
            sc: conv(device, 4, 6, 1),
            p1: conv(device, 6, 5, 1),
            p2: conv(device, 5, 10, 1),
            da: conv(device, 10, 3, 1),
            fc: linear(device, 13, 3),
        }
    }
    fn forward(&self, input: Input) -> Tensor<1> {
        let x = input.images.unwrap();
        let device = x.device();
        let h = relu(self.bn0.forward(self.stem.forward(x)));
        let inner = relu(self.bn1.forward(self.c1.forward(h.clone())));
        let h = relu(h + self.bn2.forward(self.c2.forward(inner)));
        let h = relu(self.sc.forward(h.clone()) + self.c4.forward(relu(self.c3.forward(h))));
        let [b, _, rows, columns] = h.dims();
        let zeros = || Tensor::<4>::zeros([b, 2, rows, columns], &device);
        let padded = Tensor::cat(vec![zeros(), h.clone(), zeros()], 1);
        let h = relu(padded + self.p2.forward(relu(self.p1.forward(h))));
        let h = Tensor::cat(vec![h.clone(), relu(self.da.forward(h))], 1);
        let h: Tensor<2> = h.mean_dim(2).mean_dim(3).reshape([b as i32, -1]);
        self.fc.forward(h).flatten(0, 1)
    }
}

#[derive(Module, Debug)]
pub(super) struct Tr {
    emb: Embedding,
    pos: Embedding,
    ln: LayerNorm,
    att: MultiHeadAttention,
    rms: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Toy for Tr {
    fn batch() -> Batch {
        Batch::Tokens([2, 5])
    }
    fn new(device: &Device) -> Self {
        Tr {
            emb: EmbeddingConfig::new(11, 8).init(device),
            pos: EmbeddingConfig::new(5, 8).init(device),
            ln: LayerNormConfig::new(8).init(device),
            att: MultiHeadAttentionConfig::new(8, 2).with_dropout(0.0).init(device),
            rms: RmsNormConfig::new(8).init(device),
            gate: plain(device, 8, 6),
            up: plain(device, 8, 6),
            down: plain(device, 6, 8),
        }
    }
    fn forward(&self, input: Input) -> Tensor<1> {
        let h: Tensor<3> = self.emb.forward(input.tokens.unwrap()) + self.pos.weight.val().unsqueeze();
        let h = h.clone() + self.att.forward(MhaInput::self_attn(self.ln.forward(h))).context;
        let n = self.rms.forward(h.clone());
        let h = h + self.down.forward(silu(self.gate.forward(n.clone())) * self.up.forward(n));
        h.matmul(self.emb.weight.val().transpose().unsqueeze()).flatten(0, 2)
    }
}

#[derive(Module, Debug)]
pub(super) struct Gqa {
    emb: Embedding,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    qkv: Linear,
    o2: Linear,
    head: Linear,
    rope: RotaryEncoding,
}

impl Toy for Gqa {
    fn batch() -> Batch {
        Batch::Tokens([2, 5])
    }
    fn new(device: &Device) -> Self {
        Gqa {
            emb: EmbeddingConfig::new(11, 10).init(device),
            q: plain(device, 10, 24),
            k: plain(device, 10, 8),
            v: plain(device, 10, 8),
            o: plain(device, 24, 10),
            qkv: plain(device, 10, 36),
            o2: plain(device, 12, 10),
            head: plain(device, 10, 4),
            rope: RotaryEncodingConfig::new(16, 4).init(device),
        }
    }
    fn forward(&self, input: Input) -> Tensor<1> {
        let h = self.emb.forward(input.tokens.unwrap());
        let [b, t, _] = h.dims();
        let split = |y: Tensor<3>, n: usize| {
            let d = y.dims()[2] / n;
            y.reshape([b, t, n, d]).swap_dims(1, 2)
        };
        let q = self.rope.forward(split(self.q.forward(h.clone()), 6));
        let k = self.rope.forward(split(self.k.forward(h.clone()), 2));
        let v = split(self.v.forward(h.clone()), 2);
        let repeated = |y: Tensor<4>| {
            let d = y.dims()[3];
            y.unsqueeze_dim::<5>(2).repeat_dim(2, 3).reshape([b, 6, t, d])
        };
        let a = softmax(q.matmul(repeated(k).transpose()) / 2.0, 3).matmul(repeated(v));
        let h = h + self.o.forward(a.swap_dims(1, 2).reshape([b, t, 24]));
        let f = self.qkv.forward(h.clone());
        let part = |i: usize| split(f.clone().slice([0..b, 0..t, 12 * i..12 * (i + 1)]), 3);
        let a = softmax(part(0).matmul(part(1).transpose()) / 2.0, 3).matmul(part(2));
        let a = a.swap_dims(1, 2).reshape([b, t, 12]);
        self.head.forward(h + self.o2.forward(a)).flatten(0, 2)
    }
}

#[derive(Module, Debug)]
pub(super) struct Lstms {
    l: Lstm,
    o: Linear,
}

impl Toy for Lstms {
    fn batch() -> Batch {
        Batch::Numbers(vec![2, 3, 3])
    }
    fn new(device: &Device) -> Self {
        Lstms { l: LstmConfig::new(3, 4, true).init(device), o: linear(device, 4, 2) }
    }
    fn forward(&self, input: Input) -> Tensor<1> {
        self.o.forward(self.l.forward(input.steps.unwrap(), None).0).flatten(0, 2)
    }
}

/// Sorts units, which no permutation survives as such.
#[derive(Module, Debug)]
pub(super) struct Odd {
    a: Linear,
    b: Linear,
    c: Linear,
}

impl Toy for Odd {
    fn batch() -> Batch {
        Batch::Numbers(vec![2, 3])
    }
    fn new(device: &Device) -> Self {
        Odd { a: plain(device, 3, 4), b: plain(device, 4, 5), c: plain(device, 5, 2) }
    }
    fn forward(&self, input: Input) -> Tensor<1> {
        let x = self.a.forward(input.rows.unwrap());
        // Weights of positions make the order matter that sorting has lost.
        let x = x.clone() + x.sort(1);
        self.c.forward(self.b.forward(x).tanh()).flatten(0, 1)
    }
}
