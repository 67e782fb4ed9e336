// Rules 6 and 7: rotary positions, keys and values as they are kept, attention.
//
// A lane's keys and values are rings over positions: position p is at slot p modulo the ring, a multiple of 32.
// Keys stand as [lane][head][slot / 32][D][32], so that neighbouring threads read neighbouring keys; values as
// [lane][head][slot][D].
#pragma once
#include "rows.cuh"

/// Keys that stand together.
constexpr int KEYS = 32;

/// Threads of a block of attention.
constexpr int ATTENTION = 128;

/// Rule 6: rotates the first 2 * pairs dimensions of the first `heads` heads of each row. rows are `stride`
/// apart; cos, sin: [positions][pairs]; turns: [R], each row's place in them.
KERNEL rotate(float *x, const float *cos, const float *sin, const int *turns, int rows, int heads, int d,
              int pairs, int stride) {
    u64 at = flat();
    if (at >= (u64)rows * heads * pairs) return;
    int pair = at % pairs, head = at / pairs % heads, row = at / pairs / heads;
    u64 turn = (u64)turns[row] * pairs + pair;
    float *a = x + (u64)row * stride + head * d + pair, *b = a + pairs;
    float low = __fsub_rn(__fmul_rn(*a, cos[turn]), __fmul_rn(*b, sin[turn]));
    float high = __fadd_rn(__fmul_rn(*b, cos[turn]), __fmul_rn(*a, sin[turn]));
    *a = low;
    *b = high;
}

/// Rule 7: keeps keys and values. qkv: [R][(heads + 2 * kv_heads) * d]; lanes, positions: [R].
KERNEL store(const float *qkv, const int *lanes, const int *positions, u16 *keys, u16 *values, int rows,
             int heads, int kv_heads, int d, int ring) {
    u64 at = flat();
    if (at >= (u64)rows * kv_heads * d) return;
    int i = at % d, head = at / d % kv_heads, row = at / d / kv_heads;
    const float *from = qkv + (u64)row * (heads + 2 * kv_heads) * d + (heads + head) * d + i;
    int slot = positions[row] % ring;
    u64 first = ((u64)lanes[row] * kv_heads + head) * ring;
    keys[(first + slot / KEYS * KEYS) * d + i * KEYS + slot % KEYS] = bf16_of(from[0]);
    values[(first + slot) * d + i] = bf16_of(from[kv_heads * d]);
}

/// Rule 7: a block for each head (x) of each row (y) from `row0` on. Scores are kept in scratch:
/// [rows of the launch][heads][room]; out: [R][heads * d].
KERNEL attention(const float *qkv, const int *lanes, const int *positions, const u16 *keys, const u16 *values,
                 float *scratch, float *out, int row0, int heads, int kv_heads, int d, int window, int ring,
                 float scale, int room) {
    __shared__ float parts[LANES];
    int row = row0 + blockIdx.y, head = blockIdx.x, kv_head = head / (heads / kv_heads);
    int position = positions[row];
    int first = position + 1 > window ? position + 1 - window : 0;
    int count = position + 1 - first;
    const float *q = qkv + (u64)row * (heads + 2 * kv_heads) * d + head * d;
    u64 at = ((u64)lanes[row] * kv_heads + kv_head) * ring;
    float *scores = scratch + ((u64)blockIdx.y * heads + head) * room;
    for (int j = threadIdx.x; j < count; j += ATTENTION) {
        int slot = (first + j) % ring;
        const u16 *key = keys + (at + slot / KEYS * KEYS) * d + slot % KEYS;
        float acc = 0.0f;
        for (int i = 0; i < d; i++) acc = fma1(q[i], value_of((u32)key[i * KEYS] << 16), acc);
        scores[j] = __fmul_rn(acc, scale);
    }
    __syncthreads();
    // The greatest, in the order that shows where there are NaNs (section 8).
    if (threadIdx.x < LANES) {
        float most = -infinity();
        int end = (count / LANES + 1) * LANES;
        for (int j = threadIdx.x; j < end; j += LANES)
            most = greater(most, j < count ? scores[j] : -infinity());
        parts[threadIdx.x] = most;
    }
    __syncthreads();
    float most = -infinity();
    for (int lane = 0; lane < LANES; lane++) most = greater(most, parts[lane]);
    __syncthreads();
    for (int j = threadIdx.x; j < count; j += ATTENTION) scores[j] = exp1(__fsub_rn(scores[j], most));
    __syncthreads();
    if (threadIdx.x < LANES) {
        float acc = 0.0f;
        for (int j = threadIdx.x; j < count; j += LANES) acc = __fadd_rn(acc, scores[j]);
        parts[threadIdx.x] = acc;
    }
    __syncthreads();
    float r = __fdiv_rn(1.0f, tree(parts));
    for (int i = threadIdx.x; i < d; i += ATTENTION) {
        float acc = 0.0f;
        int slot = first % ring;
        for (int j = 0; j < count; j++) {
            acc = fma1(scores[j], value_of((u32)values[(at + slot) * d + i] << 16), acc);
            slot = slot + 1 == ring ? 0 : slot + 1;
        }
        out[(u64)row * heads * d + head * d + i] = __fmul_rn(acc, r);
    }
}
