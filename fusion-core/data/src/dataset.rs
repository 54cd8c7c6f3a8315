//! A data set in memory, and how examples of it become a batch.

use std::sync::OnceLock;

use fusion_sdk::batch::{Batch, Targets, Values};

use crate::error::DataError;
use crate::raw::{Affine, Answers, Inputs, Raw, numbered};
use crate::settings::Augment;

/// Examples in memory: images as bytes, rows of numbers, or a text.
///
/// Images become numbers from 0 to 1, minus `mean`, over `std`, when a batch is made. Everything else was done when the set was opened.
#[derive(Debug)]
pub struct Dataset {
    pub(crate) raw: Raw,
    pub(crate) affine: Affine,
    pub(crate) augment: Augment,
    pub(crate) flatten: bool,
    /// The byte that surrounds images.
    pub(crate) background: u8,
    shape: Vec<usize>,
    pub(crate) fingerprint: OnceLock<[u8; 32]>,
}

/// How an image is looked at: shifted, and mirrored or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// The pixel at (x, y) is the one at (x + right, y + down).
    pub(crate) right: isize,
    pub(crate) down: isize,
    /// Left and right are swapped, after the shift.
    pub(crate) mirrored: bool,
}

impl Dataset {
    pub(crate) fn new(raw: Raw, affine: Affine, augment: Augment, flatten: bool, background: u8) -> Self {
        let shape = match &raw.inputs {
            Inputs::Images { channels, height, width, .. } if flatten => vec![channels * height * width],
            Inputs::Images { channels, height, width, .. } => vec![*channels, *height, *width],
            Inputs::Rows { width, .. } => vec![*width],
            Inputs::Text { context, .. } => vec![*context],
        };
        Dataset { raw, affine, augment, flatten, background, shape, fingerprint: OnceLock::new() }
    }

    /// A set of images from memory: bytes as [example, channel, row, column] with `shape` [channels, height, width], and a class below
    /// `classes` for each. Inputs of batches are the bytes over 255.
    ///
    /// # Errors
    /// Where lengths, classes or shape do not fit.
    pub fn of_images(
        bytes: Vec<u8>,
        shape: [usize; 3],
        labels: Vec<u32>,
        classes: usize,
    ) -> Result<Self, DataError> {
        let [channels, height, width] = shape;
        let size = channels.saturating_mul(height).saturating_mul(width);
        if size == 0 || bytes.len() != labels.len().saturating_mul(size) {
            return Err(DataError::setting(
                "images",
                format!("{} bytes are not {} images of shape {shape:?}", bytes.len(), labels.len()),
            ));
        }
        let inputs = Inputs::Images { bytes, channels, height, width };
        let raw = Raw { inputs, answers: Answers::Classes(labels), classes, names: numbered(classes) };
        Self::of_raw(raw)
    }

    /// A set of rows from memory: `values` as [example, number], and classes below `classes` or numbers as targets.
    ///
    /// # Errors
    /// Where lengths or classes do not fit, a number is not finite, or the targets are soft.
    pub fn of_rows(
        values: Vec<f32>,
        width: usize,
        targets: Targets,
        classes: usize,
    ) -> Result<Self, DataError> {
        let (answers, classes) = match targets {
            Targets::Classes(labels) => (Answers::Classes(labels), classes),
            Targets::Numbers { width, rows } if width > 0 && rows.len() % width == 0 => {
                (Answers::Numbers { width, rows }, 0)
            }
            _ => return Err(DataError::setting("targets", "they must be classes, or rows of numbers")),
        };
        let raw = Raw { inputs: Inputs::Rows { values, width }, answers, classes, names: numbered(classes) };
        let Inputs::Rows { values, .. } = &raw.inputs else { unreachable!("made above") };
        if width == 0 || values.len() != raw.len().saturating_mul(width) {
            return Err(DataError::setting(
                "rows",
                format!("{} numbers are not {} rows of {width}", values.len(), raw.len()),
            ));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(DataError::setting("rows", format!("row {} holds {}", at / width, values[at])));
        }
        Self::of_raw(raw)
    }

    fn of_raw(raw: Raw) -> Result<Self, DataError> {
        if let Some(label) =
            raw.labels().and_then(|labels| labels.iter().find(|&&label| label as usize >= raw.classes))
        {
            return Err(DataError::setting("labels", format!("class {label} is not below {}", raw.classes)));
        }
        let affine = match &raw.inputs {
            Inputs::Images { channels, .. } => {
                Affine::standardise(&vec![0.0; *channels], &vec![1.0; *channels], 255.0)
            }
            _ => Affine::default(),
        };
        Ok(Dataset::new(raw, affine, Augment::None, false, 0))
    }

    /// Number of examples; at least 1 for a set that was opened.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shape of one example: [channels, height, width] of images (one number with `flatten`), \[numbers\] of a row, \[context\] of text.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of classes, of tokens for text; 0 where targets are numbers.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.raw.classes
    }

    /// What a network has to put out for one example (or position of a text): `classes`, or the width of a target's row of numbers.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self.raw.answers {
            Answers::Numbers { width, .. } => width,
            _ => self.raw.classes,
        }
    }

    /// Names of the classes, as many as there are; the characters for text.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        &self.raw.names
    }

    /// The class of each example; `None` for text and numbers.
    #[must_use]
    pub fn labels(&self) -> Option<&[u32]> {
        self.raw.labels()
    }

    /// Whether inputs are tokens.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.raw.inputs, Inputs::Text { .. })
    }

    /// The random changes that training makes of inputs.
    #[must_use]
    pub fn augment(&self) -> Augment {
        self.augment
    }

    /// Makes a batch of the examples at `indices`, in this order and as they are (without augmentation). It reuses the buffers of
    /// `out`, which may hold any batch.
    ///
    /// # Panics
    /// For an index that is not below `len()`.
    pub fn gather(&self, indices: &[usize], out: &mut Batch) {
        self.gather_viewed(indices, |_| View::default(), out);
    }

    /// With the view of each position of the batch.
    pub(crate) fn gather_viewed(&self, indices: &[usize], view: impl Fn(usize) -> View, out: &mut Batch) {
        out.shape.clear();
        out.shape.push(indices.len());
        out.shape.extend_from_slice(&self.shape);
        let size: usize = self.shape.iter().product();
        match &self.raw.inputs {
            Inputs::Images { .. } => {
                let floats = floats(&mut out.inputs, indices.len() * size);
                for (position, (&index, image)) in
                    indices.iter().zip(floats.chunks_exact_mut(size)).enumerate()
                {
                    self.image(index, view(position), image);
                }
            }
            Inputs::Rows { values, width } => {
                let floats = floats(&mut out.inputs, indices.len() * size);
                for (&index, row) in indices.iter().zip(floats.chunks_exact_mut(size)) {
                    row.copy_from_slice(&values[index * width..(index + 1) * width]);
                    for ((value, scale), shift) in
                        row.iter_mut().zip(&self.affine.scale).zip(&self.affine.shift)
                    {
                        *value = *value * scale + shift;
                    }
                }
            }
            Inputs::Text { tokens, starts, context } => {
                let ids = match &mut out.inputs {
                    Values::Tokens(ids) => ids,
                    other => {
                        *other = Values::Tokens(Vec::new());
                        let Values::Tokens(ids) = other else { unreachable!("made above") };
                        ids
                    }
                };
                ids.clear();
                for &index in indices {
                    let start = starts[index] as usize;
                    ids.extend(tokens[start..start + context].iter().map(|&id| u32::from(id)));
                }
            }
        }
        self.answer(indices, &mut out.targets);
    }

    fn answer(&self, indices: &[usize], out: &mut Targets) {
        match (&self.raw.answers, &self.raw.inputs) {
            (Answers::Classes(labels), _) => {
                classes(out).extend(indices.iter().map(|&index| labels[index]));
            }
            (Answers::Numbers { width, rows }, _) => {
                let mut buffer = match std::mem::replace(out, Targets::Classes(Vec::new())) {
                    Targets::Numbers { rows, .. } | Targets::Soft { rows, .. } => rows,
                    Targets::Classes(_) => Vec::new(),
                };
                buffer.clear();
                for &index in indices {
                    buffer.extend_from_slice(&rows[index * width..(index + 1) * width]);
                }
                *out = Targets::Numbers { width: *width, rows: buffer };
            }
            (Answers::Next, Inputs::Text { tokens, starts, context }) => {
                let ids = classes(out);
                for &index in indices {
                    let start = starts[index] as usize + 1;
                    ids.extend(tokens[start..start + context].iter().map(|&id| u32::from(id)));
                }
            }
            (Answers::Next, _) => {}
        }
    }

    /// Writes one image as numbers.
    fn image(&self, index: usize, view: View, out: &mut [f32]) {
        let Inputs::Images { bytes, channels, height, width } = &self.raw.inputs else { return };
        let plane = height * width;
        let image = &bytes[index * channels * plane..(index + 1) * channels * plane];
        let affine = self.affine.scale.iter().zip(&self.affine.shift);
        for ((bytes, out), (&scale, &shift)) in
            image.chunks_exact(plane).zip(out.chunks_exact_mut(plane)).zip(affine)
        {
            if view == View::default() {
                fusion_sdk::simd(
                    #[inline(always)]
                    || convert(bytes, scale, shift, out),
                );
                continue;
            }
            let around = f32::from(self.background) * scale + shift;
            for (y, row) in out.chunks_exact_mut(*width).enumerate() {
                let Some(from) = y.checked_add_signed(view.down).filter(|from| from < height) else {
                    row.fill(around);
                    continue;
                };
                let source = &bytes[from * width..(from + 1) * width];
                for (x, pixel) in row.iter_mut().enumerate() {
                    let at = if view.mirrored { width - 1 - x } else { x }.checked_add_signed(view.right);
                    let byte = at.and_then(|at| source.get(at));
                    *pixel = byte.map_or(around, |&byte| f32::from(byte) * scale + shift);
                }
            }
        }
    }
}

/// A batch without examples: buffers for [`Dataset::gather`] and [`Batches::batch`](crate::Batches::batch) to fill.
#[must_use]
pub fn buffer() -> Batch {
    Batch { inputs: Values::Floats(Vec::new()), shape: Vec::new(), targets: Targets::Classes(Vec::new()) }
}

#[inline(always)]
fn convert(bytes: &[u8], scale: f32, shift: f32, out: &mut [f32]) {
    for (out, &byte) in out.iter_mut().zip(bytes) {
        *out = f32::from(byte) * scale + shift;
    }
}

/// The buffer of numbers of a batch, `len` long.
fn floats(inputs: &mut Values, len: usize) -> &mut [f32] {
    if let Values::Tokens(_) = inputs {
        *inputs = Values::Floats(Vec::new());
    }
    let Values::Floats(floats) = inputs else { unreachable!("made above") };
    floats.resize(len, 0.0);
    floats
}

/// The buffer of classes of a batch, empty.
fn classes(targets: &mut Targets) -> &mut Vec<u32> {
    if !matches!(targets, Targets::Classes(_)) {
        *targets = Targets::Classes(Vec::new());
    }
    let Targets::Classes(classes) = targets else { unreachable!("made above") };
    classes.clear();
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch { inputs: Values::Tokens(vec![1; 9]), shape: vec![9], targets: Targets::Classes(vec![7]) }
    }

    #[test]
    fn images_become_numbers_and_views_move_them() {
        let bytes: Vec<u8> = (0..2 * 2 * 2 * 3).map(|byte| byte * 5).collect();
        let mut data = Dataset::of_images(bytes.clone(), [2, 2, 3], vec![1, 0], 2).unwrap();
        assert_eq!((data.len(), data.shape(), data.outputs()), (2, &[2, 2, 3][..], 2));
        let mut out = batch();
        data.gather(&[1, 0, 1], &mut out);
        assert_eq!(out.shape, [3, 2, 2, 3]);
        assert_eq!(out.targets, Targets::Classes(vec![0, 1, 0]));
        let Values::Floats(floats) = &out.inputs else { panic!() };
        let wanted = |byte: u8| f32::from(byte) * (1.0 / 255.0);
        assert_eq!(floats[0], wanted(60));
        assert_eq!(floats[12..24], bytes[..12].iter().map(|&b| wanted(b)).collect::<Vec<_>>()[..]);

        data.background = 255;
        let view = View { right: 1, down: -1, mirrored: false };
        data.gather_viewed(&[0], |_| view, &mut out);
        let Values::Floats(floats) = &out.inputs else { panic!() };
        // Row 0 comes from row -1, row 1 from row 0 without its first pixel.
        assert_eq!(floats[..6], [1.0, 1.0, 1.0, wanted(5), wanted(10), 1.0]);
        data.gather_viewed(&[0], |_| View { mirrored: true, ..View::default() }, &mut out);
        let Values::Floats(floats) = &out.inputs else { panic!() };
        assert_eq!(floats[..3], [wanted(10), wanted(5), wanted(0)]);
    }

    #[test]
    fn rows_and_texts_become_batches_in_any_buffer() {
        let targets = Targets::Numbers { width: 2, rows: vec![1.0, 2.0, 3.0, 4.0] };
        let data = Dataset::of_rows(vec![0.5, 1.5, 2.5, 3.5, 4.5, 5.5], 3, targets, 0).unwrap();
        assert_eq!((data.outputs(), data.classes()), (2, 0));
        let mut out = batch();
        data.gather(&[1], &mut out);
        assert_eq!(out.inputs, Values::Floats(vec![3.5, 4.5, 5.5]));
        assert_eq!(out.targets, Targets::Numbers { width: 2, rows: vec![3.0, 4.0] });

        let inputs = Inputs::Text { tokens: vec![3, 1, 4, 1, 5], starts: vec![0, 2], context: 2 };
        let raw = Raw { inputs, answers: Answers::Next, classes: 6, names: numbered(6) };
        let text = Dataset::new(raw, Affine::default(), Augment::None, false, 0);
        text.gather(&[1, 0], &mut out);
        assert_eq!(out.shape, [2, 2]);
        assert_eq!(out.inputs, Values::Tokens(vec![4, 1, 3, 1]));
        assert_eq!(out.targets, Targets::Classes(vec![1, 5, 1, 4]));
        data.gather(&[0], &mut out);
        assert_eq!(out.shape, [1, 3]);
        assert_eq!(out.inputs, Values::Floats(vec![0.5, 1.5, 2.5]));
    }

    #[test]
    fn sets_from_memory_are_checked() {
        let images = |bytes, labels| Dataset::of_images(bytes, [1, 2, 2], labels, 3).map(drop);
        assert!(images(vec![0; 8], vec![0, 2]).is_ok());
        assert!(images(vec![0; 7], vec![0, 2]).is_err());
        assert!(images(vec![0; 8], vec![0, 3]).unwrap_err().to_string().contains("class 3"));
        assert!(Dataset::of_images(vec![], [0, 2, 2], vec![], 1).is_err());
        let rows = |values, labels| Dataset::of_rows(values, 2, Targets::Classes(labels), 2).map(drop);
        assert!(rows(vec![0.0; 4], vec![0, 1]).is_ok());
        assert!(rows(vec![0.0; 3], vec![0, 1]).is_err());
        assert!(rows(vec![0.0, f32::NAN, 0.0, 0.0], vec![0, 1]).unwrap_err().to_string().contains("row 0"));
    }
}
