//! An element-wise kernel in the child: each tile is copied into shared memory, computed there, and copied back.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use fusion_sdk::{Kernel, MethodError, RawGroup, TILE, Tile};

use super::method::{Held, tell};
use super::process::{Call, Process};
use super::region::{Layout, Region};
use super::told::Fault;
use super::wire::{Reply, Request, TileAt};

/// A block's statistics in the child.
struct State {
    process: Arc<Process>,
    /// `None` where it could not be made.
    state: Option<u64>,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(state) = self.state {
            let _ = tell(&self.process, "state_free", &Request::Free { state });
        }
    }
}

/// A prepared element-wise method in the child.
pub(super) struct IsolatedKernel {
    held: Held,
    copies: Vec<Option<usize>>,
    /// Tiles of each tensor.
    tiles: Vec<usize>,
    /// What the current pass wants of each tensor, a bit for each tile: asked once.
    wanted: Vec<OnceLock<Vec<u64>>>,
    /// The first failure; nothing more is asked for after it.
    trouble: OnceLock<MethodError>,
}

/// Where a tile's inputs and its output stand: the same on both sides.
pub(super) fn places(tile: &TileAt) -> (impl Iterator<Item = usize>, usize, usize) {
    let mut layout = Layout::default();
    let first = layout.place(tile.len);
    let stride = layout.bytes();
    let out = stride * tile.inputs;
    let end = out + tile.out * size_of::<f32>();
    ((0..tile.inputs).map(move |input| first + input * stride), out, end)
}

impl IsolatedKernel {
    pub(super) fn new(held: Held, copies: Vec<Option<usize>>, group: &RawGroup) -> Self {
        let tiles: Vec<usize> = group
            .tensors
            .iter()
            .map(|tensor| tensor.shape.iter().product::<usize>().div_ceil(TILE))
            .collect();
        let wanted = tiles.iter().map(|_| OnceLock::new()).collect();
        IsolatedKernel { held, copies, tiles, wanted, trouble: OnceLock::new() }
    }

    fn sound(&self) -> bool {
        self.trouble.get().is_none() && self.held.process.ended().is_none()
    }

    /// A call; what goes wrong is kept as trouble. `body` fails from within if the line is not to be used again.
    fn with<R>(
        &self,
        what: &'static str,
        body: impl FnOnce(&mut Call<'_>) -> Result<Result<R, Fault>, MethodError>,
    ) -> Option<R> {
        if !self.sound() {
            return None;
        }
        let ask = || {
            let mut call = self.held.process.call(what, None)?;
            let answer = body(&mut call)?;
            call.done();
            answer.map_err(|fault| fault.error(Some(&self.held.described)))
        };
        match ask() {
            Ok(answer) => Some(answer),
            Err(error) => {
                let _ = self.trouble.set(error);
                None
            }
        }
    }

    /// One request without elements, with its answer.
    fn ask<R>(
        &self,
        what: &'static str,
        request: &Request,
        take: impl FnOnce(Reply) -> Option<R>,
    ) -> Option<R> {
        self.with(what, |call| {
            call.send(request)?;
            match call.receive()? {
                Reply::Failed(fault) => Ok(Err(fault)),
                reply => take(reply).map(Ok).ok_or_else(|| call.nonsense()),
            }
        })
    }

    /// A request about a tile, and its result.
    fn tile(
        &self,
        what: &'static str,
        tile: &Tile<'_>,
        out: &mut [f32],
        request: impl FnOnce(u64, TileAt) -> Request,
    ) {
        let (tensor, offset, inputs) = (tile.tensor, tile.offset, tile.inputs.len());
        let at = TileAt { tensor, offset, inputs, len: tile.len(), out: out.len() };
        let (places, result, end) = places(&at);
        let put = |region: &mut Region, out: &[f32]| {
            region.grow(end)?;
            tile.inputs.iter().zip(places).try_for_each(|(input, place)| region.put(place, input))?;
            // What a plugin does not write stays what it was, as without isolation.
            region.put(result, out)
        };
        self.with(what, |call| {
            put(call.region(), out).map_err(|error| call.memory(&error))?;
            call.send(&request(self.held.kernel, at))?;
            match call.receive()? {
                Reply::Done => call.region().take(result, out).map_err(|error| call.memory(&error)).map(Ok),
                Reply::Failed(fault) => Ok(Err(fault)),
                _ => Err(call.nonsense()),
            }
        });
    }
}

fn done(reply: &Reply) -> Option<()> {
    matches!(reply, Reply::Done).then_some(())
}

impl Kernel for IsolatedKernel {
    fn observing(&self) -> bool {
        let take = |reply| match reply {
            Reply::Observing(observing) => Some(observing),
            _ => None,
        };
        self.ask("observing", &Request::Observing { kernel: self.held.kernel }, take).unwrap_or(false)
    }

    fn wants(&self, tensor: usize, tile: usize) -> bool {
        let (Some(wanted), Some(&tiles)) = (self.wanted.get(tensor), self.tiles.get(tensor)) else {
            return false;
        };
        if self.copies(tensor).is_some() {
            return false;
        }
        let wanted = wanted.get_or_init(|| {
            let take = |reply| match reply {
                Reply::Wanted(wanted) => Some(wanted),
                _ => None,
            };
            let request = Request::Wants { kernel: self.held.kernel, tensor, tiles };
            self.ask("wants", &request, take).unwrap_or_default()
        });
        self.sound() && wanted.get(tile / 64).is_some_and(|bits| bits >> (tile % 64) & 1 != 0)
    }

    fn trouble(&self) -> Option<MethodError> {
        self.trouble.get().or_else(|| self.held.process.ended()).cloned()
    }

    fn partial(&self) -> Box<dyn Any + Send> {
        let take = |reply| match reply {
            Reply::State(state) => Some(state),
            _ => None,
        };
        let state = self.ask("state_new", &Request::Partial { kernel: self.held.kernel }, take);
        Box::new(State { process: self.held.process.clone(), state })
    }

    fn observe(&self, partial: &mut (dyn Any + Send), tile: &Tile<'_>) {
        let Some(state) = partial.downcast_ref::<State>().and_then(|state| state.state) else { return };
        self.tile("observe", tile, &mut [], |kernel, tile| Request::Observe { kernel, state, tile });
    }

    fn absorb(&mut self, partial: &mut (dyn Any + Send)) {
        if let Some(state) = partial.downcast_ref::<State>().and_then(|state| state.state) {
            let request = Request::Absorb { kernel: self.held.kernel, state };
            self.ask("absorb", &request, |reply| done(&reply));
        }
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        self.ask("pass_end", &Request::FinishPass { kernel: self.held.kernel }, |reply| done(&reply));
        // The next pass may want something else.
        self.wanted.iter_mut().for_each(|wanted| *wanted = OnceLock::new());
        self.trouble().map_or(Ok(()), Err)
    }

    fn copies(&self, tensor: usize) -> Option<usize> {
        self.copies.get(tensor).copied().flatten()
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        if let Some(input) = self.copies(tile.tensor).and_then(|input| tile.inputs.get(input)) {
            return out.copy_from_slice(input);
        }
        self.tile("apply", tile, out, |kernel, tile| Request::Apply { kernel, tile });
    }

    fn state_bytes(&self) -> (usize, usize) {
        let take = |reply| match reply {
            Reply::StateBytes(whole, block) => Some((whole, block)),
            _ => None,
        };
        self.ask("state_bytes", &Request::StateBytes { kernel: self.held.kernel }, take).unwrap_or((0, 0))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
