// The text to train on: a built-in one, or one's own, pasted or dropped; it goes to this machine's server alone.

import { element, metric, number } from "./elements.js";

const TEXT_LIMIT = 20 * 1024 * 1024; // bytes

// Built-in texts, texts that were handed over before, and a place to paste or drop one.
export function textChooser({ get, post, glossary }, ids, chosen, onChange) {
  const select = element("select", { id: "text" });
  const preview = element("div", { "aria-live": "polite" });
  const trouble = element("p", { class: "trouble", role: "alert" });
  const area = element("textarea", {
    id: "own-text",
    "aria-label": "Your own text",
    placeholder: "Paste a text here: names, one a line; poems; your own letters. It stays on this machine.",
  });
  const file = element("input", { type: "file", id: "own-file", "aria-label": "A text file" });
  const take = element("button", { type: "button", id: "take-text" }, "Use this text");
  const drop = element(
    "div",
    { class: "drop" },
    area,
    element(
      "div",
      { class: "line", style: { "margin-top": "0.6rem" } },
      take,
      element("span", { class: "hint" }, "or a file, which may be dropped here:"),
      file,
    ),
  );
  const own = element("details", {}, element("summary", {}, "Use your own text"), drop);
  let asked = 0;
  let tokens = "characters";

  function list() {
    const known = ids.includes(chosen) ? ids : [...ids, chosen];
    select.replaceChildren(...known.map((id) => element("option", { value: id }, titleOf(id))));
    select.value = chosen;
  }

  async function show() {
    const mine = ++asked;
    trouble.textContent = "";
    try {
      const about = await get("/api/text", { id: chosen, tokens });
      if (mine === asked) preview.replaceChildren(...previewOf(about, glossary));
    } catch (error) {
      if (mine !== asked) return;
      preview.replaceChildren();
      trouble.textContent = error.message;
    }
  }

  async function add(name, blob) {
    trouble.textContent = "";
    if (blob.size > TEXT_LIMIT) {
      trouble.textContent = `expected a text of at most 20 MB, found ${metric(blob.size)}B; for more, use the command line: microgpt --data FILE`;
      return;
    }
    try {
      const { id } = await post(`/api/texts?${new URLSearchParams({ name })}`, blob);
      if (!ids.includes(id)) ids.push(id);
      chosen = id;
      own.open = false;
      list();
      show();
      onChange(id);
    } catch (error) {
      trouble.textContent = error.message;
    }
  }

  select.addEventListener("input", () => {
    chosen = select.value;
    show();
    onChange(chosen === "names" ? null : chosen);
  });
  take.addEventListener("click", () => add("pasted", new Blob([area.value])));
  file.addEventListener("change", () => file.files[0] && add(file.files[0].name, file.files[0]));
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0])
        add(event.dataTransfer.files[0].name, event.dataTransfer.files[0]);
    });
  }
  list();
  show();
  const whole = element("div", {}, element("label", { for: "text" }, "Text"), select, preview, trouble, own);
  return {
    element: whole,
    chosen: () => chosen,
    // The preview in other tokens.
    tell(kind) {
      tokens = kind;
      show();
    },
  };
}

function titleOf(id) {
  return id.includes("/") ? `${id.split("/")[1].replace(/\.txt$/, "")} (your own)` : id;
}

function previewOf(about, glossary) {
  const running = about.kind === "windows";
  const size = running
    ? `${number(about.characters)} characters of running text`
    : `${number(about.documents)} ${about.kind}`;
  return [
    element(
      "p",
      { class: "hint", style: { margin: "0.4rem 0 0" } },
      `${size}, `,
      glossary("vocabulary", `${about.vocabulary} different tokens`),
      ".",
    ),
    running
      ? element("pre", { class: "shown" }, ...told(about, 0))
      : element(
          "p",
          { class: "shown" },
          ...about.shown.flatMap((_, place) => [...told(about, place), ", "]).slice(0, -1),
          " …",
        ),
  ];
}

// A document as it stands or, in byte pairs, token by token.
function told(about, place) {
  return about.pieces
    ? about.pieces[place].map((text) => element("span", { class: "piece" }, text))
    : [about.shown[place]];
}
