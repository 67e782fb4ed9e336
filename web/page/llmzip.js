/** llmzip's WebAssembly module: bytes in, bytes out. For the page's worker, and for Node. */

/** An error of llmzip, in a sentence: damage, a missing model, a limit. The module can go on. */
export class LlmzipError extends Error {}

/** One instance of the module; a call at a time. */
export class Llmzip {
    #exports;
    #onProgress;

    /**
     * Instantiates the module whose `bytes` these are. `onProgress` is called with the number of plain bytes just
     * processed: in all, the content's length, or twice that where an archive is verified.
     */
    static async load(bytes, onProgress = () => {}) {
        const llmzip = new Llmzip();
        const progress = (nBytes) => llmzip.#onProgress(nBytes);
        const { instance } = await WebAssembly.instantiate(bytes, { llmzip: { progress } });
        llmzip.#exports = instance.exports;
        llmzip.#onProgress = onProgress;
        return llmzip;
    }

    /** Returns the archive of `content`; `level` is 1 (fast) to 9 (small). */
    compress(content, { level = 6, verify = true } = {}) {
        return this.#call("compress", content, [level, verify ? 1 : 0]);
    }

    /** Returns the content of `archive`. */
    decompress(archive) {
        return this.#call("decompress", archive, []);
    }

    /** Returns the page, in HTML, of `text`, which `name` has, or more of it where it `isCut`: `llmzip explain`'s. */
    explain(name, text, { isCut = false } = {}) {
        const title = new TextEncoder().encode(name);
        const both = new Uint8Array(title.length + text.length);
        both.set(title);
        both.set(text, title.length);
        const page = this.#call("explain", both, [title.length, isCut ? 1 : 0]);
        return new TextDecoder().decode(page);
    }

    /** Returns the version, and the instruction set that it runs on. */
    about() {
        return new TextDecoder().decode(this.#call("about", new Uint8Array(), []));
    }

    #call(name, bytes, args) {
        const { memory, input, output, output_len } = this.#exports;
        const address = input(bytes.length) >>> 0;
        if (address === 0) {
            throw new LlmzipError(`There is no memory for ${bytes.length} bytes.`);
        }
        new Uint8Array(memory.buffer, address, bytes.length).set(bytes);
        const isDone = this.#exports[name](...args);
        const result = new Uint8Array(memory.buffer, output() >>> 0, output_len() >>> 0).slice();
        input(0);
        if (!isDone) {
            throw new LlmzipError(new TextDecoder().decode(result));
        }
        return result;
    }
}
