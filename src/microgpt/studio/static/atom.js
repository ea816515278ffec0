// All about one atom: value, gradient, slopes, the shares that make its gradient, and the chain that leads to it.

import { element, number } from "./elements.js";
import { SIGNS } from "./graph.js";
import { short } from "./sentences.js";

const LONGEST_CHAIN = 24; // links of a chain that are shown at once

const FORMULAS = {
  add: "a + b",
  sub: "a − b",
  mul: "a × b",
  truediv: "a ÷ b",
  pow: "a ^ b",
  neg: "−a",
  exp: "exp(a)",
  log: "log(a)",
  relu: "a if a > 0, else 0",
};

const exact = (value) => number(value, 9).replace("-", "−");
const signOf = (operation) => SIGNS[operation] ?? operation ?? "";

export function detailView(services, choose, unfold) {
  const node = element("aside", { class: "detail", "aria-label": "The chosen atom", "aria-live": "polite" });

  const go = (atom, name) => element("button", { type: "button", class: "link", onclick: () => choose(atom) }, name);

  function facts(atom) {
    const partly =
      Math.abs(atom.whole - atom.gradient) > 0 ? element("small", {}, ` so far, of ${short(atom.whole)}`) : null;
    return element(
      "dl",
      { class: "facts-of" },
      element("dt", {}, "value"),
      element("dd", { "data-fact": "value", "data-exact": atom.value }, exact(atom.value)),
      element("dt", {}, services.glossary("gradient")),
      element("dd", { "data-fact": "gradient", "data-exact": atom.gradient }, exact(atom.gradient), partly),
    );
  }

  function madeFrom(atom, { rate, leaves }) {
    if (!atom.parents.length)
      return element(
        "p",
        { class: "hint" },
        atom.id < leaves
          ? `A leaf: nothing made it. The next step moves it by ` +
              `−${short(rate)} × ${short(atom.whole)} = ${short(-rate * atom.whole)}.`
          : "A written number: nothing made it.",
      );
    return element(
      "div",
      {},
      element("h3", {}, "Made from"),
      element("p", { class: "formula" }, `y = ${FORMULAS[atom.operation] ?? `${atom.operation}(a)`}`),
      table(
        ["from", "value", "local derivative"],
        atom.parents.map((parent, i) => [
          go(parent.atom, `${"ab"[i]}${parent.label ? ` = ${parent.label}` : ""}`),
          short(parent.value),
          `∂y/∂${"ab"[i]} = ${short(parent.slope)}`,
        ]),
      ),
    );
  }

  function usedBy(atom) {
    if (!atom.uses.length) return null;
    const more = atom.uses_in_all - atom.uses.length;
    return element(
      "div",
      {},
      element("h3", {}, "Its gradient is the sum of its uses"),
      table(
        ["used by", "slope × gradient there", "share"],
        [
          ...atom.uses.map((use) => [
            go(use.atom, signOf(use.operation)),
            `${short(use.slope)} × ${short(use.gradient)}`,
            short(use.share),
          ]),
          ...(more > 0 ? [[`${number(more)} more`, "", ""]] : []),
          ["together", "", element("b", { "data-fact": "shares", "data-exact": atom.shares }, short(atom.shares))],
        ],
      ),
    );
  }

  function chain(atom) {
    if (!atom.paths)
      return element("p", { class: "hint" }, "No path leads from the result to this atom, so its gradient is 0.");
    if (!atom.chain.length)
      return element(
        "p",
        { class: "hint" },
        "This is the result itself: the backward pass begins here, with the gradient 1.",
      );
    const runs = gathered(atom.chain);
    const links =
      runs.length > LONGEST_CHAIN
        ? [...runs.slice(0, LONGEST_CHAIN / 2), null, ...runs.slice(-LONGEST_CHAIN / 2)]
        : runs;
    const one = atom.paths === 1;
    const told = (run) => {
      if (!run) return [element("span", {}, ` … ${runs.length - LONGEST_CHAIN} more … `)];
      const [link] = run;
      const slope = run.length > 1 ? `${run.length} operations × 1` : `× ${short(link.slope)}`;
      return [go(link.atom, signOf(link.operation)), element("span", { class: "slope" }, slope), " "];
    };
    return element(
      "div",
      {},
      element("h3", {}, one ? "The chain of products" : "The strongest chain of products"),
      element("p", { class: "links" }, ...links.flatMap(told), element("b", {}, atom.label || "this")),
      element(
        "p",
        { class: "hint" },
        `= ${short(atom.product)}`,
        one
          ? ": the only path, and so the gradient."
          : `, one of ${paths(atom.paths)} paths. The products of all of them sum to the gradient, ` +
              `${short(atom.whole)}.`,
      ),
    );
  }

  function draw(atom, shown) {
    if (!atom) {
      node.replaceChildren(
        element(
          "p",
          { class: "hint" },
          "Choose an atom in the graph. Colour shows its gradient: rust where the result grows with it, blue where " +
            "it falls.",
        ),
      );
      delete node.dataset.atom;
      return;
    }
    const hidden = atom.path.some((group) => !shown.open.some((open) => open.id === group.id));
    node.dataset.atom = atom.id;
    node.replaceChildren(
      ...[
        element(
          "h2",
          {},
          atom.label || `atom ${number(atom.id)}`,
          atom.operation && atom.label ? ` (${signOf(atom.operation)})` : "",
        ),
        atom.path.length
          ? element(
              "p",
              { class: "hint" },
              atom.path.map((group) => group.name).join(" › "),
              " ",
              hidden
                ? element(
                    "button",
                    { type: "button", class: "link", onclick: () => unfold(atom.path.map((group) => group.id)) },
                    "show it in the graph",
                  )
                : "",
            )
          : null,
        facts(atom),
        element("div", { class: "parts" }, madeFrom(atom, shown.descent), usedBy(atom), chain(atom)),
      ].filter(Boolean),
    );
  }

  return { node, draw };
}

// The links of a chain, each in a list; those that only pass the gradient on, three or more together, share one.
function gathered(chain) {
  const runs = [];
  for (const link of chain) {
    if (link.slope === 1 && runs.at(-1)?.[0].slope === 1) runs.at(-1).push(link);
    else runs.push([link]);
  }
  return runs.flatMap((run) => (run.length > 2 ? [run] : run.map((link) => [link])));
}

const paths = (count) => (count < 1e6 ? number(count) : `about 10^${Math.round(Math.log10(count))}`);

function table(head, rows) {
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))),
  );
}
