//! Completion scripts and manual pages, generated from the definition of the command line.

use super::args::Arguments;
use super::exit::UsageError;
use super::standard;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::{self, Write};

/// Archives, not all files and commands, where the call reads archives.
const BASH_ARCHIVES: &str = r#"
_llmzip_archives() {
    local current=${COMP_WORDS[COMP_CWORD]} reads word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
            d|x|l|t|decompress|list|test|--decompress|--uncompress|--list|--test) reads=1 ;;
            --*) ;;
            -*[dlt]*) reads=1 ;;
        esac
    done
    if [[ -n $reads && $current != -* ]]; then
        compopt -o filenames -o nosort 2>/dev/null
        mapfile -t COMPREPLY < <({ compgen -f -X '!*.*llmz' -- "$current"; compgen -d -- "$current"; } | sort)
    else
        _llmzip "$@"
    fi
}
complete -F _llmzip_archives -o bashdefault -o default llmzip
"#;

/// Writes the completion script for `shell` to standard output.
///
/// # Errors
/// I/O errors.
pub fn print_completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "llmzip", &mut script);
    if shell == Shell::Bash {
        script.extend_from_slice(BASH_ARCHIVES.as_bytes());
    }
    standard::stdout()?.write_all(&script)
}

/// Writes the manual page of a command, or of the program where `command` is empty, to standard
/// output.
///
/// # Errors
/// I/O errors; UsageError where there is no such command.
pub fn print_manual(command: &[String]) -> Result<()> {
    let mut program = Arguments::command();
    program.build();
    let named = command.iter().try_fold(&program, |at, name| at.find_subcommand(name));
    let message = || UsageError(format!("no such command: '{}'", command.join(" ").escape_debug()));
    let mut page = Vec::new();
    clap_mangen::Man::new(named.ok_or_else(message)?.clone()).render(&mut page)?;
    Ok(standard::stdout()?.write_all(&page)?)
}
