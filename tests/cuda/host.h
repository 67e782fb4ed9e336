// The subset of CUDA C++ that src/cuda/kernels is written in, as C++ for this machine: included before the kernels.
//
// Blocks run one after the other, the threads of a block as fibers: each runs until a barrier or its end, then the
// next one does. Between barriers the order of threads is a choice (`order`), so a result that depends on it shows.
#pragma once
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <ucontext.h>
#include <unordered_map>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#ifdef MANY_THREADS
#define __shared__ static thread_local
#else
#define __shared__ static // seen by the sanitizer
#endif

namespace host {

struct Dim3 {
    unsigned x, y, z;
};

/// Order in which the threads of a block are taken between barriers.
enum Order { Ascending, Descending, Shuffled };

/// A thread of a block: its own stack, used again by the threads of other blocks.
struct Fiber {
    ucontext_t context;
    jmp_buf place;
    std::vector<char> stack;
    bool is_done;
};

/// The block that runs on this thread of the machine.
struct Block {
    ucontext_t scheduler;
    jmp_buf place;
    std::vector<std::unique_ptr<Fiber>> fibers;
    unsigned running;
    void (*call)(void **);
    void **arguments;
};

inline thread_local Block block;
inline thread_local Order order = Ascending;

#ifdef __SANITIZE_ADDRESS__
/// The sanitizer follows this switch; the other one takes no system call.
inline void enter(Fiber &fiber) { swapcontext(&block.scheduler, &fiber.context); }
inline void leave(Fiber &fiber) { swapcontext(&fiber.context, &block.scheduler); }
#else
inline void enter(Fiber &fiber) {
    if (_setjmp(block.place) == 0) _longjmp(fiber.place, 1);
}
inline void leave(Fiber &fiber) {
    if (_setjmp(fiber.place) == 0) _longjmp(block.place, 1);
}
#endif

/// What a fiber does: threads of block after block.
inline void fiber() {
    Fiber &fiber = *block.fibers[block.running];
#ifndef __SANITIZE_ADDRESS__
    if (_setjmp(fiber.place) == 0) swapcontext(&fiber.context, &block.scheduler);
#endif
    for (;;) {
        block.call(block.arguments);
        fiber.is_done = true;
        leave(fiber);
    }
}

/// Makes fibers until there are so many.
inline void make_fibers(unsigned count) {
    while (block.fibers.size() < count) {
        block.running = block.fibers.size();
        block.fibers.push_back(std::make_unique<Fiber>());
        Fiber &made = *block.fibers.back();
        made.stack.resize(1 << 15);
        getcontext(&made.context);
        made.context.uc_stack.ss_sp = made.stack.data();
        made.context.uc_stack.ss_size = made.stack.size();
        made.context.uc_link = nullptr;
        makecontext(&made.context, fiber, 0);
#ifndef __SANITIZE_ADDRESS__
        swapcontext(&block.scheduler, &made.context);
#endif
    }
}

} // namespace host

inline thread_local host::Dim3 threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads() { host::leave(*host::block.fibers[host::block.running]); }

inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __int2float_rn(int a) { return (float)a; }
inline float __uint_as_float(unsigned a) {
    float to;
    memcpy(&to, &a, 4);
    return to;
}
inline unsigned __float_as_uint(float a) {
    unsigned to;
    memcpy(&to, &a, 4);
    return to;
}
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++) c += (int)(int8_t)(a >> 8 * i) * (int)(int8_t)(b >> 8 * i);
    return c;
}
using std::max;
using std::min;

namespace host {

/// A kernel whose arguments are where the driver's interface has them.
template <auto kernel> struct Call;
template <typename... A, void (*kernel)(A...)> struct Call<kernel> {
    template <size_t... I> static void of(void **arguments, std::index_sequence<I...>) {
        kernel(*(A *)arguments[I]...);
    }
    static void run(void **arguments) { of(arguments, std::index_sequence_for<A...>()); }
    static constexpr size_t count = sizeof...(A);
};

struct Kernel {
    void (*call)(void **);
    size_t count;
};

/// Runs the threads of the block `blockIdx`, all up to a barrier before any goes past it.
inline void run_block(unsigned threads) {
    make_fibers(threads);
    std::vector<unsigned> turns(threads);
    std::iota(turns.begin(), turns.end(), 0);
    for (unsigned turn : turns) block.fibers[turn]->is_done = false;
    uint32_t state = 1;
    while (!turns.empty()) {
        if (order == Descending) std::sort(turns.rbegin(), turns.rend());
        if (order == Shuffled)
            for (size_t i = turns.size(); i > 1; i--) {
                state = state * 1664525 + 1013904223;
                std::swap(turns[i - 1], turns[(state >> 8) % i]);
            }
        for (unsigned turn : turns) {
            block.running = turn;
            threadIdx = {turn, 0, 0};
            enter(*block.fibers[turn]);
        }
        auto is_done = [](unsigned turn) { return block.fibers[turn]->is_done; };
        turns.erase(std::remove_if(turns.begin(), turns.end(), is_done), turns.end());
    }
}

inline void launch(const Kernel &kernel, Dim3 grid, Dim3 threads, void **arguments) {
    block.call = kernel.call;
    block.arguments = arguments;
    gridDim = grid;
    blockDim = threads;
    for (unsigned y = 0; y < grid.y; y++)
        for (unsigned x = 0; x < grid.x; x++) {
            blockIdx = {x, y, 0};
            run_block(threads.x);
        }
}

} // namespace host
