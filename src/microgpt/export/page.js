"use strict";
// The page: what is typed, shown and written. Texts enter it as text alone, never as HTML.

const NO_WEBASSEMBLY =
  "This browser runs no WebAssembly with vectors, or has it switched off: the page writes in plain JavaScript, " +
  "and does not learn.";
const MOST_AT_ONCE = 4096; // texts between two looks for a stop
const SHOWN = 10; // of the most probable characters
const find = (id) => document.getElementById(id);

let about = null; // what the page says of its model
let learning = null; // the compiled kernel, and what a training here is asked for
let brought = null; // a text that came with the page
let writer = null; // the model with its vocabulary, once its weights are read
let writing = false; // a text is under way: the bars follow it
let stopping = false;

/** An element with a class and a text. */
function made(tag, name, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

// ── I. What is typed ────────────────────────────────────────────────────────────────────────────────────────────────

/** Tells what is wrong with the prompt, offers to spell it as the model can, and returns whether all is well. */
function tell(text) {
  const [place, message] = [find("trouble"), trouble(writer, text)];
  if (place.dataset.told === message) return !message;
  place.dataset.told = place.textContent = message;
  find("prompt").setAttribute("aria-invalid", String(message !== ""));
  if (message && mends(writer.tokenizer, text)) {
    const button = made("button", "", "Use the nearest");
    button.type = "button";
    button.addEventListener("click", mend);
    place.append(button);
  }
  return !message;
}

function mend() {
  find("prompt").value = writer.tokenizer.mended(find("prompt").value);
  find("prompt").focus();
  look();
}

// ── II. What comes next ─────────────────────────────────────────────────────────────────────────────────────────────

let reader = null; // of the prompt
let looking = false;
let changed = false; // since the look that is under way began

/** Shows the chances after the prompt. One look at a time: the newest text wins. */
async function look() {
  changed = true;
  if (looking || !writer) return;
  looking = true;
  while (changed) {
    changed = false;
    const text = find("prompt").value;
    const readable = tell(text);
    find("next-chances").classList.toggle("unreadable", !readable);
    if (!readable || writing) continue;
    const logits = await reader.logits(writer.tokens(text), () => changed || writing);
    if (logits && !writing) show(logits, text);
  }
  looking = false;
}

/** Draws the bars: chances at the temperature, marks at temperature 1, most probable first. */
function show(logits, text) {
  const own = writer.chances(logits, 1);
  const drawn = writer.chances(logits, temperature());
  const best = Array.from(own.keys()).sort((a, b) => own[b] - own[a]);
  find("after").replaceChildren(made("span", "hint", text ? "after " : "at the beginning"), tail(text));
  Array.from(find("chances").children).forEach((row, place) => {
    const token = best[place];
    const character = writer.tokenizer.texts[token]; // BOS has none
    const name = token === writer.tokenizer.bos ? "the end" : nameOf(character);
    const [sign, track, percent] = row.children;
    sign.textContent = name ?? alone(character);
    sign.classList.toggle("named", name !== undefined);
    track.children[0].style.width = `${100 * drawn[token]}%`;
    track.children[1].style.left = `${100 * own[token]}%`;
    percent.textContent = `${(100 * drawn[token]).toFixed(1)}%`;
  });
}

/** The last characters of a text, on one line. */
function tail(text) {
  const last = Array.from(text.slice(-60)).slice(-24).join(""); // a character is one or two of a string's units
  return made("bdi", "", text && `“${last.length < text.length ? "…" : ""}${last.replace(/\n/g, "↵")}”`);
}

/** The rows of the bars, empty. */
function rows() {
  find("chances").replaceChildren();
  const count = Math.min(SHOWN, writer.tokenizer.bos + (writer.running ? 0 : 1));
  for (let i = 0; i < count; i++) {
    const row = made("li", "");
    const track = made("span", "track");
    track.setAttribute("aria-hidden", "true");
    track.append(made("div", "bar"), made("div", "own"));
    row.append(made("bdi", "sign"), track, made("span", "percent"));
    find("chances").append(row);
  }
}

// ── III. Writing ────────────────────────────────────────────────────────────────────────────────────────────────────

const temperature = () => Number(find("temperature").value);

/** Texts that the model writes after a prompt: `heard(piece, logits)` is told of each token's text, or of a whole text's
    at once, and of each text that begins, with null. A seed (a whole number, or its digits) writes the same texts again,
    and the same as `microgpt sample --seed`. */
async function write(options = {}, heard = () => {}, stopped = () => false) {
  const { prompt = "", count = 5, temperature = writer.usual, length = 256, seed = anySeed() } = options;
  const message = trouble(writer, prompt);
  if (message) throw new Error(message);
  const dice = new Dice(BigInt(seed));
  const own = readerOf(writer.gpt);
  const texts = [];
  for (let block = 1; !writer.running && own instanceof Kernel && texts.length < count && !stopped(); block *= 2) {
    const many = Math.min(block, count - texts.length, MOST_AT_ONCE);
    for (const text of writer.documents(own, prompt, { dice, temperature, count: many })) {
      heard("", null);
      heard(text);
      texts.push(writer.tokenizer.normalized(prompt) + text);
    }
    await breathe();
  }
  while (texts.length < count && !stopped()) {
    let text = writer.tokenizer.normalized(prompt);
    heard("", null);
    for await (const [character, logits] of writer.write(own, prompt, { dice, temperature, length, stopped })) {
      text += character;
      heard(character, logits);
    }
    texts.push(text);
  }
  return texts;
}

const anySeed = () => String(crypto.getRandomValues(new Uint32Array(1))[0]);

/** Writes what the form asks for, and shows it as it is drawn. */
async function begin() {
  if (writing || !writer || !find("form").reportValidity()) return;
  const prompt = writer.tokenizer.normalized(find("prompt").value);
  if (!tell(prompt)) return find("prompt").focus();
  underWay(true);
  const seed = find("seed").value || anySeed();
  const sheet = new Sheet(prompt);
  const options = { prompt, seed, count: find("count").valueAsNumber, length: find("length").valueAsNumber };
  await write({ ...options, temperature: temperature() }, (...drawn) => sheet.add(...drawn), () => stopping);
  const full = writer.running && !sheet.drawn && !stopping;
  const told = `${stopping ? "Stopped after" : "Written:"} ${sheet.summary()}, seed ${seed}.`;
  find("status").textContent = full ? "The text already has as many characters: choose a larger number." : told;
  sheet.end();
  underWay(false);
}

function underWay(now) {
  const focused = document.activeElement;
  [writing, stopping] = [now, false];
  find("write").disabled = now;
  find("stop").disabled = !now;
  if (focused === find("stop") || focused === find("write")) find(now ? "stop" : "write").focus();
  if (now) find("status").textContent = "Writing …";
  else settle(), look();
}

/** Where texts appear: the prompt in its colour, then character after character. */
class Sheet {
  constructor(prompt) {
    Object.assign(this, { prompt, text: prompt, item: null, drawn: 0, shown: 0, start: performance.now() });
    find("texts").replaceChildren();
  }

  add(character, logits) {
    if (logits === null) return this.next();
    if (logits && performance.now() > this.shown + 50) { // the bars follow at the pace of eyes
      this.shown = performance.now();
      show(logits, this.text);
    }
    this.ink.appendData(character);
    this.text += character;
    this.drawn += Array.from(character).length;
  }

  next() {
    this.end();
    this.text = this.prompt;
    this.ink = document.createTextNode("");
    this.item = made("li", "writing");
    this.item.dir = "auto";
    this.item.append(made("span", "given", this.prompt), this.ink);
    find("texts").append(this.item);
  }

  end() {
    this.item?.classList.remove("writing");
  }

  summary() {
    const seconds = Math.max((performance.now() - this.start) / 1000, 0.001);
    const texts = counted(find("texts").children.length, "text");
    return `${texts}, ${counted(this.drawn, "character")} in ${seconds.toPrecision(2)} s`;
  }
}

// ── IV. Beginning ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Reads the weights, which stand at the end of this page, and lets go of their text. */
async function load() {
  [about, learning] = ["about", "learning"].map((id) => JSON.parse(find(id).textContent));
  const size = about.matrices.reduce((sum, [, rows, columns]) => sum + rows * columns, 0);
  const text = find("weights").textContent;
  const weights = text ? await decode(text, size) : firstWeights(learning.settings, size);
  find("weights").remove();
  const gpt = (await quickened(weights)) ?? new GPT(about.config, matricesOf(weights, about.matrices));
  return new Writer(gpt, new Tokenizer(about.characters, about.normalize, about.merges), about.kind);
}

/** The model in the compiled kernel, which also learns; null, once the page says why, where there is none. */
async function quickened(weights) {
  try {
    if (!learning.kernels) throw new Trouble(learning.why);
    const [both, { own }] = [await unpacked(learning.kernels), learning];
    const modules = [both.subarray(0, own), both.subarray(own)].map((bytes) => WebAssembly.compile(bytes));
    [learning.kernel, learning.fewer] = await Promise.all(modules);
    return (await Kernel.started(learning.kernel, about.config, learning.params)).load({ weights });
  } catch (error) {
    find("no-learning").textContent = error instanceof Trouble ? error.message : NO_WEBASSEMBLY;
    find("learn-form").hidden = true;
    return null;
  }
}

/** What reads tokens for a model, and remembers them. */
const readerOf = (gpt) => (gpt instanceof Kernel ? gpt : new Reader(gpt));

/** The probabilities (vocabulary,) of what comes after a text, BOS last, as `microgpt` gives them. */
async function probabilities(text) {
  const message = trouble(writer, text);
  if (message) throw new Error(message);
  return Array.from(softmax(await readerOf(writer.gpt).logits(writer.tokens(text))));
}

function listen() {
  const told = () => (find("temperature-told").textContent = temperature().toFixed(2));
  find("temperature").addEventListener("input", () => (told(), look()));
  find("prompt").addEventListener("input", look);
  find("stop").addEventListener("click", () => (stopping = true));
  find("form").addEventListener("submit", (event) => (event.preventDefault(), begin()));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") (stopping = true), lesson?.running && halt();
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (document.activeElement.form === find("learn-form")) learn();
    else begin();
  });
}

/** The form as it suits the model. */
function fit() {
  find("temperature").value = writer.usual;
  find("temperature").dispatchEvent(new Event("input"));
  find("length-field").hidden = !writer.running;
  find("count").value = writer.running ? 1 : 5;
  rows();
}

async function start() {
  writer = await load();
  reader = readerOf(writer.gpt);
  listen();
  fit();
  find("write").disabled = false;
  find("status").textContent = "";
  if (writer.gpt instanceof Kernel) await offer();
  await look();
}

window.microgpt = { probabilities, write, learn, ready: new Promise((done) => (window.onload = () => done(start()))) };
