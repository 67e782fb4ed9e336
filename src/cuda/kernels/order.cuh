// Order v1 (docs/numerics.md) for a device: the scalar operations that all kernels share.
//
// The kernels are a plain subset of CUDA C++: shared memory, barriers and scalar operations, nothing of
// a warp. So the same sources compile as C++ on a host (tests/cuda/host.h), which is how they are
// held to src/ops/reference.rs without a GPU. Every product and sum of floats rounds once: a fused one
// is written as such, and the compiler may make no other (--fmad=false).
//
// Legend: R rows, C width, K inputs, N outputs, D dimensions of a head, V codable tokens.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__

/// Lanes of a sum (rule 2).
constexpr int LANES = 16;

DEVICE float value_of(u32 bits) { return __uint_as_float(bits); }

DEVICE float fma1(float a, float b, float c) { return __fmaf_rn(a, b, c); }

DEVICE bool is_nan(float x) { return !(x == x); }

DEVICE float infinity() { return value_of(0x7f800000); }

/// Compare and select.
DEVICE float greater(float a, float b) { return a > b ? a : b; }

/// Rule 2's tree over sixteen lanes.
DEVICE float tree(const float *a) {
    float b[8], c[4];
    for (int i = 0; i < 8; i++) b[i] = __fadd_rn(a[i], a[i + 8]);
    for (int i = 0; i < 4; i++) c[i] = __fadd_rn(b[i], b[i + 4]);
    return __fadd_rn(__fadd_rn(c[0], c[2]), __fadd_rn(c[1], c[3]));
}

/// Rule 4.
DEVICE float exp1(float x) {
    float at = x > 88.0f ? 88.0f : greater(x, -87.0f);
    float magic = value_of(0x4b400000);
    float t = fma1(at, value_of(0x3fb8aa3b), magic);
    float n = __fsub_rn(t, magic);
    float r = fma1(n, value_of(0xbf317200), at);
    r = fma1(n, value_of(0xb5bfbe8e), r);
    float p = value_of(0x3ab60b61);
    p = fma1(p, r, value_of(0x3c088888));
    p = fma1(p, r, value_of(0x3d2aaaab));
    p = fma1(p, r, value_of(0x3e2aaaab));
    p = fma1(p, r, value_of(0x3f000000));
    p = fma1(p, r, value_of(0x3f800000));
    p = fma1(p, r, value_of(0x3f800000));
    float scaled = __fmul_rn(p, value_of((__float_as_uint(t) + 127u) << 23));
    return x < -87.0f ? 0.0f : scaled;
}

/// Rule 7: a key or value as it is kept. A NaN stays one, whatever its bits: they differ between
/// processors.
DEVICE u16 bf16_of(float x) {
    u32 bits = __float_as_uint(x);
    u32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (u16)(is_nan(x) ? 0x7fc0u : rounded);
}

/// Weights as they are stored.
struct Bf16 {
    u16 bits;
};
struct F16 {
    u16 bits;
};

/// The exact value of a stored weight, which is finite.
DEVICE float widen(float w) { return w; }
DEVICE float widen(Bf16 w) { return value_of((u32)w.bits << 16); }
DEVICE float widen(F16 w) {
    float magnitude = __fmul_rn(value_of((u32)(w.bits & 0x7fffu) << 13), value_of(0x77800000));
    return value_of(__float_as_uint(magnitude) | (u32)(w.bits & 0x8000u) << 16);
}
