# What CI checks.
check:
    bash .ci/run

# Kernels as a share of the machine's peak, and the default model's speed.
bench *FILE:
    cargo bench --bench kernels
    cargo bench --bench model -- {{FILE}}

# Rows and plots on enwik8 or a beginning of it (benches/README.md).
enwik8 SCENARIO FILE *OPTIONS:
    benches/enwik8.sh {{SCENARIO}} {{FILE}} {{OPTIONS}}
