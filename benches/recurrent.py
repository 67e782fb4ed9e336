"""The line of recurrent models: GRU and LSTM beside transformers, gzip and zip. Rows for benches/runs, a table for docs.

Usage: recurrent.py [--program LLMZIP] [--csv FILE] [--commit NAME] MODEL... -- FILE...

MODEL is what `llmzip -m` takes, or `default`; each codes every FILE alone (--no-mix), and the default also mixed. Where
alice29.txt is among the files, its first 10,846 bytes are one more. The table goes to standard output: KB in and out are those
that a second of processor time takes, shares are those of decompression.
"""
import argparse, json, pathlib, subprocess, sys, tempfile, zipfile

SHORT = 10_846

split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--program", default="target/release/llmzip")
ap.add_argument("--csv")
ap.add_argument("--commit")
ap.add_argument("models", nargs="+", metavar="MODEL")
a = ap.parse_args(sys.argv[1:split])
files = [pathlib.Path(file) for file in sys.argv[split + 1:]]
if not files:
    ap.error("no FILE after --")


def bench(options):
    """Results of one call, by file; programs that fail end the script."""
    rows = ["--csv", a.csv, *(["--commit", a.commit] if a.commit else [])] if a.csv else []
    call = [a.program, "bench", "--json", "--offline", *rows, *options, *map(str, files)]
    return {file["name"]: file["results"] for file in json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)["files"]}


def share(percent, *parts):
    return sum(percent[part] for part in parts)


def line(name, file, length, packed, rest):
    print(f"| {file} | {name} | {packed:,} | {8 * packed / length:.3f} |{rest}", flush=True)


with tempfile.TemporaryDirectory() as folder:
    for file in list(files):
        if file.name == "alice29.txt":
            files.append(pathlib.Path(folder) / f"alice29.{SHORT}")
            files[-1].write_bytes(file.read_bytes()[:SHORT])
    print("| file | by | bytes | bits per byte | KB in | KB out | network | state | head | coder | rest |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for file in files:
        archive = pathlib.Path(folder) / "zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
            out.write(file, file.name)
        line("zip", file.name, file.stat().st_size, archive.stat().st_size, " | | | | | | |")
    runs = [(f"{pathlib.Path(model).name}, alone", ["-m", model, "--no-mix"]) for model in a.models]
    runs.insert(0, ("default, mixed", ["-m", "default", "--against", "gzip"]))
    for name, options in runs:
        lengths = {file.name: file.stat().st_size for file in files}
        for file, results in bench(options).items():
            length = lengths[file]
            for result in results:
                if not result["verified"]:
                    sys.exit(f"{file} by {result['command']}: {result['problem']}")
                times = " | ".join(f"{length / 1000 / max(result[way]['cpu_s'], 0.001):,.0f}" for way in ("compress", "decompress"))
                profile = result["own"] and result["own"]["profile"]
                if not profile:
                    line("gzip -9", file, length, result["archive_len"], f" {times} | | | | | |")
                    continue
                percent = profile["decompress"]["percent"]
                parts = [share(percent, "model", "attention"), percent["state"], percent["head"], share(percent, "coder", "counts")]
                shares = " | ".join(f"{part:.0f} %" for part in [*parts, 100 - sum(parts)])
                line(name, file, length, result["archive_len"], f" {times} | {shares} |")
