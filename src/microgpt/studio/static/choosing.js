// What the pages that look into a run ask for: the run, a text, and the step of its training; and the word of the run's
// own engine on what they show.

import { element, number } from "./elements.js";
import { styled } from "./heat.js";
import { plain, titleOf } from "./words.js";

const TYPING = 120; // milliseconds without a key before a prompt is read
const PLAYING = 450; // milliseconds that each step of the history is shown

// Mounts a page that looks into the runs that can be read.
export async function looking(Page, root, state, services) {
  await styled();
  const { runs } = await services.get("/api/runs");
  const usable = runs.filter((run) => !run.fault);
  const page = new Page(root, services, usable);
  if (Page.untrained || usable.length || state.run) await page.show(state);
  return page;
}

// What stands in place of runs where there are none.
export function nothingYet({ link }) {
  return element("p", { class: "empty" }, "There are no runs yet: ", link("train one", "train", {}), ".");
}

// `forgotten` is what the address forgets with another run; `elsewhere` is [name, page] of a link to the same choice.
export function chooser({ link }, runs, change, forgotten, elsewhere) {
  let typing = 0;
  let playing = null;
  let steps = [];
  const run = element("select", {
    id: "xray-run",
    onchange: () => change({ run: run.value, step: null, prompt: null, at: null, ...forgotten }),
  });
  const prompt = element("input", {
    id: "xray-prompt",
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    autocapitalize: "off",
    dir: "auto",
    translate: "no",
    "aria-describedby": "xray-trouble xray-note",
    oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(() => change({ prompt: prompt.value, at: null }), TYPING);
    },
  });
  const step = element("input", {
    id: "xray-step",
    type: "range",
    min: 0,
    step: 1,
    oninput: () => change({ step: steps[step.value] }),
  });
  const told = element("output", { for: "xray-step" });
  const play = element("button", { type: "button", class: "quiet", onclick: toggle }, "Play");
  const scrubber = element(
    "div",
    { class: "field scrubber" },
    element("label", { for: "xray-step" }, "Step of the training ", told),
    element("div", { class: "with-button" }, step, play),
  );
  const onward = element("p", { class: "hint onward" });
  let led = "";
  const node = element(
    "div",
    { class: "xray-controls" },
    element("div", { class: "field" }, element("label", { for: "xray-run" }, "Run"), run),
    element("div", { class: "field grow" }, element("label", { for: "xray-prompt" }, "Text"), prompt),
    scrubber,
    onward,
  );

  function toggle() {
    clearInterval(playing);
    playing = play.textContent === "Play" ? setInterval(next, PLAYING) : null;
    play.textContent = playing ? "Pause" : "Play";
    if (playing && Number(step.value) === steps.length - 1) change({ step: steps[0] });
  }

  function next() {
    const place = Number(step.value) + 1;
    if (place < steps.length) change({ step: steps[place] });
    else toggle();
  }

  function fill(chosen) {
    const all = chosen && !runs.some((each) => each.name === chosen) ? [{ name: chosen }, ...runs] : runs;
    if (run.options.length !== all.length)
      run.replaceChildren(...all.map((each) => element("option", { value: each.name }, titleOf(each))));
    run.value = chosen;
  }

  function draw(about, state, text) {
    if (document.activeElement !== prompt) prompt.value = text;
    steps = about.steps;
    scrubber.hidden = steps.length < 2;
    const now = state.step === undefined ? about.step : Number(state.step);
    step.max = steps.length - 1;
    step.value = Math.max(
      0,
      steps.findLastIndex((each) => each <= now),
    );
    told.textContent = `${number(now)} of ${number(about.step)}`;
    step.setAttribute("aria-valuetext", `step ${now}`);
    const same = { run: run.value, step: state.step, prompt: text, at: state.at };
    if (led === JSON.stringify(same)) return; // it may have the focus
    led = JSON.stringify(same);
    const [name, page] = elsewhere;
    onward.replaceChildren(link(name, page, same));
  }

  function unmount() {
    clearTimeout(typing);
    clearInterval(playing);
  }

  return { node, fill, draw, unmount };
}

// The answers to questions; the same question as last time is not asked again.
export function asker(services) {
  const known = {}; // by kind: { key, value }
  return async (kind, path, parameters) => {
    const key = JSON.stringify(parameters);
    if (known[kind]?.key !== key) known[kind] = { key, value: await services.get(path, parameters) };
    return known[kind].value;
  };
}

// The run's own engine may take longer, so its word comes after the picture.
export function checker(services) {
  const node = element("p", { class: "hint checked", "aria-live": "polite" });
  let checking = "";

  async function check(asked) {
    const mine = JSON.stringify(asked);
    if (checking === mine) return;
    checking = mine;
    await new Promise((done) => setTimeout(done, 200));
    if (checking !== mine) return;
    try {
      const { engine, difference, positions } = await services.get("/api/xray/check", asked);
      if (checking !== mine) return;
      const [most, at] = [difference.toExponential(0), `${positions} position${positions > 1 ? "s" : ""}`];
      node.textContent =
        `Computed by array in 64 bits (about 16 digits), checked against ${engine}: ` +
        `the chances differ by ${most} at most, at ${at}.`;
      node.dataset.difference = difference;
    } catch (error) {
      node.textContent = `Not checked against the run's engine: ${plain(error.message)}`;
    }
  }

  return { node, check };
}
