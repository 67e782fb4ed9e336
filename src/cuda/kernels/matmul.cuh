// Rules 1 and 16: matrix products. A block computes a tile of rows and outputs from tiles of x and w in
// shared memory; a thread has some outputs of it, each one chain over k, so that no tiling changes a bit.
//
// Weights stand as [K][N], those of integers as [K / 4][N] words of four: threads of a warp read
// neighbouring outputs.
#pragma once
#include "order.cuh"

/// Steps of k in shared memory at a time.
constexpr int STEPS = 16;

/// Rows and outputs of a block's tile, and of a thread's in it.
template <int ROWS, int OUTPUTS, int THREAD_ROWS, int THREAD_OUTPUTS> struct Tile {
    static constexpr int rows = ROWS, outputs = OUTPUTS;
    static constexpr int thread_rows = THREAD_ROWS, thread_outputs = THREAD_OUTPUTS;
    static constexpr int across = OUTPUTS / THREAD_OUTPUTS;
    static constexpr int threads = ROWS / THREAD_ROWS * across;
};

/// For many rows, and for the few of a step of decoding.
typedef Tile<64, 64, 4, 4> Wide;
typedef Tile<16, 32, 4, 1> Narrow;

/// A place in a block's tile.
template <typename T> struct Place {
    int row0 = blockIdx.y * T::rows, output0 = blockIdx.x * T::outputs;
    int down = threadIdx.x / T::across, across = threadIdx.x % T::across;

    __device__ int row(int i) const { return down + i * (T::rows / T::thread_rows); }
    __device__ int output(int j) const { return across + j * T::across; }
};

/// x: [R][stride] from row0 and k0 on, transposed, to to: [STEPS][rows + 1]; zeros outside.
template <typename T, typename X>
DEVICE void load_rows(X (*to)[T::rows + 1], const X *x, int stride, int row0, int rows, int k0, int k) {
    for (int i = threadIdx.x; i < STEPS * T::rows; i += T::threads) {
        int step = i % STEPS, row = i / STEPS;
        bool inside = row0 + row < rows && k0 + step < k;
        to[step][row] = inside ? x[(u64)(row0 + row) * stride + k0 + step] : X(0);
    }
}

/// One step of the chains of a thread: acc: [rows][outputs].
template <typename T>
DEVICE void fma_step(float (*acc)[T::thread_outputs], const float *x, const float *w, const Place<T> &at) {
    for (int i = 0; i < T::thread_rows; i++)
        for (int j = 0; j < T::thread_outputs; j++)
            acc[i][j] = fma1(x[at.row(i)], w[at.output(j)], acc[i][j]);
}

/// y = x w^T + bias. x: [R][K], w: [K][N], bias: [N], y: [R][N].
template <typename W, typename T>
DEVICE void matmul(const float *x, const W *w, const float *bias, float *y, int rows, int k, int n) {
    __shared__ float xs[STEPS][T::rows + 1];
    __shared__ float ws[STEPS][T::outputs];
    Place<T> at;
    float acc[T::thread_rows][T::thread_outputs];
    for (int j = 0; j < T::thread_outputs; j++) {
        int output = at.output0 + at.output(j);
        float b = output < n ? bias[output] : 0.0f;
        for (int i = 0; i < T::thread_rows; i++) acc[i][j] = b;
    }
    for (int k0 = 0; k0 < k; k0 += STEPS) {
        load_rows<T>(xs, x, k, at.row0, rows, k0, k);
        for (int i = threadIdx.x; i < STEPS * T::outputs; i += T::threads) {
            int step = i / T::outputs, output = at.output0 + i % T::outputs;
            bool inside = output < n && k0 + step < k;
            ws[step][i % T::outputs] = inside ? widen(w[(u64)(k0 + step) * n + output]) : 0.0f;
        }
        __syncthreads();
        // No step past the last: adding a zero would make +0 of -0.
        if (k - k0 >= STEPS) {
#pragma unroll 4
            for (int step = 0; step < STEPS; step++) fma_step<T>(acc, xs[step], ws[step], at);
        } else {
            for (int step = 0; step < k - k0; step++) fma_step<T>(acc, xs[step], ws[step], at);
        }
        __syncthreads();
    }
    for (int i = 0; i < T::thread_rows; i++)
        for (int j = 0; j < T::thread_outputs; j++) {
            int row = at.row0 + at.row(i), output = at.output0 + at.output(j);
            if (row < rows && output < n) y[(u64)row * n + output] = acc[i][j];
        }
}

/// y of quantised rows. x: [R][PLANES][ceil(K / 4)] words of signed bytes (of two planes the second is the
/// lower bytes less 128), sx: [R]; w: [ceil(K / 4)][N] words, sw, sums (of an output's weights), bias: [N].
template <int PLANES, typename T>
DEVICE void matmul_int8(const int *x, const float *sx, const int *w, const float *sw, const int *sums,
                        const float *bias, float *y, int rows, int k, int n) {
    __shared__ int xs[PLANES][STEPS][T::rows + 1];
    __shared__ int ws[STEPS][T::outputs];
    Place<T> at;
    int words = (k + 3) / 4;
    int acc[PLANES][T::thread_rows][T::thread_outputs];
    for (int p = 0; p < PLANES; p++)
        for (int i = 0; i < T::thread_rows; i++)
            for (int j = 0; j < T::thread_outputs; j++) acc[p][i][j] = 0;
    for (int k0 = 0; k0 < words; k0 += STEPS) {
        for (int p = 0; p < PLANES; p++)
            load_rows<T>(xs[p], x + p * words, PLANES * words, at.row0, rows, k0, words);
        for (int i = threadIdx.x; i < STEPS * T::outputs; i += T::threads) {
            int step = i / T::outputs, output = at.output0 + i % T::outputs;
            bool inside = output < n && k0 + step < words;
            ws[step][i % T::outputs] = inside ? w[(u64)(k0 + step) * n + output] : 0;
        }
        __syncthreads();
#pragma unroll 4
        for (int step = 0; step < STEPS; step++)
            for (int p = 0; p < PLANES; p++)
                for (int i = 0; i < T::thread_rows; i++)
                    for (int j = 0; j < T::thread_outputs; j++)
                        acc[p][i][j] = __dp4a(xs[p][step][at.row(i)], ws[step][at.output(j)], acc[p][i][j]);
        __syncthreads();
    }
    for (int i = 0; i < T::thread_rows; i++)
        for (int j = 0; j < T::thread_outputs; j++) {
            int row = at.row0 + at.row(i), output = at.output0 + at.output(j);
            if (row >= rows || output >= n) continue;
            float sum = __int2float_rn(acc[0][i][j]);
            if (PLANES == 2) {
                int lower = acc[PLANES - 1][i][j] + 128 * sums[output];
                sum = fma1(sum, 256.0f, __int2float_rn(lower));
            }
            y[(u64)row * n + output] = fma1(sum, __fmul_rn(sx[row], sw[output]), bias[output]);
        }
}

#define MATMUL(NAME, W, TILE)                                                                                \
    KERNEL NAME(const float *x, const W *w, const float *bias, float *y, int rows, int k, int n) {           \
        matmul<W, TILE>(x, w, bias, y, rows, k, n);                                                          \
    }
MATMUL(matmul_f32_wide, float, Wide)
MATMUL(matmul_f32_narrow, float, Narrow)
MATMUL(matmul_f16_wide, F16, Wide)
MATMUL(matmul_f16_narrow, F16, Narrow)
MATMUL(matmul_bf16_wide, Bf16, Wide)
MATMUL(matmul_bf16_narrow, Bf16, Narrow)

#define MATMUL_INT8(NAME, PLANES, TILE)                                                                      \
    KERNEL NAME(const int *x, const float *sx, const int *w, const float *sw, const int *sums,               \
                const float *bias, float *y, int rows, int k, int n) {                                       \
        matmul_int8<PLANES, TILE>(x, sx, w, sw, sums, bias, y, rows, k, n);                                  \
    }
MATMUL_INT8(matmul_w8a8_wide, 1, Wide)
MATMUL_INT8(matmul_w8a8_narrow, 1, Narrow)
MATMUL_INT8(matmul_w8a16_wide, 2, Wide)
MATMUL_INT8(matmul_w8a16_narrow, 2, Narrow)
