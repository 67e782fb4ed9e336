/** The page in headless Chromium, by its remote debugging pipe: a file is dropped, its archive saved and restored, a text coloured. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { program } from "./program.mjs";

const FOLDER = "target/web";
const CHROMIUM = process.env.CHROMIUM ?? "chromium";
const TYPES = { html: "text/html", js: "text/javascript", css: "text/css", wasm: "application/wasm" };

/** The text that is dropped. */
const text = process.env.PAGE_TEXT ? readFileSync(process.env.PAGE_TEXT) : readFileSync("docs/format.md").subarray(0, 6_000);

/** Milliseconds that anything may take: a busy machine codes some hundred bytes a second. */
const PATIENCE = 240_000 + 10 * text.length;

let work, server, origin, browser, page;
const asked = [];

/** Chromium, spoken to in messages of JSON that end with a zero byte. */
class Browser {
    #process;
    #calls = new Map();
    #last = 0;

    constructor(profile) {
        const args = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"];
        const nowhere = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1";
        this.#process = spawn(CHROMIUM, [...args, nowhere, `--user-data-dir=${profile}`, "about:blank"], {
            stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
        });
        let pending = "";
        this.#process.stdio[4].setEncoding("utf8").on("data", (data) => {
            const messages = (pending + data).split("\0");
            pending = messages.pop();
            messages.forEach((message) => this.#hear(JSON.parse(message)));
        });
    }

    #hear({ id, result, error }) {
        const call = this.#calls.get(id);
        if (!call) return; // an event
        this.#calls.delete(id);
        error ? call.reject(new Error(error.message)) : call.resolve(result);
    }

    call(method, params = {}, sessionId = undefined) {
        const id = ++this.#last;
        this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
        return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
    }

    async close() {
        const ended = new Promise((resolve) => this.#process.on("exit", resolve));
        await this.call("Browser.close");
        await ended;
    }
}

/** Returns the value of an expression in the page. */
async function evaluate(expression) {
    const params = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await page("Runtime.evaluate", params);
    assert.equal(exceptionDetails, undefined, expression);
    return result.value;
}

/** Waits until `ask` returns something that is true, and returns it. */
async function until(ask, what) {
    for (const end = Date.now() + PATIENCE; Date.now() < end; ) {
        const answer = await ask();
        if (answer) return answer;
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return assert.fail(`${what}: not within ${PATIENCE / 1000} s; the page says "${await evaluate("document.body.innerText")}"`);
}

/** Drops a file on the page, waits for a result more, saves it and returns its bytes. */
async function drop(path) {
    const n = await evaluate("document.querySelectorAll('.result').length");
    const data = { items: [], files: [path], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
        await page("Input.dispatchDragEvent", { type, x: 100, y: 250, data });
    }
    await until(() => evaluate(`document.querySelectorAll('.result').length > ${n}`), path);
    const name = await evaluate("document.querySelector('.result a').download");
    await evaluate("document.querySelector('.result a').click()");
    return until(async () => (await readdir(work)).includes(name) && readFile(join(work, name)), name);
}

before(async () => {
    work = await mkdtemp(join(tmpdir(), "llmzip-page-"));
    server = createServer(async (request, response) => {
        asked.push(`${request.method} ${request.url}`);
        const name = request.url === "/" ? "index.html" : request.url.slice(1);
        try {
            const body = await readFile(join(FOLDER, name));
            response.writeHead(200, { "content-type": TYPES[name.split(".").pop()] }).end(body);
        } catch {
            response.writeHead(404).end();
        }
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${server.address().port}/`;
    browser = new Browser(join(work, "profile"));
    await browser.call("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: work });
    const { targetId } = await browser.call("Target.createTarget", { url: origin });
    const { sessionId } = await browser.call("Target.attachToTarget", { targetId, flatten: true });
    page = (method, params) => browser.call(method, params, sessionId);
    await until(() => evaluate("document.getElementById('about')?.textContent.includes('simd128')"), "the module");
});

after(async () => {
    await browser?.close();
    server?.close();
    await rm(work, { recursive: true, force: true });
});

test("a dropped file becomes the program's archive, and comes back", { timeout: 2 * PATIENCE }, async () => {
    await writeFile(join(work, "dropped.txt"), text);
    const archive = await drop(join(work, "dropped.txt"));
    assert.ok(program(["-qc"], text).equals(archive), "another archive than the program's");
    console.log(await evaluate("document.querySelector('.result').innerText.replaceAll('\\n', ' ')"));
    await rm(join(work, "dropped.txt"));
    const restored = await drop(join(work, "dropped.txt.llmz"));
    assert.ok(text.equals(restored), "another content");
});

test("an archive that is damaged is said to be, in a sentence", { timeout: PATIENCE }, async () => {
    const archive = program(["-qc"], Buffer.from("The quick brown fox."));
    archive[archive.length - 1] ^= 1;
    await writeFile(join(work, "damaged.llmz"), archive);
    const data = { items: [], files: [join(work, "damaged.llmz")], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
        await page("Input.dispatchDragEvent", { type, x: 100, y: 250, data });
    }
    const message = await until(() => evaluate("document.getElementById('message').textContent"), "a message");
    assert.match(message, /^damaged\.llmz: .+\.$/);
});

test("a text is coloured as it is typed, and markup in it is text", { timeout: PATIENCE }, async () => {
    const typed = 'A <b>bold</b> & "quoted" text.';
    await evaluate(`{ const text = document.getElementById("text"); text.value = ${JSON.stringify(typed)};
        text.dispatchEvent(new Event("input")); }`);
    const drawn = "document.getElementById('picture').shadowRoot.querySelector('pre')?.textContent";
    await until(async () => (await evaluate(drawn)) === typed, "the picture");
    const background = `getComputedStyle(document.getElementById('picture').shadowRoot.querySelector('.legend .c12')).backgroundColor`;
    assert.match(await evaluate(background), /^rgba\(222, 82, 0/);
});

test("nothing is asked for but the page's own files", () => {
    const files = ["", "style.css", "app.js", "worker.js", "llmzip.js", "llmzip.wasm"].map((name) => `GET /${name}`);
    assert.deepEqual([...new Set(asked)].sort(), files.sort());
});
