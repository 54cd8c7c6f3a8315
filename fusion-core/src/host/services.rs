//! What the host does for plugins: random numbers, threads, assignment. Each service is a table that lives for ever.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering};

use fusion_abi::{
    FUSION_FAILED, FUSION_INVALID, FUSION_OK, fusion_assign_v1, fusion_rng_v1, fusion_status,
    fusion_threads_v1,
};
use fusion_sdk::{assign, rng};
use rayon::prelude::*;

/// A table without state.
struct Table<T>(T);

// SAFETY: the tables are never written to, and their `ctx` is NULL.
unsafe impl<T> Sync for Table<T> {}

static RNG: Table<fusion_rng_v1> = Table(fusion_rng_v1 {
    struct_size: size_of::<fusion_rng_v1>() as u64,
    ctx: std::ptr::null_mut(),
    uniform_f32: Some(uniform),
    normal_f32: Some(normal),
});

static THREADS: Table<fusion_threads_v1> = Table(fusion_threads_v1 {
    struct_size: size_of::<fusion_threads_v1>() as u64,
    ctx: std::ptr::null_mut(),
    for_each: Some(for_each),
});

static ASSIGN: Table<fusion_assign_v1> = Table(fusion_assign_v1 {
    struct_size: size_of::<fusion_assign_v1>() as u64,
    ctx: std::ptr::null_mut(),
    solve: Some(solve),
});

/// Ids of all services. `fusion.model/1` exists within `run` alone.
pub const SERVICES: &[&str] = &["fusion.assign/1", "fusion.model/1", "fusion.rng/1", "fusion.threads/1"];

/// The table of a service that needs no call: all but `fusion.model/1`.
#[must_use]
pub fn service(id: &str) -> Option<*const c_void> {
    match id {
        "fusion.rng/1" => Some((&raw const RNG.0).cast()),
        "fusion.threads/1" => Some((&raw const THREADS.0).cast()),
        "fusion.assign/1" => Some((&raw const ASSIGN.0).cast()),
        _ => None,
    }
}

/// # Safety
/// `out` points to `n` floats, or `n` is 0.
unsafe fn fill(out: *mut f32, n: u64, value: impl Fn(u64) -> f32) {
    for i in 0..if out.is_null() { 0 } else { n } {
        // SAFETY: as promised.
        unsafe { out.add(i as usize).write(value(i)) };
    }
}

unsafe extern "C" fn uniform(_: *mut c_void, seed: u64, key: u64, first: u64, out: *mut f32, n: u64) {
    let stream = rng::Key::derived(seed, key);
    // SAFETY: the plugin's buffer, valid for the call.
    unsafe { fill(out, n, |i| stream.uniform(first.wrapping_add(i))) };
}

unsafe extern "C" fn normal(_: *mut c_void, seed: u64, key: u64, first: u64, out: *mut f32, n: u64) {
    let stream = rng::Key::derived(seed, key);
    // SAFETY: the plugin's buffer, valid for the call.
    unsafe { fill(out, n, |i| stream.normal(first.wrapping_add(i))) };
}

type Body = Option<unsafe extern "C" fn(data: *mut c_void, i: u64, worker: u32) -> fusion_status>;

/// A plugin's pointer on its way to other threads.
struct Data(*mut c_void);

// SAFETY: the contract: the body is called from several threads with this pointer.
unsafe impl Sync for Data {}

impl Data {
    /// By reference to the whole, so that closures take it along with its promise.
    const fn get(&self) -> *mut c_void {
        self.0
    }
}

unsafe extern "C" fn for_each(_: *mut c_void, n: u64, body: Body, data: *mut c_void) -> fusion_status {
    let Some(body) = body else { return FUSION_INVALID };
    let data = Data(data);
    let status = AtomicI32::new(FUSION_OK);
    (0..n).into_par_iter().for_each(|i| {
        if status.load(Ordering::Relaxed) == FUSION_OK {
            let worker = rayon::current_thread_index().unwrap_or(0) as u32;
            // SAFETY: the plugin's function with the plugin's data, which live until we return.
            let one = unsafe { body(data.get(), i, worker) };
            if one != FUSION_OK {
                status.store(one, Ordering::Relaxed);
            }
        }
    });
    status.into_inner()
}

unsafe extern "C" fn solve(
    _: *mut c_void,
    cost: *const f64,
    rows: u64,
    cols: u64,
    maximise: u32,
    column_of_row: *mut i64,
) -> fusion_status {
    let (Some(n), false) = (rows.checked_mul(cols), rows > 0 && column_of_row.is_null()) else {
        return FUSION_INVALID;
    };
    if n > 0 && cost.is_null() {
        return FUSION_INVALID;
    }
    // SAFETY: the plugin's matrix, valid for the call.
    let cost = if n == 0 { &[] } else { unsafe { std::slice::from_raw_parts(cost, n as usize) } };
    match assign::solve(cost, rows as usize, cols as usize, maximise != 0) {
        Ok(columns) => {
            for (row, column) in columns.into_iter().enumerate() {
                // SAFETY: room for `rows` numbers.
                unsafe { column_of_row.add(row).write(column.map_or(-1, |column| column as i64)) };
            }
            FUSION_OK
        }
        Err(assign::AssignError::NotFinite { .. }) => FUSION_INVALID,
        Err(assign::AssignError::Length { .. }) => FUSION_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn add(data: *mut c_void, i: u64, _: u32) -> fusion_status {
        // SAFETY: the test's own counter.
        let sum = unsafe { &*data.cast::<std::sync::atomic::AtomicU64>() };
        sum.fetch_add(i, Ordering::Relaxed);
        if i == 777 { 5 } else { 0 }
    }

    #[test]
    fn the_tables_do_what_the_header_says() {
        let mut sum = std::sync::atomic::AtomicU64::new(0);
        let data = (&raw mut sum).cast();
        // SAFETY: tables, buffers and counters of this test.
        unsafe {
            assert_eq!(for_each(std::ptr::null_mut(), 100, Some(add), data), 0);
            assert_eq!(sum.load(Ordering::Relaxed), 4950);
            assert_eq!(for_each(std::ptr::null_mut(), 1000, Some(add), data), 5);
            assert_eq!(for_each(std::ptr::null_mut(), 1, None, data), FUSION_INVALID);
        }
        let mut columns = [7_i64; 3];
        let cost = [1.0, 9.0, 9.0, 1.0, 5.0, 5.0];
        // SAFETY: as above.
        unsafe {
            assert_eq!(solve(std::ptr::null_mut(), cost.as_ptr(), 3, 2, 0, columns.as_mut_ptr()), 0);
            assert_eq!(columns, [0, 1, -1]);
            assert_eq!(
                solve(std::ptr::null_mut(), [f64::NAN].as_ptr(), 1, 1, 0, columns.as_mut_ptr()),
                FUSION_INVALID
            );
        }
        let (mut whole, mut part) = ([0.0_f32; 1000], [0.0_f32; 100]);
        // SAFETY: as above.
        unsafe {
            normal(std::ptr::null_mut(), 3, 5, 0, whole.as_mut_ptr(), 1000);
            normal(std::ptr::null_mut(), 3, 5, 700, part.as_mut_ptr(), 100);
        }
        assert_eq!(part, whole[700..800], "a value depends on its index alone");
        for id in SERVICES.iter().filter(|id| **id != "fusion.model/1") {
            assert!(service(id).is_some(), "{id}");
        }
    }
}
