// The page Model: the whole forward pass of a run on a text, every number of it, and what happens when a part of the
// model is switched off or changed. All that is chosen lives in the address, so that a link shows the same.

import { chanceBar } from "./chances.js";
import { asker, checker, chooser, looking, nothingYet } from "./choosing.js";
import { element, number } from "./elements.js";
import { forwardView } from "./forward.js";
import { latest } from "./heat.js";
import { numberView } from "./number.js";
import { fallen, listed, spokenToken, told, withoutEdit } from "./stages.js";
import { stripView } from "./strip.js";
import { plain } from "./words.js";

const MANY_LAYERS = 4; // of more only the first and the last are open at first
const NEWS = 2000; // milliseconds between two looks at a run that is being trained
const FORGOTTEN = { stage: null, index: null, edits: null, open: null };

export const mount = (...given) => looking(Page, ...given);

class Page {
  constructor(root, services, runs) {
    this.services = services;
    this.runs = runs;
    this.state = {};
    this.tick = 0;
    this.prompts = {}; // of each run, the text to begin with
    this.change = (changes) => services.navigate("model", this.sound(changes), { replace: true });
    this.show = latest((state) => this.refresh(state));
    this.build(root);
  }

  // A number of a pair of positions is none of another position's, so it is closed there.
  sound(changes) {
    const paired = /\.(scores|attention)$/.test(this.state.stage ?? "") && this.state.index !== undefined;
    return paired && "at" in changes && !("stage" in changes || "index" in changes)
      ? { ...changes, stage: null, index: null }
      : changes;
  }

  update(state) {
    this.show(state);
  }

  unmount() {
    clearTimeout(this.waiting);
    this.chooser.unmount();
    removeEventListener("themechange", this.themed);
    removeEventListener("resize", this.themed);
  }

  build(root) {
    this.ask = asker(this.services);
    this.chooser = chooser(this.services, this.runs, this.change, FORGOTTEN, ["What it attends to: X-ray", "xray"]);
    this.checker = checker(this.services);
    this.strip = stripView(this.services, this.change);
    this.forward = forwardView(this.services, this.change);
    this.number = numberView(this.services, this.change);
    this.trouble = element("p", { id: "xray-trouble", class: "trouble", role: "alert" });
    this.note = element("p", { id: "xray-note", class: "hint", "aria-live": "polite" });
    this.facts = element("p", { class: "facts", "aria-live": "polite", id: "model-loss" });
    this.edits = element("ul", { class: "edits", "aria-label": "Changes of the model" });
    this.chances = element("div", { class: "compared" });
    this.next = element(
      "button",
      { type: "button", id: "write-next", onclick: () => this.drawNext() },
      "Write the next letter",
    );
    this.drawn = element("p", { class: "hint", "aria-live": "polite", id: "drawn" });
    this.samples = element("div", { class: "before-and-now", translate: "no" });
    this.body = element(
      "div",
      { class: "xray-body", hidden: true },
      this.strip.node,
      element(
        "div",
        { class: "model-columns" },
        this.forward.node,
        element(
          "div",
          { class: "beside" },
          this.number.node,
          section("Loss on this text", this.facts, this.edits),
          section("What comes next", this.chances, this.next, this.drawn),
          section("What it writes", this.samples),
        ),
      ),
      this.checker.node,
    );
    this.body.addEventListener("keydown", (event) => event.key === "Escape" && this.number.close());
    root.append(
      element("h1", {}, "Model"),
      element(
        "p",
        { class: "lead" },
        "The whole way from a letter to the chances of the next one, in the numbers of your own model. Choose a cell " +
          "to see what it is made of, a name to see it at all positions; switch a head off, change a weight, and see " +
          "what that does.",
      ),
      this.runs.length ? this.chooser.node : nothingYet(this.services),
      this.trouble,
      this.note,
      this.body,
    );
    this.themed = () => this.draw();
    addEventListener("themechange", this.themed);
    addEventListener("resize", this.themed);
  }

  async refresh(state) {
    try {
      await this.look(state);
      this.trouble.textContent = "";
    } catch (error) {
      this.trouble.textContent = plain(error.message);
      this.body.classList.add("stale");
      if (state.edits) this.tellEdits(state, this.shown?.about.texts ?? []);
    }
  }

  async look(state) {
    this.state = state;
    const run = state.run ?? this.runs[0]?.name;
    this.chooser.fill(run);
    const { tick } = this; // a run under way is another one at each look
    const about = await this.ask("about", "/api/xray/run", { run, tick });
    const prompt = state.prompt ?? (this.prompts[run] ??= about.suggestion);
    this.chooser.draw(about, state, prompt);
    const open = opened(state.open, about.sizes.layer);
    const asked = { run, step: state.step, edits: state.edits, prompt };
    const numbered = state.stage && state.index !== undefined;
    const [reading, attention, pass] = await Promise.all([
      this.ask("reading", "/api/xray/read", { ...asked, tick }),
      this.ask("attention", "/api/xray/attention", { ...asked, layer: 0, tick }),
      this.ask("pass", "/api/xray/pass", { ...asked, at: state.at, open: open.join("."), tick }),
    ]);
    const { at } = pass;
    const chosen = { ...asked, at, stage: state.stage, index: state.index };
    const made = numbered ? await this.ask("number", "/api/xray/number", { ...chosen, tick }) : null;
    const over =
      state.stage && !numbered
        ? await this.ask("stage", "/api/xray/stage", { ...asked, stage: state.stage, tick })
        : null;
    this.shown = { state, run, about, asked, reading, pass, at, open, made, over };
    Object.assign(this.shown, { layer: 0, head: null, ...attention });
    this.draw();
    this.note.textContent = reading.note;
    this.checker.check(asked);
    this.write(asked);
    clearTimeout(this.waiting);
    if (pass.training && state.step === undefined) this.waiting = setTimeout(() => this.again(), NEWS);
  }

  again() {
    this.tick += 1;
    this.show(this.state);
  }

  // What it writes takes a little longer, so it comes after the picture.
  async write(asked) {
    const samples = await this.ask("samples", "/api/xray/samples", { ...asked, tick: this.tick }).catch(() => null);
    if (!samples || this.shown.asked !== asked) return;
    const list = (name, texts) =>
      element(
        "div",
        {},
        name && element("h3", {}, name),
        element("ol", {}, ...texts.map((text) => element("li", {}, text))),
      );
    this.samples.replaceChildren(
      ...(asked.edits ? [list("now", samples.now), list("before", samples.before)] : [list("", samples.now)]),
    );
  }

  draw() {
    if (!this.shown) return;
    const { state, about, reading, pass, at } = this.shown;
    this.body.hidden = false;
    this.body.classList.remove("stale");
    for (const view of [this.strip, this.forward, this.number]) view.draw(this.shown);
    this.tellLoss(pass.loss, state.edits);
    this.tellEdits(state, about.texts);
    this.tellChances(pass.chances, about.texts, Boolean(state.edits));
    this.next.disabled = at !== reading.tokens.length - 1;
    Object.assign(this.body.dataset, { at, step: pass.step, edits: state.edits ?? "" });
  }

  tellLoss({ now, before }, edits) {
    this.facts.dataset.loss = now;
    if (now === null) return (this.facts.textContent = "A loss takes a text of two tokens or more.");
    const more = `${now > before ? "+" : "−"}${number(Math.abs(now - before), 3)}`;
    const changed = edits ? `, before ${number(before, 4)}: ${more}` : "";
    return this.facts.replaceChildren(element("b", {}, number(now, 4)), ` nats per token${changed}`);
  }

  tellEdits(state, texts) {
    const all = listed(state.edits);
    const back = (name, edits) =>
      element("button", { type: "button", class: "quiet", onclick: () => this.change({ edits }) }, name);
    this.edits.replaceChildren(
      ...all.map((edit) =>
        element("li", {}, `${told(edit, texts)} `, back("Put back", withoutEdit(state.edits, edit))),
      ),
      ...(all.length > 1 ? [element("li", {}, back("Put everything back", null))] : []),
    );
    this.edits.hidden = !all.length;
  }

  tellChances(chances, texts, changed) {
    const most = Math.max(...chances.flatMap(([, now, before]) => [now, before]));
    this.chances.replaceChildren(
      element(
        "ol",
        { class: "chances", translate: "no" },
        chances.map(([token, now, before]) => chanceBar(token, texts[token], before, now, most, changed)),
      ),
      changed ? element("p", { class: "hint" }, "Marks: before the changes.") : "",
    );
  }

  // One token more: a random number falls somewhere among the chances.
  drawNext() {
    const { pass, about, asked } = this.shown;
    const random = Math.random();
    const { token, from, to } = fallen(pass.stages.probabilities[0], random);
    const text = about.texts[token] ?? "";
    this.drawn.textContent =
      `The random number ${random.toFixed(3)} fell on ${spokenToken(text)}, which has the room from ` +
      `${from.toFixed(3)} to ${to.toFixed(3)}.`;
    if (text) this.change({ prompt: asked.prompt + text, at: null });
  }
}

function section(name, ...children) {
  return element("section", { "aria-label": name }, element("h2", {}, name), ...children);
}

// The layers whose cards are open.
function opened(asked, layers) {
  if (asked !== undefined)
    return asked
      .split(".")
      .filter((each) => /^\d+$/.test(each))
      .map(Number)
      .filter((each) => each < layers);
  return layers <= MANY_LAYERS ? Array.from({ length: layers }, (_, i) => i) : [0, layers - 1];
}
