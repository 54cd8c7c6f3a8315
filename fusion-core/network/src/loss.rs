//! Losses and their derivatives by the outputs, on the host: outputs are few, so this costs nearly nothing, the loss is a sum in
//! f64, and the device needs no kernels for it.

use fusion_sdk::batch::Targets;

use crate::error::NetworkError;

/// A batch's loss.
pub(crate) struct Loss {
    /// Mean over predictions.
    pub value: f64,
    /// Predictions whose largest output is the right class. Ties go to the lower class; NaN is never right.
    pub correct: usize,
    /// Derivative of the mean by each output.
    pub derivative: Vec<f32>,
}

/// Checks targets against the number of predictions and of outputs.
pub(crate) fn check(targets: &Targets, rows: usize, outputs: usize) -> Result<(), NetworkError> {
    let wrong = |message: String| Err(NetworkError::Targets { message });
    let (width, found) = match targets {
        Targets::Classes(classes) => {
            if let Some(class) = classes.iter().find(|&&class| class as usize >= outputs) {
                return wrong(format!("class {class} is not below the network's {outputs} outputs"));
            }
            (outputs, classes.len())
        }
        Targets::Soft { classes: width, rows } | Targets::Numbers { width, rows } => {
            if *width > 0 && rows.len() % width != 0 {
                return wrong(format!("{} numbers are no rows of {width}", rows.len()));
            }
            (*width, rows.len() / width.max(&1))
        }
    };
    if width != outputs {
        return wrong(format!("rows have {width} numbers, the network has {outputs} outputs"));
    }
    if found != rows {
        return wrong(format!("there are {found} for {rows} predictions"));
    }
    Ok(())
}

/// The loss of outputs (rows of `width`) that fit the targets.
///
/// Cross entropy −Σ q ln p with p = softmax(outputs) and q = (1 − s)·target + s/width for the smoothing s (Szegedy et al.,
/// 2016; PyTorch's `label_smoothing`), mean over rows; or the mean of squared differences over all numbers, where `correct` is 0.
/// NaN or infinity in the outputs makes the loss NaN or infinite.
pub(crate) fn loss(outputs: &[f32], width: usize, targets: &Targets, smoothing: f32) -> Loss {
    let mut derivative = vec![0.0; outputs.len()];
    let rows = (outputs.len() / width.max(1)).max(1) as f64;
    let pairs = outputs.chunks_exact(width.max(1)).zip(derivative.chunks_exact_mut(width.max(1)));
    let (mut sum, mut correct) = (0.0, 0);
    match targets {
        Targets::Classes(classes) => {
            let (share, even) = smoothed(smoothing, width);
            for ((row, slope), &class) in pairs.zip(classes) {
                let target = |index: usize| if index == class as usize { share + even } else { even };
                sum += cross_entropy(row, target, 1.0, rows, slope);
                correct += usize::from(largest(row) == Some(class as usize));
            }
            sum /= rows;
        }
        Targets::Soft { rows: soft, .. } => {
            let (share, even) = smoothed(smoothing, width);
            for ((row, slope), wanted) in pairs.zip(soft.chunks_exact(width.max(1))) {
                let total = wanted.iter().map(|&q| f64::from(q)).sum::<f64>() * share + even * width as f64;
                let target = |index: usize| f64::from(wanted[index]) * share + even;
                sum += cross_entropy(row, target, total, rows, slope);
                correct += usize::from(largest(row).is_some_and(|best| Some(best) == largest(wanted)));
            }
            sum /= rows;
        }
        Targets::Numbers { rows: wanted, .. } => {
            let count = outputs.len().max(1) as f64;
            for ((slope, &output), &wanted) in derivative.iter_mut().zip(outputs).zip(wanted) {
                let difference = f64::from(output) - f64::from(wanted);
                sum += difference * difference;
                *slope = (2.0 * difference / count) as f32;
            }
            sum /= count;
        }
    }
    Loss { value: sum, correct, derivative }
}

/// What the target keeps, and what every class gets.
fn smoothed(smoothing: f32, width: usize) -> (f64, f64) {
    let smoothing = f64::from(smoothing);
    (1.0 - smoothing, smoothing / width.max(1) as f64)
}

/// −Σ q ln p for one row; writes (p Σq − q)/rows.
fn cross_entropy(
    row: &[f32],
    target: impl Fn(usize) -> f64,
    total: f64,
    rows: f64,
    slope: &mut [f32],
) -> f64 {
    let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&output| (f64::from(output) - top).exp()).sum();
    let log_sum = sum.ln() + top;
    let mut loss = 0.0;
    for (index, (&output, slope)) in row.iter().zip(slope).enumerate() {
        let (log_p, q) = (f64::from(output) - log_sum, target(index));
        if q != 0.0 || log_p.is_nan() {
            loss -= q * log_p;
        }
        *slope = ((log_p.exp() * total - q) / rows) as f32;
    }
    loss
}

/// Index of the largest value; `None` for NaN among them.
fn largest(row: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if *value > row[best] {
            best = index;
        }
    }
    (!row.is_empty()).then_some(best)
}
