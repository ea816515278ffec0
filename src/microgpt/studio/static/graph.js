// The graph as boxes and curves. Boxes are buttons: click, or walk with the arrow keys and press Enter.

import { drawn, element, number } from "./elements.js";
import { palette } from "./heat.js";
import { layered } from "./layout.js";
import { short } from "./sentences.js";

const WIDE = 140;
const HIGH = 44;
const APART = { x: 46, y: 14 };
const EDGE = 12; // around it all
const SMALLEST = 0.8; // of the natural size, before it scrolls

export const SIGNS = { add: "+", sub: "−", mul: "×", truediv: "÷", pow: "^", neg: "−" };

export function graphView(pick) {
  const picture = drawn("svg", { class: "graph", role: "group", "aria-label": "Computation graph" });
  const node = element("div", { class: "graph-frame", tabindex: -1 }, picture);
  let places = new Map();
  let boxes = new Map();
  let seen = new Set();

  picture.addEventListener("keydown", (event) => {
    const id = Number(event.target.closest("[data-box]")?.dataset.box);
    if (!boxes.has(id)) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      pick(boxes.get(id));
    } else if (event.key.startsWith("Arrow")) {
      event.preventDefault();
      focus(nearest(id, event.key));
    }
  });
  picture.addEventListener("click", (event) => {
    const id = Number(event.target.closest("[data-box]")?.dataset.box);
    if (boxes.has(id)) pick(boxes.get(id));
  });
  picture.addEventListener("pointerover", (event) => trace(event.target.closest("[data-box]")?.dataset.box));
  picture.addEventListener("pointerleave", () => trace(null));

  // Lifts the edges of one box out of the others.
  function trace(id) {
    for (const edge of picture.querySelectorAll(".edge"))
      edge.classList.toggle("near", id !== null && (edge.dataset.from === id || edge.dataset.to === id));
  }

  function nearest(id, key) {
    const from = places.get(id);
    const along = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    let best = id;
    let least = Infinity;
    for (const [other, place] of places) {
      const [x, y] = [place.x - from.x, place.y - from.y];
      const forward = x * along[0] + y * along[1];
      const far = forward + 3 * Math.abs(x * along[1] + y * along[0]);
      if (forward > 1 && far < least) [best, least] = [other, far];
    }
    return best;
  }

  function focus(id) {
    for (const box of picture.querySelectorAll("[data-box]"))
      box.setAttribute("tabindex", Number(box.dataset.box) === id ? 0 : -1);
    picture.querySelector(`[data-box="${id}"]`)?.focus();
  }

  // From box to box, along its lane in each column between.
  function edge([from, to, count], lane) {
    const stops = [places.get(from), ...lane, places.get(to)];
    const height = ({ y }) => y + HIGH / 2;
    const curves = stops.slice(1).map((stop, i) => {
      const [x, u] = [stops[i].x + WIDE, stop.x];
      const bend = Math.max(20, (u - x) / 2);
      const [from, to] = [height(stops[i]), height(stop)];
      return `L${x} ${from}C${x + bend} ${from} ${u - bend} ${to} ${u} ${to}`;
    });
    return drawn("path", {
      class: "edge",
      "data-from": from,
      "data-to": to,
      d: `M${stops[0].x + WIDE} ${height(stops[0])}${curves.join("")}`,
      "stroke-width": 1 + Math.min(3, Math.log10(count)),
    });
  }

  function text(box) {
    if (box.kind === "others") return ["the others", `${number(box.atoms)} atoms · ${box.name}`];
    if (box.kind === "group")
      return [
        box.name,
        `${number(box.atoms)} atom${box.atoms > 1 ? "s" : ""}${box.path.length > 1 ? ` · ${box.path.at(-2)}` : ""}`,
      ];
    const sign = SIGNS[box.operation] ?? box.operation;
    const name = [box.label.length > 15 ? "" : box.label, sign].filter(Boolean);
    return [
      name.length === 2 ? `${name[1]}   ${name[0]}` : (name[0] ?? short(box.value)),
      `${short(box.value)}  ·  ∂ ${short(box.gradient)}`,
    ];
  }

  // A line of text, set closer where it is longer than its box.
  function line(text, y, name, letter) {
    const room = WIDE - 12;
    return drawn(
      "text",
      {
        x: WIDE / 2,
        y,
        class: name,
        ...(text.length * letter > room ? { textLength: room, lengthAdjust: "spacingAndGlyphs" } : {}),
      },
      text,
    );
  }

  // Behind the boxes of an open group that stand together in a column.
  function frames(shown) {
    const found = new Map();
    for (const box of shown.boxes) {
      if (!box.within) continue;
      const { x, y } = places.get(box.id);
      const key = `${x} ${box.within}`;
      const [top, bottom] = found.get(key) ?? [y, y];
      found.set(key, [Math.min(top, y), Math.max(bottom, y)]);
    }
    return [...found].map(([key, [top, bottom]]) =>
      drawn("rect", {
        class: "frame",
        x: Number(key.split(" ")[0]) - 6,
        y: top - 6,
        width: WIDE + 16,
        height: bottom - top + HIGH + 16,
        rx: 6,
      }),
    );
  }

  // Brings what was unfolded last into sight.
  function reveal(shown, chosen, scale) {
    const fresh = shown.open.filter((group) => group.id > 0 && !seen.has(group.id)).at(-1);
    seen = new Set(shown.open.map((group) => group.id));
    const inside = shown.boxes.filter((box) => fresh && box.within === fresh.id);
    if (!inside.length) return;
    const mean = (side) => inside.reduce((sum, box) => sum + places.get(box.id)[side], 0) / inside.length;
    const [x, y] = [mean("x"), mean("y")];
    const far = (box) => Math.abs(places.get(box.id).x - x) + Math.abs(places.get(box.id).y - y);
    const middle =
      inside.find((box) => box.id === chosen) ?? inside.reduce((one, other) => (far(other) < far(one) ? other : one));
    const place = places.get(middle.id);
    node.scrollTo(
      (place.x + WIDE / 2) * scale - node.clientWidth / 2,
      (place.y + HIGH / 2) * scale - node.clientHeight / 2,
    );
  }

  function label(box) {
    if (box.kind === "others")
      return `the others of ${box.path.join(", ")}: ${box.atoms} atoms; folds what is open beside them`;
    if (box.kind === "group") return `${box.path.join(", ")}: ${box.atoms} atoms, folded`;
    return `${box.operation || "number"} ${box.label}, value ${short(box.value)}, gradient ${short(box.gradient)}`;
  }

  function button(box, now, colours, largest) {
    const { x, y } = places.get(box.id);
    const strength = box.kind === "atom" ? box.gradient : box.largest;
    const classes = [
      "box",
      box.kind === "atom" ? "atom" : "group",
      box.operation || box.kind !== "atom" ? "" : "leaf",
      box.id === now.chosen ? "chosen" : "",
      box.id === now.met_box && now.step < now.steps ? "met" : "",
      box.steps && !box.done ? "ahead" : "",
    ];
    const frame = drawn("rect", { width: WIDE, height: HIGH, rx: box.kind === "atom" ? 8 : 3 });
    frame.style.fill = colours.tintSigned(strength ? Math.sign(strength) * Math.sqrt(Math.abs(strength) / largest) : 0);
    const [first, second] = text(box);
    const made = drawn(
      "g",
      {
        class: classes.filter(Boolean).join(" "),
        transform: `translate(${x} ${y})`,
        role: "button",
        tabindex: -1,
        "data-box": box.id,
      },
      ...(box.kind === "atom"
        ? []
        : [drawn("rect", { class: "behind", x: 4, y: 4, width: WIDE, height: HIGH, rx: 3 })]),
      frame,
      line(first, 18, "first", 8),
      line(second, 35, "second", 6.6),
    );
    if (box.kind === "atom")
      Object.assign(made.dataset, { value: box.value, gradient: box.gradient, label: box.label });
    else {
      if (box.kind === "group") made.dataset.name = box.path.join("/");
      if (now.step < now.steps)
        made.append(
          drawn("rect", {
            class: "progress",
            y: HIGH - 3,
            height: 3,
            width: box.steps ? (WIDE * box.done) / box.steps : 0,
          }),
        );
    }
    made.prepend(drawn("title", {}, label(box)));
    return made;
  }

  function draw(shown, state) {
    const focused = Number(picture.querySelector(":focus")?.dataset.box);
    boxes = new Map(shown.boxes.map((box) => [box.id, box]));
    const { nodes, lanes } = layered(shown.boxes, shown.edges);
    const all = [...nodes.values(), ...lanes.flat()];
    const top = Math.min(...all.map((each) => each.row));
    const place = ({ column, row }) => ({
      x: EDGE + column * (WIDE + APART.x),
      y: EDGE + (row - top) * (HIGH + APART.y),
    });
    places = new Map([...nodes].map(([id, each]) => [id, place(each)]));
    const width = Math.max(...all.map((each) => place(each).x)) + WIDE + EDGE + 4;
    const height = Math.max(...all.map((each) => place(each).y)) + HIGH + EDGE + 4;
    const scale = Math.min(1, Math.max(SMALLEST, (node.clientWidth - 2) / width));
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.style.width = `${width * scale}px`;
    picture.style.height = `${height * scale}px`;
    const colours = palette();
    const largest = Math.max(1e-300, ...shown.boxes.map((box) => Math.abs(box.gradient ?? box.largest ?? 0)));
    const now = { ...shown, chosen: state.atom === undefined ? null : Number(state.atom) };
    picture.replaceChildren(
      ...frames(shown),
      ...shown.edges.map((each, i) => edge(each, lanes[i].map(place))),
      ...shown.boxes.map((box) => button(box, now, colours, largest)),
    );
    const start = boxes.has(focused) ? focused : shown.boxes.at(-1).id;
    picture.querySelector(`[data-box="${start}"]`).setAttribute("tabindex", 0);
    if (boxes.has(focused)) focus(focused);
    reveal(shown, now.chosen, scale);
    picture.dataset.boxes = shown.boxes.length;
    picture.dataset.open = shown.open.map((group) => group.id).join(".");
    picture.dataset.step = shown.step;
  }

  return { node, draw };
}
