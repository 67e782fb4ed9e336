"""What steering vectors are worth: rows of Markdown on standard output.

steering.py [--program llmzip] [-m MODEL] [-k 32] [--steps 300] [--bytes 50000] [--fit PRIOR]... FILE...

Of each file the first bytes are cut in two. Prompts and text prefixes are of the first half and code the second, in
chunks of 2,000 bytes, one lane each; fitted vectors are of the second half and carried by it. Sizes are whole archives,
with what the vectors or their name take.
"""

import argparse
import os
import subprocess
import tempfile
import time

CHUNK = ["--chunk-size", "2000", "--lanes", "1", "--no-verify", "-6"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="llmzip")
    parser.add_argument("-m", "--model")
    parser.add_argument("-k", "--vectors", default="32")
    parser.add_argument("--steps", default="300")
    parser.add_argument("--bytes", type=int, default=50_000)
    parser.add_argument("--fit", action="append", default=[], choices=["gauss", "empirical", "lloyd-max"])
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    model = ["-m", args.model] if args.model else []
    print("| text, method | alone | mixed | seconds to learn |\n| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for path in args.files:
            rows_of(path, args, model, folder)


def rows_of(path, args, model, folder):
    with open(path, "rb") as file:
        text = file.read(args.bytes)
    first, second = (os.path.join(folder, name) for name in ("first", "second"))
    for name, half in ((first, text[: len(text) // 2]), (second, text[len(text) // 2 :])):
        with open(name, "wb") as file:
            file.write(half)
    name = os.path.basename(path)
    base = sizes(args, model, second, [])
    row(name, "nothing", base, base, None)
    random = sizes(args, model, second, ["--steer-random", "8"])
    row(name, "8 random vectors", random, base, None)
    vectors = os.path.join(folder, "prompt.steer")
    learn = [args.program, "steer", "train", first, "-k", args.vectors, "--steps", args.steps, "-f", "-o", vectors, "-q"]
    start = time.monotonic()
    subprocess.run([*learn, *model], check=True)
    learning = time.monotonic() - start
    row(name, f"{args.vectors} vectors learned", sizes(args, model, second, ["--steer", vectors]), base, learning)
    # A token costs as much time as a vector, whatever it is.
    prefix = os.path.join(folder, "prefix")
    with open(prefix, "wb") as file:
        file.write(text[: 3 * int(args.vectors)])
    row(name, f"a text prefix of {3 * int(args.vectors)} bytes", sizes(args, model, second, ["-D", prefix]), base, None)
    for prior in args.fit:
        start = time.monotonic()
        fitted = sizes(args, model, second, ["--steer-fit", "--steer-prior", prior])
        row(name, f"fitted, {prior}", fitted, base, time.monotonic() - start)


def sizes(args, model, path, options):
    """Returns the archive's bytes by the model alone and mixed."""

    def size(more):
        command = [args.program, "-qc", *CHUNK, *more, *options, *model, path]
        return len(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    return size(["--no-mix"]), size([])


def row(name, method, sizes_here, base, seconds):
    change = [f"{size:,} ({100 * (size - was) / was:+.1f} %)" for size, was in zip(sizes_here, base)]
    print(f"| {name}, {method} | {change[0]} | {change[1]} | {'' if seconds is None else round(seconds)} |", flush=True)


if __name__ == "__main__":
    main()
