//! The `llmzip` program: [`cli::main`], its arguments and its exit code.

#![deny(unsafe_code)]

use llmzip::cli;
use std::process::ExitCode;

ctor::declarative::ctor! {
    /// Runs before the runtime, which fills standard streams that are closed.
    #[ctor]
    fn look() {
        cli::look();
    }
}

fn main() -> ExitCode {
    ExitCode::from(cli::main(std::env::args_os()))
}
