//! The `llmzip` program: parses, plans, runs, and says how it went by its exit code.

#![deny(unsafe_code)]

use anyhow::Context;
use llmzip::cli::{self, Arguments, BROKEN_PIPE, Plan, code_of};
use std::io::Write;
use std::process::ExitCode;

ctor::declarative::ctor! {
    /// Runs before the runtime, which fills standard streams that are closed.
    #[ctor]
    fn look() {
        cli::look();
    }
}

fn main() -> ExitCode {
    let code = run().unwrap_or_else(|error| {
        let code = code_of(&error);
        if code == BROKEN_PIPE {
            cli::die_of_broken_pipe();
        }
        let _ = writeln!(std::io::stderr(), "llmzip: {error:#}");
        code
    });
    ExitCode::from(code)
}

fn run() -> anyhow::Result<u8> {
    let arguments = match Arguments::from_command_line(std::env::args_os())? {
        Ok(arguments) => arguments,
        Err(message) => return cli::print_message(&message),
    };
    let plan = Plan::new(arguments)?;
    cli::watch().context("cannot watch for signals")?;
    cli::run(&plan)
}
