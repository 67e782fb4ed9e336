#!/usr/bin/env bash
# Measurements on enwik8, the first 10^8 bytes of the English Wikipedia of 2006, or on a beginning of it: rows for
# benches/runs (benches/README.md) and plots for docs.
set -euo pipefail

usage() {
    cat >&2 <<'END'
usage: enwik8.sh SCENARIO FILE [BYTES] [OPTION VALUE]...

SCENARIO  peers   size against speed, with other compressors            -> size-speed.svg
          chunks  chunk size against size                               -> chunk-ratio.svg
          lanes   lanes against size and speed
          seed    the first 50,000 bytes by the language model alone, whole against chunks of 2,000 bytes
FILE      enwik8 or a beginning of it; download: fetches it to ./enwik8
BYTES     how much of it: 1000000, for seed 50000

--models "MODEL ..."   models of llmzip -m; default: the compiled-in one         [default]
--levels "N ..."       for peers and chunks                                      [1 3 6 9; 1 6]
--sizes "SIZE ..."     chunk sizes, for chunks                                   [16K 64K 256K 1M 4M]; of them those below BYTES, and BYTES
--lanes "N ..."        for lanes                                                 [1 4 16 64]
--against LIST         for peers                                                 [gzip,xz,zstd,brotli,bzip2,7z,zpaq]
--runs N               runs of each, the fastest counts                          [1]

Environment: LLMZIP the program (target/release/llmzip), RUNS the folder of rows (benches/runs), PLOTS that of plots (docs).
END
    exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
whole=100000000 md5=a1fa5ffddb56f4953e226637dabbb36a url=http://mattmahoney.net/dc/enwik8.zip
[ $# -ge 2 ] || usage
scenario=$1 file=$2 && shift 2
case $scenario in peers | chunks | lanes) bytes=1000000 levels='1 3 6 9' ;; seed) bytes=50000 ;; *) usage ;; esac
[ "$scenario" != chunks ] || levels='1 6'
models=default sizes='16K 64K 256K 1M 4M' lanes='1 4 16 64' against=gzip,xz,zstd,brotli,bzip2,7z,zpaq runs=1
case ${1-} in [0-9]*) bytes=$1 && shift ;; esac
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
        --models) models=$2 ;; --levels) levels=$2 ;; --sizes) sizes=$2 ;; --lanes) lanes=$2 ;;
        --against) against=$2 ;; --runs) runs=$2 ;; *) usage ;;
    esac
    shift 2
done

program=${LLMZIP-$here/../target/release/llmzip}
[ -n "${LLMZIP-}" ] || (cd "$here/.." && cargo build --release --locked)
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

if [ "$file" = download ]; then
    file=enwik8
    if [ ! -e enwik8 ]; then
        curl -fL -o "$work/enwik8.zip" "$url"
        python3 -m zipfile -e "$work/enwik8.zip" "$work" && mv "$work/enwik8" enwik8
    fi
fi
len=$(stat -c %s "$file")
if [ "$len" -lt "$bytes" ]; then
    echo "enwik8.sh: $file has $len bytes, asked for are $bytes" >&2 && exit 1
fi
if [ "$len" = "$whole" ] && ! echo "$md5  $file" | md5sum --check --status; then
    echo "enwik8.sh: $file is not enwik8: its MD5 is $(md5sum <"$file"), expected $md5" >&2 && exit 1
fi
name=$(basename "$file") && name=${name%%.*}
sample=$work/$name.$bytes
head -c "$bytes" "$file" >"$sample"

cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo 2>"$work/none" | head -n 1) || true
cpu=$(echo "${cpu:-$(uname -m)}" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9\n' - | sed 's/^-//; s/-$//')
rows=${RUNS-$here/runs}/$(date -u +%F)-$cpu-$scenario.csv plots=${PLOTS-$here/../docs}
mkdir -p "$(dirname "$rows")" "$plots"
commit=$(git -C "$here" describe --always 2>"$work/none" || echo unknown)
git -C "$here/.." diff --quiet HEAD -- ':!benches/runs' ':!docs' 2>"$work/none" || commit+=-changed

bench() {
    "$program" bench --offline --runs "$runs" --csv "$rows" --commit "$commit" "$@" "$sample"
}

plot() { # kind, file
    if ! command -v python3 >"$work/none"; then echo "no plot: there is no python3 here" >&2 && return; fi
    python3 "$here/plot.py" "$1" "$rows" >"$work/plot" && mv "$work/plot" "$plots/$2"
    echo "$plots/$2"
}

case $scenario in
    peers)
        for level in $levels; do
            bench -m default "-$level" ${against:+--against "$against"}
            against=
        done
        plot size-speed size-speed.svg
        ;;
    chunks)
        below=$(for size in $sizes; do numfmt --from=iec "$size"; done | awk -v whole="$bytes" '$1 < whole')
        for model in $models; do for level in $levels; do for size in $below "$bytes"; do
            bench --no-profile -m "$model" "-$level" --chunk-size "$size"
        done; done; done
        plot chunk-ratio chunk-ratio.svg
        ;;
    lanes)
        for model in $models; do for n in $lanes; do bench -m "$model" --lanes "$n"; done; done
        ;;
    seed)
        for model in $models; do for size in "$bytes" 2000; do
            bench -m "$model" --no-mix --lanes 1 --chunk-size "$size"
        done; done
        ;;
esac
echo "$rows"
