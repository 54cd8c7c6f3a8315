//! Patches of images as columns of a matrix, and back: plain copies and sums, on the host.
//!
//! Row (c·kh + i)·kw + j of the matrix is what the kernel's element (i, j) sees of channel c, a column for each output. Outputs are
//! taken by whole rows of the output image, counted over all examples.

use std::ops::Range;

use fusion_sdk::simd;

/// Sizes of a convolution without groups and dilation, padded alike on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub examples: usize,
    pub channels: usize,
    /// [height, width] of the input.
    pub image: [usize; 2],
    pub filters: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    /// [height, width] of the output.
    pub output: [usize; 2],
}

/// Rows of the output, counted over all examples, and where one of them stands.
struct Stretch {
    example: usize,
    /// Rows of its output image.
    rows: Range<usize>,
    /// The first column of the matrix.
    column: usize,
}

impl Sizes {
    /// `None` where the kernel does not fit into the padded image, or there is nothing to compute.
    pub(super) fn new(
        [examples, channels, height, width]: [usize; 4],
        filters: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Option<Sizes> {
        let image = [height, width];
        let mut output = [0; 2];
        for axis in 0..2 {
            let room = (image[axis] + 2 * padding[axis]).checked_sub(kernel[axis])?;
            output[axis] = room.checked_div(stride[axis])? + 1;
        }
        let sizes = Sizes { examples, channels, image, filters, kernel, stride, padding, output };
        (sizes.depth() > 0 && sizes.rows() > 0 && filters > 0).then_some(sizes)
    }

    /// Rows of the matrix: elements of a kernel.
    pub(super) fn depth(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    /// Rows of the output images of all examples.
    pub(super) fn rows(&self) -> usize {
        self.examples * self.output[0]
    }

    /// Outputs of a filter for an example.
    pub(super) fn area(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Length of the input.
    pub(super) fn input_len(&self) -> usize {
        self.examples * self.channels * self.image[0] * self.image[1]
    }

    /// Length of the output.
    pub(super) fn output_len(&self) -> usize {
        self.examples * self.filters * self.area()
    }

    /// Some rows, cut where an example ends.
    fn stretches(&self, rows: Range<usize>) -> impl Iterator<Item = Stretch> + use<> {
        let ([height, width], first, mut row) = (self.output, rows.start, rows.start);
        std::iter::from_fn(move || {
            let (example, start) = (row / height, row % height);
            let count = (rows.end - row).min(height - start);
            let stretch = Stretch { example, rows: start..start + count, column: (row - first) * width };
            row += count;
            (count > 0).then_some(stretch)
        })
    }

    /// Outputs along `axis` for which element `offset` of the kernel lies on the image.
    fn inside(&self, axis: usize, offset: usize) -> Range<usize> {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let first = padding.saturating_sub(offset).div_ceil(stride);
        let end = match (self.image[axis] + padding).checked_sub(offset + 1) {
            Some(last) => last / stride + 1,
            None => 0,
        };
        let end = end.min(self.output[axis]);
        first.min(end)..end
    }

    /// Whether the output is as wide as the input and every column is taken: then rows that follow each other are one stretch of memory.
    fn keeps_width(&self) -> bool {
        self.stride == [1, 1] && self.output[1] == self.image[1]
    }

    /// Writes the patches of some rows; a row of the matrix is `pitch` long.
    pub(super) fn gather(&self, x: &[f32], rows: Range<usize>, pitch: usize, columns: &mut [f32]) {
        let plane = self.image[0] * self.image[1];
        let (width, out_width) = (self.image[1], self.output[1]);
        let mut line = 0;
        for channel in 0..self.channels {
            for i in 0..self.kernel[0] {
                let down = self.inside(0, i);
                for j in 0..self.kernel[1] {
                    let across = self.inside(1, j);
                    let row = &mut columns[line * pitch..(line + 1) * pitch];
                    line += 1;
                    for stretch in self.stretches(rows.clone()) {
                        let base = (stretch.example * self.channels + channel) * plane;
                        let image = &x[base..base + plane];
                        let all = &mut row[stretch.column..][..stretch.rows.len() * out_width];
                        let seen = overlap(&stretch.rows, &down);
                        let before = (seen.start - stretch.rows.start) * out_width;
                        let behind = (seen.end - stretch.rows.start) * out_width;
                        all[..before].fill(0.0);
                        all[behind..].fill(0.0);
                        if seen.is_empty() {
                            continue;
                        }
                        let part = &mut all[before..behind];
                        let top = seen.start * self.stride[0] + i - self.padding[0];
                        if self.keeps_width() {
                            let (from, to) = shifted(top * width, j, self.padding[1], part.len(), plane);
                            part[to.clone()].copy_from_slice(&image[from..from + to.len()]);
                            for line in part.chunks_exact_mut(out_width) {
                                line[..across.start].fill(0.0);
                                line[across.end..].fill(0.0);
                            }
                            continue;
                        }
                        for (at, line) in part.chunks_exact_mut(out_width).enumerate() {
                            let source = &image[(top + at * self.stride[0]) * width..][..width];
                            line[..across.start].fill(0.0);
                            line[across.end..].fill(0.0);
                            let left = (across.start * self.stride[1] + j).saturating_sub(self.padding[1]);
                            let inner = &mut line[across.clone()];
                            for (target, value) in
                                inner.iter_mut().zip(source[left.min(width)..].iter().step_by(self.stride[1]))
                            {
                                *target = *value;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Adds what [`Sizes::gather`] has read from where to `x`: its transpose. Changes the columns of pixels beside the image.
    pub(super) fn scatter(&self, columns: &mut [f32], rows: Range<usize>, pitch: usize, x: &mut [f32]) {
        let plane = self.image[0] * self.image[1];
        let (width, out_width) = (self.image[1], self.output[1]);
        let mut line = 0;
        for channel in 0..self.channels {
            for i in 0..self.kernel[0] {
                let down = self.inside(0, i);
                for j in 0..self.kernel[1] {
                    let across = self.inside(1, j);
                    let row = &mut columns[line * pitch..(line + 1) * pitch];
                    line += 1;
                    for stretch in self.stretches(rows.clone()) {
                        let base = (stretch.example * self.channels + channel) * plane;
                        let image = &mut x[base..base + plane];
                        let seen = overlap(&stretch.rows, &down);
                        if seen.is_empty() {
                            continue;
                        }
                        let start = stretch.column + (seen.start - stretch.rows.start) * out_width;
                        let part = &mut row[start..start + seen.len() * out_width];
                        let top = seen.start * self.stride[0] + i - self.padding[0];
                        if self.keeps_width() {
                            for line in part.chunks_exact_mut(out_width) {
                                line[..across.start].fill(0.0);
                                line[across.end..].fill(0.0);
                            }
                            let (from, to) = shifted(top * width, j, self.padding[1], part.len(), plane);
                            add(&part[to.clone()], &mut image[from..from + to.len()]);
                            continue;
                        }
                        for (at, line) in part.chunks_exact(out_width).enumerate() {
                            let target = &mut image[(top + at * self.stride[0]) * width..][..width];
                            let left = (across.start * self.stride[1] + j).saturating_sub(self.padding[1]);
                            let inner = &line[across.clone()];
                            for (target, value) in
                                target[left.min(width)..].iter_mut().step_by(self.stride[1]).zip(inner)
                            {
                                *target += *value;
                            }
                        }
                    }
                }
            }
        }
    }

    /// The outputs (or their slopes) of some rows as a matrix, a line for each filter.
    pub(super) fn collect(&self, y: &[f32], rows: Range<usize>, matrix: &mut [f32]) {
        let pitch = rows.len() * self.output[1];
        self.each(rows, pitch, |outputs, places| {
            matrix[places].copy_from_slice(&y[outputs]);
        });
    }

    /// The inverse of [`Sizes::collect`], with a number for each filter added.
    pub(super) fn spread(&self, matrix: &[f32], rows: Range<usize>, bias: Option<&[f32]>, y: &mut [f32]) {
        let pitch = rows.len() * self.output[1];
        self.each(rows, pitch, |outputs, places| {
            let filter = places.start / pitch;
            y[outputs.clone()].copy_from_slice(&matrix[places]);
            if let Some(bias) = bias {
                y[outputs].iter_mut().for_each(|value| *value += bias[filter]);
            }
        });
    }

    /// Calls `body` with stretches of the output and their places in the matrix.
    fn each(&self, rows: Range<usize>, pitch: usize, mut body: impl FnMut(Range<usize>, Range<usize>)) {
        for stretch in self.stretches(rows) {
            let len = stretch.rows.len() * self.output[1];
            for filter in 0..self.filters {
                let image = (stretch.example * self.filters + filter) * self.area();
                let start = image + stretch.rows.start * self.output[1];
                let place = filter * pitch + stretch.column;
                body(start..start + len, place..place + len);
            }
        }
    }
}

/// What both ranges have; where that is nothing, an empty range inside the first.
fn overlap(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start).min(a.end);
    start..a.end.min(b.end).max(start)
}

/// Where pixels stand that are read with a shift of `offset − padding` columns from the row at `row`: the first one in the image, and which of
/// the `len` outputs have one. The shift only leaves the image at its first or last pixels, which are beside it anyway.
fn shifted(row: usize, offset: usize, padding: usize, len: usize, plane: usize) -> (usize, Range<usize>) {
    let missing = padding.saturating_sub(row + offset).min(len);
    let from = (row + offset + missing).saturating_sub(padding).min(plane);
    (from, missing..missing + (len - missing).min(plane - from))
}

/// sum ← sum + values
pub(super) fn add(values: &[f32], sum: &mut [f32]) {
    simd(
        #[inline(always)]
        || sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
    );
}
