//! Command lines, an argument a line: never a panic, and what is accepted can be done.

use clap::Parser;
use llmzip::archive::{MAX_CHUNK_SIZE, Options};
use llmzip::cli::plan::{Action, Plan};
use llmzip::cli::{Arguments, Output};
use llmzip::codec::{MAX_LANES, Parameters};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub fn run(input: &[u8]) {
    let typed = input.split(|&byte| byte == b'\n').map(OsStr::from_bytes);
    let arguments = match Arguments::try_parse_from([OsStr::new("llmzip")].into_iter().chain(typed))
    {
        Ok(arguments) => arguments,
        Err(error) => return drop(error.to_string()),
    };
    let plan = match Plan::new(arguments) {
        Ok(plan) => plan,
        Err(error) => return drop(format!("{error:#}")),
    };
    assert!((1..=1024).contains(&plan.threads));
    match plan.action {
        Action::Compress { options, output, .. } => {
            check_options(&options, plan.threads);
            check_output(&output);
            assert!(options.verify || !output.remove_input, "a file removed without a check");
        }
        Action::Bench { options, .. } => check_options(&options, plan.threads),
        Action::Decompress { options, output, .. } => {
            assert_eq!(options.threads, plan.threads);
            check_output(&output);
        }
        Action::Train { options, .. } => assert!((256..=65_536).contains(&options.vocab_size)),
        _ => (),
    }
}

fn check_options(options: &Options, threads: usize) {
    assert!((1..=MAX_CHUNK_SIZE).contains(&options.resolved_chunk_size()));
    assert!((1..=9).contains(&options.level));
    assert!(options.lanes.is_none_or(|lanes| (1..=MAX_LANES).contains(&lanes)));
    assert!(Parameters::TABLE_LOG2.contains(&options.table_log2));
    assert_eq!(options.threads, threads);
}

fn check_output(output: &Output) {
    assert!(output.suffix.starts_with('.') && !output.suffix.contains('/'));
}

pub fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        "-9 file",
        "-dkfc a.llmz b.llmz",
        "-t --json --keep-going -- -a",
        "-l -",
        "c --chunk-size 4M --lanes 8 -T2 --no-mix --rm file",
        "compress --prefix text --context 100 --table-size 1M -m org/name@main -o - -",
        "d -S .zz --max-output 1G --memlimit 3GiB --progress plain a.zz",
        "--level=3 -5 --no-verify -q -v",
        "train --arch llama --data a b -o dir --vocab 300 --steps 5",
        "train --data a -o dir --minutes 0.5 --size tiny --seed 7 --crlf --resume",
        "bench --runs 3 --against zstd,xz --no-profile --csv out.csv --commit x file",
        "models pull org/name --offline",
        "models quantize default --int8 --activation-bits 16 -o out",
        "models export default -o out.tar -f",
        "completions bash",
        "man",
        "--help",
        "--version",
    ];
    lines.map(|line| line.replace(' ', "\n").into_bytes()).into()
}
