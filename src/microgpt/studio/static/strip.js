// The text as the model reads it: each token on the colour of its surprise, and arcs to what it attends to.

import { drawn, element, number } from "./elements.js";
import { legend, palette, sign, spoken } from "./heat.js";

const ARCS = 12; // at most, for what is attended to most
const FAINTEST = 0.005; // attention below it has none

export function stripView(services, change) {
  const arcs = drawn("svg", { class: "arcs", "aria-hidden": "true" });
  const letters = element("div", {
    class: "letters",
    role: "listbox",
    "aria-label": "Characters; arrow keys move",
    "aria-orientation": "horizontal",
    tabindex: 0,
    translate: "no",
  });
  const stage = element("div", { class: "stage" }, arcs, letters);
  const told = element("p", { class: "told", "aria-live": "polite" });
  const key = element("p", { class: "hint explain" });
  const node = element(
    "section",
    { class: "strip", "aria-labelledby": "strip-title" },
    element("h2", { id: "strip-title" }, "The text as the model reads it"),
    stage,
    told,
    key,
  );
  let shown = null;

  letters.addEventListener("keydown", (event) => {
    const last = shown.reading.tokens.length - 1;
    const moves = { ArrowLeft: shown.at - 1, ArrowRight: shown.at + 1, Home: 0, End: last };
    if (!(event.key in moves)) return;
    event.preventDefault();
    change({ at: Math.min(last, Math.max(0, moves[event.key])) });
  });
  letters.addEventListener("pointerover", (event) => {
    const letter = event.target.closest("[data-at]");
    if (letter) mark(Number(letter.dataset.at));
  });
  letters.addEventListener("pointerleave", () => mark(null));
  letters.addEventListener("click", (event) => {
    const letter = event.target.closest("[data-at]");
    if (letter) change({ at: Number(letter.dataset.at) });
  });

  // What a position attends to: by the chosen head, or on average over the heads of the layer.
  function attended(at) {
    const heads = shown.head === null || !shown.heads[shown.head] ? shown.heads : [shown.heads[shown.head]];
    return heads[0][at].map((_, to) => heads.reduce((sum, head) => sum + head[at][to], 0) / heads.length);
  }

  function letter(text, at, colours) {
    const nats = shown.reading.surprise[at];
    const made = element(
      "span",
      {
        class: "letter",
        role: "option",
        "data-at": at,
        id: `letter-${at}`,
        "aria-selected": String(at === shown.at),
        "data-surprise": nats,
      },
      element("span", { class: "unseen" }, `${at}: ${spoken(text)}${nats === null ? "" : ", surprise "}`),
      element("b", { class: text === "" ? "mark" : false, "aria-hidden": "true" }, sign(text)),
      element("small", {}, nats === null ? "–" : nats.toFixed(1)),
    );
    if (nats !== null) made.style.background = colours.tint(nats / (1.5 * shown.reading.uniform));
    return made;
  }

  // Arcs from a position, or from the chosen one.
  function mark(at) {
    if (!shown) return;
    const from = at === null || at === undefined ? shown.at : at;
    const box = stage.getBoundingClientRect();
    const places = [...letters.children].map((each) => each.getBoundingClientRect());
    const middle = (i) => [places[i].left + places[i].width / 2 - box.left, places[i].top - box.top];
    arcs.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const [x, y] = middle(from);
    const weights = attended(from);
    const most = weights
      .map((_, to) => to)
      .filter((to) => to !== from && weights[to] >= FAINTEST)
      .sort((one, other) => weights[other] - weights[one])
      .slice(0, ARCS);
    arcs.replaceChildren(
      ...most.map((to) => {
        const [left, top] = middle(to);
        const high = Math.min(y, top) - Math.min(44, 10 + Math.abs(x - left) / 4);
        return drawn("path", {
          d: `M${x} ${y} C${x} ${high} ${left} ${high} ${left} ${top}`,
          "stroke-width": 0.75 + 5 * weights[to],
          opacity: 0.25 + 0.7 * (weights[to] / weights[most[0]]),
        });
      }),
    );
    [...letters.children].forEach((each, i) => each.classList.toggle("from", i === from));
    say(from);
  }

  function say(at) {
    const { texts, surprise, entropy } = shown.reading;
    const most = attended(at)
      .map((weight, to) => [weight, to])
      .sort((one, other) => other[0] - one[0])
      .slice(0, 3);
    const who =
      shown.head === null
        ? `the ${shown.heads.length > 1 ? `${shown.heads.length} heads` : "head"} of layer ${shown.layer}`
        : `head ${shown.head} of layer ${shown.layer}`;
    const words = most.map(([weight, to]) => `${spoken(texts[to])} at ${to} (${Math.round(100 * weight)}%)`).join(", ");
    const nats = surprise[at] === null ? "" : `surprise ${number(surprise[at], 3)} nats; `;
    const attend = shown.head === null && shown.heads.length > 1 ? "attend" : "attends";
    told.textContent =
      `Position ${at}, ${spoken(texts[at])}: ${nats}${who} ${attend} to ${words}; ` +
      `the entropy of the next token is ${number(entropy[at], 3)} nats.`;
  }

  function draw(now) {
    const colours = palette();
    const look = colours.tint(1);
    if (shown?.reading !== now.reading || letters.dataset.look !== look) {
      shown = now;
      letters.replaceChildren(...now.reading.texts.map((text, at) => letter(text, at, colours)));
      letters.dataset.look = look;
    }
    shown = now;
    [...letters.children].forEach((each, at) => each.setAttribute("aria-selected", String(at === now.at)));
    letters.setAttribute("aria-activedescendant", `letter-${shown.at}`);
    key.replaceChildren(
      "Ground and number: ",
      services.glossary("surprise", "surprise"),
      " in nats; guessing every token alike would be ",
      number(shown.reading.uniform, 3),
      ". ",
      legend("0", number(1.5 * shown.reading.uniform, 2), (share) => colours.plain(0.45 * share)),
      element("br"),
      "Entropy: the surprise it expects at the next token. Arcs: what the chosen position attends to. Point at a " +
        "token, or move with the arrow keys.",
    );
    mark(null);
  }

  return { node, draw, mark };
}
