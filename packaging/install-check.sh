#!/usr/bin/env bash
# Installs each file that dist.sh made, where nothing else is, and runs it. Names what could not be checked here, and why;
# fails where something was checked and is wrong. Root, for chroot and dpkg.
#
# Usage: install-check.sh VERSION
# shellcheck disable=SC2317 # functions are called by name
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?version}
dist=$PWD/target/dist-$version
work=$(mktemp -d)
trap 'rm -rf -- "${work:?}"' EXIT
failed=0 checked=0 unchecked=()
host=$(rustc -vV | sed -n 's/^host: //p')
for i in $(seq 300); do echo "$i a ship passed, the keeper wrote"; done >"$work/book"

cannot() { unchecked+=("$*"); }
check() { # check WHAT FUNCTION ARGUMENT...
    local what=$1 code && shift
    set +e # in the condition of an if, -e would not hold in the function either
    (set -e; "$@") >"$work/log" 2>&1
    code=$?
    set -e
    checked=$((checked + 1))
    [ "$code" != 0 ] || { echo "ok: $what"; return; }
    echo "FAILED: $what" && sed 's/^/    /' "$work/log"
    failed=1
}
round_trip() { # round_trip FOLDER AS COMMAND...: in the folder, which the command sees as AS
    local folder=$1 at=$2 && shift 2
    cp "$work/book" "$folder/book"
    rm -f "$folder/book.llmz" "$folder/again"
    "$@" -q "$at/book"
    "$@" -d -q -o "$at/again" "$at/book.llmz"
    cmp "$folder/book" "$folder/again"
    [ "$(stat -c %s "$folder/book.llmz")" -lt "$(($(stat -c %s "$folder/book") / 4))" ]
}

sums() {
    cd "$dist"
    sha256sum --quiet -c SHA256SUMS
    [ "$(wc -l <SHA256SUMS)" = "$(($(find . -type f | wc -l) - 1))" ]
}
check 'checksums, of all files' sums

archive() { # archive TARGET
    local folder=$work/$1/llmzip-$version-$1 inside
    mkdir -p "$work/$1/tmp"
    tar -C "$work/$1" -xzf "$dist/llmzip-$version-$1.tar.gz"
    # What cargo-binstall takes out of it.
    inside=$(sed -n 's/^bin-dir = "\(.*\)"$/\1/p' Cargo.toml | sed "s/{ version }/$version/; s/{ target }/$1/; s/{ bin }/llmzip/; s/{ binary-ext }//")
    [ -x "$work/$1/$inside" ]
    round_trip "$work/$1/tmp" "$work/$1/tmp" "$folder/llmzip"
    "$folder/bin/llmzcat" "$work/$1/tmp/book.llmz" | cmp - "$work/book"
    PATH=$folder/bin:$PATH llmzgrep -c '^299 ' "$work/$1/tmp/book.llmz"
}
# What an emulated processor makes of a short text, and of the archive that this one makes of it.
emulated() { # emulated QEMU PROGRAM
    head -c 600 "$work/book" >"$work/short"
    target/release/llmzip -qc "$work/short" >"$work/short.llmz"
    "$1" "$2" -qc "$work/short" | cmp - "$work/short.llmz"
    "$1" "$2" -qdc "$work/short.llmz" | cmp - "$work/short"
}
emulated_archive() { # emulated_archive QEMU TARGET
    mkdir -p "$work/$2"
    tar -C "$work/$2" -xzf "$dist/llmzip-$version-$2.tar.gz"
    emulated "$1" "$work/$2/llmzip-$version-$2/llmzip"
}
emulated_package() { # emulated_package QEMU PACKAGE
    dpkg-deb -x "$2" "$work/emulated"
    emulated "$1" "$work/emulated/usr/bin/llmzip"
    pages "$work/emulated/usr/share"
}
pages() { # pages SHARE: manual pages render, completions are scripts
    local page n=0
    for page in "$1"/man/man1/*.gz; do
        man --warnings -l "$page" 2>&1 >/dev/null | tee "$work/warnings"
        [ ! -s "$work/warnings" ]
        n=$((n + 1))
    done
    [ "$n" -gt 15 ]
    bash -n "$1/bash-completion/completions/llmzip"
    if command -v zsh; then zsh -n "$1/zsh/vendor-completions/_llmzip"; fi
    if command -v fish; then fish --no-execute "$1/fish/vendor_completions.d/llmzip.fish"; fi
}
for target in x86_64-unknown-linux-musl aarch64-unknown-linux-musl x86_64-unknown-linux-gnu; do
    if [ ! -e "$dist/llmzip-$version-$target.tar.gz" ]; then
        cannot "$target: no archive; its standard library or C compiler is not here"
    elif [ "${target%%-*}" = "${host%%-*}" ]; then
        check "the archive for $target runs, and has what cargo-binstall looks for" archive "$target"
    elif command -v "qemu-${target%%-*}" >/dev/null; then
        check "the archive for $target, on an emulated processor: the same bytes as here" emulated_archive "qemu-${target%%-*}" "$target"
    else
        cannot "the archive for $target: another processor, and no qemu-user"
    fi
done
if [ -e "$work/$host/llmzip-$version-$host/share" ] && command -v man >/dev/null; then
    check 'manual pages and completions' pages "$work/$host/llmzip-$version-$host/share"
else
    cannot 'manual pages: no man'
fi
for shell in zsh fish; do command -v $shell >/dev/null || cannot "completions for $shell: it is not here"; done

# A root with the libraries that the package names, and nothing else but what dpkg knows of them.
debian() { # debian ARCHITECTURE
    local root=$work/root package library folder
    mkdir -p "$root"/var/lib/dpkg/{info,updates} "$root"/{tmp,etc} "$root"/usr/{lib,lib64,bin,sbin}
    touch "$root/var/lib/dpkg/available"
    for folder in lib lib64 bin sbin; do ln -s "usr/$folder" "$root/$folder"; done
    for package in libc6 libgcc-s1; do
        dpkg-query -s "$package" >>"$root/var/lib/dpkg/status"
        echo >>"$root/var/lib/dpkg/status"
        dpkg -L "$package" | grep '^/\(usr/\)\?lib.*\.so' | while read -r library; do
            [ -f "$library" ] || continue
            folder=$(realpath "$(dirname "$library")") # /lib is /usr/lib
            mkdir -p "$root$folder"
            cp -a "$library" "$root$folder"
        done
    done
    dpkg --root="$root" --log=/dev/null -i "$dist/llmzip_$version-1_$1.deb"
    dpkg --root="$root" -s llmzip | grep -q '^Status: install ok installed'
    round_trip "$root/tmp" /tmp chroot "$root" /usr/bin/llmzip
    [ "$(chroot "$root" /usr/bin/llmzip --version)" = "$(target/release/llmzip --version)" ]
    pages "$root/usr/share"
    dpkg --root="$root" --log=/dev/null --purge llmzip
    [ -z "$(find "$root" -name '*llmz*' ! -path "$root/tmp/*")" ]
}
architecture=$(dpkg --print-architecture 2>/dev/null || echo none)
for package in "$dist"/*.deb; do
    case $package in
        *_"$architecture".deb)
            if [ "$(id -u)" = 0 ]; then
                check "$(basename "$package") into a fresh root, run there, removed without a trace" debian "$architecture"
            else
                cannot "$(basename "$package"): not root"
            fi ;;
        *'*.deb') cannot 'packages for Debian: none was made' ;;
        *_arm64.deb)
            if command -v qemu-aarch64 >/dev/null; then
                check "$(basename "$package"), unpacked, on an emulated processor" emulated_package qemu-aarch64 "$package"
            else
                cannot "$(basename "$package"): another architecture, and no qemu-user"
            fi ;;
        *) cannot "$(basename "$package"): another architecture" ;;
    esac
done

wheel() {
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --no-index "$dist"/llmzip-*.whl
    mkdir "$work/in"
    round_trip "$work/in" "$work/in" "$work/venv/bin/llmzip"
    cd "$work/in"
    ../venv/bin/python -c 'import llmzip; assert llmzip.open("book.llmz").read() == open("book", "rb").read()'
}
if ls "$dist"/llmzip-*.whl >/dev/null 2>&1; then
    check 'the wheel, into a new environment' wheel
else
    cannot 'the wheel: none was made'
fi

container() {
    "$1" build -q -t "llmzip-check:$version" --build-arg "VERSION=$version" -f "$dist/Containerfile" "$dist"
    "$1" run --rm -i "llmzip-check:$version" <"$work/book" | "$1" run --rm -i "llmzip-check:$version" -d | cmp - "$work/book"
    "$1" rmi "llmzip-check:$version"
}
engine=$(for e in podman docker; do $e info >/dev/null 2>&1 && echo $e && break; done || true)
if [ -z "$engine" ]; then
    cannot 'the container file: neither podman nor docker runs here'
elif [ ! -e "$dist/llmzip-$version-x86_64-unknown-linux-musl.tar.gz" ]; then
    cannot 'the container file: it takes the static program'
else
    check "the container file, by $engine" container "$engine"
fi
if command -v ruby >/dev/null; then check 'the formula for Homebrew is Ruby' ruby -c "$dist/llmzip.rb"; else cannot 'the syntax of the formula: no ruby'; fi
command -v brew >/dev/null || cannot 'the formula for Homebrew, installed: no brew'
command -v cargo-binstall >/dev/null || cannot 'cargo binstall itself: it is not here'
for what in "${unchecked[@]}"; do echo "NOT CHECKED: $what"; done
echo "$checked checked, ${#unchecked[@]} not"
exit $failed
