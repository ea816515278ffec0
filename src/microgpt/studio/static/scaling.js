// The page Scaling: the store of a sweep. Held-out loss against an axis, with error bars and fitted laws; tables below.

import { chart, nearest } from "./charts.js";
import { element, number } from "./elements.js";

const COLOURS = ["--accent", "--accent-2", "--accent-3", "--accent-4", "--accent-5"];
const DASHES = [null, "7 3", "2 3", "10 3 2 3", "4 2"];
const AGAIN = 3000; // milliseconds between two looks at the store while a sweep may run
const LINES = 12; // groups that a legend can tell apart

export async function mount(root, state, services) {
  const { get, navigate, glossary } = services;
  let found = { points: [], laws: [], tables: [], warnings: [] };
  let seen = "";
  let timer = null;
  let gone = false;

  const axis = element("select", { id: "axis" });
  const log = element("input", { type: "checkbox", id: "scaling-log", checked: state.linear !== "1" });
  const picture = chart({ label: "Held-out loss against the axis of the sweep", xTitle: "", yTitle: "held-out loss, nats per token", onPick: (x) => pick(x), onStep: (direction) => turn(direction) });
  const point = element("div", { id: "point", "aria-live": "polite" });
  const warnings = element("ul", { class: "notes", id: "warnings" });
  const tables = element("div", { id: "tables" });
  const body = element("div", {}, element("div", { class: "line block" }, element("label", { for: "axis" }, "Against"), element("span", {}, axis), log, element("label", { for: "scaling-log" }, "logarithmic")), picture.element, point, warnings, tables);
  const empty = element("p", { class: "empty" });
  root.append(element("h1", {}, "Scaling"), element("p", { class: "lead" }, "What more steps or more ", glossary("parameters"), " bring: the ", glossary("held-out loss"), " of every run of a sweep, over several seeds."), empty, body);

  axis.addEventListener("input", () => navigate("scaling", { axis: axis.value, at: null }, { replace: true }));
  log.addEventListener("input", () => navigate("scaling", { linear: log.checked ? null : "1" }, { replace: true }));

  // A number that a point has on an axis: a level of the sweep, or the number of parameters.
  const level = (each, name) => (name === "params" ? each.params : each.levels[name]);

  function axes() {
    const names = new Set(found.points.flatMap((each) => Object.keys(each.levels)));
    const numeric = [...names].filter((name) => found.points.every((each) => typeof each.levels[name] === "number"));
    return [...numeric, "params"].filter((name) => new Set(found.points.map((each) => level(each, name))).size > 1);
  }

  // Points that differ in nothing but the axis make a line.
  function groups(name) {
    const made = new Map();
    const varying = Object.keys(found.points[0]?.levels ?? {}).filter((other) => other !== name && new Set(found.points.map((each) => each.levels[other])).size > 1);
    const sizes = new Set(["emb", "head", "layer", "ctx", "ff"]);
    for (const each of found.points) {
      const key = varying.filter((other) => name !== "params" || !sizes.has(other)).map((other) => `${other} ${each.levels[other]}`).join(", ");
      if (!made.has(key)) made.set(key, []);
      made.get(key).push(each);
    }
    return [...made].map(([key, points]) => [key, points.sort((a, b) => level(a, name) - level(b, name))]);
  }

  function draw() {
    empty.hidden = found.points.length > 0;
    body.hidden = !found.points.length;
    empty.textContent = found.sentence ?? "";
    if (!found.points.length) return;
    const names = axes();
    const chosen = names.includes(state.axis) ? state.axis : names[0] ?? "params";
    if ([...axis.options].map((each) => each.value).join() !== names.join()) axis.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    axis.value = chosen;
    const lines = groups(chosen);
    const series = lines.map(([key, points], place) => ({
      name: lines.length > LINES ? "" : key || "mean over seeds",
      points: points.map((each) => [level(each, chosen), each.mean, each.high === null ? null : (each.high - each.low) / 2 / 1.96]),
      colour: COLOURS[place % COLOURS.length],
      dash: DASHES[place % DASHES.length],
      dots: found.points.length > 300 ? 1.8 : 3.2,
      opacity: 0.75,
      width: 1.2,
    }));
    for (const law of found.laws.filter((each) => each.axis === chosen)) series.push({ name: law.name, points: law.points, colour: "--ink", dash: "6 4", width: 1.6 });
    picture.set({ series, xTitle: chosen, xLog: log.checked, yLog: log.checked, cursor: state.at ? Number(state.at) : null });
    warnings.replaceChildren(...found.warnings.map((text) => element("li", { class: "warning" }, text)));
    tables.replaceChildren(...found.tables.flatMap(tabled));
    if (state.at) about(chosen, Number(state.at));
    else point.replaceChildren(element("p", { class: "hint" }, "Press a point for its runs and samples."));
  }

  function pick(x) {
    const near = nearest(found.points.map((each) => [level(each, axis.value)]), x);
    navigate("scaling", { at: String(near[0]) }, { replace: true });
  }

  function turn(direction) {
    const levels = [...new Set(found.points.map((each) => level(each, axis.value)))].sort((a, b) => a - b);
    const place = state.at ? levels.indexOf(Number(state.at)) + direction : 0;
    navigate("scaling", { at: String(levels[Math.max(0, Math.min(levels.length - 1, place))]) }, { replace: true });
  }

  function about(name, at) {
    const here = found.points.filter((each) => level(each, name) === at).slice(0, 6);
    point.replaceChildren(element("div", { class: "side" }, here.map((each) => element("div", {},
      element("h2", {}, Object.entries(each.levels).map(([key, value]) => `${key} ${value}`).join(", ")),
      element("p", { class: "small" }, `${number(each.mean, 4)} (${number(each.low, 4)} to ${number(each.high, 4)}), ${each.seeds} seeds, ${number(each.params)} parameters`),
      element("ul", { class: "samples", translate: "no" }, (each.samples ?? []).slice(0, 8).map((sample) => element("li", { dir: "auto" }, sample)))))));
  }

  function tabled({ title, columns, rows }) {
    return [
      element("h2", { style: { "margin-top": "2rem" } }, title),
      element("div", { class: "table" }, element("table", {},
        element("thead", {}, element("tr", {}, columns.map((column) => element("th", { scope: "col" }, glossary(column))))),
        element("tbody", {}, rows.map((row) => element("tr", {}, row.map((cell) => element("td", {}, typeof cell === "number" ? number(cell, 4) : String(cell ?? "–")))))))),
    ];
  }

  async function look() {
    try {
      const next = await get("/api/scaling");
      const text = JSON.stringify(next);
      if (gone) return;
      if (text !== seen) {
        seen = text;
        found = next;
        draw();
      }
    } catch (error) {
      empty.hidden = false;
      empty.textContent = error.message;
    }
    if (!gone) timer = setTimeout(look, AGAIN);
  }

  await look();
  return {
    update(next) {
      state = next;
      draw();
    },
    unmount() {
      gone = true;
      clearTimeout(timer);
    },
  };
}
