// The tour: three minutes through the pages, for a person who knows no transformer. Offered once, and by the button.

import { element } from "./elements.js";

const SEEN = "microgpt-studio-tour";
const STOPS = [
  { page: "train", point: "#text-block", title: "A text", text: "A language model learns from examples. Here they are 29,910 first names. It sees nothing else: no dictionary, no rules, only characters." },
  { page: "train", point: "#start", title: "Train", text: "Press Train. At each step the model guesses the next character of a name, and all its numbers are moved a little so that the right guess becomes likelier. A thousand steps take milliseconds here." },
  { page: "train", point: "#curve", title: "Loss", text: "The curve is its surprise at what comes next: lower is better. The dashed lines tell what it means: knowing nothing, and knowing only how often each letter occurs. Below the second line it has learned how letters follow each other." },
  { page: "train", point: "#film-block", title: "From babble to names", text: "Drag the slider, or press Play: this is what the model wrote after so many steps. First noise, then vowels in the right places, then names that nobody has written down." },
  { page: "xray", point: "main", title: "X-ray: look inside", text: "Type the beginning of a name. For each position you see the chances of the next character, and where each attention head looks back to. Every number is computed by the run that you have just trained." },
  { page: "atoms", point: "main", title: "Atoms: how it learns", text: "All of it is additions, multiplications and a few curves. Click an atom: its value, its gradient, and the chain of products that leads from the loss to it. Stepping backwards through them is all that learning needs." },
  { page: "scaling", point: "main", title: "Scaling: what more would bring", text: "Many runs, from small to large: loss falls with steps and with parameters along lawful curves. A sweep from the command line fills this page." },
  { page: "train", point: "#sizes", title: "Your turn", text: "Change a size or the learning rate, paste a text of your own, or let 60 seconds be made the most of. Every underlined word explains itself when you point at it." },
];

let panel = null;
let pointed = null;

export function offer(navigate) {
  document.getElementById("tour").addEventListener("click", () => begin(navigate));
  if (localStorage.getItem(SEEN)) return;
  open(
    element("h2", {}, "New here?"),
    element("p", {}, "A tour of three minutes shows how a GPT learns, from its first babble down to its atoms. You need to know nothing."),
    element("div", { class: "line" },
      element("button", { class: "main", type: "button", id: "tour-begin", onclick: () => begin(navigate) }, "Take the tour"),
      element("button", { type: "button", id: "tour-skip", onclick: close }, "Not now")),
  );
}

function open(...content) {
  panel?.remove();
  panel = element("aside", { class: "tour", role: "dialog", "aria-label": "Tour", tabindex: "-1" }, content);
  panel.addEventListener("keydown", (event) => event.key === "Escape" && close());
  document.body.append(panel);
}

function close() {
  localStorage.setItem(SEEN, "yes");
  pointed?.classList.remove("pointed");
  panel?.remove();
  panel = pointed = null;
}

async function begin(navigate, place = 0) {
  localStorage.setItem(SEEN, "yes");
  const stop = STOPS[place];
  pointed?.classList.remove("pointed");
  const last = place === STOPS.length - 1;
  const next = element("button", { class: "main", type: "button", id: "tour-next", onclick: () => (last ? close() : begin(navigate, place + 1)) }, last ? "Done" : "Next");
  open(
    element("p", { class: "hint", style: { margin: "0 0 0.3rem" } }, `${place + 1} of ${STOPS.length}`),
    element("h2", {}, stop.title),
    element("p", {}, stop.text),
    element("div", { class: "line" }, next,
      place ? element("button", { type: "button", onclick: () => begin(navigate, place - 1) }, "Back") : null,
      element("button", { type: "button", id: "tour-end", onclick: close }, "Skip the rest")),
  );
  next.focus({ preventScroll: true });
  if (new URLSearchParams(location.search).get("page") !== stop.page) await navigate(stop.page, await newest(stop.page, navigate));
  if (!panel) return;
  pointed = stop.point === "main" ? null : document.querySelector(stop.point);
  pointed?.classList.add("pointed");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (pointed?.offsetParent) pointed.scrollIntoView({ block: "center", behavior: still ? "auto" : "smooth" });
  else scrollTo(0, 0);
}

// The pages that look at a run begin with the newest.
async function newest(page) {
  if (page !== "xray" && page !== "train") return {};
  const { get } = await import("./connection.js");
  const { runs } = await get("/api/runs").catch(() => ({ runs: [] }));
  const run = runs.find((each) => !each.fault);
  return run ? { run: run.name } : {};
}
