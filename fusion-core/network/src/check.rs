//! Checks in front of a computation: burn's own errors about shapes are panics.

use fusion_sdk::batch::{Batch, Values};

use crate::architecture::{Architecture, Reads};
use crate::error::NetworkError;
use crate::network::Norm;

/// Whether a flat vector has the network's length.
pub(crate) fn length(part: &'static str, found: usize, wanted: usize) -> Result<(), NetworkError> {
    if found == wanted { Ok(()) } else { Err(NetworkError::Length { part, found, wanted }) }
}

/// Checks inputs; returns the number of predictions.
pub(crate) fn batch(architecture: &Architecture, batch: &Batch, norm: Norm) -> Result<usize, NetworkError> {
    let wrong = |message: String| Err(NetworkError::Inputs { message });
    let wanted = architecture.input();
    let Some((&examples, example)) = batch.shape.split_first() else {
        return wrong("the batch has no shape".to_owned());
    };
    if examples == 0 {
        return wrong("the batch is empty".to_owned());
    }
    let elements: usize = batch.shape.iter().product();
    let len = match &batch.inputs {
        Values::Floats(values) => values.len(),
        Values::Tokens(tokens) => tokens.len(),
    };
    if len != elements {
        return wrong(format!("there are {len} values for the shape {:?}", batch.shape));
    }
    let predictions = match (&batch.inputs, architecture.reads()) {
        (Values::Floats(_), Reads::Numbers) => {
            // Rows of features are as good as images of the same size, and [28, 28] is as good as [1, 28, 28].
            let features = |shape: &[usize]| shape.iter().product::<usize>();
            let long = |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|&n| n > 1).collect() };
            let flat = example.len() == 1 || wanted.len() == 1;
            if features(example) != features(wanted) || !(flat || long(example) == long(wanted)) {
                return wrong(format!("an example has shape {example:?}, the network wants {wanted:?}"));
            }
            examples
        }
        (Values::Tokens(tokens), Reads::Tokens(vocabulary)) => {
            let longest = wanted.first().copied().unwrap_or(0);
            match example {
                &[length] if (1..=longest).contains(&length) => {}
                _ => {
                    let message =
                        format!("an example has shape {example:?}, the network wants up to {longest} tokens");
                    return wrong(message);
                }
            }
            if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
                return wrong(format!("token {token} is not below the vocabulary's {vocabulary}"));
            }
            elements
        }
        (Values::Floats(_), Reads::Tokens(_)) => {
            return wrong("the network reads tokens, not numbers".to_owned());
        }
        (Values::Tokens(_), Reads::Numbers) => {
            return wrong("the network reads numbers, not tokens".to_owned());
        }
    };
    // Images have several values for each channel even in a batch of one.
    let one_value = examples == 1 && wanted.len() == 1;
    if norm == Norm::Batch && one_value && architecture.has_batch_norm() {
        return Err(NetworkError::BatchTooSmall);
    }
    Ok(predictions)
}
