/** The module under Node: the program's archives to the byte, both ways; and no input traps. */

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { Llmzip, LlmzipError } from "../page/llmzip.js";
import { program } from "./program.mjs";

const GOLDEN = "tests/golden";

const wasm = await readFile("target/web/llmzip.wasm");
const text = (await readFile("docs/format.md")).subarray(0, 5_000);
const noise = Uint8Array.from({ length: 3000 }, (_, i) => (Math.imul(i + 1, 2654435761) >>> 13) & 0xff);

test("it runs on simd128", async () => {
    assert.match((await Llmzip.load(wasm)).about(), /^llmzip [0-9.]+, simd128$/);
});

test("archives are the program's, and each reads the other's", async () => {
    const llmzip = await Llmzip.load(wasm);
    const cases = [
        ["nothing", new Uint8Array(), [1, 6]],
        ["a few bytes", Buffer.from("hello, hello\n"), [1, 3, 6, 9]],
        ["noise", noise, [3, 6]],
        ["text", text, [1, 3, 4, 6]], // two lanes at level 4, one at level 6
        ["text and noise", Buffer.concat([text.subarray(0, 3000), noise]), [6]],
    ];
    for (const [name, content, levels] of cases) {
        for (const level of levels) {
            const archive = llmzip.compress(content, { level, verify: level < 6 });
            const expected = program(["-qc", `-${level}`], content);
            assert.ok(expected.equals(archive), `${name}, level ${level}: another archive`);
            assert.ok(Buffer.from(content).equals(llmzip.decompress(expected)), `${name}, level ${level}`);
        }
    }
});

test("golden archives become what they become of the program, or are refused", async (t) => {
    const llmzip = await Llmzip.load(wasm);
    const names = (await readdir(GOLDEN)).filter((name) => name.endsWith(".llmz")).sort();
    const counts = { read: 0, "of models that are not here": 0, refused: 0 };
    for (const name of names) {
        const archive = await readFile(`${GOLDEN}/${name}`);
        const expected = name.startsWith("good-") ? program(["-qdc"], archive) : null;
        // The program draws models from seeds, too.
        if (expected && !/learning-(gru|lstm|llama)/.test(name)) {
            assert.ok(expected.equals(llmzip.decompress(archive)), name);
            counts.read += 1;
            continue;
        }
        const isMissing = name.startsWith("good-");
        const error = isMissing ? /, not found here/ : (thrown) => thrown instanceof LlmzipError;
        assert.throws(() => llmzip.decompress(archive), error, name);
        counts[isMissing ? "of models that are not here" : "refused"] += 1;
    }
    t.diagnostic(JSON.stringify(counts));
    assert.ok(counts.read > 20 && counts.refused > 60, JSON.stringify(counts));
});

test("damage is an error, after which the module goes on", async () => {
    const llmzip = await Llmzip.load(wasm);
    const content = text.subarray(0, 300);
    const archive = llmzip.compress(content);
    for (let at = 0; at < archive.length; at += 1) {
        const damaged = archive.slice();
        damaged[at] ^= 1 << at % 8;
        assert.throws(() => llmzip.decompress(damaged), LlmzipError, `byte ${at}`);
        assert.throws(() => llmzip.decompress(archive.subarray(0, at)), LlmzipError, `cut at ${at}`);
    }
    assert.throws(() => llmzip.decompress(text), /not an archive/);
    assert.throws(() => llmzip.compress(content, { level: 10 }), /level is 10, expected 1 to 9/);
    assert.ok(content.equals(llmzip.decompress(archive)));
});

test("progress adds up to the content, twice where it is verified", async () => {
    let done = 0;
    const llmzip = await Llmzip.load(wasm, (nBytes) => (done += nBytes));
    for (const [level, verify] of [[1, false], [6, true]]) {
        done = 0;
        llmzip.compress(text.subarray(0, 2000), { level, verify });
        assert.equal(done, verify ? 4000 : 2000);
    }
});

test("pictures are those of llmzip explain", async () => {
    const llmzip = await Llmzip.load(wasm);
    const cases = [Buffer.from("if (a < b) \u{20ac}\r\n"), Buffer.from([0xff, 0, 0xe2, 0x82]), text.subarray(0, 2500)];
    for (const content of cases) {
        const expected = program(["explain", "-", "-o", "-"], content).toString();
        const name = expected.match(/<title>(.*)<\/title>/)[1];
        assert.equal(llmzip.explain(name, content), expected);
    }
});
