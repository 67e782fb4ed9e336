//! The command line as typed: the program's other names, and what people mistype.

use super::args::Arguments;
use super::exit::UsageError;
use anyhow::Result;
use clap::{CommandFactory, Parser};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Other names that the program may be called by, with the options that they stand for.
const NAMES: [(&str, &str); 2] = [("unllmzip", "-d"), ("llmzcat", "-dc")];

/// Commands of other programs, and of ours.
const SYNONYMS: [(&str, &str); 8] = [
    ("version", "--version"),
    ("extract", "decompress"),
    ("unpack", "decompress"),
    ("uncompress", "decompress"),
    ("pack", "compress"),
    ("info", "list"),
    ("verify", "test"),
    ("pull", "models pull"),
];

/// Options with a value, which may begin with a dash.
const VALUED: [&str; 6] = ["-T", "-S", "-o", "-C", "-D", "-m"];

/// Most letters that a mistyped command differs in.
const TYPING_ERRORS: usize = 2;

/// Shortest command that is looked for behind a mistyped one.
const MIN_COMMAND_LEN: usize = 4;

impl Arguments {
    /// Parses the command line; the inner error is a message of the parser: help, or what is wrong.
    ///
    /// # Errors
    /// UsageError, where it could be parsed but is probably not what was meant.
    pub fn from_command_line(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Result<Self, clap::Error>> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        refuse_two_digits(&arguments)?;
        let ends_options = arguments.iter().any(|argument| argument == "--");
        let called = arguments.first().and_then(|name| Path::new(name).file_name());
        let alias = NAMES.iter().find(|(name, _)| called == Some(OsStr::new(name)));
        if let Some((_, options)) = alias {
            arguments.insert(1, options.into());
        }
        let arguments = match Self::try_parse_from(arguments) {
            Ok(arguments) => arguments,
            Err(message) => return Ok(Err(message)),
        };
        if let (None, Some(first)) = (&arguments.command, arguments.common.files.first())
            && alias.is_none()
            && !ends_options
        {
            refuse_mistyped_command(first)?;
        }
        Ok(Ok(arguments))
    }
}

/// Refuses levels above 9, which the parser would take for two.
fn refuse_two_digits(arguments: &[OsString]) -> Result<()> {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    let options: Vec<&str> =
        options.map(|argument| argument.to_str().unwrap_or_default()).collect();
    for pair in options.windows(2) {
        let (before, option) = (pair[0], pair[1]);
        if before.starts_with("--") || VALUED.contains(&before) {
            continue; // it is a value
        }
        let digits = option.strip_prefix('-').unwrap_or_default();
        if digits.len() > 1 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(UsageError(format!("{option}: the highest level is -9")).into());
        }
    }
    Ok(())
}

/// Refuses a file that does not exist and is, or nearly is, the name of a command.
fn refuse_mistyped_command(file: &Path) -> Result<()> {
    let Some(word) = file.to_str().filter(|_| file.symlink_metadata().is_err()) else {
        return Ok(());
    };
    let command = Arguments::command();
    let names = |c: &'_ clap::Command| -> Vec<String> {
        std::iter::once(c.get_name()).chain(c.get_all_aliases()).map(String::from).collect()
    };
    let own: Vec<String> = command.get_subcommands().flat_map(names).collect();
    let own = own.iter().map(String::as_str);
    if own.clone().any(|name| name == word) {
        let message =
            format!("there is no file '{word}', and the command comes first:  llmzip {word} ...");
        return Err(UsageError(message).into());
    }
    let distance = |name: &str| strsim::osa_distance(name, word);
    let near = own.filter(|name| name.len() >= MIN_COMMAND_LEN).min_by_key(|name| distance(name));
    let near = near.filter(|name| distance(name) <= TYPING_ERRORS);
    let synonym = SYNONYMS.iter().find(|(name, _)| *name == word).map(|(_, own)| *own);
    if let Some(meant) = synonym.or(near) {
        let message = format!(
            "there is no file or command '{word}'; the command may be:  llmzip {meant} ..."
        );
        return Err(UsageError(message).into());
    }
    Ok(())
}
