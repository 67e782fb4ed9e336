//! What a package installs beside the program, made from the command line's own definition.

use super::args::Arguments;
use super::exit::UsageError;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::{self, Write};

/// Writes the completion script for `shell` to standard output.
///
/// # Errors
/// The system's.
pub fn print_completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "llmzip", &mut script);
    io::stdout().write_all(&script)
}

/// Writes a manual page to standard output: the command's, or the program's where there is none.
///
/// # Errors
/// The system's; UsageError where there is no such command.
pub fn print_manual(command: &[String]) -> Result<()> {
    let mut program = Arguments::command();
    program.build();
    let named = command.iter().try_fold(&program, |at, name| at.find_subcommand(name));
    let message =
        || UsageError(format!("no such command: '{}'", command.join(" ").escape_debug()));
    let mut page = Vec::new();
    clap_mangen::Man::new(named.ok_or_else(message)?.clone()).render(&mut page)?;
    Ok(io::stdout().write_all(&page)?)
}
