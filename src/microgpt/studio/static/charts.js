// A small chart: lines, dots with error bars, horizontal marks with their meaning, a cursor; linear or logarithmic.
// It follows the width of its place, the theme's colours, the pointer and the arrow keys.
// A series is { name, points: [[x, y, [low, high] or nothing, key or nothing], …], colour, line, dots, dash, … }.
// It is our own and no library: a page loads nothing from elsewhere, and nearly all of it is what is drawn here and
// nowhere else: marks with their meaning, intervals, a cursor by key and pointer, words for who sees none of it.

import { drawn, element, number } from "./elements.js";

const MARGIN = { right: 24, top: 26, bottom: 38 };
const LETTER = 6.7; // pixels of a letter, about
const LINE = 14; // pixels between two labels

const NEAR = 28; // pixels from a dot that still mean it

// options: { label, xTitle, yTitle, height, onPick(x, key), onStep(1 or -1), onNear(dot or null) }: a press, the arrow
// keys, and the dot with a key that the pointer is near to: { key, left, top } in pixels of the box
export function chart(options) {
  const svg = drawn("svg", { role: "img", "aria-label": options.label });
  const readout = element("p", { class: "readout", "aria-live": "off" });
  const legend = element("div", { class: "legend" });
  const box = element("div", { class: "chart", ...focusable(options) }, svg);
  const whole = element("figure", { class: "figure" }, box, legend, readout);
  const ring = drawn("circle", { class: "ring", r: 7, visibility: "hidden" });
  let data = { series: [], marks: [], uprights: [], cursor: null, chosen: null, xLog: false, yLog: false };
  let scales = null;
  let dots = []; // { key, left, top } of all that have a key
  let pending = false;

  function set(changes) {
    if (scales && Object.keys(changes).join() === "chosen") return choose(changes.chosen);
    data = { ...data, ...changes };
    if (!pending) requestAnimationFrame(draw);
    pending = true;
  }

  function draw() {
    pending = false;
    const width = Math.max(240, box.clientWidth || 600);
    const height = options.height ?? Math.max(220, Math.min(380, width * 0.45));
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    scales = scalesOf(data, width, height);
    const sides = [scales, width, height];
    svg.replaceChildren(
      ...axes({ ...options, xTitle: data.xTitle ?? options.xTitle }, ...sides),
      ...(scales.empty ? [] : [...lines(data, ...sides), ring, ...labels(data, ...sides)]),
    );
    dots = dotsOf(data.series, scales);
    choose(data.chosen);
    legend.replaceChildren(...data.series.filter((each) => each.name && each.points.length).map(legendOf));
    svg.setAttribute("aria-label", `${options.label}. ${spoken(data)}`);
    if (data.at) tellPlace(data.at);
    if (data.explain) legend.append(element("span", {}, data.explain));
  }

  function tellPlace({ place, most, text }) {
    const now = { "aria-valuenow": place, "aria-valuemax": most, "aria-valuetext": text };
    for (const [name, value] of Object.entries(now)) box.setAttribute(name, value);
  }

  // Rings a dot; nothing else is drawn anew, however many there are.
  function choose(key) {
    data.chosen = key;
    const dot = dots.find((each) => each.key === key);
    ring.setAttribute("visibility", dot ? "visible" : "hidden");
    const place = dots.indexOf(dot);
    if (dot) tellPlace({ place, most: dots.length - 1, text: `point ${place + 1} of ${dots.length}` });
    if (dot) (ring.setAttribute("cx", dot.left), ring.setAttribute("cy", dot.top));
  }

  function near(event) {
    const place = svg.getBoundingClientRect();
    const size = svg.viewBox.baseVal.width / place.width;
    const [left, top] = [(event.clientX - place.left) * size, (event.clientY - place.top) * size];
    let best = null;
    let least = NEAR;
    for (const dot of dots) {
      const distance = Math.hypot(dot.left - left, dot.top - top);
      if (distance < least) [best, least] = [dot, distance];
    }
    return best;
  }

  function read(event) {
    if (!scales) return;
    const place = svg.getBoundingClientRect();
    const x = scales.x.back(((event.clientX - place.left) / place.width) * svg.viewBox.baseVal.width);
    readout.textContent = told(data, x, data.xTitle ?? options.xTitle ?? "");
    return x;
  }

  box.addEventListener("pointermove", (event) => (options.onNear ? options.onNear(near(event)) : read(event)));
  box.addEventListener("pointerleave", () => {
    readout.textContent = "";
    options.onNear?.(null);
  });
  if (options.onPick) box.addEventListener("click", (event) => options.onPick(read(event), near(event)?.key));
  if (options.onStep) {
    box.addEventListener("keydown", (event) => {
      const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!direction) return;
      event.preventDefault();
      options.onStep(direction);
    });
  }
  new ResizeObserver(() => set({})).observe(box);
  return { element: whole, box, set };
}

// A chart whose points are chosen by the arrow keys has the focus, a name, and a role that says so; `at` of its data is
// the one that is chosen: { place, most, text }.
function focusable({ label, onStep }) {
  if (!onStep) return {};
  const named = { role: "slider", "aria-label": `${label}: the arrow keys go from point to point` };
  return { ...named, tabindex: "0", "aria-valuenow": "0", "aria-valuemin": "0" };
}

function scalesOf({ series, marks, uprights, xLog, yLog, xRange }, width, height) {
  const points = series.flatMap((each) => each.points).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const xs = xRange ?? extent([...points.map(([x]) => x), ...uprights.map((mark) => mark.x)]);
  const values = points.flatMap(([, y, span]) => (span ? [y, ...span] : [y]));
  const ys = extent([...values, ...marks.map((mark) => mark.y)]);
  const pad = (ys[1] - ys[0]) * (yLog ? 0.02 : 0.06) || 0.5;
  const y = scale([ys[0] - pad, ys[1] + pad], [height - MARGIN.bottom, MARGIN.top], yLog);
  const empty = !points.length;
  const widest = empty ? 0 : Math.max(...y.ticks(rows(height)).map((tick) => short(tick).length));
  const left = Math.max(30, 12 + LETTER * widest);
  return { x: scale(xs, [left, width - MARGIN.right], xLog), y, left, empty };
}

const rows = (height) => (height > 260 ? 6 : 4);

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  return low === high ? [low, low + 1] : [low, high];
}

// A logarithmic axis begins at 1 or above: steps are counted from 0, and 0 stands at its left end.
function scale([low, high], [first, last], log) {
  const floor = log ? Math.max(low, low > 0 ? low : 1) : low;
  const change = log ? (value) => Math.log10(Math.max(value, floor)) : (value) => value;
  const undo = log ? (value) => 10 ** value : (value) => value;
  const [start, span] = [change(floor), change(high) - change(floor) || 1];
  const at = (value) => first + ((change(value) - start) / span) * (last - first);
  at.back = (place) => undo(start + ((place - first) / (last - first)) * span);
  at.ticks = (count) => (log && high / floor > 8 ? powers(floor, high) : even(floor, high, count));
  return at;
}

function even(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const ticks = [];
  for (let place = Math.ceil(low / step); place * step <= high + step * 1e-9; place++) ticks.push(place * step);
  return ticks;
}

function powers(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const part of high / low > 300 ? [1] : [1, 2, 5]) ticks.push(part * 10 ** power);
  }
  return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

function axes(options, { x, y, left, empty }, width, height) {
  const bottom = height - MARGIN.bottom;
  if (empty) {
    const middle = { x: width / 2, y: height / 2, "text-anchor": "middle" };
    return [
      drawn("line", { class: "grid", x1: left, x2: width - MARGIN.right, y1: bottom, y2: bottom }),
      drawn("text", middle, "Nothing to draw yet"),
    ];
  }
  const across = y
    .ticks(rows(height))
    .flatMap((tick) => [
      drawn("line", { class: "grid", x1: left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
      drawn("text", { x: left - 7, y: y(tick) + 4, "text-anchor": "end" }, short(tick)),
    ]);
  let free = -Infinity; // where the last label ends: those of a logarithmic axis stand close
  const below = x.ticks(Math.max(2, Math.floor(width / 110))).flatMap((tick) => {
    const line = drawn("line", { class: "grid", x1: x(tick), x2: x(tick), y1: bottom, y2: bottom + 4 });
    const half = (LETTER * short(tick).length) / 2;
    if (x(tick) - half < free) return [line];
    free = x(tick) + half + 6;
    return [line, drawn("text", { x: x(tick), y: bottom + 17, "text-anchor": "middle" }, short(tick))];
  });
  const end = drawn("text", { x: width - MARGIN.right, y: height - 4, "text-anchor": "end" }, options.xTitle ?? "");
  return [...across, ...below, end, drawn("text", { x: 2, y: 13 }, options.yTitle ?? "")];
}

const UNITS = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e4, "k"],
];

// A number that fits at a tick: 12,000 is 12k, and what has no short unit a power of ten.
export function short(value) {
  const size = Math.abs(value);
  if (size < 1e-12) return "0";
  if (size < 1e-3 || size >= 1e15) return value.toExponential(1).replace("e+", "e");
  const [from, unit] = UNITS.find(([least]) => size >= least) ?? [1, ""];
  return `${number(value / (unit === "k" ? 1e3 : from), 3)}${unit}`;
}

// All that is drawn for the data, from the bottom up; the words come above it.
function lines(data, scales, width, height) {
  return [
    ...data.marks.map(({ y }) => {
      const at = scales.y(y);
      return drawn("line", { class: "mark", x1: scales.left, x2: width - MARGIN.right, y1: at, y2: at });
    }),
    ...data.uprights.map(({ x }) => upright("mark", scales.x(x), height)),
    ...data.series.flatMap((series) => seriesOf(series, scales)),
    ...(data.cursor === null || data.cursor === undefined ? [] : [upright("cursor", scales.x(data.cursor), height)]),
  ];
}

function upright(name, at, height) {
  return drawn("line", { class: name, x1: at, x2: at, y1: MARGIN.top, y2: height - MARGIN.bottom });
}

function labels({ marks, uprights }, scales, width, height) {
  const at = { x: width - MARGIN.right - 4, "text-anchor": "end" };
  const places = apart(
    marks.map(({ y }) => scales.y(y) - 5),
    [MARGIN.top + 8, height - MARGIN.bottom - 4],
  );
  return [
    ...marks.map(({ label }, place) => drawn("text", { ...at, y: places[place] }, label)),
    ...uprights.map(({ x, label }) => drawn("text", { x: scales.x(x) + 5, y: height - MARGIN.bottom - 6 }, label)),
  ];
}

// Heights near to those wished for, of which no two are closer than a line.
export function apart(wishes, [top, bottom]) {
  const order = wishes.map((_, place) => place).sort((one, other) => wishes[one] - wishes[other]);
  const found = [...wishes];
  let least = top;
  for (const place of order) {
    found[place] = Math.max(found[place], least);
    least = found[place] + LINE;
  }
  let most = bottom;
  for (const place of order.reverse()) {
    found[place] = Math.min(found[place], most);
    most = found[place] - LINE;
  }
  return found;
}

function seriesOf(series, { x, y }) {
  const sound = series.points.filter(([, value]) => Number.isFinite(value));
  const stroke = `var(${series.colour})`;
  const shapes = [];
  if (series.line !== false) {
    const points = sound.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    const look = {
      stroke,
      "stroke-width": series.width ?? 1.8,
      "stroke-dasharray": series.dash,
      opacity: series.opacity,
    };
    shapes.push(drawn("polyline", { points, ...look }));
  }
  if (series.dots) {
    for (const [at, value, span] of sound) {
      if (span) shapes.push(drawn("line", { x1: x(at), x2: x(at), y1: y(span[0]), y2: y(span[1]), style: { stroke } }));
      shapes.push(drawn("circle", { cx: x(at), cy: y(value), r: series.dots, style: { fill: stroke } }));
    }
  }
  return shapes;
}

function dotsOf(series, { x, y }) {
  return series.flatMap((each) =>
    each.points.filter((point) => point[3]).map(([at, value, , key]) => ({ key, left: x(at), top: y(value) })),
  );
}

function legendOf(series) {
  const line = drawn("line", {
    x1: 1,
    x2: 26,
    y1: 5,
    y2: 5,
    "stroke-width": 2.4,
    "stroke-dasharray": series.dash,
    opacity: series.opacity,
    style: { stroke: `var(${series.colour})` },
  });
  const dot = drawn("circle", { cx: 13, cy: 5, r: 3.5, style: { fill: `var(${series.colour})` } });
  return element(
    "span",
    {},
    drawn("svg", { viewBox: "0 0 27 10", "aria-hidden": "true" }, series.line === false ? dot : line),
    series.name,
  );
}

// The values of all series nearest to a place.
function told(data, x, title) {
  const values = data.series
    .filter((series) => series.name && series.points.length)
    .map((series) => {
      const near = nearest(series.points, x);
      return `${series.name} ${number(near[1], 4)} at ${number(Math.round(near[0]))}`;
    });
  return values.length ? `${title} ${number(Math.max(0, Math.round(x)))}: ${values.join(" · ")}` : "";
}

// The span that holds the truth nine times in ten, from a standard error; nothing where there is none.
export function spanned(value, error) {
  return error ? [value - 1.645 * error, value + 1.645 * error] : null;
}

export function nearest(points, x) {
  let best = points[0];
  for (const point of points) if (Math.abs(point[0] - x) < Math.abs(best[0] - x)) best = point;
  return best;
}

function spoken(data) {
  return data.series
    .filter((series) => series.name && series.points.length)
    .map((series) => `${series.name}: from ${number(series.points[0][1], 3)} to ${number(series.points.at(-1)[1], 3)}`)
    .join("; ");
}

// The mean of the last `count` values at each point.
export function smoothed(points, count) {
  const means = [];
  let sum = 0;
  for (let place = 0; place < points.length; place++) {
    sum += points[place][1];
    if (place >= count) sum -= points[place - count][1];
    means.push([points[place][0], sum / Math.min(place + 1, count)]);
  }
  return means;
}
