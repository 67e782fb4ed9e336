// Rule 9: logits to cumulative integer counts.
#pragma once
#include "rows.cuh"

/// logits: [R][V], overwritten; cumulative: [R][V + 1]; finite: [R], 0 where a logit of the row is not.
KERNEL counts(float *logits, u32 *cumulative, int *finite, int v) {
    __shared__ float most[FLAT], lanes[LANES];
    __shared__ u32 sums[FLAT];
    __shared__ int bad[FLAT];
    float *row = logits + (u64)blockIdx.x * v;
    float m = -infinity();
    int is_bad = 0;
    for (int i = threadIdx.x; i < v; i += FLAT) {
        is_bad |= (__float_as_uint(row[i]) & 0x7fffffffu) >= 0x7f800000u;
        m = greater(m, row[i]);
    }
    most[threadIdx.x] = m;
    bad[threadIdx.x] = is_bad;
    for (int half = FLAT / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            most[threadIdx.x] = greater(most[threadIdx.x], most[threadIdx.x + half]);
            bad[threadIdx.x] |= bad[threadIdx.x + half];
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) finite[blockIdx.x] = !bad[0];
    if (bad[0]) return;
    for (int i = threadIdx.x; i < v; i += FLAT) row[i] = exp1(__fsub_rn(row[i], most[0]));
    __syncthreads();
    if (threadIdx.x < LANES) {
        float acc = 0.0f;
        for (int i = threadIdx.x; i < v; i += LANES) acc = __fadd_rn(acc, row[i]);
        lanes[threadIdx.x] = acc;
    }
    __syncthreads();
    float scale = __fdiv_rn(1073741824.0f, tree(lanes));
    // Each thread sums a piece of neighbours, then adds what is before the piece.
    int piece = (v + FLAT - 1) / FLAT;
    int from = min((int)threadIdx.x * piece, v), to = min(from + piece, v);
    u32 sum = 0;
    for (int i = from; i < to; i++) sum += (u32)__fmul_rn(row[i], scale) + 1u;
    sums[threadIdx.x] = sum;
    __syncthreads();
    u32 before = 0;
    for (int i = 0; i < threadIdx.x; i++) before += sums[i];
    u32 *out = cumulative + (u64)blockIdx.x * (v + 1);
    if (threadIdx.x == 0) out[0] = 0;
    for (int i = from; i < to; i++) {
        before += (u32)__fmul_rn(row[i], scale) + 1u;
        out[i + 1] = before;
    }
}

/// Copies what the coder asks for: out[i] = values[places[i]].
KERNEL gather(const u32 *values, const u64 *places, u32 *out, u64 count) {
    u64 at = flat();
    if (at < count) out[at] = values[places[at]];
}
