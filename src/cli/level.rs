//! The options -1 to -9, --fast, --best and --level: flags and a number with one meaning.

use super::size::number;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// Effort from 1 to 9, where one was typed. Of several the last counts.
#[derive(Debug)]
pub struct LevelArgs {
    pub level: Option<u8>,
}

/// Level flags as in gzip, with the levels that they mean.
const FLAGS: [(&str, u8); 11] = [
    ("1", 1),
    ("2", 2),
    ("3", 3),
    ("4", 4),
    ("5", 5),
    ("6", 6),
    ("7", 7),
    ("8", 8),
    ("9", 9),
    (FAST, 1),
    ("best", 9),
];

const FAST: &str = "fast";

fn others(id: &'static str) -> impl Iterator<Item = &'static str> {
    FLAGS.into_iter().map(|(flag, _)| flag).chain(["level"]).filter(move |other| *other != id)
}

fn flag_arg((flag, _): (&'static str, u8)) -> Arg {
    let arg = Arg::new(flag).hide(true);
    let arg = match flag.as_bytes() {
        [digit] => arg.short(char::from(*digit)).action(ArgAction::SetTrue),
        _ if flag == FAST => fast_arg(arg),
        _ => arg.long(flag).action(ArgAction::SetTrue),
    };
    arg.overrides_with_all(others(flag).chain([flag]))
}

/// Gives the flag the number that zstd's has, which is ignored: nothing is faster than level 1.
fn fast_arg(arg: Arg) -> Arg {
    let arg = arg.long(FAST).num_args(0..=1).require_equals(true).default_missing_value("1");
    arg.value_parser(number(1..=u64::MAX))
}

fn level_arg() -> Arg {
    Arg::new("level")
        .long("level")
        .value_name("N")
        .value_parser(number(1..=9_u8))
        .overrides_with_all(others("level"))
        .help("Compression level, also -1 to -9, --fast and --best: 1 to 3 use only the adaptive model, 4 to 6 decode fast, 7 to 9 are smallest [default: 6]")
}

impl Args for LevelArgs {
    fn augment_args(command: Command) -> Command {
        command.arg(level_arg()).args(FLAGS.map(flag_arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LevelArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let has = |flag| match flag {
            FAST => matches.contains_id(flag),
            _ => matches.get_flag(flag),
        };
        let flag = FLAGS.iter().find(|(flag, _)| has(flag)).map(|(_, level)| *level);
        Ok(Self { level: flag.or(matches.get_one("level").copied()) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
