/** Runs a program of tests for `cargo test`. It has neither arguments nor output there: a failure is a trap, whose trace names the test. */

import { readFile } from "node:fs/promises";

const { instance } = await WebAssembly.instantiate(await readFile(process.argv[2]));
const { main, memory, said, said_len } = instance.exports;
try {
    process.exitCode = main(0, 0);
} catch (trap) {
    console.error(Buffer.from(memory.buffer, said(), said_len()).toString());
    throw trap;
}
console.log(`${process.argv[2].split("/").pop()}: ${process.exitCode === 0 ? "passed" : "failed"}`);
