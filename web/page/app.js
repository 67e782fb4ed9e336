/** The page: files in, figures and files out, and a text coloured by cost. The work is the worker's. */

const $ = (id) => document.getElementById(id);

/** First bytes of an archive (docs/format.md, section 3). */
const MAGIC = [0x9c, 0x4c, 0x0d, 0x0a];

/** Bytes of a text that are coloured at most. */
const SHOWN = 8192;

/** Milliseconds without typing before a text is coloured. */
const REST = 400;

const grouped = (number) => number.toLocaleString("en");

/** A worker, the tasks that wait for it, and the one that it has: each waits for its turn. */
class Crew {
    #worker = null;
    #queue = [];
    #current = null;

    /** Returns the result of `message` once it had its turn. `onProgress` hears of the bytes done. */
    run(message, onProgress = () => {}) {
        return new Promise((resolve, reject) => {
            this.#queue.push({ message, onProgress, resolve, reject });
            this.#next();
        });
    }

    /** Ends the current task, whose caller gets `reason`; the others go on in another worker. */
    cancel(reason) {
        this.#dismiss();
        this.#settle((task) => task.reject(reason));
    }

    #next() {
        if (this.#current || this.#queue.length === 0) return;
        this.#current = this.#queue.shift();
        this.#worker ??= this.#hired();
        this.#worker.postMessage(this.#current.message);
    }

    #hired() {
        const worker = new Worker("worker.js", { type: "module" });
        worker.onmessage = ({ data }) => {
            if ("done" in data) return this.#current?.onProgress(data.done);
            if (data.isLost) this.#dismiss();
            this.#settle((task) =>
                "error" in data ? task.reject(new Error(data.error)) : task.resolve(data.result));
        };
        worker.onerror = (event) => {
            event.preventDefault();
            this.#dismiss();
            this.#settle((task) => task.reject(new Error("The compressor could not be started.")));
        };
        return worker;
    }

    #dismiss() {
        this.#worker?.terminate();
        this.#worker = null;
    }

    #settle(how) {
        const task = this.#current;
        this.#current = null;
        if (task) how(task);
        this.#next();
    }
}

const crew = new Crew(); // one, for one copy of the model: pictures wait for files

class Cancelled extends Error {}

/** Returns how long `content` is once the browser's gzip had it. */
async function gzipLength(content) {
    const stream = new Blob([content]).stream().pipeThrough(new CompressionStream("gzip"));
    return (await new Response(stream).arrayBuffer()).byteLength;
}

const element = (name, text = "", properties = {}) =>
    Object.assign(document.createElement(name), { textContent: text }, properties);

/** A link that saves `content` as a file. */
function saving(link, content, name, type = "application/octet-stream") {
    if (link.href) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.hidden = false;
    return link;
}

/** Puts a result among the others, the newest first. */
function show(title, figures, bars, content, name) {
    const card = element("article", "", { className: "result" });
    const list = element("dl");
    for (const [what, figure] of figures) {
        const pair = element("div");
        pair.append(element("dt", what), element("dd", figure));
        list.append(pair);
    }
    card.append(element("h3", title), list);
    if (bars.length > 0) {
        const chart = element("div", "", { className: "bars" });
        const most = Math.max(1, ...bars.map(([, length]) => length));
        for (const [what, length] of bars) {
            const label = `${what}: ${grouped(length)} bytes`;
            const bar = element("meter", "", { max: most, value: length });
            bar.setAttribute("aria-label", label);
            chart.append(element("span", label), bar);
        }
        card.append(chart);
    }
    const link = saving(element("a", `Save ${name}`, { className: "button" }), content, name);
    const paragraph = element("p");
    paragraph.append(link);
    card.append(paragraph);
    $("results").prepend(card);
}

const isArchive = (content) => MAGIC.every((byte, i) => content[i] === byte);

/** Returns the name that a restored file gets. */
const restoredName = (name) => (/.\.llmz$/i.test(name) ? name.slice(0, -5) : `${name}.restored`);

/** Returns a callback that draws progress through `total` bytes, and says how long the rest takes. */
function meter(doing, total) {
    const began = performance.now();
    return (done) => {
        const share = total > 0 ? Math.min(done / total, 1) : 1;
        $("progress").value = share;
        const seconds = (performance.now() - began) / 1000;
        const left = Math.ceil((seconds / share) * (1 - share));
        $("doing").textContent =
            seconds > 2 && share > 0 ? `${doing}: ${left} s left` : `${doing} …`;
    };
}

async function shrink(name, content, level) {
    const began = performance.now();
    const doing = `Shrinking ${name}`;
    const message = { task: "compress", content, level };
    const archive = await crew.run(message, meter(doing, 2 * content.length));
    const seconds = (performance.now() - began) / 1000;
    const gzip = await gzipLength(content);
    const figures = [
        ["before", `${grouped(content.length)} bytes`],
        ["after", `${grouped(archive.length)} bytes`],
        ["ratio", (content.length / archive.length).toFixed(3)],
        ["bits per byte", content.length ? ((8 * archive.length) / content.length).toFixed(3) : "–"],
        ["time, checked", `${seconds.toFixed(1)} s`],
    ];
    const bars = [["file", content.length], ["gzip", gzip], ["llmzip", archive.length]];
    show(`${name}, level ${level}`, figures, bars, archive, `${name}.llmz`);
}

async function restore(name, archive) {
    const began = performance.now();
    const restored = restoredName(name);
    $("progress").removeAttribute("value");
    const content = await crew.run({ task: "decompress", content: archive });
    const seconds = (performance.now() - began) / 1000;
    const figures = [
        ["archive", `${grouped(archive.length)} bytes`],
        ["restored", `${grouped(content.length)} bytes`],
        ["time", `${seconds.toFixed(1)} s`],
    ];
    show(restored, figures, [], content, restored);
    return content;
}

/** Works through `files`, one after the other. */
async function take(files) {
    for (const file of files) {
        $("message").textContent = "";
        $("work").hidden = false;
        $("progress").value = 0;
        $("doing").textContent = `Reading ${file.name} …`;
        try {
            const content = new Uint8Array(await file.arrayBuffer());
            const plain = isArchive(content)
                ? await restore(file.name, content)
                : (await shrink(file.name, content, Number($("level").value)), content);
            draw(file.name, plain);
        } catch (error) {
            if (!(error instanceof Cancelled)) $("message").textContent = `${file.name}: ${error.message}`;
        }
        $("work").hidden = true;
    }
}

let waiting = Promise.resolve();

/** Files that come while others are at work wait. */
const enqueue = (files) => (waiting = waiting.then(() => take([...files])));

const picture = $("picture").attachShadow({ mode: "open" });
let drawn = 0;

/** Colours the beginning of `content`, unless something else is drawn meanwhile. */
async function draw(name, content) {
    const turn = ++drawn;
    const isCut = content.length > SHOWN;
    const message = { task: "explain", name, content: content.slice(0, SHOWN), isCut };
    let html;
    try {
        html = await crew.run(message);
    } catch (error) {
        if (turn === drawn) $("token").textContent = error.message;
        return;
    }
    if (turn !== drawn) return;
    const page = new DOMParser().parseFromString(html, "text/html"); // runs nothing
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(page.querySelector("style").textContent);
    picture.adoptedStyleSheets = [sheet];
    picture.replaceChildren(...page.querySelectorAll("p, pre"));
    $("token").textContent = "";
    saving($("save-picture"), html, `${name}.html`, "text/html");
}

let typing;

function drawTyped() {
    clearTimeout(typing);
    const content = new TextEncoder().encode($("text").value);
    typing = setTimeout(() => draw("text", content), REST);
}

picture.addEventListener("click", ({ target }) => {
    if (target.title) $("token").textContent = `“${target.textContent}” costs ${target.title}`;
});
$("text").addEventListener("input", drawTyped);
$("file").addEventListener("change", ({ target }) => {
    enqueue(target.files);
    target.value = "";
});
$("cancel").addEventListener("click", () => crew.cancel(new Cancelled()));
for (const type of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
        event.preventDefault();
        $("drop").classList.toggle("over", type === "dragover");
        if (type === "drop") enqueue(event.dataTransfer.files);
    });
}

crew.run({ task: "about" }).then(
    (about) => {
        $("about").textContent = `${about}. Archives are those of the program, byte for byte.`;
        drawTyped();
    },
    (error) => {
        $("about").textContent = error.message;
    },
);
if (location.protocol === "file:") {
    $("about").textContent =
        "Browsers load no module from a folder: serve it, for example by python3 -m http.server, and open its address.";
}
