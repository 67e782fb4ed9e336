/**
 * The module's speed beside the program's, on the file that is named: processor seconds, one thread, AVX2, each once in turn.
 * Fails where the module has less than a tenth of it.
 */

import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { Llmzip } from "../page/llmzip.js";
import { PROGRAM } from "./program.mjs";

const LEAST = 0.1;

const [file, level = "6"] = process.argv.slice(2);
const content = await readFile(file);
const llmzip = await Llmzip.load(await readFile("target/web/llmzip.wasm"));

function ofModule(work) {
    const before = process.cpuUsage();
    const result = work();
    const { user, system } = process.cpuUsage(before);
    return [(user + system) / 1e6, Buffer.from(result)];
}

function ofProgram(args, input) {
    const env = { ...process.env, LLMZIP_ISA: "avx2" };
    const script = 'TIMEFORMAT="%U %S"; { time "$0" "$@" 2>&3; } 3>/dev/null';
    const { stdout, stderr } = spawnSync("bash", ["-c", script, PROGRAM, ...args], { input, env, maxBuffer: 1 << 30 });
    const [user, system] = stderr.toString().trim().split(" ").map(Number);
    return [user + system, stdout];
}

const [native, expected] = ofProgram(["-qcT1", "--no-verify", `-${level}`], content);
const [module, archive] = ofModule(() => llmzip.compress(content, { level: Number(level), verify: false }));
const [nativeOut] = ofProgram(["-qdcT1"], expected);
const [moduleOut, restored] = ofModule(() => llmzip.decompress(archive));
if (!archive.equals(expected) || !restored.equals(content)) {
    throw new Error("not the same bytes");
}
const rate = (seconds) => (content.length / 1000 / seconds).toFixed(1);
for (const [what, ours, theirs] of [["compress", module, native], ["decompress", moduleOut, nativeOut]]) {
    console.log(`${what}, level ${level}: module ${rate(ours)} KB/s, program ${rate(theirs)}: ${(theirs / ours).toFixed(3)} of it`);
    if (theirs / ours < LEAST) process.exitCode = 1;
}
