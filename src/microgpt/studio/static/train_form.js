// The form of the page Train: the text, the settings, and what a training with them would take.
// Fields, bounds and help come from the program's own configuration, which also judges every value.

import { duration, element, metric, number } from "./elements.js";
import { WORDS } from "./glossary.js";
import { textChooser } from "./texts.js";

const LATER = 350; // milliseconds of rest before the cost is asked for

// onStart({ paused }) begins; state is that of the address and is kept up to date through navigate.
export async function trainForm(state, services, onStart) {
  const { get, post, navigate, glossary } = services;
  const about = await get("/api/form");
  const recipes = Object.fromEntries(about.recipes.map((recipe) => [recipe.name, recipe]));
  const values = {};
  let timer = null;
  let asking = null;

  const texts = textChooser(services, about.texts, state.text ?? "names", (id) => changed({ text: id }));
  const recipe = element(
    "select",
    { id: "recipe" },
    about.recipes.map((each) => element("option", { value: each.name }, each.name)),
  );
  recipe.value = state.recipe in recipes ? state.recipe : "default";
  const summary = element("p", { class: "hint" });
  const fields = about.fields.map((field) => ({ ...field, ...input(field, glossary) }));
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
  });
  const timed = element("input", {
    type: "radio",
    name: "way",
    id: "way-timed",
    value: "timed",
    checked: state.for !== undefined,
  });
  const sized = element("input", {
    type: "radio",
    name: "way",
    id: "way-sized",
    value: "sized",
    checked: state.for === undefined,
  });
  if (values.tokens) texts.tell(values.tokens);
  const trouble = element("p", { class: "trouble", role: "alert", id: "form-trouble" });
  const cost = element("dl", { class: "plan", "aria-label": "What it takes" });
  const start = element("button", { class: "main", type: "submit", id: "start" }, "Train");
  const single = element("button", { type: "button", id: "start-paused" }, "Step by step");
  const sizes = element(
    "div",
    { class: "fields", id: "sizes" },
    first.map((field) => field.place),
  );
  const more = element(
    "details",
    { class: "block", open: rest.some((field) => field.name in values) },
    element("summary", {}, "More settings"),
    element(
      "div",
      { class: "fields" },
      rest.map((field) => field.place),
    ),
  );

  const form = element(
    "form",
    { "aria-label": "A new training", novalidate: true },
    element("div", { class: "block", id: "text-block" }, texts.element),
    element(
      "fieldset",
      { class: "block", id: "way" },
      element("div", { class: "line" }, sized, element("label", { for: "way-sized" }, "With these settings")),
      element(
        "div",
        { class: "line" },
        timed,
        element("label", { for: "way-timed" }, "Make the most of"),
        seconds,
        element("label", { for: "seconds" }, "seconds"),
        element("span", { class: "hint" }, "sizes and steps are chosen for this machine"),
      ),
    ),
    element(
      "div",
      { class: "block", id: "settings-block" },
      element(
        "div",
        { class: "block" },
        element("label", { for: "recipe" }, glossary("recipe", "Recipe")),
        recipe,
        summary,
      ),
      sizes,
    ),
    more,
    element("div", { class: "block", id: "cost-block" }, cost, trouble),
    element("div", { class: "go" }, start, single),
  );

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    begin(false);
  });
  single.addEventListener("click", () => begin(true));
  recipe.addEventListener("input", () => changed({ recipe: recipe.value === "default" ? null : recipe.value }));
  for (const way of [timed, sized, seconds])
    way.addEventListener("input", () => changed({ for: timed.checked ? seconds.value : null }));

  function usual(field) {
    return recipes[recipe.value].values[field.name];
  }

  function asked() {
    const settings = {};
    for (const field of fields) if (field.name in values) settings[field.name] = typed(field, values[field.name]);
    const chosen = timed.checked
      ? Object.fromEntries(Object.entries(settings).filter(([name]) => name === "seed" || name === "name"))
      : settings;
    const body = { text: texts.chosen(), recipe: recipe.value, settings: chosen };
    return timed.checked ? { ...body, recipe: "default", for: Number(seconds.value) } : body;
  }

  function changed(address) {
    navigate("train", address, { replace: true });
    fill();
    clearTimeout(timer);
    timer = setTimeout(price, LATER);
  }

  function fill() {
    for (const field of fields) {
      const mine = field.name in values;
      field.place.classList.toggle("changed", mine);
      if (document.activeElement !== field.control) field.write(mine ? values[field.name] : usual(field));
    }
    summary.textContent = recipes[recipe.value].summary;
    const hidden = timed.checked;
    document.getElementById("settings-block")?.toggleAttribute("hidden", hidden);
    more.toggleAttribute("hidden", hidden);
    single.disabled = hidden;
  }

  // The cost without measuring comes at once; a short measurement on this machine makes it sure.
  async function price() {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    if (timed.checked) {
      cost.replaceChildren(
        ...facts([
          ["time", duration(Number(seconds.value))],
          ["sizes and steps", "after a short measurement"],
        ]),
      );
      say("");
      return;
    }
    try {
      for (const measure of [false, true]) {
        const plan = await post("/api/plan", { ...asked(), measure }, { signal });
        say("");
        cost.replaceChildren(...costs(plan, glossary));
        if (plan.measured) return;
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      cost.replaceChildren();
      say(error.message);
    }
  }

  function say(message) {
    trouble.textContent = message;
    for (const field of fields)
      field.control.setAttribute("aria-invalid", message.includes(`--${field.name.replaceAll("_", "-")} `));
  }

  async function begin(paused) {
    clearTimeout(timer);
    asking?.abort();
    start.disabled = single.disabled = true;
    try {
      await onStart({ ...asked(), paused });
      say("");
    } catch (error) {
      say(error.message);
    } finally {
      start.disabled = false;
      single.disabled = timed.checked;
    }
  }

  fill();
  queueMicrotask(() => {
    fill();
    price();
  });
  return { element: form, stop: () => (clearTimeout(timer), asking?.abort()) };
}

function facts(pairs) {
  return pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
}

function costs(plan, glossary) {
  return facts([
    [glossary("parameters"), number(plan.params)],
    [glossary("FLOP", "operations"), `${metric(plan.flop)}FLOP`.replace(/(\d)FLOP/, "$1 FLOP")],
    ["time", `${plan.measured ? "" : "about "}${duration(plan.seconds)}`],
    [glossary("token", "tokens read"), metric(plan.tokens)],
    [glossary("memory"), `${metric(plan.memory)}B`.replace(/(\d)B/, "$1 B")],
    [glossary("engine"), `${plan.engine}, ${plan.precision} bits`],
  ]);
}

// What a person typed as the JSON that the field wants; what is no number goes as it is, and is judged there.
function typed(field, text) {
  if (field.kind === "switch") return text === "true";
  if (field.kind === "word" || text.trim() === "") return text;
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
}

function input(field, glossary) {
  const id = `field-${field.name}`;
  const { low, high } = field.bounds;
  let control;
  if (field.kind === "switch") control = element("input", { type: "checkbox", id });
  else if (field.choices.length)
    control = element(
      "select",
      { id },
      field.choices.map((each) => element("option", { value: each }, each)),
    );
  else if (field.kind === "word")
    control = element("input", { type: "text", id, autocomplete: "off", spellcheck: "false" });
  else
    control = element("input", {
      type: "number",
      id,
      min: low,
      max: high,
      step: field.kind === "whole" ? "1" : "any",
    });
  control.title = field.help;
  if (field.name === "lr") control.placeholder = "by size";
  const label = element(
    "label",
    { for: id },
    glossary(field.name, field.name.replaceAll("_", " "), WORDS[field.name] ?? field.help),
  );
  const place = element("div", { class: "field" }, label, control);
  const isSwitch = field.kind === "switch";
  return {
    control,
    place,
    read: () => (isSwitch ? String(control.checked) : control.validity.badInput ? "not a number" : control.value),
    write: (value) => (isSwitch ? (control.checked = String(value) === "true") : (control.value = value)),
  };
}
