// A sweep that is begun on the page Scaling: what it is for, how far it is, and its end.

import { duration, element, number } from "./elements.js";
import { labelled } from "./glossary.js";
import { plain } from "./words.js";

const AGAIN = 1000; // milliseconds between two looks at a sweep that runs
const IDLE = 5000; // and at none

export function sweepPanel({ get, post }) {
  const what = element("select", { id: "sweep-what" });
  const start = element("button", { type: "submit", class: "main", id: "sweep-start" }, "Run the sweep");
  const stop = element("button", { type: "button", id: "sweep-stop" }, "Stop");
  const told = element("p", { class: "small", id: "sweep-told", "aria-live": "polite" });
  const trouble = element("p", { class: "trouble", role: "alert", id: "sweep-trouble" });
  const done = element("div");
  const bar = element(
    "div",
    { class: "bar", role: "progressbar", "aria-label": "Runs of the sweep", "aria-valuemin": "0", hidden: true },
    done,
  );
  const form = element(
    "form",
    { class: "line", "aria-label": "A new sweep" },
    element("label", { for: "sweep-what" }, "A ", labelled("sweep", "sweep"), " of"),
    what,
    start,
    stop,
  );
  let timer = null;
  let gone = false;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("/api/sweep", { what: what.value });
  });
  stop.addEventListener("click", () => act("/api/sweep/stop", {}));

  async function act(path, body) {
    trouble.textContent = "";
    try {
      draw(await post(path, body));
      look();
    } catch (error) {
      trouble.textContent = plain(error.message);
    }
  }

  function draw(now) {
    if (!what.options.length) {
      const options = Object.entries(now.offered);
      what.replaceChildren(...options.map(([value, text]) => element("option", { value }, `${value}: ${text}`)));
    }
    if (now.running && now.what) what.value = now.what;
    what.disabled = now.running;
    start.hidden = now.running;
    stop.hidden = !now.running;
    const finished = (now.done ?? 0) + (now.failed ?? 0);
    const all = finished + (now.waiting ?? 0);
    bar.hidden = !now.running;
    done.style.width = `${all ? (100 * finished) / all : 0}%`;
    bar.setAttribute("aria-valuenow", String(finished));
    bar.setAttribute("aria-valuemax", String(all || 1));
    told.textContent = sentence(now, finished, all);
    if (now.error) trouble.textContent = plain(now.error);
    else if (now.note) trouble.textContent = plain(now.note);
  }

  function sentence(now, finished, all) {
    if (!now.what) return "";
    if (now.running && !all) return `The sweep ${now.what} begins …`;
    const known = now.skipped ? `, ${number(now.skipped)} were there already` : "";
    const left =
      now.seconds_left === null || now.seconds_left === undefined ? "" : `, ${duration(now.seconds_left)} left`;
    if (now.running)
      return `The sweep ${now.what}: ${number(finished)} of ${number(all)} runs are done${left}${known}.`;
    const again = now.stopped || now.error ? " What is done is kept; run it again, and it goes on from there." : "";
    const end = now.stopped ? "been stopped" : "ended";
    return `The sweep ${now.what} has ${end}: ${number(finished)} runs${known}.${again}`;
  }

  async function look() {
    clearTimeout(timer);
    let running = false;
    try {
      const now = await get("/api/sweep");
      running = now.running;
      if (!gone) draw(now);
    } catch {
      // the banner tells
    }
    if (!gone) timer = setTimeout(look, running ? AGAIN : IDLE);
  }

  look();
  return {
    element: element("div", { class: "block", id: "sweep-panel" }, form, bar, told, trouble),
    stop() {
      gone = true;
      clearTimeout(timer);
    },
  };
}
