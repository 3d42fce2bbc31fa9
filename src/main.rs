//! The `passerby` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: passerby::allocator::MiMalloc = passerby::allocator::MiMalloc;

fn main() -> ExitCode {
    passerby::cli::main(std::env::args_os(), std::env::vars_os())
}
