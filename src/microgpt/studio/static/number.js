// A stage at all positions, or one number of it: what it is made of, down to the weights, which can be changed here.

import { element, number } from "./elements.js";
import { heatMap, palette } from "./heat.js";
import { paint } from "./forward.js";
import {
  aboutOf,
  brief,
  isEdited,
  named,
  partOf,
  placeOf,
  spokenToken,
  titleOf,
  toggled,
  weightName,
  withEdit,
  withoutEdit,
} from "./stages.js";
import { plain } from "./words.js";

const SHOWN = 8; // terms at first, the largest
const RULES = {
  sum: "The sum of these products:",
  norm: "x ÷ √(mean of all x² + 0.00001), with this x among these:",
  softmax: "exp(x) ÷ the sum of all exp(x), with this x among these:",
  relu: "x where it is above 0, else 0:",
  swiglu: "g ÷ (1 + exp(−g)) × h, of these two:",
};
const exact = (value) => number(value, 9).replace("-", "−");
const short = (value) => number(value, 4).replace("-", "−");

export function numberView(services, change) {
  const node = element("section", { class: "number", "aria-label": "The chosen number", tabindex: -1 });
  let whole = false;
  let last = null; // what was shown before: "" is nothing, null that nothing was drawn yet
  let chosen = null; // the stage

  // The focus goes back to the picture that the number is from.
  function close() {
    if (!chosen) return;
    document.querySelector(`.flow [data-stage="${chosen}"] canvas`)?.focus({ preventScroll: true });
    change({ stage: null, index: null });
  }

  const heading = (text) =>
    element("div", { class: "heading" }, element("h2", {}, text), button("Close", close, { title: "Escape" }));

  const button = (name, onclick, attributes = {}) =>
    element("button", { type: "button", class: "quiet", onclick, ...attributes }, name);

  function go([stage, at, index], shown) {
    const { about } = shown;
    const there = at === shown.at ? "" : `, position ${at}`;
    const whole = `${named(stage, index, at, about.sizes, about.texts)}${there}`;
    return element(
      "button",
      { type: "button", class: "link", title: whole, onclick: () => change({ stage, at, index }) },
      `${brief(stage, index, at, about.sizes, about.texts)}${there}`,
    );
  }

  function weight([matrix, row, column], value, shown) {
    const key = `${matrix}.${row}.${column}`;
    const { edits } = shown.state;
    const name = weightName(matrix, row, column, shown.about.texts);
    return element("input", {
      type: "number",
      step: "any",
      value: Number(value.toPrecision(5)),
      class: isEdited(edits, key) ? "edited" : "",
      "data-weight": key,
      "aria-label": `Weight ${name}`,
      title: name,
      onchange: (event) => {
        const given = event.target.value;
        change({ edits: given === "" ? withoutEdit(edits, key) : withEdit(edits, `${key}=${Number(given)}`) });
      },
    });
  }

  function row(term, made, shown) {
    const by = term.weight ? weight(term.weight, term.by, shown) : term.by_source ? go(term.by_source, shown) : "";
    const factor = term.times === 1 ? "" : ` × ${short(term.times)}`;
    const cells = [
      [term.source ? go(term.source, shown) : weightName(...term.weight, shown.about.texts)],
      [term.source ? short(term.value) : ""],
      term.weight ? [by, factor] : [by, by ? ` ${short(term.by)}${factor}` : ""],
      made.rule === "sum" ? [short(term.product)] : [term.own ? "this one" : ""],
    ];
    return element("tr", {}, ...cells.map((cell) => element("td", {}, ...cell)));
  }

  function terms(made, shown) {
    const size = (term) => (made.rule === "sum" ? Math.abs(term.product) : term.own ? Infinity : term.value);
    const sorted = [...made.terms].sort((one, other) => size(other) - size(one));
    const rows = (whole ? sorted : sorted.slice(0, SHOWN)).map((term) => row(term, made, shown));
    if (whole && made.left)
      rows.push(
        element(
          "tr",
          {},
          element("td", { colspan: 3 }, `${number(made.left)} smaller ones`),
          element("td", {}, made.rule === "sum" ? short(made.left_sum) : ""),
        ),
      );
    const head = made.rule === "sum" ? ["number", "value", "×", "="] : ["number", "value", "", ""];
    const titles = head.map((name) => element(name ? "th" : "td", name ? { scope: "col" } : {}, name));
    return element(
      "div",
      { class: "table-frame", tabindex: 0, role: "region", "aria-label": "What it is made of" },
      element("table", {}, element("thead", {}, element("tr", {}, ...titles)), element("tbody", {}, ...rows)),
    );
  }

  function switches(stage, index, shown) {
    const { layer, head, unit } = placeOf(stage, index, shown.at, shown.about.sizes);
    const edit =
      head !== undefined ? `layer${layer}.head${head}` : unit !== undefined ? `layer${layer}.unit${unit}` : "";
    if (!edit) return "";
    const { edits } = shown.state;
    const name = head !== undefined ? `head ${head}` : `unit ${unit}`;
    const label = isEdited(edits, edit) ? `Switch ${name} on again` : `Switch ${name} off`;
    return button(label, () => change({ edits: toggled(edits, edit) }), { "data-switch": edit });
  }

  function drawNumber(shown) {
    const { stage, index } = shown.state;
    const { made, about, at } = shown;
    const trouble = element("p", { class: "trouble", role: "alert" });
    const toAtom = async () => {
      const { run, step, edits } = shown.state;
      try {
        const found = await services.get("/api/xray/atom", { ...shown.asked, stage, at, index });
        services.navigate("atoms", { source: "loss", run: run ?? shown.run, step, edits, met: null, ...found });
      } catch (error) {
        trouble.textContent = plain(error.message);
      }
    };
    node.replaceChildren(
      heading(named(stage, Number(index), at, about.sizes, about.texts)),
      element("p", { class: "value-of" }, exact(made.value)),
      element("p", { class: "hint" }, `${aboutOf(stage)}. ${RULES[made.rule]}`),
      terms(made, shown),
      element(
        "p",
        { class: "line" },
        made.terms.length > SHOWN
          ? button(whole ? "Show fewer" : `Show all ${number(made.terms.length + made.left)}`, () => {
              whole = !whole;
              draw(shown);
            })
          : "",
        switches(stage, Number(index), shown),
        button("The atom that made it", toAtom, { "data-atom": "" }),
        button("All positions", () => change({ index: null })),
      ),
      trouble,
    );
  }

  // A stage of all positions, a picture for each head.
  function drawStage(shown) {
    const { stage } = shown.state;
    const { layer } = partOf(stage);
    const told = element("p", { class: "told", "aria-live": "polite" });
    const colours = palette();
    const { texts } = shown.reading;
    const { sizes } = shown.about;
    const figures = shown.over.heads.map((rows, head, heads) => {
      const place = (at, column) => head * rows[at].length + column;
      const map = heatMap({
        label: titleOf(stage),
        onPoint: (at, column) => {
          const value = at === null ? undefined : rows[at][column];
          told.textContent =
            value === undefined
              ? ""
              : `position ${at}, ${spokenToken(texts[at])}: ` +
                `${named(stage, place(at, column), at, sizes, shown.about.texts)}: ${number(value, 4)}`;
        },
        onPick: (at, column) => rows[at][column] !== undefined && change({ at, index: place(at, column) }),
      });
      paint(map, stage, rows, colours, `${titleOf(stage)} at every position`, 12, 420);
      return element("figure", {}, heads.length > 1 ? element("figcaption", {}, `head ${head}`) : "", map.node);
    });
    node.replaceChildren(
      heading(`${titleOf(stage)}${layer === null ? "" : ` of layer ${layer}`}: all positions`),
      element("p", { class: "hint" }, `${aboutOf(stage)}. A row for each position; choose a cell to open its number.`),
      element("div", { class: "images" }, ...figures),
      told,
    );
  }

  function draw(shown) {
    const { stage, index } = shown.state;
    node.hidden = !stage;
    chosen = stage;
    const key = stage ? `${stage} ${index}` : "";
    const opened = key !== last && last !== null;
    if (key !== last) whole = false;
    last = key;
    if (!stage) return node.replaceChildren();
    const within = node.contains(document.activeElement);
    const focused = document.activeElement?.dataset?.weight;
    if (shown.made) drawNumber(shown);
    else drawStage(shown);
    if (focused) node.querySelector(`[data-weight="${focused}"]`)?.focus();
    if (opened || (within && !node.contains(document.activeElement))) node.focus({ preventScroll: true });
    if (opened) document.querySelector(".flow figure.chosen")?.scrollIntoView({ block: "nearest" });
    return undefined;
  }

  return { node, draw, close };
}
