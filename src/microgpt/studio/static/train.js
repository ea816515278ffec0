// The page Train: a form on the left, the training on the right, and the address that leads back to both.

import { element, number } from "./elements.js";
import { trainForm } from "./train_form.js";
import { trainView } from "./train_view.js";

const ACTIONS = { pause: "Pause", go_on: "Go on", step: "One step", end: "Stop" };
const OPEN = ["preparing", "measuring", "training", "paused"];

export async function mount(root, state, services) {
  const { get, post, events, navigate } = services;
  let shown = { training: null, run: null };
  let phase = "";
  let close = () => {};
  let live = 0; // when this page began to follow a training

  const view = trainView(services, (step) => remember(step));
  const buttons = Object.fromEntries(
    Object.entries(ACTIONS).map(([action, name]) => [
      action,
      element("button", { type: "button", id: `do-${action}`, onclick: () => act(action) }, name),
    ]),
  );
  const controls = element("div", { class: "line", id: "controls" }, Object.values(buttons));
  const after = element("div", { class: "line", id: "after" });
  const empty = element("div", { class: "empty" });
  const trouble = element("p", { class: "trouble", role: "alert" });
  const right = element("section", { "aria-label": "The training" }, empty, trouble, controls, view.element, after);
  const form = await trainForm(state, services, begin);
  root.append(
    element("h1", {}, "Train"),
    element(
      "p",
      { class: "lead" },
      "A small GPT learns to write your text, one character at a time. Press Train, and watch its babble turn into names.",
    ),
    element("div", { class: "columns" }, form.element, right),
  );

  let writing = null;
  // The step that is looked at stands in the address too, a moment later: a film would change it sixty times.
  function remember(step) {
    clearTimeout(writing);
    writing = setTimeout(() => navigate("train", { look: phase === "ended" ? step : null }, { replace: true }), 400);
  }

  async function begin(asked) {
    const { id } = await post("/api/trainings", asked);
    await navigate("train", { training: id, run: null, look: null });
  }

  // What stands on the right before there is anything to show: what to do, and the newest runs.
  async function welcome() {
    empty.replaceChildren(
      element(
        "p",
        {},
        "Choose a text and press Train. The default takes a few milliseconds; afterwards you can watch it in slow motion.",
      ),
    );
    const { runs } = await get("/api/runs");
    const links = runs
      .filter((run) => !run.fault)
      .slice(0, 6)
      .map((run) =>
        element(
          "li",
          {},
          element(
            "button",
            { type: "button", class: "quiet mono", onclick: () => navigate("train", { run: run.name }) },
            run.name,
          ),
          element(
            "span",
            { class: "small" },
            run.holdout === null || run.holdout === undefined ? "" : ` held-out loss ${number(run.holdout, 4)}`,
          ),
        ),
      );
    if (links.length)
      empty.append(element("p", { class: "small" }, "Or open a run:"), element("ul", { class: "plain" }, links));
  }

  function show(what) {
    if (what === "nothing") welcome().catch(() => {});
    empty.hidden = what !== "nothing";
    view.element.hidden = what === "nothing";
    trouble.textContent = "";
  }

  function setPhase(now) {
    phase = OPEN.includes(now) ? now : "ended";
    controls.hidden = phase === "ended";
    buttons.pause.hidden = phase === "paused";
    buttons.go_on.hidden = phase !== "paused";
    for (const button of Object.values(buttons)) button.disabled = phase === "preparing" || phase === "measuring";
    buttons.end.disabled = false;
  }

  function follow(id) {
    close();
    shown = { training: id, run: null };
    show("view");
    view.reset();
    after.replaceChildren();
    setPhase("preparing");
    live = performance.now();
    const { top } = right.getBoundingClientRect();
    if (top > innerHeight * 0.6 || top < -innerHeight * 0.5) right.scrollIntoView({ block: "start" });
    close = events(`/api/trainings/${id}/events`, (event) => hear(event));
  }

  function hear(event) {
    view.hear(event);
    if (event.kind === "phase") setPhase(event.phase);
    if (event.kind === "started") {
      shown.run = event.about.run;
      navigate("train", { run: event.about.run }, { replace: true });
    }
    if (event.kind === "lost") lost();
    if (!event.last) return;
    navigate("train", { training: null }, { replace: true });
    shown.training = null;
    offer(event.phase);
    if (view.current() !== undefined) remember(view.current());
    if (event.phase === "finished" && performance.now() - live < 3000) view.finale();
  }

  // The server does not know this training any more; its run is there all the same.
  function lost() {
    const { run } = shown;
    shown = { training: null, run: null };
    if (run) navigate("train", { training: null, run }, { replace: true });
    setPhase("ended");
  }

  function offer(status) {
    const { run } = shown;
    if (!run) return after.replaceChildren();
    const link = (page, text, changes) =>
      element("button", { type: "button", onclick: () => navigate(page, changes) }, text);
    after.replaceChildren(
      link("xray", "Look inside (X-ray)", { run }),
      link("compare", "Compare with others", { runs: run }),
      status !== "finished" && status !== "failed"
        ? element("button", { type: "button", id: "resume", onclick: () => resume(run, {}) }, "Go on with it")
        : "",
      status === "finished"
        ? element(
            "button",
            { type: "button", id: "extend", onclick: () => resume(run, { steps: view.lastStep() * 2 }) },
            "Train as long again",
          )
        : "",
    );
  }

  async function resume(run, changes) {
    try {
      const { id } = await post(`/api/runs/${encodeURIComponent(run)}/resume`, changes);
      await navigate("train", { training: id, look: null });
    } catch (error) {
      trouble.textContent = error.message;
    }
  }

  async function act(action) {
    try {
      await post(`/api/trainings/${shown.training}`, { action });
    } catch (error) {
      trouble.textContent = error.message;
    }
  }

  async function showRun(name, look) {
    close();
    shown = { training: null, run: name };
    setPhase("ended");
    show("view");
    after.replaceChildren();
    try {
      const run = await get(`/api/runs/${encodeURIComponent(name)}`);
      if (shown.run !== name) return;
      view.show(run);
      offer(run.status);
      if (look !== undefined) view.seek(Number(look));
    } catch (error) {
      show("nothing");
      trouble.textContent = error.message;
    }
  }

  async function update(next) {
    if (next.training) {
      if (next.training !== shown.training) follow(next.training);
    } else if (next.run) {
      if (next.run !== shown.run) await showRun(next.run, next.look);
    } else if (shown.run || shown.training) {
      close();
      view.stop();
      shown = { training: null, run: null };
      setPhase("ended");
      after.replaceChildren();
      show("nothing");
    }
  }

  setPhase("ended");
  show("nothing");
  if (state.training || state.run) await update(state);
  else {
    const { trainings } = await get("/api/trainings");
    const open = trainings.find((training) => OPEN.includes(training.phase));
    if (open) navigate("train", { training: open.id }, { replace: true }).then(() => {});
    if (open) follow(open.id);
  }
  return {
    update,
    unmount() {
      clearTimeout(writing);
      close();
      view.stop();
      form.stop();
    },
  };
}
