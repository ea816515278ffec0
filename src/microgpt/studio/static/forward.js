// The picture of the forward pass at one position: the residual stream from card to card, and in each card the way from
// a norm to what is added to the stream. Every cell is a number that can be opened.

import { element, number } from "./elements.js";
import { heatMap, palette, sign } from "./heat.js";
import { aboutOf, isEdited, named, partOf, spokenToken, titleOf, toggled, wrapped } from "./stages.js";

const CELL = 9; // pixels of a number …
const LARGE = 13; // … where few stand side by side
const WIDEST = 300; // pixels of a stage
const TERMS = ["residual stream", "norm", "attention", "head", "MLP", "logits"];
const ATTENTION = ["norm_attention", ["query", "key", "value"], "scores", "attention", "attention_output"];
const MLP = ["norm_mlp", "expanded", "hidden"];

const percent = (share) => (share < 0.005 ? "<1%" : `${Math.round(100 * share)}%`);
export const signed = (stage) => !["attention", "probabilities", "hidden"].includes(partOf(stage).part);

// Puts a stage's numbers on a heat map, on a scale of its own.
export function paint(map, stage, rows, colours, label, cell = CELL, most = WIDEST) {
  const flat = rows.flat().filter(Number.isFinite);
  const extreme = Math.max(1e-12, ...flat.map(Math.abs));
  const both = signed(stage) || flat.some((value) => value < 0);
  const columns = Math.max(...rows.map((row) => row.length));
  map.draw(rows, {
    columns,
    size: Math.max(1, Math.min(columns <= 8 ? LARGE : cell, most / columns)),
    share: (value) => (both ? 0.5 + value / (2 * extreme) : value / extreme),
    colourOf: (share) => (both ? colours.signed(2 * share - 1) : colours.plain(share)),
    label,
  });
}

export function forwardView({ glossary }, change) {
  const node = element("section", { class: "forward", "aria-labelledby": "forward-title" });
  const title = element("h2", { id: "forward-title" });
  const told = element("p", { class: "told", "aria-live": "polite" });
  const body = element("div", { class: "flow" });
  let shown = null;
  let built = "";
  let maps = {};

  const terms = TERMS.flatMap((term, place) => [place ? " · " : "Words: ", glossary(term)]);
  node.append(title, element("p", { class: "hint" }, terms), told, body);

  // From a cell of a picture to the number of the stage: heads stand in rows, longer vectors are wrapped.
  function indexOf(stage, row, column) {
    const rows = shown.pass.stages[stage];
    return row * (rows.length > 1 ? rows[0].length : wrapped(rows)[0].length) + column;
  }

  function point(stage, row, column) {
    if (row === null) return (told.textContent = "");
    const value = wrapped(shown.pass.stages[stage])[row]?.[column];
    if (value === undefined) return (told.textContent = "");
    const { at, about } = shown;
    const name = named(stage, indexOf(stage, row, column), at, about.sizes, about.texts);
    return (told.textContent = `${name}: ${number(value, 4)}`);
  }

  function figure(stage) {
    const map = heatMap({
      label: titleOf(stage),
      onPoint: (row, column) => point(stage, row, column),
      onPick: (row, column) => {
        if (wrapped(shown.pass.stages[stage])[row]?.[column] !== undefined)
          change({ stage, index: indexOf(stage, row, column) });
      },
    });
    maps[stage] = map;
    return element(
      "figure",
      { "data-stage": stage },
      element(
        "figcaption",
        {},
        element(
          "button",
          {
            type: "button",
            class: "quiet",
            title: `${aboutOf(stage)}; all positions`,
            onclick: () => change({ stage, index: null }),
          },
          titleOf(stage),
        ),
        element("small", {}, aboutOf(stage)),
      ),
      map.node,
    );
  }

  const after = (each) =>
    element("div", { class: "step" }, element("span", { class: "arrow", "aria-hidden": "true" }, "→"), each);

  function path(name, stages, ...before) {
    const shownStages = stages.map((stage) =>
      Array.isArray(stage) ? element("div", { class: "abreast" }, ...stage.map(figure)) : figure(stage),
    );
    return element(
      "div",
      { class: "path", role: "group", "aria-label": name },
      element("h4", {}, name, ...before),
      element("div", { class: "line" }, ...shownStages.map((each, i) => (i ? after(each) : each))),
    );
  }

  // The residual stream between two paths, and what the model would say from here.
  function stream(stage) {
    return element(
      "div",
      { class: "stream" },
      figure(stage),
      element(
        "p",
        { class: "hint lens", "data-lens": stage },
        element("span", { class: "lens-name" }, "from here it would say "),
        element("span", { class: "lens-told", translate: "no" }),
      ),
    );
  }

  function heads(layer) {
    return element(
      "span",
      { class: "switches", role: "group", "aria-label": `Heads of layer ${layer}` },
      ...Array.from({ length: shown.about.sizes.head }, (_, head) => {
        const edit = `layer${layer}.head${head}`;
        return element(
          "button",
          {
            type: "button",
            class: "switch",
            "data-switch": edit,
            title: "Switch this head off or on",
            onclick: () => change({ edits: toggled(shown.state.edits, edit) }),
          },
          `head ${head}`,
        );
      }),
    );
  }

  function layerCard(layer, open) {
    const within = (stage) =>
      Array.isArray(stage) ? stage.map((each) => `layer${layer}.${each}`) : `layer${layer}.${stage}`;
    const card = element(
      "details",
      { class: "card", open, "data-layer": layer },
      element("summary", {}, element("h3", {}, `Layer ${layer}`)),
    );
    if (open)
      card.append(
        path("Attention: looks at the letters so far", ATTENTION.map(within), heads(layer)),
        stream(within("residual_attention")),
        path("MLP: thinks about this letter", MLP.map(within)),
        stream(within("residual_mlp")),
      );
    card.firstChild.addEventListener("click", (event) => {
      event.preventDefault();
      const now = shown.open.includes(layer) ? shown.open.filter((each) => each !== layer) : [...shown.open, layer];
      change({ open: now.length ? now.sort((one, other) => one - other).join(".") : "none" });
    });
    return card;
  }

  function build() {
    maps = {};
    const { sizes } = shown.about;
    const has = (stage) => stage in shown.pass.stages;
    const ending = ["norm_head", "logits", "probabilities"].filter(has);
    const first = has("norm_embeddings") ? ["embedding"] : [];
    body.replaceChildren(
      element(
        "div",
        { class: "card" },
        element("h3", {}, "The letter becomes numbers"),
        first.length ? path("Embedding", first) : "",
        stream(has("norm_embeddings") ? "norm_embeddings" : "embedding"),
      ),
      ...Array.from({ length: sizes.layer }, (_, layer) => layerCard(layer, shown.open.includes(layer))),
      element(
        "div",
        { class: "card" },
        element("h3", {}, "Numbers become chances"),
        path("From the stream to the next letter", ending),
      ),
    );
  }

  function lens() {
    const { pass, about } = shown;
    for (const { stage, likeliest, coming } of pass.lens) {
      const line = body.querySelector(`[data-lens="${stage}"] .lens-told`);
      if (!line) continue;
      const words = likeliest.map(([token, chance]) =>
        element(
          "span",
          {},
          element("b", {}, about.texts[token] ? sign(about.texts[token]) : "end"),
          ` ${percent(chance)}`,
        ),
      );
      const next = shown.reading.texts[shown.at + 1];
      const then = coming === null ? [] : [`; ${spokenToken(next)}, which comes, ${percent(coming)}`];
      line.replaceChildren(...words.flatMap((word, i) => (i ? [", ", word] : [word])), ...then);
    }
  }

  function draw(now) {
    shown = now;
    const { at, reading, about, pass } = now;
    const key = JSON.stringify([now.state.run, about.sizes, now.open]);
    if (key !== built) build();
    built = key;
    const letter = reading.texts[at] ? spokenToken(reading.texts[at]) : "the beginning";
    title.textContent = `The forward pass at position ${at}, ${letter}`;
    const colours = palette();
    for (const [stage, map] of Object.entries(maps)) {
      const rows = wrapped(pass.stages[stage]);
      paint(map, stage, rows, colours, `${titleOf(stage)}, ${stage}: ${pass.stages[stage].flat().length} numbers`);
    }
    for (const each of body.querySelectorAll("[data-switch]")) {
      const off = isEdited(now.state.edits, each.dataset.switch);
      each.setAttribute("aria-pressed", String(!off));
      each.classList.toggle("off", off);
    }
    for (const each of body.querySelectorAll("figure"))
      each.classList.toggle("chosen", each.dataset.stage === now.state.stage);
    lens();
  }

  return { node, draw };
}
