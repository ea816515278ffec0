// The page X-ray: what happens inside a trained run while it reads a text.
// All that is chosen lives in the address; every change of it comes back through `update`.

import { attentionView } from "./attention.js";
import { chancesView } from "./chances.js";
import { asker, checker, chooser, looking, nothingYet } from "./choosing.js";
import { element } from "./elements.js";
import { latest } from "./heat.js";
import { stripView } from "./strip.js";
import { plain } from "./words.js";
import { embeddingsView, weightsView } from "./weights.js";

export const mount = (...given) => looking(Page, ...given);

class Page {
  constructor(root, services, runs) {
    this.services = services;
    this.runs = runs;
    this.change = (changes) => services.navigate("xray", changes, { replace: true });
    this.show = latest((state) => this.refresh(state));
    this.build(root);
  }

  update(state) {
    this.show(state);
  }

  unmount() {
    this.chooser.unmount();
    removeEventListener("themechange", this.themed);
    removeEventListener("resize", this.themed);
  }

  build(root) {
    const { glossary } = this.services;
    this.ask = asker(this.services);
    this.chooser = chooser(this.services, this.runs, this.change, { layer: null, head: null, group: null }, [
      "Every number of this: Model",
      "model",
    ]);
    this.trouble = element("p", { id: "xray-trouble", class: "trouble", role: "alert" });
    this.note = element("p", { id: "xray-note", class: "hint", "aria-live": "polite" });
    this.checker = checker(this.services);
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
      this.checker.node,
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
      this.runs.length ? this.chooser.node : nothingYet(this.services),
      this.trouble,
      this.note,
      this.body,
    );
    this.themed = () => this.draw(true);
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
    }
  }

  async look(state) {
    const run = state.run ?? this.runs[0]?.name;
    this.chooser.fill(run);
    const about = await this.ask("about", "/api/xray/run", { run });
    const prompt = state.prompt ?? about.suggestion;
    this.chooser.draw(about, state, prompt);
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
    this.checker.check({ ...weights, prompt });
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
}
