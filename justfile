# What CI checks.
check:
    bash .ci/run

# Kernels as a share of the machine's peak, and the default model's speed.
bench *FILE:
    cargo bench --bench kernels
    cargo bench --bench model -- {{FILE}}
