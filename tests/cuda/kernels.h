// All kernels by name, compiled for this machine.
#pragma once
#include "host.h"

#include "../../src/cuda/kernels/kernels.cu"

namespace host {

#define NAMED(NAME) {#NAME, {Call<NAME>::run, Call<NAME>::count}}
inline const std::unordered_map<std::string, Kernel> kernels = {
    NAMED(rms_norm), NAMED(layer_norm), NAMED(quantize), NAMED(embed_f32), NAMED(embed_f16), NAMED(embed_bf16),
    NAMED(embed_int8), NAMED(add_positions), NAMED(add), NAMED(silu_mul), NAMED(gelu_erf), NAMED(gelu_tanh),
    NAMED(rotate), NAMED(store), NAMED(attention), NAMED(counts), NAMED(gather),
    NAMED(matmul_f32_wide), NAMED(matmul_f32_narrow), NAMED(matmul_f16_wide), NAMED(matmul_f16_narrow),
    NAMED(matmul_bf16_wide), NAMED(matmul_bf16_narrow), NAMED(matmul_w8a8_wide), NAMED(matmul_w8a8_narrow),
    NAMED(matmul_w8a16_wide), NAMED(matmul_w8a16_narrow),
};

} // namespace host
