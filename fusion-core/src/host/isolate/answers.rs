//! What the child does for each request: the call of `host` that the parent would make itself without isolation.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use fusion_sdk::{
    Context, ErrorKind, Kernel, Member, Method, MethodError, ModelKernel, Prepared as Made, RawGroup, Tile,
    WholeKernel,
};
use rayon::ThreadPool;

use super::calls::{Caller, Given};
use super::elementwise::places;
use super::process::Lane;
use super::region::{Layout, Region};
use super::told::{Fault, Told};
use super::wire::{Form, Prepared, Reply, Request, TileAt};
use crate::host::load;

type State = Box<dyn Any + Send>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A prepared method.
enum Kept {
    Elementwise(RwLock<Box<dyn Kernel>>),
    Whole(Box<dyn WholeKernel>, RawGroup),
    Model(Box<dyn ModelKernel>, RawGroup),
}

/// The plugin with everything that the parent has made of it.
pub(super) struct Child {
    library: PathBuf,
    methods: OnceLock<Vec<Box<dyn Method>>>,
    kernels: RwLock<BTreeMap<u64, Arc<Kept>>>,
    states: Mutex<BTreeMap<u64, State>>,
    next: AtomicU64,
    /// By number of threads: as many as the engine has.
    pools: Mutex<BTreeMap<usize, Arc<ThreadPool>>>,
}

fn failed(message: impl Into<String>) -> MethodError {
    MethodError::new(ErrorKind::Failed, message)
}

fn unknown(what: &str, number: u64) -> MethodError {
    failed(format!("there is no {what} {number} in the plugin's process"))
}

fn memory(error: &std::io::Error) -> MethodError {
    failed(format!("shared memory: {error}"))
}

impl Child {
    pub(super) fn new(library: &Path) -> Self {
        Child {
            library: library.to_owned(),
            methods: OnceLock::new(),
            kernels: RwLock::default(),
            states: Mutex::default(),
            next: AtomicU64::new(1),
            pools: Mutex::default(),
        }
    }

    pub(super) fn answer(&self, request: Request, lane: &mut Lane) -> Reply {
        match request {
            Request::Load => match load(&self.library) {
                Ok(plugin) => {
                    let told = Told::of(&plugin);
                    let _ = self.methods.set(plugin.methods);
                    Reply::Loaded(Box::new(told))
                }
                Err(error) => Reply::Refused(error),
            },
            other => self.try_answer(other, lane).unwrap_or_else(|error| Reply::Failed(Fault::from(error))),
        }
    }

    fn try_answer(&self, request: Request, lane: &mut Lane) -> Result<Reply, MethodError> {
        match request {
            Request::Load => Err(failed("the plugin is loaded")),
            Request::Scope { method, params } => self.method(method)?.scope(&params).map(Reply::Scope),
            Request::Prepare { method, group } => self.prepare(method, group),
            Request::Drop { kernel } => {
                let kept = self.kernels.write().unwrap_or_else(PoisonError::into_inner).remove(&kernel);
                drop(kept); // with the lock free: this runs code of the plugin
                Ok(Reply::Done)
            }
            Request::StateBytes { kernel } => self.read(kernel, |kernel| {
                let (whole, block) = kernel.state_bytes();
                Ok(Reply::StateBytes(whole, block))
            }),
            Request::Observing { kernel } => {
                self.read(kernel, |kernel| Ok(Reply::Observing(kernel.observing())))
            }
            Request::Wants { kernel, tensor, tiles } => self.read(kernel, |kernel| {
                let mut bits = vec![0_u64; tiles.div_ceil(64)];
                for tile in 0..tiles {
                    bits[tile / 64] |= u64::from(kernel.wants(tensor, tile)) << (tile % 64);
                }
                Ok(Reply::Wanted(bits))
            }),
            Request::Partial { kernel } => {
                let state = self.read(kernel, |kernel| Ok(kernel.partial()))?;
                Ok(Reply::State(self.keep_state(self.number(), state)))
            }
            Request::Observe { kernel, state, tile } => self.with_state(state, |state| {
                self.read(kernel, |kernel| {
                    with_tile(lane, &tile, |tile, _| kernel.observe(&mut **state, tile)).map(|()| Reply::Done)
                })
            }),
            Request::Absorb { kernel, state } => self.with_state(state, |state| {
                self.write(kernel, |kernel| {
                    kernel.absorb(&mut **state);
                    Ok(Reply::Done)
                })
            }),
            Request::FinishPass { kernel } => {
                self.write(kernel, |kernel| kernel.finish_pass().map(|()| Reply::Done))
            }
            Request::Free { state } => {
                let state = lock(&self.states).remove(&state);
                drop(state); // with the lock free: this runs code of the plugin
                Ok(Reply::Done)
            }
            Request::Apply { kernel, tile } => self.read(kernel, |kernel| {
                with_tile(lane, &tile, |tile, out| kernel.apply(tile, out)).map(|()| Reply::Done)
            }),
            Request::Whole { kernel, lengths, threads } => self.whole(kernel, &lengths, threads, lane),
            Request::Run { kernel, models, threads } => self.run(kernel, models, threads, lane),
        }
    }

    fn method(&self, index: usize) -> Result<&dyn Method, MethodError> {
        let method = self.methods.get().and_then(|methods| methods.get(index));
        method.map(|method| &**method).ok_or_else(|| unknown("method", index as u64))
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn prepare(&self, method: usize, group: RawGroup) -> Result<Reply, MethodError> {
        let made = self.method(method)?.prepare(&group)?;
        let members = 0..group.tensors.len();
        let (form, copies, scratch, serial) = match &made {
            Made::Elementwise(kernel) => {
                (Form::Elementwise, members.map(|tensor| kernel.copies(tensor)).collect(), 0, false)
            }
            Made::Whole(kernel) => {
                let copies = members.map(|member| kernel.copies(member)).collect();
                (Form::Whole, copies, kernel.scratch_bytes(), kernel.serial())
            }
            Made::Model(kernel) => (Form::Model, Vec::new(), kernel.scratch_bytes(), false),
        };
        let kept = match made {
            Made::Elementwise(kernel) => Kept::Elementwise(RwLock::new(kernel)),
            Made::Whole(kernel) => Kept::Whole(kernel, group),
            Made::Model(kernel) => Kept::Model(kernel, group),
        };
        let kernel = self.number();
        self.kernels.write().unwrap_or_else(PoisonError::into_inner).insert(kernel, Arc::new(kept));
        Ok(Reply::Prepared(Prepared { kernel, form, copies, scratch, serial }))
    }

    fn kept(&self, number: u64) -> Result<Arc<Kept>, MethodError> {
        let kernels = self.kernels.read().unwrap_or_else(PoisonError::into_inner);
        kernels.get(&number).cloned().ok_or_else(|| unknown("kernel", number))
    }

    /// A call of an element-wise kernel; its trouble is the answer's error.
    fn read<R>(
        &self,
        number: u64,
        body: impl FnOnce(&dyn Kernel) -> Result<R, MethodError>,
    ) -> Result<R, MethodError> {
        let kept = self.kept(number)?;
        let Kept::Elementwise(kernel) = &*kept else { return Err(unknown("element-wise kernel", number)) };
        let kernel = kernel.read().unwrap_or_else(PoisonError::into_inner);
        let answer = body(&**kernel)?;
        kernel.trouble().map_or(Ok(answer), Err)
    }

    /// The same for calls that change the kernel.
    fn write<R>(
        &self,
        number: u64,
        body: impl FnOnce(&mut dyn Kernel) -> Result<R, MethodError>,
    ) -> Result<R, MethodError> {
        let kept = self.kept(number)?;
        let Kept::Elementwise(kernel) = &*kept else { return Err(unknown("element-wise kernel", number)) };
        let mut kernel = kernel.write().unwrap_or_else(PoisonError::into_inner);
        let answer = body(&mut **kernel)?;
        kernel.trouble().map_or(Ok(answer), Err)
    }

    fn keep_state(&self, number: u64, state: State) -> u64 {
        lock(&self.states).insert(number, state);
        number
    }

    /// Takes a state out for a call: a state belongs to one call at a time.
    fn with_state<R>(
        &self,
        number: u64,
        body: impl FnOnce(&mut State) -> Result<R, MethodError>,
    ) -> Result<R, MethodError> {
        let Some(mut state) = lock(&self.states).remove(&number) else {
            return Err(unknown("state", number));
        };
        let answer = body(&mut state);
        self.keep_state(number, state);
        answer
    }

    /// A pool with as many threads as the engine has.
    fn pool(&self, threads: usize) -> Result<Arc<ThreadPool>, MethodError> {
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get(&threads) {
            return Ok(pool.clone());
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = Arc::new(pool.map_err(|error| failed(format!("no threads: {error}")))?);
        pools.insert(threads, pool.clone());
        Ok(pool)
    }

    fn whole(
        &self,
        number: u64,
        lengths: &[Vec<usize>],
        threads: usize,
        lane: &mut Lane,
    ) -> Result<Reply, MethodError> {
        let kept = self.kept(number)?;
        let Kept::Whole(kernel, group) = &*kept else { return Err(unknown("whole-tensor kernel", number)) };
        let mut layout = Layout::default();
        let places: Vec<Vec<(usize, usize)>> =
            lengths.iter().map(|own| own.iter().map(|len| (layout.place(*len), *len)).collect()).collect();
        let Lane { wire, region } = lane;
        region.reach(layout.bytes()).map_err(|error| memory(&error))?;
        let region: &Region = region;
        let mut inputs: Vec<Vec<&[f32]>> = Vec::with_capacity(places.len());
        let mut outputs = Vec::with_capacity(places.len());
        for own in &places {
            let Some((&(out, len), own)) = own.split_last() else { return Err(failed("no output")) };
            // SAFETY: the parent waits for the answer, and the places are apart.
            let read = own.iter().map(|(at, len)| unsafe { region.floats(*at, *len) });
            inputs.push(read.collect::<Result<_, _>>().map_err(|error| memory(&error))?);
            // SAFETY: as above, and this is the only reference to it.
            outputs.push(unsafe { region.floats_mut(out, len) }.map_err(|error| memory(&error))?);
        }
        let mut members: Vec<Member<'_>> = group
            .tensors
            .iter()
            .zip(&inputs)
            .zip(outputs)
            .map(|((tensor, inputs), out)| Member { name: &tensor.name, shape: &tensor.shape, inputs, out })
            .collect();
        let caller = Caller::new(wire, region);
        let pool = self.pool(threads)?;
        pool.install(|| kernel.apply(&mut members, &Context::new(&caller))).map(|()| Reply::Done)
    }

    fn run(&self, number: u64, models: usize, threads: usize, lane: &mut Lane) -> Result<Reply, MethodError> {
        let kept = self.kept(number)?;
        let Kept::Model(kernel, group) = &*kept else { return Err(unknown("whole-model kernel", number)) };
        let given = Given::new(lane, group, models);
        let pool = self.pool(threads)?;
        pool.install(|| kernel.run(&given, &Context::new(&given))).map(|()| Reply::Done)
    }
}

/// Calls `body` with a tile in shared memory.
fn with_tile(
    lane: &mut Lane,
    at: &TileAt,
    body: impl FnOnce(&Tile<'_>, &mut [f32]),
) -> Result<(), MethodError> {
    let (inputs, out, end) = places(at);
    lane.region.reach(end).map_err(|error| memory(&error))?;
    let region = &lane.region;
    // SAFETY: the parent waits for the answer, and the places are apart.
    let inputs: Result<Vec<&[f32]>, _> =
        inputs.map(|place| unsafe { region.floats(place, at.len) }).collect();
    let inputs = inputs.map_err(|error| memory(&error))?;
    // SAFETY: as above, and this is the only reference to it.
    let out = unsafe { region.floats_mut(out, at.out) }.map_err(|error| memory(&error))?;
    body(&Tile { tensor: at.tensor, offset: at.offset, inputs: &inputs }, out);
    Ok(())
}
