// What comes next at the chosen position: a bar for each token, at a temperature and among the top k.

import { element, number } from "./elements.js";
import { labelled } from "./glossary.js";
import { sign, spoken } from "./heat.js";
import { tempered } from "./tempered.js";

const BARS = 12; // shown at first

const percent = (share) =>
  share >= 0.9995 || share === 0
    ? `${Math.round(100 * share)}%`
    : share < 0.0005
      ? "<0.1%"
      : `${(100 * share).toFixed(1)}%`;

// A token's chance as a bar, and a mark where it is otherwise: `own` of most, the longest bar.
export function chanceBar(token, text, own, now, most, marked = true) {
  const end = !text;
  return element(
    "li",
    {
      "data-token": token,
      "data-probability": own,
      "data-chance": now,
      "aria-label": `${end ? "the end" : spoken(text)}: ${percent(now)}`,
    },
    element("span", { class: end ? "sign named" : "sign" }, end ? "end" : sign(text)),
    element(
      "span",
      { class: "track", "aria-hidden": "true" },
      element("span", { class: "chance-bar", style: { width: `${(100 * now) / most}%` } }),
      marked && element("span", { class: "own", style: { left: `${(100 * own) / most}%` } }),
    ),
    element("span", { class: "percent" }, percent(now)),
  );
}

export function chancesView(services, change) {
  const temperature = element("input", { id: "xray-temperature", type: "range", min: 0, max: 2, step: 0.05 });
  const topk = element("input", { id: "xray-topk", type: "range", min: 0, step: 1 });
  const temperatureTold = element("output", { for: "xray-temperature" });
  const topkTold = element("output", { for: "xray-topk" });
  const after = element("p", { class: "after", translate: "no" });
  const bars = element("ol", { class: "chances", translate: "no", "aria-labelledby": "chances-title" });
  const more = element("button", {
    type: "button",
    class: "quiet",
    onclick: () => {
      whole = !whole;
      draw(shown);
    },
  });
  const node = element(
    "section",
    { "aria-labelledby": "chances-title" },
    element("h2", { id: "chances-title" }, "What comes next"),
    after,
    element(
      "div",
      { class: "sliders" },
      element(
        "div",
        { class: "field" },
        element("label", { for: "xray-temperature" }, labelled("temperature", "Temperature"), " ", temperatureTold),
        temperature,
      ),
      element(
        "div",
        { class: "field" },
        element("label", { for: "xray-topk" }, labelled("top-k", "Top k"), " ", topkTold),
        topk,
      ),
    ),
    bars,
    more,
    element(
      "p",
      { class: "hint explain" },
      "Bars: the chances at this temperature. Marks: the model's own, at temperature 1.",
    ),
  );
  let shown = null;
  let whole = false;

  // At once, before the address knows of it.
  temperature.addEventListener("input", () => {
    paint();
    change({ temperature: temperature.value });
  });
  topk.addEventListener("input", () => {
    paint();
    change({ topk: Number(topk.value) || null });
  });

  function paint() {
    const k = Number(topk.value);
    temperatureTold.textContent = Number(temperature.value).toFixed(2);
    topkTold.textContent = k ? `the ${k} most likely` : "all";
    const { order, drawn } = tempered(shown.chances, Number(temperature.value), k);
    const most = Math.max(...drawn, ...shown.chances);
    bars.replaceChildren(
      ...order
        .slice(0, whole ? order.length : BARS)
        .map((token) => chanceBar(token, shown.about.texts[token], shown.chances[token], drawn[token], most)),
    );
    more.hidden = order.length <= BARS;
    more.textContent = whole ? "Show fewer" : `Show all ${number(order.length)}`;
  }

  function draw(now) {
    shown = now;
    temperature.value = now.state.temperature ?? 1;
    topk.max = now.chances.length;
    topk.value = now.state.topk ?? 0;
    const read = now.reading.texts.slice(0, now.at + 1).join("");
    after.replaceChildren(
      "after ",
      element("b", {}, read ? `“${read.length > 40 ? `… ${read.slice(-40)}` : read}”` : "the beginning"),
    );
    paint();
  }

  return { node, draw };
}
