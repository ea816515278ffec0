// The frame: which page is shown, its state in the address, light or dark, and what went wrong.

import { enter, events, get, post, whenReachable } from "./connection.js";
import { element } from "./elements.js";
import { glossary } from "./glossary.js";

const PAGES = { train: "Train", xray: "X-ray", atoms: "Atoms", compare: "Compare", scaling: "Scaling" };
const main = document.getElementById("main");
const trouble = document.getElementById("trouble");
const services = { get, post, events, navigate, glossary };

let shown = null; // { page, mounted }
let turn = 0;

function stateOf(address) {
  const state = Object.fromEntries(new URLSearchParams(address.search));
  return { ...state, page: state.page in PAGES ? state.page : "train" };
}

function addressOf(state) {
  return `?${new URLSearchParams(state)}`;
}

// Shows a page, or changes the state of the one that is shown; a change to null forgets it.
export function navigate(page, changes = {}, { replace = false } = {}) {
  const now = stateOf(location);
  const state = page === now.page ? { ...now, ...changes } : { page, ...changes };
  for (const [name, value] of Object.entries(state)) if (value === null || value === undefined) delete state[name];
  const address = addressOf({ page, ...state });
  history[replace ? "replaceState" : "pushState"](null, "", address);
  return show();
}

async function show() {
  const state = stateOf(location);
  if (shown?.page === state.page) return shown.mounted?.update?.(state);
  const mine = ++turn;
  shown?.mounted?.unmount?.();
  shown = { page: state.page, mounted: null };
  document.title = `${PAGES[state.page]} · MicroGPT studio`;
  for (const link of document.querySelectorAll("nav [data-page]")) {
    link.toggleAttribute("aria-current", link.dataset.page === state.page);
    if (link.dataset.page === state.page) link.setAttribute("aria-current", "page");
  }
  trouble.hidden = true;
  const root = element("div", { class: `page page-${state.page}` });
  main.replaceChildren(root);
  try {
    const { mount } = await import(`./${state.page}.js`);
    const mounted = await mount(root, state, services);
    if (mine !== turn) return mounted?.unmount?.();
    shown.mounted = mounted;
    root.dataset.ready = "yes";
  } catch (error) {
    if (mine === turn) root.replaceChildren(element("p", { class: "trouble", role: "alert" }, error.message));
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
  trouble.hidden = now;
  trouble.textContent = now
    ? ""
    : "The studio does not answer. If it was stopped, what was trained is saved in its run " +
      "folder: start it again with “microgpt studio”. Once its new page is open, this one goes on too.";
});

links();
themes();
await enter();
await show();
const { offer } = await import("./tour.js");
offer(navigate);
