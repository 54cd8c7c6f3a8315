//! What `create` gets: a group of tensors in the structs of the contract, with everything that their pointers need kept alive.

use fusion_abi::{fusion_group, fusion_input, fusion_member, fusion_method, fusion_str};
use fusion_sdk::{RawGroup, RawInput, RawTensor, rng};
use serde_json::Value as Json;

use super::callbacks::owned;

/// A text for a plugin, valid as long as it is borrowed.
pub(super) fn text(text: &str) -> fusion_str {
    fusion_str { ptr: text.as_ptr().cast(), len: text.len() as u64 }
}

/// What the calls of one member have in common.
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) key: u64,
    pub(super) shape: Vec<i64>,
    /// Row-major strides in elements.
    pub(super) strides: Vec<i64>,
    pub(super) total: u64,
    pub(super) settings: Vec<f64>,
    params: String,
    layer: (u32, u32),
    inputs: Vec<(String, String)>,
    /// What [`Frame::member`] points to.
    given: Vec<fusion_input>,
}

// SAFETY: `given` points into the strings beside it, which nobody changes.
unsafe impl Send for Frame {}
// SAFETY: as above.
unsafe impl Sync for Frame {}

impl Frame {
    fn new(numbers: &[String], group: &RawGroup, tensor: &RawTensor) -> Self {
        let inputs: Vec<(String, String)> = tensor
            .inputs
            .iter()
            .map(|input| (input.role.clone(), Json::Object(input.settings.clone()).to_string()))
            .collect();
        let given = inputs
            .iter()
            .map(|(port, params)| fusion_input {
                struct_size: size_of::<fusion_input>() as u64,
                port: text(port),
                params: text(params),
            })
            .collect();
        let number = |input: &RawInput, name: &String| {
            input
                .settings
                .get(name)
                .or_else(|| tensor.params.get(name))
                .and_then(Json::as_f64)
                .unwrap_or(f64::NAN)
        };
        let shape: Vec<i64> = tensor.shape.iter().map(|&n| n as i64).collect();
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis].max(1);
        }
        Frame {
            name: tensor.name.clone(),
            key: rng::Key::new(group.seed, &tensor.name, 0).value(),
            strides,
            total: tensor.shape.iter().map(|&n| n as u64).product(),
            settings: tensor
                .inputs
                .iter()
                .flat_map(|input| numbers.iter().map(move |name| number(input, name)))
                .collect(),
            params: Json::Object(tensor.params.clone()).to_string(),
            layer: tensor.layer.map_or((u32::MAX, 0), |layer| (layer.index, layer.of)),
            shape,
            inputs,
            given,
        }
    }

    fn member(&self) -> fusion_member {
        debug_assert_eq!(self.inputs.len(), self.given.len());
        fusion_member {
            struct_size: size_of::<fusion_member>() as u64,
            name: text(&self.name),
            key: self.key,
            shape: self.shape.as_ptr(),
            ndim: self.shape.len() as u64,
            layer: self.layer.0,
            layers: self.layer.1,
            params: text(&self.params),
            inputs: self.given.as_ptr(),
            n_inputs: self.given.len() as u64,
            settings: self.settings.as_ptr(),
            n_settings: self.settings.len() as u64,
        }
    }
}

/// The frames of a group.
pub(super) fn frames(method: &'static fusion_method, group: &RawGroup) -> Vec<Frame> {
    // SAFETY: the descriptor's own list.
    let numbers: Vec<String> =
        (0..method.n_numbers as usize).map(|i| unsafe { owned(*method.numbers.add(i)) }).collect();
    group.tensors.iter().map(|tensor| Frame::new(&numbers, group, tensor)).collect()
}

/// Calls `body` with the group that the frames make.
pub(super) fn with_group<R>(frames: &[Frame], seed: u64, body: impl FnOnce(*const fusion_group) -> R) -> R {
    let members: Vec<fusion_member> = frames.iter().map(Frame::member).collect();
    let given = fusion_group {
        struct_size: size_of::<fusion_group>() as u64,
        members: members.as_ptr(),
        n_members: members.len() as u64,
        seed,
    };
    body(&raw const given)
}
