"use strict";
// Learning in the page: a text, a thread that trains on it, a curve, what the model writes meanwhile, and its weights.

const BINS = 240; // points of the curve
const SHOWN_TEXTS = { seed: 7, count: 5, length: 160 }; // what is written between two looks at the weights

const PASTED = "text.txt"; // the file that what was typed can be saved as

let thread = null; // that trains, or stands still
let lesson = null; // what it learns: its text, settings, losses and, once it stands still, its state
let file = null; // a text that was chosen: its name and its bytes
let choosing = null; // while they are read
let waiting = null; // weights that came while a text was under way

// ── I. The text ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Says what is wrong with the text, and offers a new model where that would help. */
function refuse(message, offer = false) {
  find("learn-trouble").textContent = message;
  find("text").setAttribute("aria-invalid", String(message !== ""));
  if (!offer) return;
  const button = made("button", "", "Learn it with a new model");
  button.type = "button";
  button.addEventListener("click", () => ((find("with").value = "new"), learn()));
  find("learn-trouble").append(" ", button);
}

const tooLong = (size) =>
  `A page can learn ${counted(MOST_BYTES, "byte")} of text, found ${size.toLocaleString("en")}: choose a part of it.`;

/** The text to learn, with its name and where the command line finds it, or null where there is none that it can be. */
function given() {
  const typed = find("text").value;
  const bytes = file ? file.bytes : new TextEncoder().encode(typed);
  if (bytes.length > MOST_BYTES) return refuse(tooLong(bytes.length)), null;
  if (file) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      return { text, bytes, name: file.name, source: `./${file.name}`, kind: "auto" };
    } catch {
      return refuse(`${file.name} is no text in UTF-8: save it as UTF-8.`), null;
    }
  }
  if (!typed && brought) return brought;
  return { text: typed, bytes, name: PASTED, source: `./${PASTED}`, kind: "auto", pasted: true };
}

async function choose() {
  const [chosen] = find("file").files;
  refuse(chosen && chosen.size > MOST_BYTES ? tooLong(chosen.size) : "");
  if (!chosen || chosen.size > MOST_BYTES) return dismiss();
  file = { name: chosen.name, bytes: new Uint8Array(await chosen.arrayBuffer()) };
  find("text").placeholder = `${chosen.name} will be learned; what is typed here takes its place.`;
}

/** Forgets the file that was chosen. */
function dismiss() {
  find("file").value = "";
  file = null;
  find("text").placeholder = learning.hint;
}

// ── II. Learning ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Begins to learn the text, with this model or a new one, and tells how it went once it stands still. */
async function learn() {
  if (lesson?.running || !find("learn-form").reportValidity()) return null;
  refuse("");
  await choosing;
  const text = given();
  if (!text) return null;
  const fresh = find("with").value === "new";
  const settings = { ...learning.settings, steps: find("steps").valueAsNumber };
  const model = fresh ? { ...about.config, most: learning.most } : { ...writer.gpt.config, most: Infinity };
  const asked = {
    text: text.text,
    kind: !fresh ? writer.kind : find("kind").value === "auto" ? text.kind : find("kind").value,
    tokenizer: fresh ? null : writer.tokenizer.described,
    module: fresh || writer.gpt.fewer ? learning.fewer : learning.kernel,
    config: model,
    params: fresh ? learning.params : writer.gpt.params,
    state: fresh ? null : { weights: writer.gpt.save().weights },
    setting: settings,
  };
  try {
    thread ??= new Worker(threadAddress);
  } catch {
    refuse("This browser lets no page begin a thread of its own, which learning needs: open it in another.");
    return null;
  }
  lesson = { ...text, settings, fresh, step: 0, bins: [], seconds: 0, running: true, state: null };
  const current = lesson;
  lesson.over = new Promise((resolve) => (lesson.done = resolve));
  thread.onmessage = ({ data }) => current === lesson && hear(data);
  thread.onerror = () => {
    thread = thread.terminate() ?? null;
    hear({ trouble: "The browser ended the thread that learned: there may be too little memory." });
  };
  thread.postMessage(asked);
  buttons();
  find("learned").textContent = "Reading the text …";
  await lesson.over;
  return { step: lesson.step, seconds: lesson.seconds, heldOut: lesson.heldOut, losses: lesson.bins.map(meanOf) };
}

/** What the thread tells. */
async function hear({ begun, losses, step, seconds, weights, ended, trouble, unknown, kept }) {
  const current = lesson;
  if (begun) {
    Object.assign(lesson, begun);
    if (lesson.fresh) await renew(begun);
  }
  if (losses?.length) {
    const size = Math.ceil(lesson.settings.steps / BINS);
    losses.forEach((loss, i) => {
      const bin = (lesson.bins[Math.floor((step - losses.length + i) / size)] ??= { sum: 0, count: 0 });
      bin.sum += loss;
      bin.count += 1;
    });
    Object.assign(lesson, { step, seconds, first: lesson.first ?? losses[0], last: losses.at(-1) });
    find("learned").textContent = `Step ${step.toLocaleString("en")}, loss ${meanOf(lesson.bins.at(-1)).toFixed(2)}.`;
    draw();
  }
  if (weights) take(weights);
  if (trouble) {
    refuse(trouble, unknown !== undefined);
    find("learned").textContent = "";
  }
  if (ended ?? (lesson.step && kept)) still({ ...(ended ?? kept) });
  if (ended || trouble) {
    current.running = false;
    current.done();
    buttons();
  }
}

/** The thread stands still: what it holds can be written with, downloaded, or gone on with. */
function still({ heldOut, ...state }) {
  lesson.state = state;
  lesson.heldOut = heldOut;
  take(state.weights);
  const steps = counted(lesson.step, "step");
  const finished = lesson.step === lesson.settings.steps;
  const rest = heldOut === undefined ? "" : `, ${heldOut.toFixed(2)} on the tenth that it did not see`;
  const loss = meanOf(lesson.bins.at(-1) ?? { sum: NaN, count: 1 }).toFixed(2);
  const done = `${finished ? "Learned" : "Stopped after"} ${steps} in ${lesson.seconds.toFixed(2)} s`;
  find("learned").textContent = `${done}: loss ${loss}${rest}, in nats a ${about.unit}.`;
}

const meanOf = ({ sum, count }) => sum / count;

function halt() {
  if (lesson?.running) thread.postMessage("stop");
  else if (lesson?.state && lesson.step < lesson.settings.steps) {
    lesson.running = true;
    lesson.over = new Promise((resolve) => (lesson.done = resolve));
    thread.postMessage("go on");
    buttons();
  }
}

function buttons() {
  const [running, left] = [lesson?.running, lesson?.state && lesson.step < lesson.settings.steps];
  const focused = document.activeElement;
  find("kind").disabled = find("with").value === "own"; // which has its own
  find("learned").setAttribute("aria-busy", String(Boolean(running))); // steps are not read out one by one
  find("learn").disabled = Boolean(running);
  find("halt").disabled = !running && !left;
  find("halt").textContent = !running && left ? "Go on" : "Stop";
  find("download").disabled = Boolean(running) || !lesson?.state;
  if (focused?.disabled) find(running ? "halt" : "learn").focus();
}

// ── III. What it has learned ────────────────────────────────────────────────────────────────────────────────────────

/** A model of the text's own characters takes the place of the one that writes. */
async function renew({ kind, characters, normalize, vocabulary, params }) {
  stopping = true;
  const kernel = await Kernel.started(learning.fewer, { ...about.config, vocabulary }, params);
  kernel.fewer = true;
  writer = new Writer(kernel, new Tokenizer(characters, normalize), kind);
  find("title").textContent = `A GPT of ${params.toLocaleString("en")} parameters`;
  const known = `${counted(vocabulary - 1, "character")} and the mark of begin and end`;
  find("sizes").textContent = `${counted(params, "parameter")}; ${known}; made in this page.`;
  reader = readerOf(writer.gpt);
  fit();
}

/** New weights for what writes, once no text is under way. */
function take(weights) {
  waiting = weights;
  if (!writing) settle();
}

async function settle() {
  if (!waiting) return;
  writer.gpt.load({ weights: waiting });
  waiting = null;
  look();
  if (settle.busy) return;
  settle.busy = true;
  const texts = await write({ ...SHOWN_TEXTS, count: writer.running ? 1 : SHOWN_TEXTS.count });
  find("samples").replaceChildren(...texts.map((text) => Object.assign(made("li", "", text), { dir: "auto" })));
  settle.busy = false;
}

/** The curve: means of steps, from the left to the right, and from the highest to somewhat below the lowest. */
function draw() {
  const means = lesson.bins.map(meanOf);
  const [most, least] = [Math.max(...means), 0.9 * Math.min(...means)];
  const last = Math.max(1, Math.ceil(lesson.settings.steps / Math.ceil(lesson.settings.steps / BINS)) - 1);
  const height = (loss) => 155 - (150 * (loss - least)) / (most - least);
  const points = means.map((loss, i) => `${((600 * i) / last).toFixed(1)},${height(loss).toFixed(1)}`);
  find("line").setAttribute("points", points.join(" "));
  find("most").textContent = most.toFixed(2);
  find("now").textContent = means.at(-1).toFixed(2);
  find("curve").setAttribute("aria-label", `Loss from ${most.toFixed(2)} to ${means.at(-1).toFixed(2)}`);
  find("shown").hidden = false;
}

// ── IV. Its weights as a file ───────────────────────────────────────────────────────────────────────────────────────

/** A checkpoint as `microgpt --resume` takes it: safetensors, with what the training was asked for. */
function checkpoint() {
  const description = structuredClone(learning.description);
  const { training } = description;
  const { characters, normalize, merges } = writer.tokenizer.described;
  const { vocabulary } = writer.gpt.config;
  description.step = lesson.state.step;
  description.model.vocabulary = vocabulary;
  description.kind = training.request.documents = lesson.kind;
  description.tokenizer = { characters, normalize, ...(merges.length ? { merges } : {}) };
  description.schema = merges.length ? 3 : 1;
  if (!merges.length) training.request.tokens = "characters";
  training.request.normalize = normalize;
  training.request.settings.steps = lesson.settings.steps;
  training.request.data = [lesson.source];
  training.provenance = { name: lesson.name, sources: [lesson.source], sha256: sha256(lesson.bytes) };
  const header = { __metadata__: { microgpt: JSON.stringify(description) } };
  let end = 0;
  for (const prefix of ["", "adam_m.", "adam_v."]) {
    for (const [name, rows, columns] of about.matrices) {
      const shape = [["wte", "lm_head"].includes(name) ? vocabulary : rows, columns];
      header[prefix + name] = { dtype: "F32", shape, data_offsets: [end, (end += 4 * shape[0] * shape[1])] };
    }
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(8 + text.length + (-text.length & 7)).fill(32); // blanks
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(text, 8);
  const { weights, adam_m, adam_v } = lesson.state;
  return new Blob([padded, weights, adam_m, adam_v], { type: "application/octet-stream" });
}

function download() {
  linkTo("model.safetensors", checkpoint()).click();
  const steps = lesson.step < lesson.settings.steps ? "" : ` --steps ${2 * lesson.settings.steps}`;
  const beside = lesson.pasted ? [" beside the text, ", linkTo(PASTED, new Blob([lesson.bytes]))] : [];
  const command = made("code", "", `microgpt --resume model.safetensors${steps}`);
  find("kept").replaceChildren("To go on from it", ...beside, ": ", command);
}

function linkTo(name, blob) {
  return Object.assign(made("a", "", name), { href: URL.createObjectURL(blob), download: name });
}

// ── V. Beginning ────────────────────────────────────────────────────────────────────────────────────────────────────

let threadAddress = ""; // of the scripts that the thread needs, which are this page's own

async function offer() {
  const scripts = Array.from(document.querySelectorAll("script[data-thread]"), (script) => script.textContent);
  threadAddress = URL.createObjectURL(new Blob([...scripts, "listening();"], { type: "text/javascript" }));
  find("text").addEventListener("input", () => (refuse(""), dismiss()));
  find("text").addEventListener("beforeinput", (event) => {
    const added = event.data ?? event.dataTransfer?.getData("text/plain") ?? "";
    if (added.length <= MOST_BYTES) return;
    event.preventDefault();
    refuse(tooLong(added.length));
  });
  find("file").addEventListener("change", () => (choosing = choose()));
  find("learn-form").addEventListener("submit", (event) => (event.preventDefault(), learn()));
  find("with").addEventListener("change", buttons);
  find("halt").addEventListener("click", halt);
  find("download").addEventListener("click", download);
  find("steps").value = learning.settings.steps;
  dismiss();
  buttons();
  if (!find("brought").textContent) return;
  const bytes = await unpacked(find("brought").textContent);
  brought = { ...learning.brought, bytes, text: new TextDecoder().decode(bytes) };
  learn();
}
