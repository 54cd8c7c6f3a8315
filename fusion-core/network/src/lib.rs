//! Architectures as burn modules, their state as named tensors, gradients on flat weights.
