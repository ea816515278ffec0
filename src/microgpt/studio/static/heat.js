// Colours made of the page's own, and grids of numbers as images.
// One hue for what is never negative, two (rust and blue, told apart by any eye) for what has a sign.

import { element } from "./elements.js";

const LEVELS = 255;

const pencil = document.createElement("canvas").getContext("2d");

// A colour of the style sheet as [red, green, blue].
function colour(name, otherwise) {
  pencil.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim() || otherwise;
  return [1, 3, 5].map((at) => parseInt(pencil.fillStyle.slice(at, at + 2), 16));
}

const between = (one, other, share) => one.map((part, i) => Math.round(part + (other[i] - part) * share));
const css = (parts) => `rgb(${parts.join(" ")})`;

// The colours now, light or dark: `plain(0 … 1)`, `signed(-1 … 1)`, and `tint` for the ground of letters.
export function palette() {
  const ground = colour("--track", "#efece5");
  const warm = colour("--accent", "#8c3b1f");
  const cold = colour("--accent-2", "#1d5c8f");
  const plain = (share) => between(ground, warm, Math.min(1, Math.max(0, share)));
  const signed = (share) => between(ground, share < 0 ? cold : warm, Math.min(1, Math.abs(share)));
  return {
    plain,
    signed,
    ink: css(colour("--ink", "#22201d")),
    tint: (share) => css(between(colour("--paper", "#fbfaf7"), warm, 0.45 * Math.min(1, Math.max(0, share)))),
    tintSigned: (share) =>
      css(between(colour("--sheet", "#ffffff"), share < 0 ? cold : warm, 0.4 * Math.min(1, Math.abs(share)))),
  };
}

// A strip that says which colour means what.
export function legend(low, high, colourOf, from = 0, middle = []) {
  const canvas = element("canvas", { width: 96, height: 1, class: "shades", "aria-hidden": "true" });
  const pencil = canvas.getContext("2d");
  for (let x = 0; x < 96; x++) {
    pencil.fillStyle = css(colourOf(from + ((1 - from) * x) / 95));
    pencil.fillRect(x, 0, 1, 1);
  }
  const named = middle.length
    ? element("span", { class: "shades-named" }, canvas, element("small", {}, ...middle))
    : canvas;
  return element("span", { class: "scale" }, low, named, high);
}

// A grid of numbers. Rows may be shorter than `columns`; what is missing stays empty.
// `onPoint(row, column)` while the pointer is over a cell, `onPoint(null)` when it leaves; `onPick(row, column)` on a
// click. The arrow keys go from cell to cell, and Enter picks one.
export function heatMap({ label, onPoint = () => {}, onPick = () => {} }) {
  const canvas = element("canvas", { class: "heat", role: "img", tabindex: "0", "aria-label": label });
  let grid = { rows: 1, columns: 1 };
  let at = [0, 0]; // the cell of the keyboard
  let kept = {};

  function cell(event) {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * grid.rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * grid.columns);
    return [Math.min(grid.rows - 1, Math.max(0, row)), Math.min(grid.columns - 1, Math.max(0, column))];
  }
  canvas.addEventListener("pointermove", (event) => onPoint(...cell(event)));
  canvas.addEventListener("pointerleave", () => onPoint(null));
  canvas.addEventListener("click", (event) => onPick(...cell(event)));
  canvas.addEventListener("blur", () => onPoint(null));
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(event.key in moves) && event.key !== "Enter") return;
    event.preventDefault();
    const [down, right] = moves[event.key] ?? [0, 0];
    const within = (place, most) => Math.max(0, Math.min(most - 1, place));
    at = [within(at[0] + down, grid.rows), within(at[1] + right, grid.columns)];
    if (event.key === "Enter") onPick(...at);
    else onPoint(...at);
  });

  // One pixel for each number; the same numbers in the same colours are painted once.
  function painted(values, columns, share, colourOf) {
    const hue = colourOf(1).join();
    if (kept.values === values && kept.hue === hue) return kept.image;
    const small = element("canvas", { width: columns, height: values.length });
    const image = new ImageData(columns, values.length);
    const known = new Map();
    values.forEach((row, y) =>
      row.forEach((value, x) => {
        const level = Math.round(share(value) * LEVELS);
        if (!known.has(level)) known.set(level, colourOf(level / LEVELS));
        image.data.set(known.get(level), 4 * (y * columns + x));
        image.data[4 * (y * columns + x) + 3] = 255;
      }),
    );
    small.getContext("2d").putImageData(image, 0, 0);
    kept = { values, hue, image: small };
    return small;
  }

  // `share(value)` is the place of a number on the scale of `colourOf`; `size` is that of a cell in pixels.
  function draw(values, { columns, size, share, colourOf, marked = null, ink, label: told }) {
    grid = { rows: values.length, columns };
    if (told) canvas.setAttribute("aria-label", told);
    const pixel = Math.max(1, Math.round(devicePixelRatio));
    canvas.width = Math.round(columns * size * pixel);
    canvas.height = Math.round(values.length * size * pixel);
    canvas.style.width = `${canvas.width / pixel}px`;
    const pencil = canvas.getContext("2d");
    pencil.imageSmoothingEnabled = size < 1;
    pencil.drawImage(painted(values, columns, share, colourOf), 0, 0, canvas.width, canvas.height);
    if (marked !== null && marked < values.length) {
      pencil.strokeStyle = ink;
      pencil.lineWidth = 1.5 * pixel;
      const high = size * pixel;
      const wide = Math.max(values[marked].length * high, 3 * pixel);
      pencil.strokeRect(
        pixel * 0.75,
        marked * high + pixel * 0.75,
        wide - 1.5 * pixel,
        Math.max(pixel, high - 1.5 * pixel),
      );
    }
  }

  return { node: canvas, draw };
}

// How a token is shown: what leaves no ink gets a sign or a name.
export function sign(text, isToken = true) {
  if (Array.from(text).length > 1) return text.replace(/ /g, "␣").replace(/\n/g, "↵");
  const names = { "": isToken ? "◦" : "", " ": "␣", "\n": "↵", "\t": "⇥", "\u00a0": "⍽" };
  return (
    names[text] ??
    (/^[\p{C}\p{Z}]$/u.test(text)
      ? `U+${text.codePointAt(0).toString(16).toUpperCase()}`
      : /^\p{M}$/u.test(text)
        ? `◌${text}`
        : text)
  );
}

// How a token is read aloud.
export function spoken(text) {
  return { "": "begin or end", " ": "space", "\n": "line break" }[text] ?? `“${text}”`;
}

// Loads the style sheet of these pages once.
export function styled() {
  if (document.querySelector('link[href="static/look.css"]')) return Promise.resolve();
  return new Promise((done) => {
    const link = element("link", { rel: "stylesheet", href: "static/look.css", onload: done, onerror: done });
    document.head.append(link);
  });
}

// Keeps only the newest of many quick wishes: `ask(wish)` works on one at a time.
export function latest(work) {
  let wish = null;
  let busy = false;
  return async (newest) => {
    wish = { value: newest };
    if (busy) return;
    busy = true;
    try {
      while (wish) {
        const { value } = wish;
        wish = null;
        await work(value);
      }
    } finally {
      busy = false;
    }
  };
}
