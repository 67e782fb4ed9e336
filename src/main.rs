//! The `llmzip` program: parses, plans, runs, and says how it went by its exit code.

#![forbid(unsafe_code)]

use llmzip::cli::{self, Arguments, BROKEN_PIPE, Plan, code_of};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let code = run().unwrap_or_else(|error| {
        let code = code_of(&error);
        if code != BROKEN_PIPE {
            let _ = writeln!(std::io::stderr(), "llmzip: {error:#}");
        }
        code
    });
    ExitCode::from(code)
}

fn run() -> anyhow::Result<u8> {
    let plan = Plan::new(Arguments::from_command_line(std::env::args_os())?)?;
    cli::watch()?;
    cli::run(&plan)
}
