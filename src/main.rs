//! The `llmzip` program: parses, plans, runs, and says how it went by its exit code.

#![forbid(unsafe_code)]

use clap::Parser;
use llmzip::cli::{self, Arguments, BROKEN_PIPE, Plan, code_of};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let code = run(arguments).unwrap_or_else(|error| {
        let code = code_of(&error);
        if code != BROKEN_PIPE {
            let _ = writeln!(std::io::stderr(), "llmzip: {error:#}");
        }
        code
    });
    ExitCode::from(code)
}

fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let plan = Plan::new(arguments)?;
    cli::watch()?;
    cli::run(&plan)
}
