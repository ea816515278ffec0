// What a person does with a run: let it write, take it along, see its settings, name it, delete it.

import { element } from "./elements.js";
import { labelled } from "./glossary.js";
import { labelOf, plain } from "./words.js";

const ENDINGS = {
  ".html": "a page that writes in any browser",
  ".py": "a Python program that writes",
  ".onnx": "ONNX, for other programs",
  ".safetensors": "its weights, for this program",
};
const MINE = ["data", "recipe", "keep", "save_every", "name", "encoding", "normalize", "golden", "device"];

// The block below a run. `on.use(run)` takes its settings into the form, `on.renamed(name)` and `on.gone()` tell.
export function runTools({ get, post, blob }, on) {
  const trouble = element("p", { class: "trouble", role: "alert", id: "tools-trouble" });
  const box = element("div", { id: "tools" });
  let run = null;

  const path = (what = "") => `/api/runs/${encodeURIComponent(run.name)}${what}`;

  async function tried(work) {
    trouble.textContent = "";
    try {
      await work();
    } catch (error) {
      trouble.textContent = plain(error.message);
    }
  }

  // A form of one line; Enter in its field does it too.
  function lineOf(id, children, work) {
    const made = element("form", { class: "line", id, novalidate: true }, children);
    made.addEventListener("submit", (event) => {
      event.preventDefault();
      tried(work);
    });
    return made;
  }

  function writer() {
    const prompt = element("input", { type: "text", id: "write-prompt", autocomplete: "off", dir: "auto" });
    const warmth = element("input", { type: "number", id: "write-temperature", min: "0", step: "0.05" });
    warmth.placeholder = "usual";
    const written = element("ol", { class: "samples many", id: "written", translate: "no", "aria-live": "polite" });
    written.setAttribute("aria-label", "What it wrote");
    let seed = 0;
    const ask = async () => {
      seed += 1;
      const count = run.kind === "windows" ? 2 : 10;
      const asked = { prompt: prompt.value, temperature: warmth.value, count, seed };
      const { samples } = await get(path("/samples"), asked);
      written.replaceChildren(...samples.map((sample) => element("li", { dir: "auto" }, sample)));
    };
    const line = [
      element("label", { for: "write-prompt" }, "Begin with"),
      prompt,
      element("label", { for: "write-temperature" }, labelled("temperature", "Temperature")),
      warmth,
      element("button", { type: "submit", id: "write" }, "Write"),
    ];
    return [element("h2", {}, "Let it write"), lineOf("writer", line, ask), written];
  }

  function settings() {
    const all = { ...run.settings, ...run.request };
    const rows = Object.entries(all)
      .filter(([name, value]) => !MINE.includes(name) && value !== "" && value !== null)
      .map(([name, value]) =>
        element("tr", {}, element("th", { scope: "row" }, labelOf(name)), element("td", {}, String(value))),
      );
    return element(
      "details",
      { id: "own-settings" },
      element("summary", {}, "Its settings"),
      element("div", { class: "table" }, element("table", {}, element("tbody", {}, rows))),
      element(
        "button",
        { type: "button", id: "use-settings", onclick: () => on.use(run) },
        "Train with these settings",
      ),
    );
  }

  function taking() {
    const options = Object.entries(ENDINGS).map(([ending, told]) => element("option", { value: ending }, told));
    const ending = element("select", { id: "export-as" }, options);
    const line = [
      element("label", { for: "export-as" }, "Take it along as"),
      ending,
      element("button", { type: "submit", id: "export" }, "Download"),
    ];
    return lineOf("taking", line, async () => {
      const link = element("a", { download: `${run.name}${ending.value}` });
      link.href = URL.createObjectURL(await blob(path("/export"), { ending: ending.value }));
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    });
  }

  function naming() {
    const field = element("input", { type: "text", id: "new-name", value: run.name, maxlength: "128" });
    const line = [
      element("label", { for: "new-name" }, "Its name"),
      field,
      element("button", { type: "submit", id: "rename" }, "Rename"),
    ];
    return lineOf("naming", line, async () => {
      const { name } = await post(path("/rename"), { to: field.value.trim() });
      on.renamed(name);
    });
  }

  function deleting() {
    const asked = element("div", { class: "line", id: "deleting" });
    const button = (id, text, work) => element("button", { type: "button", id, onclick: work }, text);
    const first = button("delete", "Delete it …", () => {
      asked.replaceChildren(
        element("span", { role: "alert" }, `Delete ${run.name} for good?`),
        button("delete-sure", "Delete", () => tried(gone)),
        button("delete-not", "Keep it", () => {
          asked.replaceChildren(first);
          first.focus();
        }),
      );
      asked.querySelector("#delete-not").focus();
    });
    const gone = async () => {
      await post(path("/delete"), { sure: run.name });
      on.gone();
    };
    asked.append(first);
    return asked;
  }

  return {
    element: box,
    hide: () => box.replaceChildren(),
    show(found) {
      run = found;
      trouble.textContent = "";
      const own = run.own ? [naming(), deleting()] : [];
      const more = element(
        "details",
        { id: "more-tools" },
        element("summary", {}, run.own ? "Take it along, name it, delete it" : "Take it along"),
        taking(),
        own,
      );
      box.replaceChildren(...writer(), trouble, settings(), more);
    },
  };
}
