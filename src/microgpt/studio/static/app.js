// The frame: which page is shown, its state in the address, light or dark, and what went wrong.

import { blob, enter, events, get, post, whenReachable } from "./connection.js";
import { element } from "./elements.js";
import { glossary } from "./glossary.js";
import { plain } from "./words.js";

const PAGES = {
  train: "Train",
  xray: "X-ray",
  model: "Model",
  atoms: "Atoms",
  compare: "Compare",
  scaling: "Scaling",
  lessons: "Lessons",
};
const LEFT = "microgpt-studio-pages"; // the state in which each page was left
const TROUBLE = {
  gone:
    "The studio does not answer. What was being trained is saved in its run, as it was at most three seconds " +
    "before. Start the studio again: once its new page is open, this one goes on too.",
  locked:
    "This page has no key to the studio, or that of an earlier one. Open the address that the terminal printed: " +
    "then this page goes on too.",
};
const main = document.getElementById("main");
const trouble = document.getElementById("trouble");
const services = { get, post, blob, events, navigate, link, glossary };

let shown = null; // { page, mounted, failed }
let turn = 0;

function stateOf(address) {
  const state = Object.fromEntries(new URLSearchParams(address.search));
  return { ...state, page: state.page in PAGES ? state.page : "train" };
}

function addressOf(state) {
  return `?${new URLSearchParams(state)}`;
}

const left = JSON.parse(sessionStorage.getItem(LEFT) ?? "{}");

function leave(state) {
  left[state.page] = state;
  sessionStorage.setItem(LEFT, JSON.stringify(left));
  const lesson = Number(left.lessons?.lesson); // the one to come back to
  document.querySelector("nav [data-page=lessons]").textContent = lesson ? `Lesson ${lesson}` : PAGES.lessons;
}

// Shows a page, or changes the state of the one that is shown; a change to null forgets it. A page that was left is
// found as it was, but for the changes; of the page Train that is its form, unless it is to be `fresh`.
export function navigate(page, changes = null, { replace = false, fresh = false } = {}) {
  const now = stateOf(location);
  const elsewhere = page !== now.page;
  const before = changes === null || (page === "train" && !fresh) ? left[page] : {};
  const forgotten = changes === null ? {} : { training: null, run: null, look: null };
  const state = elsewhere ? { ...before, ...forgotten, ...changes, page } : { ...now, ...changes };
  for (const [name, value] of Object.entries(state)) if (value === null || value === undefined) delete state[name];
  history[replace ? "replaceState" : "pushState"](null, "", addressOf(state));
  return show();
}

// A link to a page in a state. What has no value is forgotten there, and stands in no address.
function link(text, page, changes, { fresh = false, ...more } = {}) {
  const given = Object.entries(changes).filter(([, value]) => value !== null && value !== undefined);
  const go = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    navigate(page, changes, { fresh });
  };
  return element("a", { href: addressOf([["page", page], ...given]), onclick: go, ...more }, text);
}

async function show() {
  const state = stateOf(location);
  leave(state);
  if (shown?.page === state.page && !shown.failed) return shown.mounted?.update?.(state);
  const mine = ++turn;
  shown?.mounted?.unmount?.();
  shown = { page: state.page, mounted: null };
  document.title = `${PAGES[state.page]} · MicroGPT studio`;
  for (const link of document.querySelectorAll("nav [data-page]")) {
    link.toggleAttribute("aria-current", link.dataset.page === state.page);
    if (link.dataset.page === state.page) link.setAttribute("aria-current", "page");
  }
  const root = element("div", { class: `page page-${state.page}` });
  main.replaceChildren(root);
  try {
    const { mount } = await import(`./${state.page}.js`);
    const mounted = await mount(root, state, services);
    if (mine !== turn) return mounted?.unmount?.();
    shown.mounted = mounted;
    root.dataset.ready = "yes";
  } catch (error) {
    if (mine !== turn) return;
    shown.failed = true;
    const told = trouble.hidden ? element("p", { class: "trouble", role: "alert" }, plain(error.message)) : "";
    root.replaceChildren(element("h1", {}, PAGES[state.page]), told);
  }
}

function links() {
  const nav = document.getElementById("pages");
  nav.replaceChildren(
    ...Object.entries(PAGES).map(([page, title]) =>
      element("a", { href: addressOf({ page }), "data-page": page }, title),
    ),
  );
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-page]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    navigate(link.dataset.page);
  });
  addEventListener("popstate", show);
}

function themes() {
  const button = document.getElementById("theme");
  const apply = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    button.setAttribute("aria-label", dark ? "Switch to light" : "Switch to dark");
    button.title = button.getAttribute("aria-label");
    dispatchEvent(new Event("themechange"));
    return dark;
  };
  apply(localStorage.getItem("microgpt-studio-theme"));
  button.addEventListener("click", () => {
    const dark = apply(document.documentElement.dataset.theme);
    localStorage.setItem("microgpt-studio-theme", dark ? "light" : "dark");
    apply(dark ? "light" : "dark");
  });
}

whenReachable((now) => {
  trouble.hidden = now === true;
  trouble.textContent = TROUBLE[now] ?? "";
  if (now === true && shown?.failed) show();
});

links();
themes();
await enter();
await show();
const { offer } = await import("./tour.js");
offer(services, trouble.hidden);
