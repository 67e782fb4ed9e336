// Rules 3, 5 and 16, and what is done number by number: norms, activations, quantised rows, embeddings.
#pragma once
#include "order.cuh"

/// Threads of a block that works number by number.
constexpr int FLAT = 256;

/// Vectors that a block norms, sixteen threads each.
constexpr int NORMS = 8;

/// This thread's number of a flat launch.
DEVICE u64 flat() { return (u64)blockIdx.x * FLAT + threadIdx.x; }

/// Rule 3's r from the sum of squares in sixteen lanes.
DEVICE float reciprocal_root(const float *lanes, int c, float eps) {
    float mean = __fdiv_rn(tree(lanes), __int2float_rn(c));
    return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, eps)));
}

/// Rule 3: RMS norm of `count` vectors of c numbers, `per_row` of them one after the other in a row; rows
/// are `stride` apart. gain: [c]; out may be x.
KERNEL rms_norm(const float *x, const float *gain, float eps, float *out, int count, int c, int per_row,
                int stride) {
    __shared__ float lanes[NORMS][LANES];
    int vector = blockIdx.x * NORMS + threadIdx.x / LANES, lane = threadIdx.x % LANES;
    bool inside = vector < count;
    u64 from = inside ? (u64)(vector / per_row) * stride + (u64)(vector % per_row) * c : 0;
    float acc = 0.0f;
    for (int i = lane; i < c && inside; i += LANES) acc = fma1(x[from + i], x[from + i], acc);
    lanes[threadIdx.x / LANES][lane] = acc;
    __syncthreads();
    float r = reciprocal_root(lanes[threadIdx.x / LANES], c, eps);
    for (int i = lane; i < c && inside; i += LANES)
        out[from + i] = __fmul_rn(__fmul_rn(x[from + i], r), gain[i]);
}

/// Rule 3: layer norm of rows. x, out: [R][c]; gain, bias: [c].
KERNEL layer_norm(const float *x, const float *gain, const float *bias, float eps, float *out, int rows,
                  int c) {
    __shared__ float lanes[NORMS][LANES], squares[NORMS][LANES];
    int row = blockIdx.x * NORMS + threadIdx.x / LANES, lane = threadIdx.x % LANES;
    bool inside = row < rows;
    u64 from = inside ? (u64)row * c : 0;
    float acc = 0.0f;
    for (int i = lane; i < c && inside; i += LANES) acc = __fadd_rn(acc, x[from + i]);
    lanes[threadIdx.x / LANES][lane] = acc;
    __syncthreads();
    float mean = __fdiv_rn(tree(lanes[threadIdx.x / LANES]), __int2float_rn(c));
    acc = 0.0f;
    for (int i = lane; i < c && inside; i += LANES) {
        float d = __fsub_rn(x[from + i], mean);
        acc = fma1(d, d, acc);
    }
    squares[threadIdx.x / LANES][lane] = acc;
    __syncthreads();
    float r = reciprocal_root(squares[threadIdx.x / LANES], c, eps);
    for (int i = lane; i < c && inside; i += LANES)
        out[from + i] = fma1(__fmul_rn(__fsub_rn(x[from + i], mean), r), gain[i], bias[i]);
}

/// Rule 16: rows as signed bytes, or as upper bytes and lower ones less 128. x: [R][K], out:
/// [R][planes][ceil(K / 4)] words, scales: [R].
KERNEL quantize(const float *x, u8 *out, float *scales, int k, int planes) {
    __shared__ u32 parts[FLAT];
    const float *row = x + (u64)blockIdx.x * k;
    u32 most = 0;
    for (int i = threadIdx.x; i < k; i += FLAT) {
        u32 magnitude = __float_as_uint(row[i]) & 0x7fffffffu;
        most = magnitude > most ? magnitude : most;
    }
    parts[threadIdx.x] = most;
    for (int half = FLAT / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half && parts[threadIdx.x + half] > parts[threadIdx.x])
            parts[threadIdx.x] = parts[threadIdx.x + half];
    }
    __syncthreads();
    float greatest = value_of(parts[0]), limit = planes == 1 ? 127.0f : 32767.0f;
    bool is_finite = parts[0] < 0x7f800000u, is_small = parts[0] < (127u - 100u) << 23;
    bool is_zero = is_small || !is_finite;
    float factor = is_zero ? 0.0f : __fdiv_rn(limit, greatest);
    if (threadIdx.x == 0)
        scales[blockIdx.x] = is_small ? 0.0f : is_finite ? __fdiv_rn(greatest, limit) : infinity();
    int plane = (k + 3) / 4 * 4;
    u8 *to = out + (u64)blockIdx.x * planes * plane;
    for (int i = threadIdx.x; i < plane; i += FLAT) {
        // The integer, in the low bits of a sum with 1.5 * 2^23.
        float sum = i < k && !is_zero ? __fadd_rn(__fmul_rn(row[i], factor), 12582912.0f) : 12582912.0f;
        u32 bits = __float_as_uint(sum);
        if (planes == 1) {
            to[i] = (u8)bits;
        } else {
            to[i] = (u8)(bits >> 8);
            to[plane + i] = (u8)bits ^ 0x80;
        }
    }
}

/// Writes the vectors of tokens. index: [R], their rows in the table, -1 for `first`: [c]; number i of row
/// t is table[t * row_stride + i * step]; x: [R][c].
template <typename W>
DEVICE void embed(const W *table, const int *index, const float *first, float *x, int rows, int c,
                  int row_stride, int step) {
    u64 at = flat();
    if (at >= (u64)rows * c) return;
    int token = index[at / c], i = at % c;
    x[at] = token < 0 ? first[i] : widen(table[(u64)token * row_stride + (u64)i * step]);
}

#define EMBED(NAME, W)                                                                                       \
    KERNEL NAME(const W *table, const int *index, const float *first, float *x, int rows, int c,             \
                int row_stride, int step) {                                                                  \
        embed<W>(table, index, first, x, rows, c, row_stride, step);                                         \
    }
EMBED(embed_f32, float)
EMBED(embed_f16, F16)
EMBED(embed_bf16, Bf16)

/// The same of integers. table: bytes of [ceil(c / 4)][n] words, scales: [n].
KERNEL embed_int8(const signed char *table, const float *scales, const int *index, const float *first,
                  float *x, int rows, int c, int n) {
    u64 at = flat();
    if (at >= (u64)rows * c) return;
    int token = index[at / c], i = at % c;
    if (token < 0) {
        x[at] = first[i];
    } else {
        int q = table[((u64)(i / 4) * n + token) * 4 + i % 4];
        x[at] = __fmul_rn(__int2float_rn(q), scales[token]);
    }
}

/// x[r] += table[positions[r]]. x: [R][c], table: [positions][c].
KERNEL add_positions(float *x, const float *table, const int *positions, int rows, int c) {
    u64 at = flat();
    if (at < (u64)rows * c) x[at] = __fadd_rn(x[at], table[(u64)positions[at / c] * c + at % c]);
}

/// x += y.
KERNEL add(float *x, const float *y, u64 count) {
    u64 at = flat();
    if (at < count) x[at] = __fadd_rn(x[at], y[at]);
}

/// Rule 5: gate = silu(gate) * up.
KERNEL silu_mul(float *gate, const float *up, u64 count) {
    u64 at = flat();
    if (at >= count) return;
    float x = gate[at];
    gate[at] = __fmul_rn(__fdiv_rn(x, __fadd_rn(1.0f, exp1(-x))), up[at]);
}

/// Rule 5: GELU by the error function.
KERNEL gelu_erf(float *x, u64 count) {
    u64 at = flat();
    if (at >= count) return;
    float z = __fmul_rn(x[at], value_of(0x3f3504f3));
    float u = z < 0.0f ? -z : z;
    float t = __fdiv_rn(1.0f, fma1(value_of(0x3ea7ba05), u, 1.0f));
    float p = value_of(0x3f87dc22);
    p = fma1(p, t, value_of(0xbfba00e3));
    p = fma1(p, t, value_of(0x3fb5f0e3));
    p = fma1(p, t, value_of(0xbe91a98f));
    p = fma1(p, t, value_of(0x3e827906));
    float e = __fsub_rn(1.0f, __fmul_rn(__fmul_rn(p, t), exp1(-__fmul_rn(u, u))));
    e = z < 0.0f ? -e : e;
    x[at] = __fmul_rn(__fmul_rn(0.5f, x[at]), __fadd_rn(1.0f, e));
}

/// Rule 5: GELU by tanh.
KERNEL gelu_tanh(float *x, u64 count) {
    u64 at = flat();
    if (at >= count) return;
    float a = x[at];
    float cubic = fma1(__fmul_rn(__fmul_rn(a, a), a), value_of(0x3d372713), a);
    float u = __fmul_rn(cubic, value_of(0x3f4c422a));
    float t = __fsub_rn(1.0f, __fdiv_rn(2.0f, __fadd_rn(exp1(__fadd_rn(u, u)), 1.0f)));
    x[at] = __fmul_rn(__fmul_rn(0.5f, a), __fadd_rn(1.0f, t));
}
