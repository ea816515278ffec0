// The tour: three minutes through the pages, for a person who knows no transformer. Offered once, and by the button.

import { element } from "./elements.js";

const SEEN = "microgpt-studio-tour";
const STOPS = [
  {
    page: "train",
    point: "#text-block",
    title: "A text",
    text: "A language model learns from examples alone. These are 29,910 first names. The model is given no rules and no dictionary: it only ever sees one letter after the other.",
  },
  {
    page: "train",
    point: "#start",
    title: "Practice",
    text: "It reads a name and guesses each next letter before it sees it. After every name all of its numbers are moved a little, so that the right letters become likelier. That is one step. Press Train for a thousand of them, or Next, which presses it for you. Here they take a few milliseconds.",
  },
  {
    page: "train",
    point: "#curve",
    trained: true,
    title: "Loss",
    text: "The curve is its surprise at the next letter: lower is better. The thin line is single names, the bold one their mean. The upper dashed line is guessing blindly; the lower one knows only that some letters are more frequent than others. Below that, it has learned which letters follow which.",
  },
  {
    page: "train",
    point: "#film-block",
    trained: true,
    title: "From babble to names",
    text: "Drag the slider to the left, and then slowly to the right, or press Play: this is what the model wrote after so many steps. First noise, then vowels in the right places, then names. Most of them are not in the text that it read.",
  },
  {
    page: "xray",
    point: ".xray-controls",
    title: "X-ray: look inside",
    text: "Type the beginning of a name. The number below a letter is the surprise at it. Further down are the chances of the next letter, and squares that show which earlier letters the model looks back at to decide. These are the numbers of your own run.",
  },
  {
    page: "atoms",
    point: ".graph-frame",
    title: "Atoms: how it learns",
    text: "Underneath there is only arithmetic. Each box is one number. Click one: its gradient, written ∂, says how much the result at the right would change if this number grew a little. Learning is nothing else: find the gradient of every number, and move each one a little, the way that lowers the loss.",
  },
  {
    page: "scaling",
    point: "main",
    title: "Scaling: what more would bring",
    text: "Would a larger model write better, or a longer training? Many runs answer that: the loss falls along smooth curves, so one can say beforehand what the next run will reach. “microgpt sweep steps” in a terminal fills this page while you watch.",
  },
  {
    page: "train",
    point: "#sizes",
    title: "Your turn",
    text: "Change a number and train again: 5000 steps, or 2 layers. Or use a text of your own, at the top. Every underlined word explains itself when you point at it.",
  },
];

let panel = null;
let pointed = null;

export function offer(navigate) {
  document.getElementById("tour").addEventListener("click", () => begin(navigate));
  if (localStorage.getItem(SEEN)) return;
  open(
    element("h2", {}, "New here?"),
    element(
      "p",
      {},
      "A tour of three minutes shows how a GPT learns, from its first babble down to its atoms. You need to know nothing.",
    ),
    element(
      "div",
      { class: "line" },
      element(
        "button",
        { class: "main", type: "button", id: "tour-begin", onclick: () => begin(navigate) },
        "Take the tour",
      ),
      element("button", { type: "button", id: "tour-skip", onclick: close }, "Not now"),
    ),
  );
}

function open(...content) {
  panel?.remove();
  panel = element("aside", { class: "tour", role: "dialog", "aria-label": "Tour", tabindex: "-1" }, content);
  panel.addEventListener("keydown", (event) => event.key === "Escape" && close());
  document.body.append(panel);
  document.body.classList.add("touring");
}

function close() {
  localStorage.setItem(SEEN, "yes");
  pointed?.classList.remove("pointed");
  document.body.classList.remove("touring");
  panel?.remove();
  panel = pointed = null;
}

async function begin(navigate, place = 0) {
  localStorage.setItem(SEEN, "yes");
  const stop = STOPS[place];
  pointed?.classList.remove("pointed");
  const last = place === STOPS.length - 1;
  const next = element(
    "button",
    { class: "main", type: "button", id: "tour-next", onclick: () => (last ? close() : begin(navigate, place + 1)) },
    last ? "Done" : "Next",
  );
  open(
    element("p", { class: "hint", style: { margin: "0 0 0.3rem" } }, `${place + 1} of ${STOPS.length}`),
    element("h2", {}, stop.title),
    element("p", {}, stop.text),
    element(
      "div",
      { class: "line" },
      next,
      place ? element("button", { type: "button", onclick: () => begin(navigate, place - 1) }, "Back") : null,
      element("button", { type: "button", id: "tour-end", onclick: close }, "Skip the rest"),
    ),
  );
  const mine = panel;
  next.focus({ preventScroll: true });
  if (new URLSearchParams(location.search).get("page") !== stop.page)
    await navigate(stop.page, await newest(stop.page, navigate));
  if (stop.trained && !new URLSearchParams(location.search).get("run")) document.getElementById("start")?.click();
  const found = await shown(stop.point);
  if (panel !== mine) return; // the person is further on, or has closed the tour
  mine.dataset.arrived = place;
  pointed = found;
  pointed?.classList.add("pointed");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (pointed) pointed.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  else scrollTo(0, 0);
}

// What a stop points at, once it can be seen: a training that has just begun has no curve yet.
async function shown(selector) {
  for (let tries = 0; selector !== "main" && tries < 40; tries++) {
    const found = document.querySelector(selector);
    if (found?.offsetParent) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  return null;
}

// The pages that look at a run begin with the newest.
async function newest(page) {
  if (page !== "xray" && page !== "train") return {};
  const { get } = await import("./connection.js");
  const { runs } = await get("/api/runs").catch(() => ({ runs: [] }));
  const run = runs.find((each) => !each.fault);
  return run ? { run: run.name } : {};
}
