// The page Atoms: the graph of real atoms, of an expression or of the loss of a short text.
// All that is chosen lives in the address; every change of it comes back through `update`.

import { detailView } from "./atom.js";
import { looking } from "./choosing.js";
import { element, number } from "./elements.js";
import { graphView } from "./graph.js";
import { latest } from "./heat.js";
import { descended, passed } from "./sentences.js";
import { plain, titleOf } from "./words.js";

const TYPING = 150; // milliseconds without a key before a text is asked for
const PLAYING = 700; // milliseconds that each step of the backward pass is shown
const EXPRESSION = "(a*b + c).relu()";
const NAME = "emma";
const FORGOTTEN = { open: null, atom: null, met: null, taken: null };

export const mount = (...given) => looking(Page, ...given);

class Page {
  static untrained = true; // it has something to show where there is no run

  constructor(root, services, runs) {
    this.services = services;
    this.runs = runs;
    this.state = {};
    this.show = latest((state) => this.refresh(state));
    this.build(root);
  }

  update(state) {
    this.state = state; // at once: a second click counts on from the first
    this.show(state);
  }

  unmount() {
    clearTimeout(this.typing);
    clearInterval(this.playing);
    removeEventListener("themechange", this.themed);
  }

  build(root) {
    const { glossary } = this.services;
    this.sources = element(
      "div",
      { class: "choices", role: "group", "aria-label": "What to look at" },
      ...[
        ["expression", "An expression"],
        ["loss", "The loss of a text"],
      ].map(([source, name]) =>
        element(
          "button",
          {
            type: "button",
            class: "quiet",
            "data-source": source,
            onclick: () => this.change({ source, ...FORGOTTEN }),
          },
          name,
        ),
      ),
    );
    this.expression = element("input", {
      id: "atoms-expression",
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      autocapitalize: "off",
      "aria-describedby": "atoms-trouble",
      oninput: () => this.later({ expression: this.expression.value, ...FORGOTTEN }),
    });
    this.values = element("div", { class: "values" });
    this.run = element(
      "select",
      {
        id: "atoms-run",
        onchange: () => this.change({ run: this.run.value || null, step: null, edits: null, ...FORGOTTEN }),
      },
      element("option", { value: "" }, "an untrained model"),
      ...this.runs.map((run) => element("option", { value: run.name }, titleOf(run))),
    );
    this.text = element("input", {
      id: "atoms-text",
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      autocapitalize: "off",
      "aria-describedby": "atoms-trouble",
      oninput: () => this.later({ text: this.text.value, ...FORGOTTEN }),
    });
    this.ofExpression = element(
      "div",
      { class: "xray-controls" },
      element(
        "div",
        { class: "field grow" },
        element("label", { for: "atoms-expression" }, "Expression"),
        this.expression,
      ),
      this.values,
    );
    this.ofLoss = element(
      "div",
      { class: "xray-controls" },
      element("div", { class: "field" }, element("label", { for: "atoms-run" }, "Model"), this.run),
      element("div", { class: "field grow" }, element("label", { for: "atoms-text" }, "Short text"), this.text),
    );
    this.trouble = element("p", { id: "atoms-trouble", class: "trouble", role: "alert" });
    this.told = element("p", { class: "told atoms-told", "aria-live": "polite" });
    this.graph = graphView((box) => this.pick(box));
    this.detail = detailView(
      this.services,
      (atom) => this.change({ atom }),
      (groups) => this.unfold(groups),
    );
    root.append(
      element("h1", {}, "Atoms"),
      element(
        "p",
        { class: "lead" },
        "Every number of the model is an atom that knows what it was made from. Click one for its value, its ",
        glossary("gradient"),
        ", and the chain of slopes that leads to it.",
      ),
      this.sources,
      this.ofExpression,
      this.ofLoss,
      this.trouble,
      (this.steppers = this.stepper()),
      this.descent(),
      (this.crumbs = element("div", { class: "crumbs", role: "group", "aria-label": "Unfolded groups" })),
      this.told,
      element("div", { class: "atoms-columns" }, this.graph.node, this.detail.node),
    );
    this.themed = () => this.shown && this.graph.draw(this.shown, this.state);
    addEventListener("themechange", this.themed);
  }

  stepper() {
    const to = (place) => () => this.meet(place());
    const step = () => this.shown?.step ?? 0;
    const button = (name, label, place) =>
      element(
        "button",
        { type: "button", class: "quiet", "aria-label": label, title: label, onclick: to(place) },
        name,
      );
    this.slider = element("input", {
      id: "atoms-met",
      type: "range",
      min: 0,
      step: 1,
      "aria-label": "Steps of the backward pass",
      oninput: () => this.meet(Number(this.slider.value)),
    });
    this.play = element("button", { type: "button", class: "quiet", onclick: () => this.toggle() }, "Play");
    this.stepTold = element("output", { for: "atoms-met", class: "step-told" });
    return element(
      "div",
      { class: "stepper" },
      element("span", { class: "hint" }, this.services.glossary("backward pass", "Backward pass")),
      button("«", "To the beginning", () => 0),
      button("‹", "One step back", () => step() - 1),
      button("›", "One step on", () => step() + 1),
      button("»", "To the end", () => this.shown.steps),
      this.play,
      this.slider,
      this.stepTold,
    );
  }

  // Gradient descent: the learning rate, a step of it, and the way back.
  descent() {
    const button = (id, name, onclick) => element("button", { type: "button", id, onclick }, name);
    this.rate = element("input", {
      id: "atoms-rate",
      type: "number",
      min: 0,
      step: "any",
      oninput: () => this.later({ rate: this.rate.value }),
    });
    this.take = button("take-step", "Take one step", () => this.change({ taken: Number(this.state.taken ?? 0) + 1 }));
    this.untake = button("take-none", "Undo all steps", () => {
      this.take.focus(); // for there is nothing to undo any more
      this.change({ taken: null });
    });
    this.descentTold = element("output", { for: "atoms-rate", class: "step-told" });
    return element(
      "div",
      { class: "stepper" },
      element("label", { class: "hint", for: "atoms-rate" }, this.services.glossary("lr", "Learning rate")),
      this.rate,
      this.take,
      this.untake,
      this.descentTold,
    );
  }

  meet(step) {
    const met = Math.min(this.shown.steps, Math.max(0, step));
    this.change({ met: met === this.shown.steps ? null : met });
  }

  toggle() {
    clearInterval(this.playing);
    const start = this.play.textContent === "Play";
    this.play.textContent = start ? "Pause" : "Play";
    this.stepTold.setAttribute("aria-live", start ? "off" : "polite"); // a voice would never come to an end
    if (!start) return;
    if (this.shown.step === this.shown.steps) this.meet(0);
    this.playing = setInterval(
      () => {
        if (this.shown.step >= this.shown.steps) this.toggle();
        else this.meet(this.shown.step + Math.max(1, Math.round(this.shown.steps / 300)));
      },
      this.shown.steps > 100 ? PLAYING / 4 : PLAYING,
    );
  }

  // What is typed waits for the next key, or goes along with the next click.
  later(changes) {
    clearTimeout(this.typing);
    this.typed = changes;
    this.typing = setTimeout(() => this.change({}), TYPING);
  }

  change(changes) {
    clearTimeout(this.typing);
    const all = { ...this.typed, ...changes };
    this.typed = null;
    this.services.navigate("atoms", all, { replace: true });
  }

  pick(box) {
    if (box.kind === "atom") this.change({ atom: box.id });
    else if (box.kind === "group") this.unfold([box.group]);
    else this.fold(...this.shown.open.filter((group) => group.parent === box.within).map((group) => group.id));
  }

  unfold(groups) {
    this.change({ open: [...new Set([...this.opened(), ...groups])].join(".") });
  }

  fold(...groups) {
    const below = (each) =>
      groups.includes(each) ||
      (this.parents[each] !== undefined && this.parents[each] >= 0 && below(this.parents[each]));
    this.change({
      open:
        this.opened()
          .filter((each) => !below(each))
          .join(".") || null,
    });
  }

  opened() {
    return this.shown.open.map((group) => group.id).filter((id) => id > 0);
  }

  // What the graph is made from, as the server wants it.
  source(state) {
    if (state.source === "loss")
      return { text: state.text ?? NAME, run: state.run, step: state.step, edits: state.edits };
    return { expression: state.expression ?? EXPRESSION, values: state.values };
  }

  async refresh(state) {
    const began = performance.now();
    this.state = state;
    const source = this.source(state);
    this.choose(state, source);
    try {
      if (source.expression !== undefined && !source.expression.trim())
        throw new Error("Type an expression such as (a*b + c).relu().");
      const asked = { ...source, met: state.met, taken: state.taken, rate: state.rate };
      const [shown, atom] = await Promise.all([
        this.services.get("/api/atoms/view", { ...asked, open: state.open }),
        state.atom === undefined ? null : this.services.get("/api/atoms/atom", { ...asked, atom: state.atom }),
      ]);
      this.draw(shown, atom, state);
      this.trouble.textContent = "";
      this.graph.node.dataset.milliseconds = Math.round(performance.now() - began);
    } catch (error) {
      this.trouble.textContent = plain(error.message);
      this.graph.node.classList.add("stale");
      this.graph.node.hidden = this.steppers.hidden = !this.shown;
    }
  }

  choose(state, source) {
    const loss = state.source === "loss";
    this.ofExpression.hidden = loss;
    this.ofLoss.hidden = !loss;
    for (const button of this.sources.children)
      button.setAttribute("aria-pressed", String((button.dataset.source === "loss") === loss));
    const keep = (input, value) => {
      if (document.activeElement !== input && value !== undefined) input.value = value;
    };
    keep(this.expression, source.expression);
    keep(this.text, source.text);
    keep(this.rate, state.rate);
    this.run.value = state.run ?? "";
  }

  draw(shown, atom, state) {
    this.shown = shown;
    this.parents = Object.fromEntries(shown.open.map((group) => [group.id, group.parent]));
    this.graph.node.classList.remove("stale");
    this.graph.node.hidden = this.steppers.hidden = false;
    this.graph.draw(shown, state);
    this.detail.draw(atom, shown);
    this.variables(shown.values);
    this.steps(shown, state);
    this.crumbs.replaceChildren(
      ...shown.open
        .filter((group) => group.id > 0)
        .map((group) =>
          element(
            "button",
            {
              type: "button",
              class: "quiet",
              "aria-label": `Fold ${group.name}`,
              onclick: () => this.fold(group.id),
            },
            group.name,
            element("span", { "aria-hidden": "true" }, " ×"),
          ),
        ),
    );
    const what = state.source === "loss" ? "loss" : "result";
    this.told.textContent =
      `${number(shown.atoms)} atoms, ${what} ${number(shown.result.value, 6)}. ` +
      (shown.boxes.some((box) => box.kind !== "atom")
        ? "Click a box to unfold it."
        : "Click an atom to look into it.") +
      (this.graph.node.scrollWidth > this.graph.node.clientWidth
        ? " There is more at the side: scroll the graph."
        : "");
    this.told.dataset.atoms = shown.atoms;
  }

  steps(shown, state) {
    this.slider.max = shown.steps;
    this.slider.value = shown.step;
    this.stepTold.textContent = passed(shown);
    const [what, kind] = state.source === "loss" ? ["loss", "weight"] : ["result", "variable"];
    this.descentTold.textContent = descended(shown.descent, what, kind);
    this.take.disabled = shown.descent.taken >= shown.descent.most || !shown.descent.leaves;
    this.untake.disabled = !shown.descent.taken;
    if (document.activeElement !== this.rate) this.rate.value = shown.descent.rate;
  }

  variables(values) {
    const names = Object.keys(values);
    const now = [...this.values.querySelectorAll("input")].map((input) => input.name);
    if (names.join() !== now.join()) {
      this.values.replaceChildren(
        ...names.map((name) =>
          element(
            "label",
            { class: "value" },
            `${name} = `,
            element("input", {
              type: "number",
              step: "any",
              name,
              oninput: () => this.later({ values: this.written(), taken: null }),
            }),
          ),
        ),
      );
    }
    for (const input of this.values.querySelectorAll("input"))
      if (document.activeElement !== input) input.value = values[input.name];
  }

  written() {
    return [...this.values.querySelectorAll("input")]
      .filter((input) => input.value !== "")
      .map((input) => `${input.name}=${input.value}`)
      .join(",");
  }
}
