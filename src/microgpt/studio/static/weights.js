// Weights to look at: embeddings in a plane, and matrices as images.

import { drawn, element, number } from "./elements.js";
import { heatMap, legend, palette, sign, spoken } from "./heat.js";

const SIDE = 400;
const LEGIBLE = 200; // tokens; of more only those of the text are words, and the others dots
const ABOUT = {
  wte: "one row for each token: its embedding",
  wpe: "one row for each position",
  lm_head: "one row for each token: its weights as the next one",
  attn_wq: "query: what a letter looks for",
  attn_wk: "key: what it is found by",
  attn_wv: "value: what it passes on",
  attn_wo: "output: joins the heads",
  mlp_gate: "MLP, the gates",
  mlp_fc1: "MLP, into the wide",
  mlp_fc2: "MLP, back again",
};

const percent = (share) => `${Math.round(100 * share)}%`;

export function embeddingsView(services) {
  const picture = drawn("svg", { class: "scatter", viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img" });
  const told = element("p", { class: "hint explain" });
  const node = element(
    "section",
    { "aria-labelledby": "embeddings-title" },
    element("h2", { id: "embeddings-title" }, services.glossary("embedding", "Embeddings"), " in two dimensions"),
    picture,
    told,
  );

  // What leaves most room: the same scale along both axes, and the origin in the middle.
  function scaled(points) {
    const reach = Math.max(1e-12, ...points.flat().map(Math.abs));
    return points.map(([x, y]) => [SIDE / 2 + (x / reach) * (SIDE / 2 - 18), SIDE / 2 - (y / reach) * (SIDE / 2 - 18)]);
  }

  function draw({ points: { points, shares, texts }, reading }) {
    const used = new Set(reading.tokens);
    const axes = [`M0 ${SIDE / 2}H${SIDE}`, `M${SIDE / 2} 0V${SIDE}`].map((d) => drawn("path", { d, class: "axis" }));
    const letters = scaled(points).map(([x, y], token) =>
      drawn(
        "text",
        { x, y, class: used.has(token) ? "used" : "", "data-token": token },
        texts.length <= LEGIBLE || used.has(token) ? sign(texts[token]) : "·",
        drawn("title", {}, `${spoken(texts[token])}: ${points[token].map((each) => number(each, 3)).join(", ")}`),
      ),
    );
    letters.sort((one, other) => used.has(Number(one.dataset.token)) - used.has(Number(other.dataset.token)));
    picture.replaceChildren(...axes, ...letters); // the used ones last, above all others
    picture.setAttribute(
      "aria-label",
      `${texts.length} tokens; those of the text stand out. Two directions show ${percent(shares[0] + shares[1])} of ` +
        "how they differ.",
    );
    told.textContent =
      `The two directions that differ most (PCA of the embeddings) hold ${percent(shares[0])} and ` +
      `${percent(shares[1])} of the variance. Near: the model treats them alike. Bold: those of the text; ◦ begins ` +
      "and ends a document.";
  }

  return { node, draw };
}

export function weightsView(services, change) {
  const groups = element("div", { class: "choices", role: "group", "aria-label": "Part of the model" });
  const grid = element("div", { class: "images" });
  const told = element("p", { class: "told", "aria-live": "polite" });
  const key = element("p", { class: "hint explain" });
  const node = element(
    "section",
    { "aria-labelledby": "weights-title" },
    element("h2", { id: "weights-title" }, services.glossary("weight", "Weights"), " as images"),
    groups,
    grid,
    told,
    key,
  );

  function rowName(image, row, about) {
    const first = row * image.block[0];
    const token = ["wte", "lm_head"].includes(image.name) && image.block[0] === 1;
    return token ? `row ${first}, ${spoken(about.texts[first] ?? "")}` : `row ${first}`;
  }

  function figure(image, about, colours) {
    const means = image.block[0] * image.block[1] > 1 ? image.block.join(" × ") : "";
    const map = heatMap({
      label: image.name,
      onPoint: (row, column) => {
        if (row === null) return (told.textContent = "");
        const place = `${image.name}, ${rowName(image, row, about)}, column ${column * image.block[1]}`;
        const value = number(image.cells[row][column], 4);
        return (told.textContent = `${place}: ${value}${means ? `, mean of ${means} weights` : ""}`);
      },
    });
    const columns = image.cells[0].length;
    const size = Math.max(3, Math.min(10, Math.floor(280 / Math.max(columns, image.cells.length))));
    const extreme = image.extreme || 1;
    map.draw(image.cells, {
      columns,
      size,
      share: (value) => 0.5 + value / (2 * extreme),
      colourOf: (share) => colours.signed(2 * share - 1),
      label:
        `${image.name}: ${image.rows} rows, ${image.columns} columns, root mean square ${number(image.rms, 2)}, ` +
        `extreme ${number(image.extreme, 2)}`,
    });
    const short = image.name.split(".").pop();
    return element(
      "figure",
      {},
      element(
        "figcaption",
        {},
        element("b", {}, short),
        ` ${image.rows} × ${image.columns}`,
        element("small", {}, ABOUT[short] ?? ""),
      ),
      map.node,
      element(
        "small",
        { class: "extreme" },
        `${number(-image.extreme, 2)} to ${number(image.extreme, 2)}${means ? `, means of ${means}` : ""}`,
      ),
    );
  }

  function draw({ pictures, about, state }) {
    const chosen = state.group ?? "embeddings";
    const colours = palette();
    groups.replaceChildren(
      ...pictures.groups.map((group) =>
        element(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-pressed": String(group === chosen),
            onclick: () => change({ group }),
          },
          group.replace("layer", "layer "),
        ),
      ),
    );
    grid.replaceChildren(...pictures.images.map((image) => figure(image, about, colours)));
    key.replaceChildren(
      legend("lowest", "highest", colours.signed, -1),
      element("br"),
      "Each image has its own scale, named below it; the ground is zero.",
    );
  }

  return { node, draw };
}
