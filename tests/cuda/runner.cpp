// Runs kernels on this machine, as standard input says, in each order of threads, and writes all buffers after each
// order to standard output: what tests/library/cuda.rs compares with src/ops/reference.rs.
//
// Numbers are 32-bit words of the machine's order. Input: the number of launches, then for each the length of the
// kernel's name, the name, grid x and y, threads, the number of arguments, and each: 0 and a word; 1 and two words,
// low first; 2, the length of a buffer, and its bytes. Buffers have exactly that length, so that a sanitizer sees
// what is read or written past it.
#include "kernels.h"

static void read(void *to, size_t length) {
    if (length > 0 && fread(to, length, 1, stdin) != 1) {
        fprintf(stderr, "the input ends early\n");
        exit(2);
    }
}

static uint32_t word() {
    uint32_t to;
    read(&to, 4);
    return to;
}

static std::string text() {
    std::string to(word(), ' ');
    read(to.data(), to.size());
    return to;
}

struct Argument {
    uint32_t kind;
    uint64_t value;
    std::vector<char> bytes;
    char *buffer;
};

int main() {
    for (uint32_t launches = word(); launches > 0; launches--) {
        std::string name = text();
        auto kernel = host::kernels.find(name);
        host::Dim3 grid = {word(), 0, 1};
        grid.y = word();
        host::Dim3 threads = {word(), 1, 1};
        std::vector<Argument> arguments(word());
        for (Argument &argument : arguments) {
            argument.kind = word();
            if (argument.kind == 2) {
                argument.bytes.resize(word());
                read(argument.bytes.data(), argument.bytes.size());
            } else {
                argument.value = word();
                if (argument.kind == 1) argument.value |= (uint64_t)word() << 32;
            }
        }
        if (kernel == host::kernels.end() || kernel->second.count != arguments.size()) {
            fprintf(stderr, "no kernel %s of %zu arguments\n", name.c_str(), arguments.size());
            return 2;
        }
        for (int order = 0; order < 3; order++) {
            host::order = (host::Order)order;
            std::vector<void *> pointers;
            for (Argument &argument : arguments) {
                if (argument.kind == 2) {
                    argument.buffer = (char *)malloc(argument.bytes.size());
                    memcpy(argument.buffer, argument.bytes.data(), argument.bytes.size());
                    pointers.push_back(&argument.buffer);
                } else {
                    pointers.push_back(&argument.value);
                }
            }
            host::launch(kernel->second, grid, threads, pointers.data());
            for (Argument &argument : arguments) {
                if (argument.kind != 2) continue;
                fwrite(argument.buffer, 1, argument.bytes.size(), stdout);
                free(argument.buffer);
            }
        }
    }
    return 0;
}
