// A training as it goes, or afterwards: its curve, its speed, what it writes, and a film of how that came about.

import { chart, smoothed, spanned } from "./charts.js";
import { duration, element, number } from "./elements.js";
import { byHeart } from "./verdict.js";
import { labelOf, plain } from "./words.js";

const FILM = 7000; // milliseconds of the whole film
const GATHERED = 300; // milliseconds of news that are drawn at once
const MANY = 10_000; // steps beyond which the first ones would be a line at the edge
const PHASES = {
  preparing: "Reading the text and compiling …",
  measuring: "Measuring this machine, then choosing sizes …",
  training: "Training",
  paused: "Paused",
  ending: "Testing what it learned, and writing …",
  finished: "Finished",
  stopped: "Stopped and saved",
  failed: "Failed",
  unfinished: "Unfinished",
  diverged: "Diverged",
};
const SIZES = ["emb", "head", "layer", "ctx", "ff"];

export function trainView(services, onLook) {
  const { glossary } = services;
  const phase = element("b", { role: "status", id: "phase", tabindex: "-1" });
  const name = element("span", { class: "small mono", id: "run-name" });
  const facts = element("div", { class: "facts", id: "facts" });
  const done = element("div");
  const bar = element(
    "div",
    { class: "bar", role: "progressbar", "aria-label": "Steps taken", "aria-valuemin": "0" },
    done,
  );
  const picture = chart({
    label: "Loss against steps",
    xTitle: "steps",
    yTitle: "loss, nats per character",
    onPick: (x) => pick(x),
    onStep: (direction) => turn(direction),
  });
  picture.element.id = "curve";
  const log = element("input", { type: "checkbox", id: "log-steps" });
  const play = element("button", { type: "button", id: "play" }, "Play");
  const range = element("input", {
    type: "range",
    id: "film",
    min: "0",
    max: "0",
    value: "0",
    "aria-label": "Step to look at",
  });
  const where = element("output", { for: "film" });
  const samples = element("ol", { class: "samples", id: "samples", "aria-label": "Samples", translate: "no" });
  const result = element("p", { id: "result" });
  const verdict = element("div", { id: "verdict", class: "advice", hidden: true });
  const notes = element("ul", { class: "notes" });
  const trouble = element("p", { class: "trouble", role: "alert", id: "view-trouble" });
  const film = element(
    "div",
    { id: "film-block" },
    element("h2", {}, "What it writes"),
    element("div", { class: "scrub" }, play, range, where),
    samples,
  );
  const curve = element(
    "div",
    {},
    picture.element,
    element("div", { class: "line hint" }, log, element("label", { for: "log-steps" }, "log scale of steps")),
  );
  const whole = element(
    "div",
    { id: "view" },
    element("div", { class: "line" }, phase, name),
    bar,
    facts,
    trouble,
    verdict,
    element("div", { class: "watch" }, curve, film),
    result,
    notes,
  );

  let data, following, playing, drawing, logged;

  function reset() {
    data = {
      phase: "",
      losses: [],
      looks: [],
      evaluations: [],
      perPoint: 1,
      steps: 0,
      step: 0,
      speed: null,
      uniform: null,
      unigram: null,
      counts: null,
    };
    following = true;
    logged = null;
    stop();
    for (const each of [facts, samples, notes, result, verdict]) each.replaceChildren();
    verdict.hidden = true;
    trouble.textContent = phase.textContent = where.textContent = name.textContent = "";
    draw();
  }

  // Drawing takes time from the training that it shows, so news are gathered first.
  function drawSoon() {
    drawing ??= setTimeout(draw, GATHERED);
  }

  function draw() {
    clearTimeout(drawing);
    drawing = null;
    tell();
    log.checked = logged ?? data.steps > MANY;
    const look = data.looks[Number(range.value)];
    const marks = [];
    if (data.uniform) marks.push({ y: data.uniform, label: "guessing every token alike (uniform)" });
    if (data.unigram) marks.push({ y: data.unigram, label: "letter frequencies alone (unigram)" });
    if (data.counts) marks.push({ y: data.counts, label: "the best table of counts" });
    const best = data.phase !== "training" && byHeart(data.looks);
    const window = Math.max(1, Math.round(100 / data.perPoint));
    const each = data.perPoint > 1 ? `mean of ${data.perPoint} steps` : "each step";
    const documents = data.looks.at(-1)?.documents ?? 0;
    const looked = data.looks.filter(({ loss }) => loss !== null && loss !== undefined);
    picture.set({
      xLog: log.checked,
      xRange: [log.checked ? 1 : 0, Math.max(2, data.steps || 2)],
      marks,
      uprights: best ? [{ x: best.step, label: "best" }] : [],
      cursor: look?.step ?? null,
      at: look ? { place: Number(range.value), most: data.looks.length - 1, text: where.textContent } : null,
      series: [
        {
          name: window > 1 ? each : "",
          points: window > 1 ? data.losses : [],
          colour: "--bar",
          opacity: 0.28,
          width: 1,
        },
        {
          name: `training loss, mean of ${Math.max(100, data.perPoint)} steps`,
          points: smoothed(data.losses, window),
          colour: "--accent",
          width: 2.2,
        },
        {
          name: `held-out loss, ${documents === 1 ? "1 document" : `${number(documents)} documents`}`,
          points: looked.map(({ step, loss }) => [step, loss]),
          colour: "--accent-2",
          dash: "6 3",
          dots: 2.2,
        },
        {
          name: "held-out loss, all documents (bar: 90% interval)",
          points: data.evaluations.map(([step, loss, se]) => [step, loss, spanned(loss, se)]),
          colour: "--accent-3",
          line: false,
          dots: 4.5,
        },
      ],
    });
  }

  function progress() {
    const share = data.steps ? data.step / data.steps : 0;
    done.style.width = `${100 * share}%`;
    bar.setAttribute("aria-valuenow", String(data.step));
    bar.setAttribute("aria-valuemax", String(data.steps || 1));
  }

  function tell() {
    const { speed } = data;
    const under = data.phase === "training" || data.phase === "paused";
    const last = data.losses.slice(-Math.max(1, Math.round(100 / data.perPoint)));
    const mean = last.reduce((sum, [, loss]) => sum + loss, 0) / last.length;
    const known = [
      [glossary("step"), `${number(data.step)} of ${number(data.steps)}`],
      [glossary("training loss"), last.length ? number(mean, 4) : "–"],
      [glossary("speed"), speed ? `${number(speed, 3)} steps/s` : "–"],
      ["left", under && speed && data.step < data.steps ? duration((data.steps - data.step) / speed) : ""],
    ];
    const told = (data.steps ? known : []).filter(([, value]) => value !== "");
    if (told.length !== facts.children.length) {
      facts.replaceChildren(...told.map(([title]) => element("span", {}, title, " ", element("b"))));
    }
    told.forEach(([, value], place) => (facts.children[place].lastChild.textContent = value));
    progress();
  }

  function setPhase(now) {
    data.phase = now;
    const nothing = now === "stopped" && !name.textContent; // before there was a run
    phase.textContent = nothing ? "Stopped before it began" : (PHASES[now] ?? now);
  }

  function showLook(place) {
    const look = data.looks[place];
    if (!look) return;
    range.value = String(place);
    const loss = look.loss === null ? "" : `, held-out ${number(look.loss, 3)}`;
    where.textContent = `step ${number(look.step)}${loss}`;
    range.setAttribute("aria-valuetext", where.textContent);
    samples.classList.toggle("many", look.samples.length > 1);
    samples.replaceChildren(...look.samples.map((sample) => element("li", { dir: "auto" }, sample)));
    onLook(look.step);
  }

  function moved(place) {
    showLook(place);
    draw();
  }

  function pick(x) {
    if (!data.looks.length) return;
    stop();
    following = false;
    let best = 0;
    data.looks.forEach((look, place) => {
      if (Math.abs(look.step - x) < Math.abs(data.looks[best].step - x)) best = place;
    });
    moved(best);
  }

  function turn(direction) {
    stop();
    following = false;
    moved(Math.max(0, Math.min(data.looks.length - 1, Number(range.value) + direction)));
  }

  function start() {
    stop();
    following = false;
    const first = Number(range.value) >= data.looks.length - 1 ? 0 : Number(range.value);
    const began = performance.now();
    play.textContent = "Halt";
    moved(first);
    playing = setInterval(() => {
      const place = first + Math.floor(((performance.now() - began) / FILM) * data.looks.length);
      moved(Math.min(place, data.looks.length - 1));
      if (place >= data.looks.length - 1) stop();
    }, 60);
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    play.textContent = "Play";
  }

  play.addEventListener("click", () => (playing ? stop() : start()));
  range.addEventListener("input", () => {
    stop();
    following = Number(range.value) === data.looks.length - 1;
    moved(Number(range.value));
  });
  log.addEventListener("input", () => {
    logged = log.checked;
    draw();
  });

  const hear = {
    phase(event) {
      setPhase(event.phase);
      if (event.step) data.step = event.step;
      draw();
      if (event.error) trouble.textContent = plain(event.error);
    },
    started({ about, per_point: perPoint }) {
      data.perPoint = perPoint;
      data.steps = about.settings.steps;
      data.step = about.step;
      data.uniform = about.uniform;
      data.unigram = about.unigram;
      name.textContent = about.run;
      const sizes = SIZES.map((size) => `${labelOf(size)} ${about.settings[size]}`).join(", ");
      addNote(`${number(about.params)} parameters (${sizes}) on ${about.engine}, ${about.data}`);
      drawSoon();
    },
    losses(event) {
      for (const point of event.points) data.losses.push(point);
      Object.assign(data, { step: event.step, steps: event.steps }); // with a time to keep, the plan follows the pace
      data.speed = event.steps_per_second ?? data.speed;
      drawSoon();
    },
    mark({ counts }) {
      data.counts = counts;
      drawSoon();
    },
    look(event) {
      const known = data.looks.findIndex((look) => look.step === event.step);
      if (known >= 0) data.looks[known] = event;
      else data.looks.push(event);
      data.looks.sort((a, b) => a.step - b.step); // a fast training is looked at afterwards
      range.max = String(data.looks.length - 1);
      if (following) showLook(data.looks.indexOf(event));
      drawSoon();
    },
    evaluated({ step, loss, se }) {
      data.evaluations.push([step, loss, se]);
      drawSoon();
    },
    note: ({ text, warning }) => addNote(text, warning),
    finished({ result: found }) {
      data.steps = found.steps;
      data.counts = found.loss.counts;
      conclude(found);
    },
    lost: ({ error }) => (trouble.textContent = plain(error)),
    stopped: () => {},
  };

  function addNote(text, warning) {
    const told = plain(text);
    notes.append(element("li", { class: warning ? "warning" : null }, warning ? `Warning: ${told}` : told));
  }

  function conclude(found) {
    const { loss } = found;
    const parts = [];
    if (loss.holdout_per_character !== null) {
      const error = loss.holdout_per_character_se;
      const span = error === null ? [] : [" ", glossary("±"), ` ${number(error, 1)}`];
      parts.push(
        glossary("held-out loss", "Held-out loss"),
        ` ${number(loss.holdout_per_character, 4)}`,
        ...span,
        " nats per character; ",
        glossary("unigram", "letter frequencies alone"),
        ` score ${number(loss.unigram_per_character, 4)}, `,
        glossary("uniform", "guessing every token alike"),
        ` ${number(loss.uniform_per_character, 4)}`,
        ...(loss.counts === null
          ? []
          : [", ", glossary("counts", "the best table of counts"), ` ${number(loss.counts, 4)}`]),
        ...(loss.mixed === null ? [] : ["; ", glossary("mixed", "mixed with counts"), ` ${number(loss.mixed, 4)}`]),
        ". ",
      );
    }
    if (found.seconds) parts.push(`${number(found.steps_taken)} steps took ${duration(found.seconds.train)}. `);
    if (found.samples_copied !== null && found.samples.length)
      parts.push(`${found.samples_copied} of ${found.samples.length} samples are copies from the training text.`);
    result.replaceChildren(...parts);
  }

  // The film of a training that was too fast to watch.
  function finale() {
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches && data.looks.length > 5) start();
  }

  reset();
  return {
    element: whole,
    phase,
    reset,
    hear: (event) => hear[event.kind]?.(event),
    finale,
    seek: (step) => data.looks.length && pick(step),
    current: () => data.looks[Number(range.value)]?.step,
    lastStep: () => data.step,
    stop,
    best: () => byHeart(data.looks),
    // Says that the text is known by heart, and offers what helps.
    warn(best, again) {
      verdict.replaceChildren(
        element(
          "p",
          {},
          `It has learned your text by heart: on text it has not seen it was best at step ${number(best.step)} ` +
            `(held-out loss ${number(best.loss, 3)}), and has become worse since.`,
        ),
        again,
      );
      verdict.hidden = false;
    },
    // A run as its folder tells it.
    show(run) {
      reset();
      data.steps = run.steps ?? run.step;
      data.step = run.step;
      data.uniform = run.uniform;
      data.unigram = run.unigram;
      data.counts = run.counts;
      data.losses = run.curve;
      data.perPoint = run.curve.length > 1 ? run.curve[1][0] - run.curve[0][0] : 1;
      data.evaluations = run.evaluations;
      const written = { step: run.step, loss: run.holdout, samples: run.samples.slice(0, 20) };
      data.looks = run.looks.length ? run.looks : run.samples.length ? [written] : [];
      range.max = String(Math.max(0, data.looks.length - 1));
      setPhase(run.status);
      data.speed = run.seconds ? run.step / run.seconds : null;
      showLook(data.looks.length - 1);
      name.textContent = run.name;
      for (const { text, warning } of run.notes) addNote(text, warning);
      const loss = {
        holdout_per_character: run.holdout,
        holdout_per_character_se: run.holdout_se,
        unigram_per_character: run.unigram ?? run.uniform,
        uniform_per_character: run.uniform,
        counts: run.counts,
        mixed: run.mixed,
      };
      const seconds = run.seconds === null ? null : { train: run.seconds };
      conclude({ loss, steps_taken: run.step, seconds, samples_copied: null, samples: [] });
      draw();
    },
  };
}
