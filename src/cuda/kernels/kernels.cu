// All kernels, as one module: what kernels.ptx is made of (docs/cuda.md).
#include "attention.cuh"
#include "counts.cuh"
#include "matmul.cuh"
#include "rows.cuh"
