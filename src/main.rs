//! The `fusion` command; everything is in the library beside it.

fn main() -> std::process::ExitCode {
    fusion::start(std::env::args_os())
}
