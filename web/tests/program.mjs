/** The program, whose archives are the measure of the module's. */

import { spawnSync } from "node:child_process";

export const PROGRAM = process.env.LLMZIP ?? "target/release/llmzip";

/** Returns the program's standard output, null where it fails. */
export function program(args, input = new Uint8Array(), env = {}) {
    const options = { input, maxBuffer: 1 << 30, env: { ...process.env, ...env } };
    const { status, stdout, error } = spawnSync(PROGRAM, args, options);
    if (error) throw error;
    return status === 0 ? stdout : null;
}
