/** Does the page's work beside it, so that the page stays alive. One task at a time: {task, ...} in, {result} or {error} out. */

import { Llmzip, LlmzipError } from "./llmzip.js";

/** Milliseconds between two reports of progress. */
const PERIOD = 100;

let done = 0;
let reported = 0;

function onProgress(nBytes) {
    done += nBytes;
    if (performance.now() - reported > PERIOD) {
        reported = performance.now();
        postMessage({ done });
    }
}

async function load() {
    const response = await fetch("llmzip.wasm");
    if (!response.ok) {
        throw new Error(`llmzip.wasm could not be fetched: ${response.status} ${response.statusText}`);
    }
    return Llmzip.load(await response.arrayBuffer(), onProgress);
}

const loading = load();

const TASKS = {
    about: (llmzip) => llmzip.about(),
    compress: (llmzip, { content, level }) => llmzip.compress(content, { level }),
    decompress: (llmzip, { content }) => llmzip.decompress(content),
    explain: (llmzip, { name, content, isCut }) => llmzip.explain(name, content, { isCut }),
};

/** A sentence for the page. After an error that is not llmzip's own, the instance is lost. */
function sentenceOf(error) {
    if (error instanceof LlmzipError) {
        const text = error.message;
        return text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
    }
    if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
        return "The browser has too little memory for this.";
    }
    return `The compressor could not be started: ${error.message}.`;
}

onmessage = async ({ data }) => {
    done = 0;
    try {
        const result = TASKS[data.task](await loading, data);
        postMessage({ result }, result.buffer ? [result.buffer] : []);
    } catch (error) {
        postMessage({ error: sentenceOf(error), isLost: !(error instanceof LlmzipError) });
    }
};
