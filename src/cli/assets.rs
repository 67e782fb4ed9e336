//! What a package installs beside the program, made from the command line's own definition.

use super::Arguments;
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

/// Writes the manual page to standard output: the program's, then those of its commands.
///
/// # Errors
/// The system's.
pub fn print_manual() -> io::Result<()> {
    let mut page = Vec::new();
    let mut command = Arguments::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    io::stdout().write_all(&page)
}
