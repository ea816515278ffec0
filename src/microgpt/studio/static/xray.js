// The page X-ray: what happens inside a trained run while it reads a text.
// All that is chosen lives in the address; every change of it comes back through `update`.

import { attentionView } from "./attention.js";
import { chancesView } from "./chances.js";
import { element, number } from "./elements.js";
import { latest, styled } from "./heat.js";
import { stripView } from "./strip.js";
import { plain, titleOf } from "./words.js";
import { embeddingsView, weightsView } from "./weights.js";

const TYPING = 120; // milliseconds without a key before a prompt is read
const PLAYING = 450; // milliseconds that each step of the history is shown

export async function mount(root, state, services) {
  await styled();
  const { runs } = await services.get("/api/runs");
  const usable = runs.filter((run) => !run.fault);
  const page = new Page(root, services, usable);
  if (usable.length || state.run) await page.show(state);
  return page;
}

class Page {
  constructor(root, services, runs) {
    this.services = services;
    this.runs = runs;
    this.known = {}; // what was asked for last, by kind: { key, value }
    this.change = (changes) => services.navigate("xray", changes, { replace: true });
    this.show = latest((state) => this.refresh(state));
    this.build(root);
  }

  update(state) {
    this.show(state);
  }

  unmount() {
    clearTimeout(this.typing);
    clearInterval(this.playing);
    removeEventListener("themechange", this.themed);
    removeEventListener("resize", this.themed);
  }

  build(root) {
    const { glossary } = this.services;
    this.run = element("select", {
      id: "xray-run",
      onchange: () =>
        this.change({
          run: this.run.value,
          step: null,
          prompt: null,
          at: null,
          layer: null,
          head: null,
          group: null,
        }),
    });
    this.prompt = element("input", {
      id: "xray-prompt",
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      autocapitalize: "off",
      dir: "auto",
      translate: "no",
      "aria-describedby": "xray-trouble xray-note",
      oninput: () => this.typed(),
    });
    this.step = element("input", {
      id: "xray-step",
      type: "range",
      min: 0,
      step: 1,
      oninput: () => this.change({ step: this.steps[this.step.value] }),
    });
    this.stepTold = element("output", { for: "xray-step" });
    this.play = element("button", { type: "button", class: "quiet", onclick: () => this.toggle() }, "Play");
    this.scrubber = element(
      "div",
      { class: "field scrubber" },
      element("label", { for: "xray-step" }, "Step of the training ", this.stepTold),
      element("div", { class: "with-button" }, this.step, this.play),
    );
    this.trouble = element("p", { id: "xray-trouble", class: "trouble", role: "alert" });
    this.note = element("p", { id: "xray-note", class: "hint", "aria-live": "polite" });
    this.footer = element("p", { class: "hint checked", "aria-live": "polite" });
    this.strip = stripView(this.services, this.change);
    this.chances = chancesView(this.services, this.change);
    this.attention = attentionView(this.services, this.change, (at) => this.strip.mark(at));
    this.embeddings = embeddingsView(this.services);
    this.weights = weightsView(this.services, this.change);
    this.body = element(
      "div",
      { class: "xray-body", hidden: true },
      this.strip.node,
      element("div", { class: "xray-columns" }, this.attention.node, this.chances.node),
      element("div", { class: "xray-columns" }, this.weights.node, this.embeddings.node),
      this.footer,
    );
    root.append(
      element("h1", {}, "X-ray"),
      element(
        "p",
        { class: "lead" },
        "See inside a model while it reads a text: what it ",
        glossary("attention", "attends to"),
        ", what it expects, what ",
        glossary("surprise", "surprises"),
        " it.",
      ),
      element(
        "div",
        { class: "xray-controls" },
        element("div", { class: "field" }, element("label", { for: "xray-run" }, "Run"), this.run),
        element("div", { class: "field grow" }, element("label", { for: "xray-prompt" }, "Text"), this.prompt),
        this.scrubber,
      ),
      this.trouble,
      this.note,
      this.body,
    );
    if (!this.runs.length) this.trouble.textContent = "There is no run to look into yet: train one on the page Train.";
    this.themed = () => this.draw(true);
    addEventListener("themechange", this.themed);
    addEventListener("resize", this.themed);
  }

  typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.change({ prompt: this.prompt.value, at: null }), TYPING);
  }

  toggle() {
    clearInterval(this.playing);
    this.playing = this.play.textContent === "Play" ? setInterval(() => this.next(), PLAYING) : null;
    this.play.textContent = this.playing ? "Pause" : "Play";
    if (this.playing && Number(this.step.value) === this.steps.length - 1) this.change({ step: this.steps[0] });
  }

  next() {
    const place = Number(this.step.value) + 1;
    if (place < this.steps.length) this.change({ step: this.steps[place] });
    else this.toggle();
  }

  // The answer to a question; the same question as last time is not asked again.
  async ask(kind, path, parameters) {
    const key = JSON.stringify(parameters);
    if (this.known[kind]?.key !== key) {
      this.known[kind] = { key, value: await this.services.get(path, parameters) };
    }
    return this.known[kind].value;
  }

  async refresh(state) {
    try {
      await this.look(state);
      this.trouble.textContent = "";
    } catch (error) {
      this.trouble.textContent = plain(error.message);
      this.body.classList.add("stale");
    }
  }

  async look(state) {
    const run = state.run ?? this.runs[0]?.name;
    this.fill(run);
    const about = await this.ask("about", "/api/xray/run", { run });
    const prompt = state.prompt ?? about.suggestion;
    if (document.activeElement !== this.prompt) this.prompt.value = prompt;
    this.scrub(about, state);
    const weights = { run, step: state.step };
    const reading = await this.ask("reading", "/api/xray/read", { ...weights, prompt });
    const last = reading.tokens.length - 1;
    const at = Math.min(last, Math.max(0, Number(state.at ?? last) || 0));
    const layer = Math.min(about.sizes.layer - 1, Math.max(0, Number(state.layer) || 0));
    const [chances, heads, points, pictures] = await Promise.all([
      this.ask("chances", "/api/xray/chances", { ...weights, prompt, at }),
      this.ask("attention", "/api/xray/attention", { ...weights, prompt, layer }),
      this.ask("embeddings", "/api/xray/embeddings", weights),
      this.ask("weights", "/api/xray/weights", { ...weights, group: state.group ?? "embeddings" }),
    ]);
    this.shown = {
      state,
      about,
      reading,
      at,
      layer,
      head: state.head === undefined ? null : Number(state.head),
      ...chances,
      ...heads,
      points,
      pictures,
    };
    this.draw();
    this.note.textContent = reading.note;
    this.check({ ...weights, prompt });
  }

  fill(run) {
    const runs = [...this.runs];
    if (run && !runs.some((each) => each.name === run)) runs.unshift({ name: run });
    if (this.run.options.length !== runs.length)
      this.run.replaceChildren(...runs.map((each) => element("option", { value: each.name }, titleOf(each))));
    this.run.value = run;
  }

  scrub(about, state) {
    this.steps = about.steps;
    this.scrubber.hidden = about.steps.length < 2;
    const step = state.step === undefined ? about.step : Number(state.step);
    this.step.max = about.steps.length - 1;
    this.step.value = Math.max(
      0,
      about.steps.findLastIndex((each) => each <= step),
    );
    this.stepTold.textContent = `${number(step)} of ${number(about.step)}`;
    this.step.setAttribute("aria-valuetext", `step ${step}`);
  }

  draw(anew = false) {
    if (!this.shown) return;
    this.body.hidden = false;
    this.body.classList.remove("stale");
    for (const view of [this.strip, this.chances, this.attention]) view.draw(this.shown);
    const { points, pictures, reading } = this.shown;
    if (anew || this.drawn?.points !== points || this.drawn?.reading !== reading) this.embeddings.draw(this.shown);
    if (anew || this.drawn?.pictures !== pictures) this.weights.draw(this.shown);
    this.drawn = { points, pictures, reading };
    this.body.dataset.step = this.shown.state.step ?? this.shown.about.step;
    this.body.dataset.prompt = this.shown.reading.texts.join("");
    this.body.dataset.at = this.shown.at;
  }

  // The run's own engine may take longer, so its word comes after the picture.
  async check(asked) {
    if (this.checking === JSON.stringify(asked)) return;
    this.checking = JSON.stringify(asked);
    await new Promise((done) => setTimeout(done, 200));
    if (this.checking !== JSON.stringify(asked)) return;
    try {
      const { engine, difference, positions } = await this.services.get("/api/xray/check", asked);
      if (this.checking !== JSON.stringify(asked)) return;
      const [most, at] = [difference.toExponential(0), `${positions} position${positions > 1 ? "s" : ""}`];
      this.footer.textContent =
        `Computed by array in 64 bits (about 16 digits), checked against ${engine}: ` +
        `the chances differ by ${most} at most, at ${at}.`;
      this.footer.dataset.difference = difference;
    } catch (error) {
      this.footer.textContent = `Not checked against the run's engine: ${plain(error.message)}`;
    }
  }
}
