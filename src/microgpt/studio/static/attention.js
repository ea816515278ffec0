// Attention of every head in a layer, as images: a row for each letter being read, a column for each one it looks at.

import { element, number } from "./elements.js";
import { heatMap, legend, palette, sign, spoken } from "./heat.js";

const APART = 40; // pixels around a head
const TALLEST = 580; // pixels of all heads together
const LARGEST = 24; // pixels of a cell

// How many heads stand side by side, and how many pixels a cell takes: as large as fits a screen.
function fitted(width, heads, positions) {
  let best = [1, 0];
  for (let across = 1; across <= heads; across++) {
    const rows = Math.ceil(heads / across);
    const room = Math.min(width / across, TALLEST / rows) - APART;
    const size = Math.min(LARGEST, room / positions);
    if (size > best[1] || (size === best[1] && rows * across === heads)) best = [across, size];
  }
  return best[1] < 3 ? best : [best[0], Math.floor(best[1])];
}

export function attentionView(services, change, point) {
  const layers = element("div", { class: "choices", role: "group", "aria-label": "Layer" });
  const grid = element("div", { class: "heads" });
  const told = element("p", { class: "told", "aria-live": "polite" });
  const key = element("p", { class: "hint explain" });
  const node = element(
    "section",
    { class: "attention", "aria-labelledby": "attention-title" },
    element(
      "h2",
      { id: "attention-title" },
      services.glossary("attention", "Attention"),
      " of each ",
      services.glossary("head", "head"),
    ),
    layers,
    grid,
    told,
    key,
  );
  let shown = null;
  let maps = [];

  function hover(head, row, column) {
    point(row === null ? null : row);
    if (row === null) told.textContent = "";
    else {
      const { texts } = shown.reading;
      const weight = shown.heads[head][row][column];
      const there = `${spoken(texts[column])} at ${column}`;
      told.textContent =
        weight === undefined
          ? `Position ${row} can't look ahead to position ${column}.`
          : `Head ${head}: ${spoken(texts[row])} at ${row} attends to ${there} by ${number(100 * weight, 3)}%.`;
    }
  }

  function build() {
    maps = shown.heads.map((_, head) =>
      heatMap({
        label: `Attention of head ${head}`,
        onPoint: (row, column) => hover(head, row, column),
        onPick: (row) => change({ at: row, head }),
      }),
    );
    grid.replaceChildren(
      ...maps.map((map, head) =>
        element(
          "figure",
          { "data-head": head },
          element(
            "figcaption",
            {},
            element(
              "button",
              {
                type: "button",
                class: "quiet",
                "aria-pressed": "false",
                onclick: () => change({ head: shown.head === head ? null : head }),
              },
              `head ${head}`,
            ),
          ),
          element(
            "div",
            { class: "heat-with-letters" },
            map.node,
            element("div", { class: "beneath", "aria-hidden": "true" }),
          ),
        ),
      ),
    );
  }

  function choices() {
    layers.hidden = shown.about.sizes.layer < 2;
    layers.replaceChildren(
      ...Array.from({ length: shown.about.sizes.layer }, (_, layer) =>
        element(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-pressed": String(layer === shown.layer),
            onclick: () => change({ layer }),
          },
          `layer ${layer}`,
        ),
      ),
    );
  }

  // What a head does most, in words.
  function summary(head) {
    const { texts } = shown.reading;
    const row = shown.heads[head][shown.at];
    const to = row.indexOf(Math.max(...row));
    const [from, most] = [spoken(texts[shown.at]), spoken(texts[to])];
    const attends = `Position ${shown.at}, ${from}, attends most to position ${to}, ${most}`;
    return `Attention of head ${head}, ${texts.length} positions. ${attends}: ${Math.round(100 * row[to])}%.`;
  }

  function draw(now) {
    shown = now;
    if (maps.length !== shown.heads.length) build();
    choices();
    const colours = palette();
    const positions = shown.reading.tokens.length;
    const [across, size] = fitted(grid.clientWidth || 320, maps.length, positions);
    grid.style.gridTemplateColumns = `repeat(${across}, max-content)`;
    maps.forEach((map, head) => {
      map.draw(shown.heads[head], {
        columns: positions,
        size,
        share: Math.sqrt,
        colourOf: colours.plain,
        marked: shown.at,
        ink: colours.ink,
        label: summary(head),
      });
      const figure = map.node.closest("figure");
      figure.classList.toggle("chosen", head === shown.head);
      figure.querySelector("button").setAttribute("aria-pressed", String(head === shown.head));
      const beneath = figure.querySelector(".beneath");
      beneath.replaceChildren(...(size >= 11 ? shown.reading.texts.map((text) => element("i", {}, sign(text))) : []));
      beneath.style.setProperty("--cell", `${size}px`);
    });
    key.replaceChildren(
      legend("0%", "100%", colours.plain, 0, ["25%"]),
      element("br"),
      "Row: the letter being read. Column: an earlier letter it looks at; none looks ahead. Each row sums to 100%; " +
        "small shares are shown larger than they are. Choose a head to see its arcs.",
    );
  }

  return { node, draw };
}
