// The page Scaling: the store of a sweep. Held-out loss against steps or parameters, with intervals over seeds and the
// fitted law; tables below. The store is looked at every few seconds, and drawn anew only when it has changed.

import { chart } from "./charts.js";
import { sweepPanel } from "./sweep_panel.js";
import { element, number } from "./elements.js";
import { plain } from "./words.js";

const COLOURS = ["--accent", "--accent-2", "--accent-3", "--accent-4", "--accent-5"];
const DASHES = [null, "7 3", "2 3", "10 3 2 3", "4 2"];
const AGAIN = 3000; // milliseconds between two looks at the store
const PATIENCE = 30_000; // and between two fits of a law while a sweep runs: each takes seconds
const LINES = 12; // that a legend can tell apart
const MANY = 300; // points beyond which dots are small and without bars
const AXES = { steps: "steps", params: "parameters" };

export async function mount(root, state, services) {
  const page = new Page(root, state, services);
  await page.look();
  return page;
}

class Page {
  constructor(root, state, services) {
    Object.assign(this, {
      state,
      services,
      found: { points: [], lines: [], sweeps: [] },
      law: {},
      stamp: "",
      fitted: 0,
    });
    this.change = (changes) => services.navigate("scaling", changes, { replace: true });
    this.build(root, services.glossary);
  }

  build(root, glossary) {
    this.sweep = element("select", {
      id: "sweep",
      oninput: () => this.change({ sweep: this.sweep.value, at: null, axis: null }),
    });
    this.axis = element("select", { id: "axis", oninput: () => this.change({ axis: this.axis.value }) });
    this.log = element("input", {
      type: "checkbox",
      id: "scaling-log",
      checked: this.state.linear !== "1",
      oninput: () => this.change({ linear: this.log.checked ? null : "1" }),
    });
    this.picture = chart({
      label: "Held-out loss of a sweep",
      yTitle: "held-out loss, nats per character",
      onPick: (_, key) => key && this.change({ at: key }),
      onStep: (direction) => this.turn(direction),
      onNear: (dot) => this.hover(dot),
    });
    this.card = element("div", { class: "hover-card", hidden: true });
    this.picture.box.append(this.card);
    this.point = element("div", { id: "point", "aria-live": "polite" });
    this.told = element("p", { class: "hint", id: "store-told", "aria-live": "polite" });
    this.warnings = element("ul", { class: "notes", id: "warnings" });
    this.tables = element("div", { id: "tables" });
    this.lawful = element("div", { id: "law", "aria-live": "polite" });
    this.panel = sweepPanel(this.services);
    this.empty = element("p", { class: "empty" });
    this.body = element(
      "div",
      { hidden: true },
      element(
        "div",
        { class: "line block" },
        element("label", { for: "sweep" }, "Sweep"),
        this.sweep,
        element("label", { for: "axis" }, "against"),
        this.axis,
        element("span", {}, this.log, " ", element("label", { for: "scaling-log" }, "log scale")),
      ),
      this.told,
      this.picture.element,
      this.point,
      this.warnings,
      this.lawful,
      this.tables,
    );
    root.append(
      element("h1", {}, "Scaling"),
      element(
        "p",
        { class: "lead" },
        "What more ",
        glossary("steps"),
        " or more ",
        glossary("parameters"),
        " bring: the ",
        glossary("held-out loss"),
        " of every ",
        glossary("run"),
        " of a ",
        glossary("sweep"),
        ", over several seeds.",
      ),
      this.panel.element,
      this.empty,
      this.body,
    );
  }

  update(state) {
    const other = state.sweep !== this.state.sweep;
    const alone = Object.keys({ ...state, ...this.state }).filter((key) => state[key] !== this.state[key]);
    this.state = state;
    if (other) this.look(true);
    else if (alone.join() === "at") this.pinned();
    else this.draw();
  }

  unmount() {
    this.gone = true;
    this.panel.stop();
    clearTimeout(this.timer);
  }

  async look(anew = false) {
    clearTimeout(this.timer);
    const asked = this.state.sweep;
    try {
      const next = await this.services.get("/api/scaling", { sweep: asked, seen: anew ? "" : this.stamp });
      if (this.gone || asked !== this.state.sweep) return;
      const quiet = next.points === undefined;
      if (!quiet) this.take(next, anew);
      if (this.found.points.length && this.due(quiet, anew)) this.fit(asked);
    } catch (error) {
      this.trouble(plain(error.message));
    }
    if (!this.gone) this.timer = setTimeout(() => this.look(), AGAIN);
  }

  take(next, anew) {
    const busy = !next.points.length && this.found.points.length && !anew;
    if (busy) return this.trouble(next.sentence); // in use just now: what is shown stays
    this.found = next;
    this.stamp = next.stamp;
    this.unfitted = true;
    if (anew) this.law = {};
    this.draw();
  }

  trouble(sentence) {
    this.empty.hidden = !sentence;
    this.empty.textContent = sentence ?? "";
  }

  // A law is fitted once the store rests, at once for a new page, and now and then while it grows.
  due(quiet, anew) {
    return this.unfitted && (quiet || anew || !this.fitted || Date.now() - this.fitted > PATIENCE);
  }

  async fit(sweep) {
    this.unfitted = false;
    this.fitted = Date.now();
    if (!this.law.sentence) this.lawful.replaceChildren(element("p", { class: "hint" }, "Fitting the law …"));
    try {
      const law = await this.services.get("/api/scaling/law", { sweep });
      if (this.gone || sweep !== this.state.sweep) return;
      this.law = law;
      this.draw();
    } catch (error) {
      this.lawful.replaceChildren(element("p", { class: "trouble" }, plain(error.message)));
    }
  }

  draw() {
    const { found } = this;
    this.trouble(found.sentence);
    this.body.hidden = !found.points.length;
    if (!found.points.length) return;
    const axes = [...new Set(found.lines.map((line) => line.axis))];
    const axis = axes.includes(this.state.axis) ? this.state.axis : axes[0];
    options(this.sweep, found.sweeps.length ? found.sweeps : [""], found.sweep);
    options(this.axis, axes, axis, AXES);
    this.lines = found.lines.filter((line) => line.axis === axis);
    const on = found.data ? ` on ${found.data}` : "";
    this.told.textContent =
      `${number(found.runs)} runs${on}, ${number(found.points.length)} points; bars are 90% intervals over seeds. ` +
      "Point at one for its runs and samples.";
    this.picture.set({
      series: this.series(axis),
      marks: this.law.counts ? [{ y: this.law.counts, label: "the best table of counts" }] : [],
      xTitle: AXES[axis],
      xLog: this.log.checked,
      yLog: this.log.checked,
    });
    this.warnings.replaceChildren(
      ...found.warnings.map(({ severity, text }) =>
        element("li", { class: severity === "note" ? null : "warning" }, `${capital(severity)}: ${plain(text)}`),
      ),
    );
    this.tables.replaceChildren(...found.tables.flatMap((table) => this.tabled(table)));
    if (this.law.reason !== undefined) this.legal();
    this.pinned();
  }

  series(axis) {
    const { points } = this.found;
    const many = points.length > MANY;
    const curves = (this.law.curves ?? []).filter((curve) => curve.axis === axis);
    const lawful = new Set(curves.map((curve) => curve.label));
    const shown = this.lines.map((line, place) => ({
      name: this.lines.length > LINES ? "" : line.label || "mean over seeds",
      points: line.at.map(([x, at]) => [
        x,
        points[at].mean,
        many || points[at].low === null ? null : [points[at].low, points[at].high],
        points[at].id,
      ]),
      colour: COLOURS[place % COLOURS.length],
      dash: DASHES[place % DASHES.length],
      line: !lawful.has(line.label),
      dots: many ? 1.8 : 3.4,
      opacity: 0.75,
      width: 1.2,
    }));
    const colours = new Map(shown.map((each, place) => [this.lines[place].label, each]));
    return [
      ...shown,
      ...curves.map((curve, place) => ({
        name: place ? "" : "the law",
        points: curve.points,
        colour: colours.get(curve.label)?.colour ?? "--ink",
        width: 1.5,
      })),
    ];
  }

  // All points of the axis from left to right, and from high to low at one place.
  turn(direction) {
    const { points } = this.found;
    const all = this.lines
      .flatMap((line) => line.at)
      .sort((a, b) => a[0] - b[0] || points[b[1]].mean - points[a[1]].mean)
      .map(([, at]) => points[at].id);
    const place = all.indexOf(this.state.at);
    this.change({ at: all[place < 0 ? 0 : Math.max(0, Math.min(all.length - 1, place + direction))] });
  }

  hover(dot) {
    const point = dot && this.found.points.find((each) => each.id === dot.key);
    this.card.hidden = !point;
    this.picture.set({ chosen: point?.id ?? this.state.at ?? null });
    if (!point) return;
    if (this.card.dataset.point !== point.id) this.card.replaceChildren(...this.about(point));
    this.card.dataset.point = point.id;
    const room = this.picture.box.clientWidth;
    this.card.style.left = `${Math.max(0, Math.min(dot.left + 14, room - this.card.offsetWidth))}px`;
    this.card.style.top = `${dot.top + 16}px`;
  }

  pinned() {
    const point = this.found.points.find((each) => each.id === this.state.at);
    this.picture.set({ chosen: point?.id ?? null });
    this.point.replaceChildren(...(point ? this.about(point) : []));
  }

  about({ levels, params, mean, low, high, seeds, runs, samples }) {
    const named = Object.entries(levels)
      .map(([key, value]) => `${key} ${typeof value === "number" ? number(value) : value}`)
      .join(", ");
    const span =
      low === null
        ? "one seed, so it is unknown how far another would lie"
        : `${number(low, 4)} to ${number(high, 4)} with 90% confidence`;
    const rest = seeds > runs.length ? ` and ${number(seeds - runs.length)} more` : "";
    return [
      element("h2", {}, named || `${number(params)} parameters`),
      element("p", { class: "small" }, `Loss ${number(mean, 4)} (${span}), ${number(params)} parameters.`),
      element(
        "p",
        { class: "small" },
        `Runs: ${runs.map(([seed, loss]) => `seed ${seed} ${number(loss, 4)}`).join(", ")}${rest}.`,
      ),
      element(
        "ul",
        { class: "samples", translate: "no" },
        samples.map((sample) => element("li", { dir: "auto" }, sample)),
      ),
    ];
  }

  legal() {
    const { sentence, reason, warnings = [], numbers, frontier } = this.law;
    this.lawful.replaceChildren(
      ...(sentence ? [element("p", { id: "law-told" }, sentence)] : []),
      ...(reason ? [element("p", { class: "hint", id: "law-reason" }, reason)] : []),
      element(
        "ul",
        { class: "notes" },
        warnings.map((text) => element("li", { class: "warning" }, `Beware: ${text}`)),
      ),
      ...(numbers ? this.tabled(numbers) : []),
      ...(frontier ? this.tabled(frontier) : []),
    );
  }

  tabled({ title, columns, numbers, rows, note }) {
    const { glossary } = this.services;
    const side = (place) => (numbers[place] ? "right" : null);
    return [
      element("h2", { style: { "margin-top": "2rem" } }, title),
      element(
        "div",
        { class: "table", tabindex: "0", role: "region", "aria-label": title },
        element(
          "table",
          {},
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              columns.map((column, place) => element("th", { scope: "col", class: side(place) }, glossary(column))),
            ),
          ),
          element(
            "tbody",
            {},
            rows.map((row) =>
              element(
                "tr",
                {},
                row.map((cell, place) => element("td", { class: side(place) }, cell)),
              ),
            ),
          ),
        ),
      ),
      note ? element("p", { class: "hint" }, note) : null,
    ].filter(Boolean);
  }
}

// Fills a choice, unless it has these words already.
function options(choice, values, chosen, names = {}) {
  if ([...choice.options].map((each) => each.value).join() !== values.join()) {
    choice.replaceChildren(
      ...values.map((value) => element("option", { value }, names[value] ?? (value || "all runs"))),
    );
  }
  choice.value = chosen;
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);
