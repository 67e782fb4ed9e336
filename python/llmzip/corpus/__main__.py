"""Work on corpora from shells: ``python -m llmzip.corpus``, for GNU parallel, Slurm arrays, ``xargs -P``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from llmzip._errors import LlmzipError, ModelMissingError
from llmzip.corpus import (
    IncompleteError,
    Manifest,
    collect,
    estimate,
    failures,
    join,
    plan,
    run,
)

SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def size(text: str) -> int:
    """Read a length in bytes, with K, M or G for powers of 1024."""
    if text[-1:].upper() in SIZES:
        return int(text[:-1]) * SIZES[text[-1:].upper()]
    return int(text)


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="llmzip.corpus", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    coding = argparse.ArgumentParser(add_help=False)
    coding.add_argument("-m", "--model", help="model's name, as the program's -m takes it")
    about = "what coding the inputs costs at each level, by a sample that is coded here"
    command = commands.add_parser("estimate", parents=[coding], help=about, description=about)
    command.add_argument("paths", nargs="+", metavar="FILE")
    command.add_argument("--levels", type=int, nargs="+", default=[1, 3, 6])
    command.add_argument("--sample", type=size, default=size("512K"), help="bytes to code [512K]")
    command.add_argument("--no-verify", action="store_true")
    about = "begins a corpus in the folder OUT, or goes on with it; prints the number of its parts"
    command = commands.add_parser("plan", parents=[coding], help=about, description=about)
    command.add_argument("out", metavar="OUT")
    command.add_argument("paths", nargs="+", metavar="FILE", help="file, or folder for all in it")
    command.add_argument("--level", type=int, default=6)
    command.add_argument("--part-size", type=size, default=size("16M"), help="[16M]")
    command.add_argument("--chunk-size", type=size, help="as the program's; by level")
    command.add_argument("--learn", choices=["head", "adapter", "all"])
    about = "codes the parts of these numbers, from 0, unless they are done"
    command = commands.add_parser("run", parents=[coding], help=about, description=about)
    command.add_argument("out", metavar="OUT")
    command.add_argument("numbers", nargs="+", type=int, metavar="NUMBER")
    command.add_argument("--no-verify", action="store_true")
    command.add_argument("-T", "--threads", type=int, default=1)
    about = "brings the manifest up to date and prints the numbers of the parts that are missing"
    command = commands.add_parser("check", help=about, description=about)
    command.add_argument("out", metavar="OUT")
    command.add_argument("--read", action="store_true", help="reads all parts, not their lengths")
    about = "writes the parts as one archive"
    command = commands.add_parser("join", help=about, description=about)
    command.add_argument("out", metavar="OUT")
    command.add_argument("archive", metavar="ARCHIVE")
    return parser


def say(*words: object) -> None:
    """Print a line to standard error."""
    print("llmzip.corpus:", *words, file=sys.stderr)


def run_all(typed: argparse.Namespace) -> int:
    """Code parts one after the other with one model; those that fail are named, the others done."""
    manifest = Manifest.load(typed.out)
    if any(not 0 <= number < len(manifest.parts) for number in typed.numbers):
        say(f"parts are numbered 0 to {len(manifest.parts) - 1}")
        return 2
    model = manifest.coding.open_model(typed.model)
    verify, code = not typed.no_verify, 0
    for number in typed.numbers:
        try:
            run(
                typed.out,
                number,
                manifest=manifest,
                model=model,
                verify=verify,
                threads=typed.threads,
            )
        except (LlmzipError, OSError) as error:
            say(f"{manifest.parts[number].name}: {error}")
            code = 1
    return code


def main(typed: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed or not complete, 2 usage, 3 no model."""
    options = arguments().parse_args(typed)
    try:
        return command(options)
    except ModelMissingError as error:
        say(error)
        return 3
    except (LlmzipError, OSError, ImportError) as error:
        say(error)
        return 1
    except ValueError as error:
        say(error)
        return 2


def command(typed: argparse.Namespace) -> int:
    """Run what was typed and return its exit code."""
    if typed.command == "estimate":
        verify = not typed.no_verify
        rows = estimate(
            typed.paths, tuple(typed.levels), model=typed.model, sample=typed.sample, verify=verify
        )
        for row in rows:
            print(f"level {row.level}: {row.plain_length:,} -> {row.length:,} bytes,", end=" ")
            print(f"{row.core_hours:,.4g} core hours")
        return 0 if rows else 1
    if typed.command == "run":
        return run_all(typed)
    if typed.command == "join":
        print(f"{join(typed.out, typed.archive):,} bytes")
        return 0
    if typed.command == "check":
        manifest = collect(typed.out, verify=typed.read)
        for number in manifest.missing:
            print(number)
    else:
        options = {"part_size": typed.part_size, "chunk_size": typed.chunk_size}
        manifest = plan(
            typed.paths, typed.out, level=typed.level, model=typed.model, learn=typed.learn, **options
        )
        print(len(manifest.parts))
    problems = [failure for failure in failures(manifest) if failure.part is None]
    if problems:
        say(IncompleteError(problems))
    return 1 if problems or typed.command == "check" and manifest.missing else 0


if __name__ == "__main__":
    sys.exit(main())
