// A stand-in for the CUDA driver's library, libcuda.so, on a machine without a GPU: device memory is this machine's,
// and a launch runs the kernel compiled as C++, at once. Streams have nothing to wait for.
//
// What fails is a choice of the environment: STAND_IN=no-device, old-driver, old-device, out-of-memory:BYTES (in all),
// or lost:N (after N launches). STAND_IN_LOG is a file that gets a line for each launch.
#define MANY_THREADS
#include "kernels.h"
#include <atomic>

typedef int Result;
typedef uint64_t Address;
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719
};

/// The number after `name:`, where that is the choice; else `otherwise`.
static uint64_t choice(const char *name, uint64_t otherwise) {
    const char *chosen = getenv("STAND_IN");
    size_t length = strlen(name);
    if (!chosen || strncmp(chosen, name, length) != 0) return otherwise;
    return chosen[length] == ':' ? strtoull(chosen + length + 1, nullptr, 10) : 1;
}

static std::atomic<uint64_t> allocated, launches;

static bool is_lost() { return launches > choice("lost", UINT64_MAX); }

extern "C" {

Result cuInit(unsigned) { return choice("no-device", 0) ? NO_DEVICE : SUCCESS; }

Result cuDriverGetVersion(int *version) {
    *version = choice("old-driver", 0) ? 11040 : 12040;
    return SUCCESS;
}

Result cuGetErrorString(Result error, const char **text) {
    *text = error == OUT_OF_MEMORY   ? "out of memory"
            : error == NO_DEVICE     ? "no CUDA-capable device is detected"
            : error == LAUNCH_FAILED ? "unspecified launch failure"
                                     : "a mistake";
    return SUCCESS;
}

Result cuDeviceGetCount(int *count) {
    *count = 2;
    return SUCCESS;
}

Result cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return SUCCESS;
}

Result cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "Stand-in %d", device);
    return SUCCESS;
}

Result cuDeviceGetAttribute(int *value, int attribute, int) {
    *value = attribute == 75 ? (choice("old-device", 0) ? 6 : 8) : 0;
    return SUCCESS;
}

Result cuDevicePrimaryCtxRetain(void **context, int) {
    static int any;
    *context = &any;
    return SUCCESS;
}

Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }

Result cuCtxSetCurrent(void *context) { return context ? SUCCESS : INVALID_VALUE; }

Result cuModuleLoadData(void **module, const void *image) {
    static int any;
    *module = &any;
    return strstr((const char *)image, ".version") ? SUCCESS : INVALID_VALUE;
}

Result cuModuleUnload(void *) { return SUCCESS; }

Result cuModuleGetFunction(void **function, void *, const char *name) {
    auto kernel = host::kernels.find(name);
    if (kernel == host::kernels.end()) return NOT_FOUND;
    *function = (void *)&*kernel;
    return SUCCESS;
}

Result cuStreamCreate(void **stream, unsigned) {
    *stream = malloc(1);
    return SUCCESS;
}

Result cuStreamDestroy_v2(void *stream) {
    free(stream);
    return SUCCESS;
}

Result cuStreamSynchronize(void *) { return is_lost() ? LAUNCH_FAILED : SUCCESS; }

Result cuMemAlloc_v2(Address *address, size_t bytes) {
    if (is_lost()) return LAUNCH_FAILED;
    if ((allocated += bytes) > choice("out-of-memory", UINT64_MAX)) return OUT_OF_MEMORY;
    *address = (Address)malloc(bytes);
    return SUCCESS;
}

Result cuMemFree_v2(Address address) {
    free((void *)address);
    return SUCCESS;
}

Result cuMemsetD8Async(Address to, unsigned char value, size_t bytes, void *) {
    memset((void *)to, value, bytes);
    return is_lost() ? LAUNCH_FAILED : SUCCESS;
}

Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *) {
    memcpy((void *)to, from, bytes);
    return is_lost() ? LAUNCH_FAILED : SUCCESS;
}

Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *) {
    memcpy(to, (void *)from, bytes);
    return is_lost() ? LAUNCH_FAILED : SUCCESS;
}

Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *) {
    memcpy((void *)to, (void *)from, bytes);
    return is_lost() ? LAUNCH_FAILED : SUCCESS;
}

/// What a device does after it is lost is unknown: here, nothing, and the next call to wait says so.
Result cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned, unsigned,
                      void *, void **arguments, void **) {
    auto *kernel = (const std::pair<const std::string, host::Kernel> *)function;
    if (x == 0 || y == 0 || z != 1 || y > 65535 || threads > 1024) return INVALID_VALUE;
    launches++;
    if (const char *path = getenv("STAND_IN_LOG"))
        if (FILE *log = fopen(path, "a")) {
            fprintf(log, "%s %u %u %u\n", kernel->first.c_str(), x, y, threads);
            fclose(log);
        }
    if (!is_lost()) host::launch(kernel->second, {x, y, 1}, {threads, 1, 1}, arguments);
    return SUCCESS;
}

} // extern "C"
