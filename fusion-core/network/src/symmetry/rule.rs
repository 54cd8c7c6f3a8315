//! What an operation of a captured graph means for axes: burn's hundred operations as a dozen rules.

use burn_ir::{
    ActivationOperationIr as Activation, BaseOperationIr as Base, BoolOperationIr as Bool,
    FloatOperationIr as Float, IntOperationIr as Int, ModuleOperationIr as Module,
    NumericOperationIr as Numeric, OperationIr, PadModeIr, TensorIr,
};

/// How an elementwise operation's output grows when its inputs' units are multiplied by positive factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Degree {
    /// As its inputs do, if all do alike: sums, ReLU.
    Linear,
    /// By the product of all factors.
    Product,
    /// By the first factor over the second.
    Quotient,
    /// In no such way.
    Other,
}

/// A range along an axis.
pub(super) type Cut = (usize, usize);

/// Rules; the text beside each says how axes of the output come from those of the inputs.
#[derive(Clone, Debug)]
pub(super) enum Rule<'a> {
    /// A parameter, the batch, or given values.
    Given,
    /// Drawn values: pinned.
    Random,
    /// One value everywhere: any transform leaves it as it is.
    Fill { zero: bool },
    /// Axis by axis; an axis of length 1 is repeated.
    Elementwise { inputs: Vec<&'a TensorIr>, degree: Degree },
    /// Axes become 1 long.
    Reduce { input: &'a TensorIr, axes: Vec<usize>, degree: Degree },
    /// Along an axis, equivariant (softmax).
    Along { input: &'a TensorIr, axis: usize },
    /// Along axes whose order matters (sums so far, flips): they are pinned.
    Ordered { input: &'a TensorIr, axes: Vec<usize> },
    /// Products of matrices.
    Matmul { lhs: &'a TensorIr, rhs: &'a TensorIr },
    /// x · weight + bias, weight [in, out].
    Linear { x: &'a TensorIr, weight: &'a TensorIr, bias: Option<&'a TensorIr> },
    /// weight [out, in/groups, …].
    Conv { x: &'a TensorIr, weight: &'a TensorIr, bias: Option<&'a TensorIr>, groups: usize },
    /// weight [in, out, …].
    ConvTranspose { x: &'a TensorIr, weight: &'a TensorIr, bias: Option<&'a TensorIr> },
    /// Positions behind the channels are pinned (pooling, interpolation).
    Window { x: &'a TensorIr },
    /// By channel, on axis 1.
    BatchNorm { x: &'a TensorIr, affine: [&'a TensorIr; 4] },
    /// Over the last axis.
    LayerNorm { x: &'a TensorIr, affine: Vec<&'a TensorIr> },
    /// Rows of a table.
    Embedding { weights: &'a TensorIr, indices: &'a TensorIr },
    /// Fused attention.
    Attention {
        query: &'a TensorIr,
        key: &'a TensorIr,
        value: &'a TensorIr,
        bias: Vec<&'a TensorIr>,
        causal: bool,
    },
    /// Row-major regrouping.
    Reshape { input: &'a TensorIr },
    /// Axes in another order.
    Permute { input: &'a TensorIr, order: Vec<usize> },
    /// Axes of length 1 become longer.
    Expand { input: &'a TensorIr },
    /// The whole axis several times.
    Repeat { input: &'a TensorIr, axis: usize, times: usize },
    /// Behind each other.
    Cat { inputs: Vec<&'a TensorIr>, axis: usize },
    /// A part; `None` where steps are not 1.
    Slice { input: &'a TensorIr, cuts: Vec<Option<Cut>> },
    /// A part is replaced.
    Assign { input: &'a TensorIr, value: &'a TensorIr, cuts: Vec<Option<Cut>> },
    /// Indexed entries of an axis.
    Select { input: &'a TensorIr, axis: usize, indices: &'a TensorIr },
    /// One value around.
    Pad { input: &'a TensorIr, padding: Vec<(usize, usize)> },
    /// Anything else: all axes that it touches are pinned.
    Unknown,
}

fn one<'a>(input: &'a TensorIr, degree: Degree) -> Rule<'a> {
    Rule::Elementwise { inputs: vec![input], degree }
}

fn two<'a>(lhs: &'a TensorIr, rhs: &'a TensorIr, degree: Degree) -> Rule<'a> {
    Rule::Elementwise { inputs: vec![lhs, rhs], degree }
}

/// The rule of an operation; `None` for what computes nothing.
pub(super) fn of(operation: &OperationIr) -> Option<Rule<'_>> {
    Some(match operation {
        OperationIr::BaseFloat(base) | OperationIr::BaseInt(base) | OperationIr::BaseBool(base) => {
            of_base(base)
        }
        OperationIr::NumericFloat(_, numeric) | OperationIr::NumericInt(_, numeric) => of_numeric(numeric),
        OperationIr::Float(_, float) => of_float(float),
        OperationIr::Int(int) => of_int(int),
        OperationIr::Bool(bool) => of_bool(bool),
        OperationIr::Module(module) => of_module(module),
        OperationIr::Activation(activation) => of_activation(activation),
        OperationIr::Init(_) => Rule::Given,
        OperationIr::Drop(_) => return None,
        OperationIr::Custom(_) | OperationIr::Distributed(_) => Rule::Unknown,
    })
}

fn cuts(tensor: &TensorIr, ranges: &[burn::tensor::Slice]) -> Vec<Option<Cut>> {
    let whole = |axis: usize| (0, tensor.shape[axis]);
    (0..tensor.shape.len())
        .map(|axis| match ranges.get(axis) {
            None => Some(whole(axis)),
            Some(range) if range.step() == 1 => {
                let range = range.range(tensor.shape[axis]);
                Some((range.start, range.end))
            }
            Some(_) => None,
        })
        .collect()
}

fn of_base(base: &Base) -> Rule<'_> {
    match base {
        Base::Reshape(op) => Rule::Reshape { input: &op.input },
        Base::SwapDims(op) => {
            let mut order: Vec<usize> = (0..op.input.shape.len()).collect();
            order.swap(op.dim1, op.dim2);
            Rule::Permute { input: &op.input, order }
        }
        Base::Permute(op) => Rule::Permute { input: &op.input, order: op.axes.clone() },
        Base::Flip(op) => Rule::Ordered { input: &op.input, axes: op.axes.clone() },
        Base::Expand(op) => Rule::Expand { input: &op.input },
        Base::Slice(op) => Rule::Slice { input: &op.tensor, cuts: cuts(&op.tensor, &op.ranges) },
        Base::SliceAssign(op) => {
            Rule::Assign { input: &op.tensor, value: &op.value, cuts: cuts(&op.tensor, &op.ranges) }
        }
        Base::Select(op) => Rule::Select { input: &op.tensor, axis: op.dim, indices: &op.indices },
        Base::MaskWhere(op) => {
            Rule::Elementwise { inputs: vec![&op.tensor, &op.mask, &op.value], degree: Degree::Other }
        }
        Base::MaskFill(op) => two(&op.tensor, &op.mask, Degree::Other),
        Base::Equal(op) | Base::NotEqual(op) => two(&op.lhs, &op.rhs, Degree::Other),
        Base::EqualElem(op) | Base::NotEqualElem(op) => one(&op.lhs, Degree::Other),
        Base::RepeatDim(op) => Rule::Repeat { input: &op.tensor, axis: op.dim, times: op.times },
        Base::Cat(op) => Rule::Cat { inputs: op.tensors.iter().collect(), axis: op.dim },
        Base::Cast(op) => one(&op.input, Degree::Linear),
        Base::Empty(_) | Base::Ones(_) => Rule::Fill { zero: false },
        Base::Zeros(_) => Rule::Fill { zero: true },
        Base::All(op) | Base::Any(op) => all(&op.input),
        Base::AllDim(op) | Base::AnyDim(op) => {
            Rule::Reduce { input: &op.input, axes: vec![op.axis], degree: Degree::Other }
        }
        Base::Unfold(_)
        | Base::SelectAssign(_)
        | Base::Gather(_)
        | Base::Scatter(_)
        | Base::ScatterNd(_)
        | Base::GatherNd(_) => Rule::Unknown,
    }
}

/// A reduction of everything.
fn all(input: &TensorIr) -> Rule<'_> {
    Rule::Reduce { input, axes: (0..input.shape.len()).collect(), degree: Degree::Other }
}

fn of_numeric(numeric: &Numeric) -> Rule<'_> {
    match numeric {
        Numeric::Add(op) | Numeric::Sub(op) => two(&op.lhs, &op.rhs, Degree::Linear),
        Numeric::Mul(op) => two(&op.lhs, &op.rhs, Degree::Product),
        Numeric::Div(op) => two(&op.lhs, &op.rhs, Degree::Quotient),
        Numeric::MulScalar(op) | Numeric::DivScalar(op) => one(&op.lhs, Degree::Linear),
        Numeric::Neg(op) | Numeric::Abs(op) => one(&op.input, Degree::Linear),
        Numeric::Sign(op) => one(&op.input, Degree::Other),
        Numeric::Rem(op)
        | Numeric::Greater(op)
        | Numeric::GreaterEqual(op)
        | Numeric::Lower(op)
        | Numeric::LowerEqual(op)
        | Numeric::Powi(op) => two(&op.lhs, &op.rhs, Degree::Other),
        Numeric::AddScalar(op)
        | Numeric::SubScalar(op)
        | Numeric::RemScalar(op)
        | Numeric::GreaterElem(op)
        | Numeric::GreaterEqualElem(op)
        | Numeric::LowerElem(op)
        | Numeric::LowerEqualElem(op)
        | Numeric::PowiScalar(op)
        | Numeric::ClampMin(op)
        | Numeric::ClampMax(op) => one(&op.lhs, Degree::Other),
        Numeric::Clamp(op) => one(&op.tensor, Degree::Other),
        Numeric::Full(_) => Rule::Fill { zero: false },
        Numeric::SumDim(op)
        | Numeric::MeanDim(op)
        | Numeric::MaxDim(op)
        | Numeric::MinDim(op)
        | Numeric::MaxAbsDim(op) => {
            Rule::Reduce { input: &op.input, axes: vec![op.axis], degree: Degree::Linear }
        }
        Numeric::SumDims(op) => {
            Rule::Reduce { input: &op.input, axes: op.axes.clone(), degree: Degree::Linear }
        }
        Numeric::ProdDim(op) => Rule::Reduce { input: &op.input, axes: vec![op.axis], degree: Degree::Other },
        Numeric::Mean(op)
        | Numeric::Sum(op)
        | Numeric::Prod(op)
        | Numeric::Max(op)
        | Numeric::Min(op)
        | Numeric::MaxAbs(op) => all(&op.input),
        Numeric::CumSum(op) | Numeric::CumProd(op) | Numeric::CumMin(op) | Numeric::CumMax(op) => {
            Rule::Ordered { input: &op.input, axes: vec![op.axis] }
        }
        Numeric::Pad(op) => match op.mode {
            PadModeIr::Constant(_) => Rule::Pad { input: &op.input, padding: op.padding.clone() },
            PadModeIr::Reflect | PadModeIr::Edge => Rule::Unknown,
        },
        Numeric::IntRandom(_) => Rule::Random,
        Numeric::ArgMax(_)
        | Numeric::ArgMin(_)
        | Numeric::ArgTopK(_)
        | Numeric::TopK(_)
        | Numeric::TopKWithIndices(_)
        | Numeric::MaxDimWithIndices(_)
        | Numeric::MinDimWithIndices(_)
        | Numeric::Sort(_)
        | Numeric::SortWithIndices(_)
        | Numeric::ArgSort(_) => Rule::Unknown,
    }
}

fn of_float(float: &Float) -> Rule<'_> {
    match float {
        Float::Exp(op)
        | Float::Log(op)
        | Float::Log1p(op)
        | Float::Erf(op)
        | Float::Sqrt(op)
        | Float::Cos(op)
        | Float::Cosh(op)
        | Float::Sin(op)
        | Float::Sinh(op)
        | Float::Tan(op)
        | Float::Tanh(op)
        | Float::ArcCos(op)
        | Float::ArcCosh(op)
        | Float::ArcSin(op)
        | Float::ArcSinh(op)
        | Float::ArcTan(op)
        | Float::ArcTanh(op)
        | Float::Round(op)
        | Float::Floor(op)
        | Float::Ceil(op)
        | Float::Trunc(op)
        | Float::Recip(op)
        | Float::IsNan(op)
        | Float::IsInf(op) => one(&op.input, Degree::Other),
        Float::PowfScalar(op) => one(&op.lhs, Degree::Other),
        Float::ArcTan2(op) | Float::Powf(op) | Float::Hypot(op) => two(&op.lhs, &op.rhs, Degree::Other),
        Float::IntoInt(op) => one(&op.input, Degree::Other),
        Float::Matmul(op) => Rule::Matmul { lhs: &op.lhs, rhs: &op.rhs },
        Float::Random(_) => Rule::Random,
        Float::Cross(_) | Float::Quantize(_) | Float::Dequantize(_) | Float::GridSample2d(_) => Rule::Unknown,
    }
}

fn of_int(int: &Int) -> Rule<'_> {
    match int {
        Int::IntoFloat(op) => one(&op.input, Degree::Linear),
        Int::BitwiseAnd(op)
        | Int::BitwiseOr(op)
        | Int::BitwiseXor(op)
        | Int::BitwiseLeftShift(op)
        | Int::BitwiseRightShift(op) => two(&op.lhs, &op.rhs, Degree::Other),
        Int::BitwiseAndScalar(op)
        | Int::BitwiseOrScalar(op)
        | Int::BitwiseXorScalar(op)
        | Int::BitwiseLeftShiftScalar(op)
        | Int::BitwiseRightShiftScalar(op) => one(&op.lhs, Degree::Other),
        Int::BitwiseNot(op) => one(&op.input, Degree::Other),
        Int::Matmul(op) => Rule::Matmul { lhs: &op.lhs, rhs: &op.rhs },
    }
}

fn of_bool(bool: &Bool) -> Rule<'_> {
    match bool {
        Bool::IntoFloat(op) | Bool::IntoInt(op) => one(&op.input, Degree::Other),
        Bool::Not(op) => one(&op.input, Degree::Other),
        Bool::And(op) | Bool::Or(op) | Bool::Xor(op) => two(&op.lhs, &op.rhs, Degree::Other),
    }
}

fn of_activation(activation: &Activation) -> Rule<'_> {
    match activation {
        Activation::Relu(op) => one(&op.input, Degree::Linear),
        Activation::LeakyRelu(op) => one(&op.lhs, Degree::Linear),
        Activation::Gelu(op) | Activation::Sigmoid(op) | Activation::LogSigmoid(op) => {
            one(&op.input, Degree::Other)
        }
        Activation::HardSigmoid(op) => one(&op.tensor, Degree::Other),
        Activation::PRelu(op) => two(&op.lhs, &op.rhs, Degree::Other),
        Activation::Softmax(op) | Activation::LogSoftmax(op) | Activation::Softmin(op) => {
            Rule::Along { input: &op.input, axis: op.axis }
        }
        Activation::ReluBackward(_)
        | Activation::GeluBackward(_)
        | Activation::SigmoidBackward(_)
        | Activation::LogSigmoidBackward(_) => Rule::Unknown,
    }
}

fn of_module(module: &Module) -> Rule<'_> {
    match module {
        Module::BatchNorm(op) => {
            Rule::BatchNorm { x: &op.x, affine: [&op.gamma, &op.beta, &op.mean, &op.variance] }
        }
        Module::LayerNorm(op) => Rule::LayerNorm {
            x: &op.input,
            affine: [&op.gamma].into_iter().chain(op.beta.as_ref()).collect(),
        },
        Module::Embedding(op) => Rule::Embedding { weights: &op.weights, indices: &op.indices },
        Module::Linear(op) => Rule::Linear { x: &op.x, weight: &op.weight, bias: op.bias.as_ref() },
        Module::Conv1d(op) => {
            Rule::Conv { x: &op.x, weight: &op.weight, bias: op.bias.as_ref(), groups: op.options.groups }
        }
        Module::Conv2d(op) => {
            Rule::Conv { x: &op.x, weight: &op.weight, bias: op.bias.as_ref(), groups: op.options.groups }
        }
        Module::Conv3d(op) => {
            Rule::Conv { x: &op.x, weight: &op.weight, bias: op.bias.as_ref(), groups: op.options.groups }
        }
        Module::ConvTranspose1d(op) if op.options.groups == 1 => {
            Rule::ConvTranspose { x: &op.x, weight: &op.weight, bias: op.bias.as_ref() }
        }
        Module::ConvTranspose2d(op) if op.options.groups == 1 => {
            Rule::ConvTranspose { x: &op.x, weight: &op.weight, bias: op.bias.as_ref() }
        }
        Module::ConvTranspose3d(op) if op.options.groups == 1 => {
            Rule::ConvTranspose { x: &op.x, weight: &op.weight, bias: op.bias.as_ref() }
        }
        Module::AvgPool1d(op) => Rule::Window { x: &op.x },
        Module::AvgPool2d(op) => Rule::Window { x: &op.x },
        Module::AdaptiveAvgPool1d(op) => Rule::Window { x: &op.x },
        Module::AdaptiveAvgPool2d(op) => Rule::Window { x: &op.x },
        Module::AdaptiveAvgPool3d(op) => Rule::Window { x: &op.x },
        Module::MaxPool1d(op) => Rule::Window { x: &op.x },
        Module::MaxPool2d(op) => Rule::Window { x: &op.x },
        Module::MaxPool1dWithIndices(op) => Rule::Window { x: &op.x },
        Module::MaxPool2dWithIndices(op) => Rule::Window { x: &op.x },
        Module::Interpolate(op) => Rule::Window { x: &op.x },
        Module::Attention(op) => Rule::Attention {
            query: &op.query,
            key: &op.key,
            value: &op.value,
            bias: op.mask.iter().chain(&op.attn_bias).collect(),
            causal: op.options.is_causal,
        },
        _ => Rule::Unknown,
    }
}

/// What burn calls the operation: `Matmul`, `Conv2d`.
pub(super) fn name(operation: &OperationIr) -> String {
    let text = format!("{operation:?}");
    let Some((kind, rest)) = text.split_once('(') else { return text };
    if matches!(operation, OperationIr::Init(_) | OperationIr::Custom(_) | OperationIr::Drop(_)) {
        return kind.to_owned();
    }
    let rest = match operation {
        OperationIr::NumericFloat(..) | OperationIr::NumericInt(..) | OperationIr::Float(..) => {
            rest.split_once(", ").map_or(rest, |(_, rest)| rest)
        }
        _ => rest,
    };
    rest.chars().take_while(|letter| letter.is_alphanumeric()).collect()
}
