//! The `fusion` command; everything is in the library beside it.

/// Keeps large blocks instead of giving them back to the system: tensors are made and dropped in every step of a training, and fresh
/// pages cost more than the arithmetic on them (BENCHMARKS.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    fusion::start(std::env::args_os())
}
