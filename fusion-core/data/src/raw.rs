//! Examples as loaders make them and as a data set keeps them.

/// Inputs as they are kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Inputs {
    /// Bytes, [example, channel, row, column].
    Images { bytes: Vec<u8>, channels: usize, height: usize, width: usize },
    /// [example, number].
    Rows { values: Vec<f32>, width: usize },
    /// One long text; example i is the `context` tokens from `starts[i]`, and the token after each of them is its target.
    Text { tokens: Vec<u16>, starts: Vec<u32>, context: usize },
}

/// What is to be said of each example.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answers {
    Classes(Vec<u32>),
    Numbers {
        width: usize,
        rows: Vec<f32>,
    },
    /// The next token.
    Next,
}

/// x ↦ scale·x + shift, for each channel of images or number of a row; empty for none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

impl Affine {
    /// (x/unit − mean)/std.
    pub(crate) fn standardise(mean: &[f64], std: &[f64], unit: f64) -> Self {
        Affine {
            scale: std.iter().map(|std| (1.0 / (std * unit)) as f32).collect(),
            shift: mean.iter().zip(std).map(|(mean, std)| (-mean / std) as f32).collect(),
        }
    }
}

/// What a loader makes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Raw {
    pub(crate) inputs: Inputs,
    pub(crate) answers: Answers,
    /// 0 for numbers.
    pub(crate) classes: usize,
    /// As many as classes.
    pub(crate) names: Vec<String>,
}

impl Raw {
    pub(crate) fn len(&self) -> usize {
        match (&self.inputs, &self.answers) {
            (_, Answers::Classes(labels)) => labels.len(),
            (_, Answers::Numbers { width, rows }) => rows.len() / (*width).max(1),
            (Inputs::Text { starts, .. }, Answers::Next) => starts.len(),
            (_, Answers::Next) => 0,
        }
    }

    pub(crate) fn labels(&self) -> Option<&[u32]> {
        match &self.answers {
            Answers::Classes(labels) => Some(labels),
            _ => None,
        }
    }

    /// Keeps the examples at `indices`, in this order.
    pub(crate) fn select(&mut self, indices: &[usize]) {
        if indices.len() == self.len() && indices.iter().copied().eq(0..indices.len()) {
            return;
        }
        match &mut self.inputs {
            Inputs::Images { bytes, channels, height, width } => {
                *bytes = rows_at(bytes, *channels * *height * *width, indices);
            }
            Inputs::Rows { values, width } => *values = rows_at(values, *width, indices),
            Inputs::Text { starts, .. } => *starts = rows_at(starts, 1, indices),
        }
        match &mut self.answers {
            Answers::Classes(labels) => *labels = rows_at(labels, 1, indices),
            Answers::Numbers { width, rows } => *rows = rows_at(rows, *width, indices),
            Answers::Next => {}
        }
    }
}

fn rows_at<T: Copy>(all: &[T], width: usize, indices: &[usize]) -> Vec<T> {
    let mut kept = Vec::with_capacity(indices.len() * width);
    for &index in indices {
        kept.extend_from_slice(&all[index * width..(index + 1) * width]);
    }
    kept
}

/// "0", "1", …
pub(crate) fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}
