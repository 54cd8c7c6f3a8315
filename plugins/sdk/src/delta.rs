//! Task vectors for methods that ask for them: the base is subtracted before a call and added afterwards, so that no method does it
//! again.
//!
//! δᵢ = θᵢ − θ₀ and θ = θ₀ + f(θ₀, δ₁ … δₙ), in f32: each difference is rounded once, and so is the sum.

use std::any::Any;
use std::cell::RefCell;

use crate::about::{Port, Space};
use crate::context::Context;
use crate::error::{ErrorKind, MethodError};
use crate::kernel::{Kernel, Tile};
use crate::method::Prepared;
use crate::task::RawGroup;
use crate::whole::{Member, WholeKernel};

/// The port that deltas are taken from.
const BASE: &str = "base";

/// Which inputs are seen as task vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deltas {
    base: usize,
    of: Vec<bool>,
    /// Bytes of all deltas of the group, for methods that see them whole.
    bytes: usize,
}

impl Deltas {
    /// The deltas that a method with these ports sees of a group; `None` if it has no port for them.
    ///
    /// # Errors
    /// There is not exactly one base.
    pub fn of(ports: &[Port], group: &RawGroup) -> Result<Option<Deltas>, MethodError> {
        let wanted = |role: &str| ports.iter().any(|port| port.role == role && port.space == Space::Delta);
        let Some(first) = group.tensors.first() else { return Ok(None) };
        if !ports.iter().any(|port| port.space == Space::Delta) {
            return Ok(None);
        }
        let of: Vec<bool> = first.inputs.iter().map(|input| wanted(&input.role)).collect();
        let mut bases = first.inputs.iter().enumerate().filter(|(_, input)| input.role == BASE);
        let (Some((base, _)), None) = (bases.next(), bases.next()) else {
            return Err(MethodError::invalid("task vectors need exactly one model as `base`"));
        };
        let count = of.iter().filter(|delta| **delta).count();
        let elements: usize = group.tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        Ok(Some(Deltas { base, of, bytes: elements * count * size_of::<f32>() }))
    }

    /// Wraps a prepared method, so that it sees deltas and its result is added to the base.
    ///
    /// # Errors
    /// A whole-model method cannot ask for deltas.
    pub fn wrap(deltas: Option<Deltas>, prepared: Prepared) -> Result<Prepared, MethodError> {
        let Some(deltas) = deltas else { return Ok(prepared) };
        match prepared {
            Prepared::Elementwise(kernel) => {
                Ok(Prepared::Elementwise(Box::new(DeltaKernel { deltas, kernel })))
            }
            Prepared::Whole(kernel) => Ok(Prepared::Whole(Box::new(DeltaWhole { deltas, kernel }))),
            Prepared::Model(_) => Err(MethodError::new(
                ErrorKind::Failed,
                "a whole-model method cannot take task vectors: it reads models itself",
            )),
        }
    }

    /// Fills `planes` with the deltas of some inputs, and gives the inputs as the method sees them.
    fn seen<'a>(&self, inputs: &[&'a [f32]], planes: &'a mut Vec<f32>) -> Vec<&'a [f32]> {
        let base = self.base(inputs);
        planes.clear();
        for (input, _) in inputs.iter().zip(&self.of).filter(|(_, delta)| **delta) {
            planes.extend(input.iter().zip(base).map(|(x, b)| x - b));
        }
        let mut planes = planes.chunks_exact(base.len().max(1));
        inputs
            .iter()
            .zip(&self.of)
            .map(|(input, delta)| if *delta { planes.next().unwrap_or_default() } else { input })
            .collect()
    }

    fn base<'a>(&self, inputs: &[&'a [f32]]) -> &'a [f32] {
        inputs.get(self.base).copied().unwrap_or_default()
    }
}

fn add(base: &[f32], out: &mut [f32]) {
    for (out, base) in out.iter_mut().zip(base) {
        *out += base;
    }
}

thread_local! {
    /// Deltas of a tile.
    static PLANES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls `body` with this thread's buffer. A kernel within a kernel would find it taken, and gets one of its own.
fn buffer<R>(body: impl FnOnce(&mut Vec<f32>) -> R) -> R {
    let mut planes = PLANES
        .with(|planes| planes.try_borrow_mut().map(|mut p| std::mem::take(&mut *p)).unwrap_or_default());
    let result = body(&mut planes);
    PLANES.with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut() {
            *kept = planes;
        }
    });
    result
}

struct DeltaKernel {
    deltas: Deltas,
    kernel: Box<dyn Kernel>,
}

impl Kernel for DeltaKernel {
    fn observing(&self) -> bool {
        self.kernel.observing()
    }

    fn wants(&self, tensor: usize, tile: usize) -> bool {
        self.kernel.wants(tensor, tile)
    }

    fn trouble(&self) -> Option<MethodError> {
        self.kernel.trouble()
    }

    fn partial(&self) -> Box<dyn Any + Send> {
        self.kernel.partial()
    }

    fn observe(&self, partial: &mut (dyn Any + Send), tile: &Tile<'_>) {
        buffer(|planes| {
            let inputs = &self.deltas.seen(tile.inputs, planes);
            self.kernel.observe(partial, &Tile { tensor: tile.tensor, offset: tile.offset, inputs });
        });
    }

    fn absorb(&mut self, partial: &mut (dyn Any + Send)) {
        self.kernel.absorb(partial);
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        self.kernel.finish_pass()
    }

    fn copies(&self, tensor: usize) -> Option<usize> {
        self.kernel.copies(tensor)
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        if let Some(input) = self.copies(tile.tensor).and_then(|input| tile.inputs.get(input)) {
            return out.copy_from_slice(input);
        }
        buffer(|planes| {
            let inputs = &self.deltas.seen(tile.inputs, planes);
            self.kernel.apply(&Tile { tensor: tile.tensor, offset: tile.offset, inputs }, out);
        });
        add(self.deltas.base(tile.inputs), out);
    }

    fn state_bytes(&self) -> (usize, usize) {
        self.kernel.state_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct DeltaWhole {
    deltas: Deltas,
    kernel: Box<dyn WholeKernel>,
}

impl WholeKernel for DeltaWhole {
    fn apply(&self, members: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError> {
        let mut planes: Vec<Vec<f32>> = vec![Vec::new(); members.len()];
        let copies: Vec<Option<usize>> = (0..members.len()).map(|member| self.copies(member)).collect();
        let originals: Vec<&[&[f32]]> = members.iter().map(|member| member.inputs).collect();
        let seen: Vec<Vec<&[f32]>> = originals
            .iter()
            .zip(&mut planes)
            .map(|(inputs, planes)| self.deltas.seen(inputs, planes))
            .collect();
        let mut inner: Vec<Member<'_>> = members
            .iter_mut()
            .zip(&seen)
            .map(|(member, inputs)| Member {
                name: member.name,
                shape: member.shape,
                inputs,
                out: member.out,
            })
            .collect();
        self.kernel.apply(&mut inner, context)?;
        for ((member, inputs), copied) in members.iter_mut().zip(originals).zip(copies) {
            match copied.and_then(|input| inputs.get(input)) {
                Some(input) => member.out.copy_from_slice(input),
                None => add(self.deltas.base(inputs), member.out),
            }
        }
        Ok(())
    }

    fn scratch_bytes(&self) -> usize {
        self.kernel.scratch_bytes() + self.deltas.bytes
    }

    fn serial(&self) -> bool {
        self.kernel.serial()
    }

    fn copies(&self, member: usize) -> Option<usize> {
        self.kernel.copies(member)
    }
}
