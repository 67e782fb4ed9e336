# What CI checks.
check:
    bash .ci/run

# Damage, kills, full disks and failing system calls in full: tests have a share (docs/reliability.md).
sweeps:
    LLMZIP_SWEEPS=full cargo test --release --locked --test library --test program -- --nocapture --test-threads=1 sweeps:: faults::

# Archive hashes over instruction sets, threads, chunks, pipes, builds and processors (docs/reliability.md).
invariance:
    cargo build --locked
    cargo build --release --locked
    tests/invariance.sh full target/release/llmzip target/debug/llmzip

# The PTX of the CUDA kernels is what their sources make, ptxas takes it for every architecture, and the program gives the same bytes
# behind a stand-in for the driver (docs/cuda.md); nvcc comes from PyPI.
cuda:
    tests/cuda/ptx.sh
    cargo test --release --locked --test library --test program -- cuda::

# Undefined behaviour and overflows, by Miri (a nightly toolchain with miri and rust-src): containers and coders, and the kernels
# on the portable path and on AVX2 (docs/reliability.md).
miri:
    MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks" cargo +nightly miri test --locked --no-default-features --lib -- archive:: codec:: predict:: ops::
    cargo +nightly miri test --locked --no-default-features --test library kernels::
    RUSTFLAGS='-C target-feature=+avx2,+fma' cargo +nightly miri test --locked --no-default-features --test library kernels::

# Every fuzz target for so many seconds (fuzz/README.md).
fuzz SECONDS:
    fuzz/run.sh all {{SECONDS}}

# A wheel for Python in target/wheels (docs/python.md); needs maturin.
wheel:
    maturin build --release -m python/Cargo.toml -o target/wheels

# The page and its WebAssembly module in target/web, with their tests (docs/web.md).
web *FILE:
    cargo build --release --locked
    web/check.sh {{FILE}}

# hf-hub itself and llmzip on one cache (tests/interop); hf-hub takes minutes to build.
interop:
    cargo build --release --locked
    cargo test --locked --manifest-path tests/interop/Cargo.toml --target-dir target/interop

# Licences, duplicates and sources of the dependencies (deny.toml); needs cargo-deny, and no network after cargo fetch --locked.
deny:
    cargo deny --offline --locked check licenses bans sources

# Known vulnerabilities of the dependencies; cargo-deny fetches the RustSec database.
advisories:
    cargo deny --locked check advisories

# Names what a release of VERSION lacks (docs/releasing.md).
release-check VERSION:
    packaging/release-check.sh {{VERSION}}

# All files of a release of VERSION, in target/dist-VERSION (docs/releasing.md): binaries, packages, wheel, checksums.
dist VERSION:
    packaging/dist.sh {{VERSION}}

# Installs and runs what dist made, and names what could not be checked here.
install-check VERSION:
    packaging/install-check.sh {{VERSION}}

# What CI has no time for: Ray, the browser, other processors, releases, installs.
everywhere *FILE:
    packaging/everywhere.sh {{FILE}}

# Kernels as a share of the machine's peak, and the default model's speed.
bench *FILE:
    cargo bench --bench kernels
    cargo bench --bench model -- {{FILE}}

# Rows and plots on enwik8 or a beginning of it (benches/README.md).
enwik8 SCENARIO FILE *OPTIONS:
    benches/enwik8.sh {{SCENARIO}} {{FILE}} {{OPTIONS}}
