#!/usr/bin/env bash
# Makes all files of a release of VERSION in target/dist-VERSION (docs/releasing.md): archives of binaries, packages for Debian,
# a wheel, a container file, a formula for Homebrew, and checksums. Says what it skips, and why.
#
# Usage: dist.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?version}
out=$PWD/target/dist-$version
work=$PWD/target/dist-work
host=$(rustc -vV | sed -n 's/^host: //p')
targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl x86_64-unknown-linux-gnu)
date=$(git log -1 --format=%ct)
rm -rf "$out" "$work" && mkdir -p "$out" "$work"
skip() { echo "SKIPPED: $*"; }

# What goes beside the program, in the places that it has below /usr: install_tree PROGRAM ROOT. PROGRAM need not be for this machine,
# pages and completions come from the host's.
install_tree() {
    local program=$1 root=$2 command page
    install -D -m 755 "$program" "$root/bin/llmzip"
    install -m 755 packaging/llmzgrep "$root/bin/llmzgrep"
    ln -s llmzip "$root/bin/llmzcat" && ln -s llmzip "$root/bin/unllmzip"
    mkdir -p "$root/share/man/man1"
    "$runs" man >"$root/share/man/man1/llmzip.1"
    while read -r command; do
        page=llmzip-${command// /-}.1
        # shellcheck disable=SC2086 # the words of a command
        "$runs" man $command >"$root/share/man/man1/$page"
    done < <(commands)
    gzip -9n "$root"/share/man/man1/*.1
    install -d "$root/share/bash-completion/completions" "$root/share/zsh/vendor-completions" "$root/share/fish/vendor_completions.d"
    "$runs" completions bash >"$root/share/bash-completion/completions/llmzip"
    "$runs" completions zsh >"$root/share/zsh/vendor-completions/_llmzip"
    "$runs" completions fish >"$root/share/fish/vendor_completions.d/llmzip.fish"
    install -D -m 644 packaging/llmzip.xml "$root/share/mime/packages/llmzip.xml"
    install -D -m 644 packaging/llmzip.magic "$root/share/llmzip/llmzip.magic"
}

# The commands that have a page, and those of `models`, `steer` and `equalinfo`.
commands() {
    local command
    for command in $("$runs" --help | listed); do
        [ "$command" = help ] && continue
        echo "$command"
        "$runs" "$command" --help | listed | sed "/^help$/d; s/^/$command /"
    done
}
listed() { sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\) .*/\1/p'; }

deb() { # deb TARGET PROGRAM
    local architecture root=$work/deb-$1 depends
    case $1 in x86_64-*) architecture=amd64 ;; aarch64-*) architecture=arm64 ;; esac
    install_tree "$2" "$root/usr"
    install -d "$root/DEBIAN" "$root/usr/share/doc/llmzip"
    gzip -9nc CHANGELOG.md >"$root/usr/share/doc/llmzip/changelog.gz"
    {
        printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: llmzip\n\n'
        printf 'Files: *\nCopyright: the authors of llmzip\nLicense: MIT or Apache-2.0\n\nLicense: MIT\n'
        sed 's/^$/./; s/^/ /' LICENSE-MIT
        printf '\nLicense: Apache-2.0\n On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.\n'
    } >"$root/usr/share/doc/llmzip/copyright"
    depends=
    if [[ $1 != *-musl ]]; then # the oldest libraries that have all symbols
        mkdir -p "$work/shlibdeps/debian" && printf 'Source: llmzip\n\nPackage: llmzip\nArchitecture: any\n' >"$work/shlibdeps/debian/control"
        depends=$(cd "$work/shlibdeps" && dpkg-shlibdeps -O --ignore-missing-info -e"$2" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
        [ -n "$depends" ] || { skip "package for $1: dpkg-shlibdeps found no libraries"; return; }
    fi
    {
        printf 'Package: llmzip\nVersion: %s-1\nArchitecture: %s\nSection: utils\nPriority: optional\n' "$version" "$architecture"
        printf 'Maintainer: the authors of llmzip <noreply@localhost>\n'
        printf 'Installed-Size: %s\n' "$(du -sk --exclude=DEBIAN "$root" | cut -f1)"
        [ -z "$depends" ] || printf 'Depends: %s\n' "$depends"
        printf 'Description: lossless archiver with a language model\n'
        printf ' Compresses text a third smaller than xz, with a language model and arithmetic\n'
        printf ' coding. What was compressed decodes bit for bit on any other machine.\n'
    } >"$root/DEBIAN/control"
    (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    chmod -R u=rwX,go=rX "$root"
    SOURCE_DATE_EPOCH=$date dpkg-deb --root-owner-group -Zxz --build "$root" "$out/llmzip_$version-1_$architecture.deb" >/dev/null
}

# ring takes a C compiler for the target; it and Rust's own musl need nothing of the C library's headers, so that Debian's compiler for
# aarch64 serves where there is none for musl.
if ! command -v aarch64-linux-musl-gcc >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null; then
    export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-gnu-gcc
fi

# Where the machine's own program is, that writes pages: built first.
cargo build --release --locked
runs=$PWD/target/release/llmzip

for target in "${targets[@]}"; do
    if [ "$target" = "$host" ]; then
        built=$runs
    elif [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
        skip "$target: rustup target add $target"
        continue
    elif ! cargo build --release --locked --target "$target"; then
        skip "$target: it does not build here; a C compiler for it is needed (Debian: musl-tools, gcc-aarch64-linux-gnu)"
        continue
    else
        built=target/$target/release/llmzip
    fi
    program=$work/llmzip-$target
    strip=$(case $target in "${host%%-*}"-*) echo strip ;; *) echo "${target%%-*}-linux-gnu-strip" ;; esac)
    "$strip" -o "$program" "$built" 2>/dev/null || cp "$built" "$program"
    name=llmzip-$version-$target
    install_tree "$program" "$work/$name"
    mv "$work/$name/bin/llmzip" "$work/$name/llmzip" && ln -s ../llmzip "$work/$name/bin/llmzip" # where cargo-binstall looks
    cp README.md CHANGELOG.md LICENSE-* "$work/$name"
    tar -C "$work" --owner=0 --group=0 --numeric-owner --sort=name --mtime="@$date" -c "$name" | gzip -9n >"$out/$name.tar.gz"
    case $target in
        x86_64-*-gnu) [ -e "$out/llmzip_$version-1_amd64.deb" ] || deb "$target" "$program" ;; # a static one goes before
        *) deb "$target" "$program" ;;
    esac
done

if maturin --version >/dev/null 2>&1; then
    maturin build --quiet --release --locked -m python/Cargo.toml -o "$out"
else
    skip 'the wheel: no maturin'
fi

cp packaging/Containerfile "$out"
formula() { # the address of releases is that of `repository`, once there is one
    local repository x86_64=x86_64-unknown-linux-musl aarch64=aarch64-unknown-linux-musl
    repository=$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml)
    [ -e "$out/llmzip-$version-$x86_64.tar.gz" ] || x86_64=x86_64-unknown-linux-gnu
    sed -e "s|@VERSION@|$version|g; s|@REPOSITORY@|${repository:-https://example.invalid/llmzip}|g" \
        -e "s|@X86_64@|$x86_64|; s|@X86_64_SUM@|$(sum_of "$x86_64")|" \
        -e "s|@AARCH64@|$aarch64|; s|@AARCH64_SUM@|$(sum_of "$aarch64")|" packaging/llmzip.rb.in \
        | if [ -e "$out/llmzip-$version-$aarch64.tar.gz" ]; then cat; else sed '/on_arm do/,/end/d'; fi
}
sum_of() { sha256sum "$out/llmzip-$version-$1.tar.gz" 2>/dev/null | cut -d' ' -f1; }
formula >"$out/llmzip.rb"
grep -q '^repository = ' Cargo.toml || echo 'NOTE: llmzip.rb has no address yet: Cargo.toml has no repository'

cd "$out"
find . -maxdepth 1 -type f -printf '%P\n' | sort | xargs sha256sum >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" . && cat SHA256SUMS
rm -r "${work:?}"
