// The page Train: a form on the left, the training on the right, and the address that leads back to both.

import { element, number } from "./elements.js";
import { runTools } from "./run_tools.js";
import { trainForm } from "./train_form.js";
import { trainView } from "./train_view.js";
import { plain } from "./words.js";

const ACTIONS = { pause: "Pause", go_on: "Go on", step: "One step", end: "Stop" };
const OPEN = ["preparing", "measuring", "training", "paused", "ending"];
const STEADY = ["training", "paused"]; // phases in which it can be paused and stepped
const NEWEST = 6; // runs of the list
const TESTS = 20; // held-out losses of a training that keeps its best
const PATIENCE = 8; // of them without a better one

export async function mount(root, state, services) {
  const { get, post, events, navigate } = services;
  let shown = { training: null, run: null };
  let phase = "";
  let followed = null; // the events of a training
  let live = 0; // when this page began to follow a training
  let asked = state; // by the address

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
  const tools = runTools(services, {
    use: (run) => form.use(run),
    renamed: (name) => navigate("train", { run: name, training: null }, { replace: true }),
    gone: () => navigate("train", { run: null, training: null, look: null }, { replace: true }),
  });
  const right = element(
    "section",
    { "aria-label": "The training", class: "right" },
    empty,
    trouble,
    controls,
    view.element,
    after,
    tools.element,
  );
  const form = await trainForm(state, services, begin);
  root.append(
    element("h1", {}, "Train"),
    element(
      "p",
      { class: "lead" },
      "A small GPT learns to write like your text, one character at a time: babble turns into names.",
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

  // What stands on the right before there is anything to show: what to do, what is trained now, and the newest runs.
  async function welcome() {
    empty.replaceChildren(
      element(
        "p",
        {},
        "Choose a text and press Train. The default takes a few milliseconds; afterwards you can watch it in slow " +
          "motion.",
      ),
    );
    const [{ runs }, { trainings }] = await Promise.all([get("/api/runs"), get("/api/trainings")]);
    const sound = runs.filter((run) => !run.fault);
    const now = trainings.filter((training) => OPEN.includes(training.phase));
    const open = (text, changes) =>
      element("button", { type: "button", class: "quiet mono", onclick: () => navigate("train", changes) }, text);
    const running = now.map((training) =>
      element(
        "li",
        { class: "running" },
        open(training.run || training.name, { training: training.id }),
        element("span", { class: "small" }, ` ${training.phase}`),
      ),
    );
    const others = sound.filter((run) => !run.training).slice(0, NEWEST);
    const links = others.map((run) =>
      element(
        "li",
        {},
        open(run.name, { run: run.name }),
        element("span", { class: "small" }, run.holdout ? ` held-out loss ${number(run.holdout, 4)}` : ""),
      ),
    );
    if (running.length)
      empty.append(element("p", { class: "small" }, "Under way:"), element("ul", { class: "plain" }, running));
    if (links.length)
      empty.append(element("p", { class: "small" }, "Or open a run:"), element("ul", { class: "plain" }, links));
  }

  function show(what) {
    if (what === "nothing") welcome().catch(() => {});
    empty.hidden = what !== "nothing";
    view.element.hidden = what === "nothing";
    trouble.textContent = "";
    tools.hide();
    after.replaceChildren();
  }

  function setPhase(now) {
    phase = OPEN.includes(now) ? now : "ended";
    controls.hidden = phase === "ended";
    const focused = controls.contains(document.activeElement);
    buttons.pause.hidden = phase === "paused";
    buttons.go_on.hidden = phase !== "paused";
    for (const button of Object.values(buttons)) button.disabled = !STEADY.includes(phase);
    buttons.end.disabled = false;
    if (!focused || controls.contains(document.activeElement)) return;
    if (phase === "ended") view.phase.focus();
    else (phase === "paused" ? buttons.go_on : buttons.pause).focus(); // which stands in place of the one pressed
  }

  function follow(id) {
    followed?.close();
    shown = { training: id, run: null };
    show("view");
    view.reset();
    setPhase("preparing");
    live = performance.now();
    const { top } = right.getBoundingClientRect();
    if (top > innerHeight * 0.6 || top < -innerHeight * 0.5) right.scrollIntoView({ block: "start" });
    followed = events(`/api/trainings/${id}/events`, (event) => hear(event));
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
    if (shown.run) conclude(shown.run);
    if (view.current() !== undefined) remember(view.current());
    if (event.phase === "finished" && performance.now() - live < 3000) view.finale();
  }

  // The server does not know this training any more; its run is there all the same.
  function lost() {
    const run = shown.run ?? asked.run ?? null;
    shown = { training: null, run: null };
    setPhase("ended");
    navigate("train", { training: null, run }, { replace: true });
  }

  // What can be done with a run that has ended.
  async function conclude(name) {
    const run = await get(`/api/runs/${encodeURIComponent(name)}`).catch(() => null);
    if (run && shown.run === name && !shown.training) offer(run);
  }

  function offer(run) {
    const { name, status } = run;
    const button = (text, work, more = {}) => element("button", { type: "button", onclick: work, ...more }, text);
    const goOn = status === "unfinished" && button("Go on with it", () => resume(name, {}), { id: "resume" });
    const longer = () => resume(name, { steps: view.lastStep() * 2 });
    after.replaceChildren(
      button("Look inside (X-ray)", () => navigate("xray", { run: name })),
      button("Compare with others", () => navigate("compare", { runs: name })),
      goOn || "",
      status === "finished" ? button("Train as long again", longer, { id: "extend" }) : "",
    );
    tools.show(run);
    const best = view.best();
    if (best && run.text)
      view.warn(
        best,
        button("Train again, and keep the best", () => again(run), { id: "again" }),
      );
  }

  // The same training, which tests itself now and then, ends when it becomes worse, and keeps its best.
  async function again(run) {
    const every = Math.max(1, Math.round(view.best().step / (TESTS / 2)));
    const tested = { eval_every: every, select: "best", patience: PATIENCE };
    const request = Object.entries({ ...run.request, ...run.settings, ...tested });
    const own = ["recipe", "data", "out", "device", "name", "golden", "order"];
    const settings = Object.fromEntries(request.filter(([name, value]) => !own.includes(name) && value !== null));
    try {
      await begin({ text: run.text, recipe: run.request.recipe ?? "default", settings });
    } catch (error) {
      trouble.textContent = plain(error.message);
    }
  }

  async function resume(run, changes) {
    try {
      const { id } = await post(`/api/runs/${encodeURIComponent(run)}/resume`, changes);
      await navigate("train", { training: id, look: null });
    } catch (error) {
      trouble.textContent = plain(error.message);
    }
  }

  async function act(action) {
    try {
      await post(`/api/trainings/${shown.training}`, { action });
      followed?.look();
    } catch (error) {
      trouble.textContent = plain(error.message);
    }
  }

  async function showRun(name, look) {
    followed?.close();
    shown = { training: null, run: name };
    setPhase("ended");
    show("view");
    try {
      const run = await get(`/api/runs/${encodeURIComponent(name)}`);
      if (shown.run !== name) return;
      if (run.training) {
        follow(run.training);
        return navigate("train", { training: run.training }, { replace: true });
      }
      view.show(run);
      offer(run);
      if (look !== undefined) view.seek(Number(look));
    } catch (error) {
      show("nothing");
      trouble.textContent = plain(error.message);
    }
  }

  async function update(next) {
    asked = next;
    if (next.training) {
      if (next.training !== shown.training) follow(next.training);
    } else if (next.run) {
      if (next.run !== shown.run) await showRun(next.run, next.look);
    } else if (shown.run || shown.training) {
      followed?.close();
      view.stop();
      shown = { training: null, run: null };
      setPhase("ended");
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
      followed?.close();
      view.stop();
      form.stop();
    },
  };
}
