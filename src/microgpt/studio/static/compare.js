// The page Compare: all runs there are, and the chosen ones side by side.

import { chart, smoothed, spanned } from "./charts.js";
import { nothingYet } from "./choosing.js";
import { duration, element, number } from "./elements.js";
import { labelled } from "./glossary.js";
import { labelOf, plain } from "./words.js";

const COLOURS = ["--accent", "--accent-2", "--accent-3", "--accent-4", "--accent-5"];
const DASHES = [null, "7 3", "2 3", "10 3 2 3", "4 2"];
const BETWEEN = "/"; // no name of a run has one
const HIDDEN = ["data", "recipe", "keep", "save_every"];

export async function mount(root, state, services) {
  const { get, navigate, link, glossary } = services;
  const loaded = new Map(); // name to run, or to a promise of it
  let turn = 0;
  let shownSamples = "";

  const table = element("div", { class: "table", id: "runs", tabindex: "0", role: "region", "aria-label": "All runs" });
  const chosen = element("div", { id: "chosen" });
  const trouble = element("p", { class: "trouble", role: "alert" });
  const picture = chart({
    label: "Loss of the chosen runs against steps",
    xTitle: "steps",
    yTitle: "loss, nats per character",
  });
  const other = element(
    "p",
    { class: "advice", id: "other-texts", hidden: true },
    "These runs learned from different texts, so their losses do not compare: some texts are easier than others.",
  );
  const log = element("input", { type: "checkbox", id: "compare-log", checked: state.log === "1" });
  const seed = field("Seed", "seed", state.seed ?? "1", "1", 0);
  const temperature = field("Temperature", "temperature", state.temperature ?? "", "0.05", 0);
  temperature.control.placeholder = "usual";
  const samples = element("div", { class: "side", id: "compare-samples" });
  const settings = element("div", {
    class: "table",
    id: "differences",
    tabindex: "0",
    role: "region",
    "aria-label": "Settings that differ",
  });
  const side = element(
    "div",
    {},
    other,
    picture.element,
    element("div", { class: "line hint block" }, log, element("label", { for: "compare-log" }, "log scale of steps")),
    element("h2", {}, "What they write, from the same seed"),
    element("div", { class: "line block" }, seed.place, temperature.place),
    samples,
    element("h2", { style: { "margin-top": "2rem" } }, "Settings that differ"),
    settings,
  );

  root.append(
    element("h1", {}, "Compare"),
    element(
      "p",
      { class: "lead" },
      "Choose two or more runs to see their curves, what they write from the same seed, and the settings that differ.",
    ),
    trouble,
    table,
    chosen,
  );

  function field(name, id, value, step, low) {
    const control = element("input", { type: "number", id: `compare-${id}`, value, step, min: low });
    control.addEventListener("input", () => navigate("compare", { [id]: control.value || null }, { replace: true }));
    return {
      control,
      place: element(
        "span",
        { class: "line" },
        element("label", { for: `compare-${id}` }, labelled(id, name)),
        control,
      ),
    };
  }

  log.addEventListener("input", () => navigate("compare", { log: log.checked ? "1" : null }, { replace: true }));

  const names = (now) => (now.runs ? now.runs.split(BETWEEN).filter(Boolean) : []);

  function choose(name, wanted) {
    const now = names(state);
    const next = wanted ? [...now, name] : now.filter((each) => each !== name);
    return navigate("compare", { runs: next.length ? next.join(BETWEEN) : null }, { replace: true });
  }

  async function list() {
    const { runs } = await get("/api/runs");
    if (!runs.length) return table.replaceChildren(nothingYet(services));
    const rows = runs.map((run) => {
      const box = element("input", {
        type: "checkbox",
        "aria-label": `Compare ${run.name}`,
        "data-run": run.name,
        disabled: Boolean(run.fault),
      });
      box.addEventListener("input", () => choose(run.name, box.checked));
      if (run.fault)
        return element(
          "tr",
          {},
          element("td", {}, box),
          element("td", { class: "mono" }, run.name),
          element("td", { colspan: "5", class: "trouble" }, plain(run.fault)),
        );
      const whole = run.step === run.steps || run.steps === null;
      const steps = whole ? number(run.step) : `${number(run.step)} of ${number(run.steps)}`;
      const status = run.training ? element("span", { class: "running" }, ` ${run.status} now`) : "";
      return element(
        "tr",
        {},
        element("td", {}, box),
        element("td", {}, link(run.name, "train", { run: run.name }, { class: "mono" }), status),
        element("td", { class: "right" }, number(run.holdout, 4)),
        element("td", {}, run.data ?? ""),
        element("td", { class: "right" }, number(run.params)),
        element("td", { class: "right" }, steps),
        element("td", {}, link("X-ray", "xray", { run: run.name })),
      );
    });
    const heads = [
      [element("span", { class: "unseen" }, "Compare"), ""],
      [glossary("run"), ""],
      [glossary("held-out loss"), "right"],
      ["text", ""],
      [glossary("parameters"), "right"],
      [glossary("steps"), "right"],
      [element("span", { class: "unseen" }, "Look inside"), ""],
    ];
    table.replaceChildren(
      element(
        "table",
        {},
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            heads.map(([head, kind]) => element("th", { class: kind, scope: "col" }, head)),
          ),
        ),
        element("tbody", {}, rows),
      ),
    );
    tick();
  }

  function tick() {
    const now = names(state);
    for (const box of table.querySelectorAll("input[data-run]")) box.checked = now.includes(box.dataset.run);
  }

  async function show() {
    const mine = ++turn;
    tick();
    trouble.textContent = "";
    const now = names(state).slice(0, COLOURS.length);
    if (names(state).length > COLOURS.length)
      trouble.textContent = `The first ${COLOURS.length} are shown: more would not be told apart.`;
    if (!now.length) return chosen.replaceChildren();
    const runs = [];
    for (const name of now) {
      try {
        const run = loaded.get(name) ?? (await get(`/api/runs/${encodeURIComponent(name)}`));
        if (!run.training) loaded.set(name, run); // one that is trained now has more to tell next time
        runs.push({ ...run, place: now.indexOf(name) });
      } catch (error) {
        trouble.textContent = plain(error.message);
      }
    }
    if (mine !== turn) return;
    if (side.parentNode !== chosen) chosen.replaceChildren(side);
    draw(runs);
    differ(runs);
    const asked = JSON.stringify([runs.map((run) => run.name), seed.control.value, temperature.control.value]);
    if (asked !== shownSamples) write(runs, mine, asked);
  }

  function draw(runs) {
    const series = runs.flatMap((run) => {
      const width = run.curve.length > 1 ? run.curve[1][0] - run.curve[0][0] : 1;
      const colour = COLOURS[run.place];
      const looks = run.looks.filter((look) => look.loss !== null).map((look) => [look.step, look.loss]);
      const last = run.holdout === null ? [] : [[run.step, run.holdout, spanned(run.holdout, run.holdout_se)]];
      return [
        {
          name: run.name,
          points: smoothed(run.curve, Math.max(1, Math.round(100 / width))),
          colour,
          dash: DASHES[run.place],
          width: 2,
        },
        { name: "", points: looks, colour, line: false, dots: 1.6 },
        { name: "", points: last, colour, line: false, dots: 4.5 },
      ];
    });
    const told = { uniform: "guessing every token alike (uniform)", counts: "the best table of counts" };
    const marks = Object.entries(told).flatMap(([name, label]) => {
      const values = [...new Set(runs.map((run) => run[name]?.toPrecision(4)))];
      return values.length === 1 && runs[0][name] ? [{ y: runs[0][name], label }] : [];
    });
    const apart = new Set(runs.map((run) => run.data)).size > 1;
    other.hidden = !apart;
    const explain = "dots: held-out loss, the large one on all documents, with its 90% interval";
    picture.set({ series, marks, explain, xLog: log.checked });
  }

  async function write(runs, mine, asked) {
    const columns = runs.map((run) => element("div", {}, title(run), element("p", { class: "hint" }, "writing …")));
    samples.replaceChildren(...columns);
    await Promise.all(
      runs.map(async (run, place) => {
        const params = { seed: seed.control.value, count: run.kind === "windows" ? 1 : 10 };
        if (temperature.control.value !== "") params.temperature = temperature.control.value;
        try {
          const found = await get(`/api/runs/${encodeURIComponent(run.name)}/samples`, params);
          if (mine !== turn) return;
          columns[place].replaceChildren(
            title(run),
            element(
              "ol",
              { class: "samples", translate: "no" },
              found.samples.map((sample) => element("li", { dir: "auto" }, sample)),
            ),
          );
          shownSamples = asked;
        } catch (error) {
          columns[place].replaceChildren(title(run), element("p", { class: "trouble" }, plain(error.message)));
        }
      }),
    );
  }

  function title(run) {
    return element(
      "p",
      { class: "mono" },
      element("span", { class: "key", style: { background: `var(${COLOURS[run.place]})` } }),
      run.name,
    );
  }

  function differ(runs) {
    const rows = [
      ["text", (run) => run.data],
      ["status", (run) => run.status],
      ["parameters", (run) => number(run.params)],
      ["engine", (run) => run.engine],
      [
        "held-out loss",
        (run) =>
          run.holdout === null
            ? "–"
            : `${number(run.holdout, 4)}${run.holdout_se === null ? "" : ` ± ${number(run.holdout_se, 1)}`}`,
      ],
      ["time of training", (run) => duration(run.seconds)],
    ];
    const all = [...new Set(runs.flatMap((run) => [...Object.keys(run.settings), ...Object.keys(run.request)]))].filter(
      (name) => !HIDDEN.includes(name),
    );
    const value = (run, name) => run.settings[name] ?? run.request[name];
    const shown = all.filter(
      (name) =>
        new Set(runs.map((run) => JSON.stringify(value(run, name) ?? null))).size > 1 &&
        !rows.some(([known]) => known === name),
    );
    const cells = [...rows, ...shown.map((name) => [name, (run) => String(value(run, name) ?? "–")])];
    settings.replaceChildren(
      element(
        "table",
        {},
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            element("th", { scope: "col" }, element("span", { class: "unseen" }, "Setting")),
            runs.map((run) => element("th", { scope: "col", class: "mono" }, run.name)),
          ),
        ),
        element(
          "tbody",
          {},
          cells.map(([name, told]) => {
            const texts = runs.map(told);
            const differs = runs.length > 1 && new Set(texts).size > 1;
            return element(
              "tr",
              { class: differs ? "differs" : null },
              element("th", { scope: "row" }, glossary(name, labelOf(name))),
              texts.map((text) => element("td", {}, text)),
            );
          }),
        ),
      ),
    );
  }

  try {
    await list();
    await show();
  } catch (error) {
    trouble.textContent = plain(error.message);
  }
  return {
    update(next) {
      state = next;
      seed.control.value = document.activeElement === seed.control ? seed.control.value : (next.seed ?? "1");
      temperature.control.value =
        document.activeElement === temperature.control ? temperature.control.value : (next.temperature ?? "");
      log.checked = next.log === "1";
      return show();
    },
    unmount: () => turn++,
  };
}
