//! The options -1 to -9 and --level: nine flags and a number with one meaning.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// Effort from 1 to 9, where one was typed. Of several the last counts.
#[derive(Debug)]
pub struct LevelArgs {
    pub level: Option<u8>,
}

/// Level flags as in gzip.
const DIGITS: [&str; 9] = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];

fn others(id: &'static str) -> impl Iterator<Item = &'static str> {
    DIGITS.into_iter().chain(["level"]).filter(move |other| *other != id)
}

fn digit_arg(digit: &'static str) -> Arg {
    let short = char::from(digit.as_bytes()[0]);
    let arg = Arg::new(digit).short(short).action(ArgAction::SetTrue).hide(true);
    arg.overrides_with_all(others(digit).chain([digit]))
}

fn level_arg() -> Arg {
    Arg::new("level")
        .long("level")
        .value_name("N")
        .value_parser(clap::value_parser!(u8).range(1..=9))
        .overrides_with_all(others("level"))
        .help("Compression level, also -1 to -9: 1 to 3 use only the adaptive model, 4 to 6 decode fast, 7 to 9 are smallest [default: 6]")
}

impl Args for LevelArgs {
    fn augment_args(command: Command) -> Command {
        command.arg(level_arg()).args(DIGITS.map(digit_arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LevelArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let digit = DIGITS.iter().find(|digit| matches.get_flag(digit));
        let digit = digit.and_then(|digit| digit.parse().ok());
        Ok(Self { level: digit.or(matches.get_one("level").copied()) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
