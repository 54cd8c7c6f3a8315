//! Whole models in memory, behind the kit's `fusion.model/1`.

use std::ffi::c_void;

use fusion_abi::{FUSION_F32, fusion_device, fusion_dltensor, fusion_str, fusion_tensor};

use super::call::Meta;
use super::memory::{Kind, Memory, Violation};

/// A member's description; its lists and texts stay where they are.
struct Described {
    meta: Meta,
    strides: Vec<i64>,
}

/// The models of one `run`.
pub(crate) struct Models {
    kind: Kind,
    off: usize,
    members: Vec<Described>,
    /// Per input model, per member.
    inputs: Vec<Vec<Vec<f32>>>,
    results: Vec<Option<Vec<f32>>>,
    lent: Vec<(usize, Memory)>,
    violations: Vec<Violation>,
    complaints: Vec<String>,
}

// SAFETY: the only pointers are the addresses of pieces that belong to this struct.
unsafe impl Send for Models {}

impl Models {
    /// `inputs[member][model]`.
    pub(crate) fn new(members: Vec<Meta>, inputs: &[Vec<Vec<f32>>], kind: Kind, off: usize) -> Self {
        let models = inputs.first().map_or(0, Vec::len);
        Models {
            kind,
            off,
            results: vec![None; members.len()],
            inputs: (0..models)
                .map(|model| inputs.iter().map(|member| member[model].clone()).collect())
                .collect(),
            members: members
                .into_iter()
                .map(|meta| Described { strides: super::call::strides(&meta.shape), meta })
                .collect(),
            lent: Vec::new(),
            violations: Vec::new(),
            complaints: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.inputs.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.meta.name == name)
    }

    pub(super) fn length(&self, member: usize) -> Option<usize> {
        Some(self.members.get(member)?.meta.total as usize)
    }

    pub(super) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// A member of a model, with its data if they are to be lent.
    pub(super) fn view(&mut self, model: usize, member: usize, data: bool) -> Option<fusion_tensor> {
        let described = self.members.get(member)?;
        let values = self.inputs.get(model)?.get(member)?;
        let mut pointer: *mut c_void = std::ptr::null_mut();
        if data {
            let mut memory = Memory::new(self.kind);
            pointer = memory.put("input", model, values, self.off, true).cast();
            self.lent.push((pointer as usize, memory));
        }
        let meta = &described.meta;
        Some(fusion_tensor {
            struct_size: size_of::<fusion_tensor>() as u64,
            dl: fusion_dltensor {
                data: pointer,
                device: fusion_device { kind: 1, id: 0 },
                ndim: meta.shape.len() as i32,
                dtype: FUSION_F32,
                shape: meta.shape.as_ptr().cast_mut(),
                strides: described.strides.as_ptr().cast_mut(),
                byte_offset: 0,
            },
            name: fusion_str { ptr: meta.name.as_ptr().cast(), len: meta.name.len() as u64 },
            key: meta.key,
            first: 0,
            total: meta.total,
            member: member as u64,
        })
    }

    pub(super) fn release(&mut self, data: *mut c_void) {
        match self.lent.iter().position(|(at, _)| *at == data as usize) {
            Some(at) => {
                let (_, memory) = self.lent.swap_remove(at);
                self.violations.extend(memory.violations());
                memory.retire();
            }
            None => self.complain("`release` of a tensor that is not lent".to_owned()),
        }
    }

    /// Whether the result was taken.
    pub(super) fn store(&mut self, member: usize, values: Vec<f32>) -> bool {
        if self.results[member].is_some() {
            self.complain(format!("member {member} was written twice"));
            return false;
        }
        self.results[member] = Some(values);
        true
    }

    /// The result, with what was mistreated on the way.
    pub(crate) fn finish(mut self) -> Result<(Vec<Vec<f32>>, Vec<Violation>), String> {
        for (_, memory) in self.lent.drain(..) {
            self.violations.extend(memory.violations());
            memory.retire();
        }
        if let Some(complaint) = self.complaints.into_iter().next() {
            return Err(complaint);
        }
        let mut values = Vec::with_capacity(self.results.len());
        for (result, member) in self.results.into_iter().zip(&self.members) {
            values.push(result.ok_or_else(|| format!("`{}` was never written", member.meta.name))?);
        }
        Ok((values, self.violations))
    }
}
