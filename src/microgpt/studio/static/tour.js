// The tour: three minutes through the pages, for a person who knows no transformer. Offered once, and by the button.
// It trains a run of its own, on the built-in names, so that what it says is true of what is seen.

import { element } from "./elements.js";
import { plain } from "./words.js";

const SEEN = "microgpt-studio-tour";
const STOPS = [
  {
    page: "train",
    point: "#text-block",
    title: "A text",
    text:
      "A language model learns from examples alone, such as 29,910 first names. The model is given no rules and no " +
      "dictionary: it only ever sees one letter after the other.",
  },
  {
    page: "train",
    point: "#start",
    title: "Practice",
    text:
      "It reads a name and guesses each next letter before it sees it. After every name all of its numbers are moved " +
      "a little, so that the right letters become likelier. That is one step. Train takes as many as stand above it; " +
      "with Next the tour takes a thousand, on names. That lasts a few milliseconds.",
  },
  {
    page: "train",
    point: "#curve",
    trained: true,
    title: "Loss",
    text:
      "The curve is its surprise at the next letter: lower is better. The thin line is single names, the bold one " +
      "their mean. The upper dashed line is guessing blindly; the lower one knows only that some letters are more " +
      "frequent than others. Below that, it has learned which letters follow which.",
  },
  {
    page: "train",
    point: "#film-block",
    trained: true,
    title: "From babble to names",
    text:
      "Drag the slider to the left, and then slowly to the right, or press Play: this is what the model wrote after " +
      "so many steps. First noise, then vowels in the right places, then names. Most of them are not in the text " +
      "that it read.",
  },
  {
    page: "xray",
    point: ".xray-controls",
    trained: true,
    title: "X-ray: look inside",
    text:
      "Type the beginning of a name. The number below a letter is the surprise at it. Further down are the chances " +
      "of the next letter, and squares that show which earlier letters the model looks back at to decide. These are " +
      "the numbers of the run that was just trained.",
  },
  {
    page: "model",
    point: ".forward",
    trained: true,
    title: "Model: every number",
    text:
      "The whole way from a letter to the chances of the next one. Click a cell to see what its number is made of. " +
      "Press head 0 to switch that part off: loss, chances and what it writes change at once, and Put back undoes it.",
  },
  {
    page: "atoms",
    point: ".graph-frame",
    title: "Atoms: how it learns",
    text:
      "Underneath there is only arithmetic. Each box is one number. Click one: its gradient, written ∂, says how " +
      "much the result at the right would change if this number grew a little. Learning is nothing else: find the " +
      "gradient of every number, and move each one a little, the way that lowers the loss.",
  },
  {
    page: "scaling",
    point: "main",
    title: "Scaling: what more would bring",
    text:
      "Would a larger model write better, or a longer training? Many runs answer that: the loss falls along smooth " +
      "curves, so one can say beforehand what the next run will reach. A sweep that is begun here fills this page " +
      "while you watch.",
  },
  {
    page: "train",
    point: "#sizes",
    title: "Your turn",
    text:
      "Change a number and train again: 5000 steps, or 2 layers. Or use a text of your own, at the top. Every " +
      "underlined word explains itself when you point at it. The page Lessons goes on from here.",
  },
];

let panel = null;
let pointed = null;
let run = null; // that of this tour

export function offer(services, wanted) {
  document.getElementById("tour").addEventListener("click", () => begin(services));
  if (!wanted || localStorage.getItem(SEEN)) return;
  open(
    element("h2", {}, "New here?"),
    element(
      "p",
      {},
      "A tour of three minutes shows how a GPT learns, from its first babble down to its atoms. You need to know " +
        "nothing.",
    ),
    element(
      "div",
      { class: "line" },
      element(
        "button",
        { class: "main", type: "button", id: "tour-begin", onclick: () => begin(services) },
        "Take the tour",
      ),
      element("button", { type: "button", id: "tour-skip", onclick: close }, "Not now"),
    ),
  );
  panel.classList.add("offer"); // in the page and not above it: it covers no button
  document.body.classList.remove("touring");
  document.getElementById("main").before(panel);
}

function open(...content) {
  panel?.remove();
  panel = element("aside", { class: "tour", "aria-label": "Tour", tabindex: "-1" }, content);
  panel.addEventListener("keydown", (event) => event.key === "Escape" && close());
  document.body.append(panel);
  document.body.classList.add("touring");
}

function close() {
  localStorage.setItem(SEEN, "yes");
  const focused = panel?.contains(document.activeElement);
  pointed?.classList.remove("pointed");
  document.body.classList.remove("touring");
  panel?.remove();
  panel = pointed = null;
  if (focused) document.getElementById("main").focus();
}

async function begin(services, place = 0) {
  localStorage.setItem(SEEN, "yes");
  const stop = STOPS[place];
  pointed?.classList.remove("pointed");
  const last = place === STOPS.length - 1;
  const go = (to) => () => begin(services, to);
  const button = (id, text, work, more = {}) => element("button", { type: "button", id, onclick: work, ...more }, text);
  const next = button("tour-next", last ? "Done" : "Next", last ? close : go(place + 1), { class: "main" });
  const trouble = element("p", { class: "trouble", role: "alert" });
  open(
    element("p", { class: "hint", style: { margin: "0 0 0.3rem" } }, `${place + 1} of ${STOPS.length}`),
    element("h2", {}, stop.title),
    element("p", {}, stop.text),
    trouble,
    element(
      "div",
      { class: "line" },
      next,
      place ? button("tour-back", "Back", go(place - 1)) : null,
      button("tour-end", "Skip the rest", close),
    ),
  );
  const mine = panel;
  next.focus({ preventScroll: true });
  if (place === 0) run = null;
  try {
    if (stop.trained) run ??= await trained(services);
  } catch (error) {
    trouble.textContent = plain(error.message);
  }
  if (panel !== mine) return;
  const state = stop.trained ? { run, training: null, step: null, look: null } : null;
  const now = new URLSearchParams(location.search);
  if (now.get("page") !== stop.page || (state && now.get("run") !== run)) await services.navigate(stop.page, state);
  const found = await shown(stop.point);
  if (panel !== mine) return; // the person is further on, or has closed the tour
  mine.dataset.arrived = place;
  pointed = found;
  pointed?.classList.add("pointed");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (!pointed) scrollTo(0, 0);
  else if (!inSight(pointed)) pointed.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

// Whether an element can be seen as a whole, clear of the panel.
function inSight(place) {
  const { top, right, bottom } = place.getBoundingClientRect();
  const before = panel.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight && (bottom < before.top || right < before.left);
}

// The name of a run of the tour's own.
async function trained({ get, post }) {
  const { id } = await post("/api/trainings", { text: "names", recipe: "default", settings: {} });
  for (;;) {
    const { trainings } = await get("/api/trainings");
    const { run: name, phase } = trainings.find((each) => each.id === id) ?? {};
    if (phase === "finished") return name;
    if (phase === undefined || phase === "failed" || phase === "stopped") throw new Error("This training has ended.");
    await new Promise((done) => setTimeout(done, 100));
  }
}

// What a stop points at, once it can be seen.
async function shown(selector) {
  for (let tries = 0; selector !== "main" && tries < 40; tries++) {
    const found = document.querySelector(selector);
    if (found?.offsetParent) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  return null;
}
