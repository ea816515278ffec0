// The form of the page Train: the text, the settings, and what a training with them would take.
// Fields, bounds and help come from the program's own configuration, which also judges every value.

import { duration, element, metric, number } from "./elements.js";
import { labelled, WORDS } from "./glossary.js";
import { textChooser } from "./texts.js";
import { flagOf, labelOf, plain } from "./words.js";

const LATER = 350; // milliseconds of rest before the cost is asked for
const NAME = 24; // characters of a line that is about as long as a name
const NOT_OF_A_RUN = ["name", "engine", "precision", "threads"]; // which are settled anew for each training
const EXPLAINED = ["parameters", "FLOP", "token", "memory", "engine", "precision"];

// onStart(asked) begins; state is that of the address and is kept up to date through navigate.
export async function trainForm(state, services, onStart) {
  const { get, post, navigate } = services;
  const about = await get("/api/form");
  const recipes = Object.fromEntries(about.recipes.map((recipe) => [recipe.name, recipe]));
  const values = {};
  let timer = null;
  let asking = null;
  let beginning = false;
  let refused = false; // whether the message is that of a training that could not begin
  let suited = true; // whether the settings of the recipe default are made for texts like the chosen one

  const texts = textChooser(
    services,
    about.texts,
    state.text ?? "names",
    (id) => changed({ text: id }),
    (told) => {
      suited = told.kind === "lines" && told.characters < NAME * told.documents;
      fill();
    },
  );
  const recipe = element(
    "select",
    { id: "recipe" },
    about.recipes.map((each) => element("option", { value: each.name }, each.name)),
  );
  recipe.value = state.recipe in recipes ? state.recipe : "default";
  const summary = element("p", { class: "hint" });
  const fields = about.fields.map((field) => ({ ...field, ...input(field) }));
  for (const field of fields) {
    if (state[field.name] !== undefined) values[field.name] = state[field.name];
    field.control.addEventListener("input", () => {
      const text = field.read();
      if (text === String(usual(field)) || text === "") delete values[field.name];
      else values[field.name] = text;
      changed({ [field.name]: values[field.name] ?? null });
    });
    if (field.name === "tokens")
      field.control.addEventListener("change", () => texts.tell(values.tokens ?? "characters"));
  }
  const [first, rest] = [true, false].map((wanted) =>
    fields.filter((field) => about.first.includes(field.name) === wanted),
  );
  const seconds = element("input", {
    type: "number",
    id: "seconds",
    min: "2",
    max: "86400",
    step: "1",
    value: state.for ?? "60",
    "aria-label": "seconds",
  });
  const way = (id, checked) => element("input", { type: "radio", name: "way", id, checked });
  const timed = way("way-timed", state.for !== undefined);
  const sized = way("way-sized", state.for === undefined);
  if (values.tokens) texts.tell(values.tokens);
  const trouble = element("p", { class: "trouble", role: "alert", id: "form-trouble", tabindex: "-1" });
  const cost = element("dl", { class: "plan", "aria-label": "What it takes" });
  const start = element("button", { class: "main", type: "submit", id: "start" }, "Train");
  const single = element("button", { type: "button", id: "start-paused" }, "Step by step");
  const choose = element("button", { type: "button", id: "choose-timed" }, "Best model in 60 seconds");
  const advice = element(
    "div",
    { class: "advice", id: "advice", hidden: true },
    element("p", {}, "These sizes are made for short names. For this text the machine can choose better ones."),
    choose,
  );
  const sizes = element(
    "div",
    { class: "fields", id: "sizes" },
    first.map((field) => field.place),
  );
  const more = element(
    "details",
    { class: "block", id: "more-settings", open: rest.some((field) => field.name in values) },
    element("summary", {}, "More settings"),
    element(
      "div",
      { class: "fields" },
      rest.map((field) => field.place),
    ),
  );
  const settingsBlock = element(
    "div",
    { class: "block", id: "settings-block" },
    element(
      "div",
      { class: "block" },
      element("label", { for: "recipe" }, labelled("recipe", "Recipe")),
      recipe,
      summary,
      advice,
    ),
    sizes,
  );
  const words = element(
    "details",
    {},
    element("summary", {}, "What these words mean"),
    element(
      "dl",
      { class: "words" },
      EXPLAINED.flatMap((term) => [
        element("dt", {}, term === "FLOP" ? "operations" : term === "precision" ? "bits" : term),
        element("dd", {}, WORDS[term]),
      ]),
    ),
  );

  const form = element(
    "form",
    { "aria-label": "A new training", novalidate: true },
    element("div", { class: "block", id: "text-block" }, texts.element),
    element(
      "fieldset",
      { class: "block", id: "way" },
      element("legend", { class: "unseen" }, "Who chooses the settings"),
      element("div", { class: "line" }, sized, element("label", { for: "way-sized" }, "With these settings")),
      element(
        "div",
        { class: "line" },
        timed,
        element("label", { for: "way-timed" }, "Best model in"),
        seconds,
        element("span", { class: "small" }, "seconds: sizes and steps are chosen for this text and machine"),
      ),
    ),
    settingsBlock,
    more,
    element("div", { class: "block", id: "cost-block" }, cost, words),
    element("div", { class: "go" }, trouble, start, single),
  );

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    begin(false);
  });
  single.addEventListener("click", () => begin(true));
  choose.addEventListener("click", () => {
    timed.checked = true;
    changed({ for: seconds.value });
    timed.focus();
  });
  recipe.addEventListener("input", () => changed({ recipe: recipe.value === "default" ? null : recipe.value }));
  for (const each of [timed, sized, seconds]) {
    each.addEventListener("input", () => changed({ for: timed.checked ? seconds.value : null }));
  }

  function usual(field) {
    return recipes[recipe.value].values[field.name];
  }

  function asked() {
    const settings = {};
    for (const field of fields) if (field.name in values) settings[field.name] = typed(field, values[field.name]);
    const kept = Object.fromEntries(Object.entries(settings).filter(([name]) => name === "seed" || name === "name"));
    const body = { text: texts.chosen(), recipe: recipe.value, settings: timed.checked ? kept : settings };
    return timed.checked ? { ...body, recipe: "default", for: Number(seconds.value) } : body;
  }

  function changed(address) {
    navigate("train", address, { replace: true });
    refused = false;
    fill();
    for (const told of cost.querySelectorAll("dd")) told.textContent = "…"; // of the settings before
    clearTimeout(timer);
    timer = setTimeout(price, LATER);
  }

  function fill() {
    for (const field of fields) {
      const mine = field.name in values;
      field.place.classList.toggle("changed", mine);
      if (document.activeElement !== field.control) field.write(mine ? values[field.name] : usual(field));
    }
    summary.textContent = plain(recipes[recipe.value].summary);
    advice.hidden = suited || recipe.value !== "default" || ["emb", "layer"].some((name) => name in values);
    for (const each of [settingsBlock, more]) each.hidden = timed.checked;
    single.disabled = timed.checked;
  }

  // Sizes come at once; the time once a short measurement on this machine has told it.
  async function price() {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    if (timed.checked) {
      const told = [
        ["time", duration(Number(seconds.value))],
        ["sizes and steps", "after a short measurement"],
      ];
      cost.replaceChildren(...facts(told));
      if (!refused) say("");
      return;
    }
    try {
      for (const measure of [false, true]) {
        const plan = await post("/api/plan", { ...asked(), measure }, { signal });
        if (!refused) say("");
        cost.replaceChildren(...costs(plan, measure));
        if (plan.measured) return;
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      cost.replaceChildren();
      if (!refused) say(error.message);
    }
  }

  function say(message) {
    trouble.textContent = plain(message);
    for (const field of fields) {
      field.control.setAttribute("aria-invalid", message.includes(`${flagOf(field.name)} `));
    }
    seconds.setAttribute("aria-invalid", message.includes("--for "));
  }

  // The button keeps the focus, so it is never disabled while it works.
  async function begin(paused) {
    if (beginning) return;
    beginning = true;
    clearTimeout(timer);
    asking?.abort();
    try {
      await onStart({ ...asked(), paused });
      refused = false;
      say("");
    } catch (error) {
      refused = true;
      say(error.message);
      trouble.focus();
    } finally {
      price();
      beginning = false;
    }
  }

  fill();
  queueMicrotask(() => {
    fill();
    price();
  });
  return {
    element: form,
    stop: () => (clearTimeout(timer), asking?.abort()),
    // Takes the text and the settings of a run.
    use(run) {
      const { request, settings } = run;
      recipe.value = request.recipe in recipes ? request.recipe : "default";
      sized.checked = true;
      const address = { for: null, recipe: recipe.value === "default" ? null : recipe.value };
      for (const field of fields) {
        const value = settings[field.name] ?? request[field.name];
        delete values[field.name];
        const same = value === undefined || value === null || String(value) === String(usual(field));
        if (!same && !NOT_OF_A_RUN.includes(field.name)) values[field.name] = String(value);
        address[field.name] = values[field.name] ?? null;
      }
      if (run.text) texts.choose(run.text);
      changed({ ...address, text: run.text === "names" ? null : run.text });
      document.getElementById("text").focus();
    },
  };
}

function facts(pairs) {
  return pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
}

function costs(plan, last) {
  const time = plan.measured || last ? `${plan.measured ? "" : "about "}${duration(plan.seconds)}` : "measuring …";
  return facts([
    ["parameters", number(plan.params)],
    ["operations", `${metric(plan.flop)}FLOP`.replace(/(\d)FLOP/, "$1 FLOP")],
    ["time", time],
    ["tokens read", metric(plan.tokens)],
    ["memory", `${metric(plan.memory)}B`.replace(/(\d)B/, "$1 B")],
    ["engine", `${plan.engine}, ${plan.precision} bits`],
  ]);
}

// What a person typed as the JSON that the field wants; what is no number goes as it is, and is judged there.
function typed(field, text) {
  if (field.kind === "switch") return text === "true";
  if (field.kind === "word" || text.trim() === "") return text;
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
}

function input(field) {
  const id = `field-${field.name}`;
  const { low, high } = field.bounds;
  const choice = (each) => element("option", { value: each }, each);
  let control;
  if (field.kind === "switch") control = element("input", { type: "checkbox", id });
  else if (field.choices.length) control = element("select", { id }, field.choices.map(choice));
  else if (field.kind === "word")
    control = element("input", { type: "text", id, autocomplete: "off", spellcheck: "false" });
  else
    control = element("input", { type: "number", id, min: low, max: high, step: field.kind === "whole" ? "1" : "any" });
  const meaning = WORDS[field.name] ?? plain(field.help);
  control.setAttribute("aria-description", meaning);
  if (field.name === "lr") control.placeholder = "by size";
  const told = `${meaning} On the command line: ${flagOf(field.name)}.`;
  const label = element("label", { for: id }, labelled(field.name, labelOf(field.name), told));
  const place = element("div", { class: "field" }, label, control);
  const isSwitch = field.kind === "switch";
  return {
    control,
    place,
    read: () => (isSwitch ? String(control.checked) : control.validity.badInput ? "not a number" : control.value),
    write: (value) => (isSwitch ? (control.checked = String(value) === "true") : (control.value = value)),
  };
}
