// The text to train on: a built-in one, or one's own, pasted or dropped; it goes to this machine's server alone.

import { element, metric, number } from "./elements.js";
import { plain } from "./words.js";

const TEXT_LIMIT = 20 * 1024 * 1024; // bytes
const NAME = 32; // letters
const ENCODINGS = {
  "utf-8": "UTF-8, as nearly all are",
  cp1252: "Windows, Western Europe",
  "latin-1": "Latin-1",
  "utf-16": "UTF-16",
  cp1250: "Windows, Central Europe",
  cp1251: "Windows, Cyrillic",
  "koi8-r": "KOI8-R, Russian",
  cp1253: "Windows, Greek",
  cp1254: "Windows, Turkish",
  gb18030: "GB 18030, Chinese",
  big5hkscs: "Big5, Chinese",
  cp932: "Shift JIS, Japanese",
  "euc-jp": "EUC, Japanese",
  cp949: "EUC, Korean",
  "mac-roman": "Macintosh",
};

// Built-in texts, texts that were handed over before, and a place to paste or drop one. `onAbout` hears of each text
// that is chosen what it is.
export function textChooser({ get, post, glossary }, ids, chosen, onChange, onAbout) {
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
  const encoding = element("select", { id: "own-encoding" });
  const again = element("button", { type: "button", id: "read-again" }, "Read it so");
  const other = element(
    "div",
    { class: "line", hidden: true, id: "encodings" },
    element("label", { for: "own-encoding" }, "Its letters are in"),
    encoding,
    again,
  );
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
  let handed = null; // { name, blob } of the text that was handed over last

  function list() {
    const known = ids.includes(chosen) ? ids : [...ids, chosen];
    const titles = known.map(titleOf);
    const alike = (place) => titles.slice(0, place).filter((title) => title === titles[place]).length;
    const told = titles.map((title, place) => (alike(place) ? `${title}, ${alike(place) + 1}` : title));
    select.replaceChildren(...known.map((id, place) => element("option", { value: id }, told[place])));
    select.value = chosen;
  }

  async function show() {
    const mine = ++asked;
    trouble.textContent = "";
    try {
      const about = await get("/api/text", { id: chosen, tokens });
      if (mine !== asked) return;
      preview.replaceChildren(...previewOf(about, glossary));
      onAbout(about);
    } catch (error) {
      if (mine !== asked) return;
      preview.replaceChildren();
      trouble.textContent = plain(error.message);
    }
  }

  async function add(name, blob, letters = "utf-8") {
    trouble.textContent = "";
    handed = { name, blob };
    if (blob.size > TEXT_LIMIT) {
      trouble.textContent = `expected a text of at most 20 MB, found ${metric(blob.size)}B; take a part of it.`;
      return;
    }
    try {
      const { id } = await post(`/api/texts?${new URLSearchParams({ name, encoding: letters })}`, blob);
      if (!ids.includes(id)) ids.push(id);
      own.open = false;
      other.hidden = true;
      choose(id);
      onChange(id);
    } catch (error) {
      trouble.textContent = plain(error.message).replace(/; try encoding.*/, "; choose another below.");
      offer(error.message, letters);
    }
  }

  // A text of other letters is no dead end: the likely ones are named, and any may be chosen.
  function offer(message, refused) {
    const named = [...message.matchAll(/(?:--encoding| or) ([a-z0-9-]+)/g)].map((found) => found[1]);
    other.hidden = !/expected (utf-8|an? )|--encoding/.test(message) || !/encoding|utf-8/.test(message);
    const likely = named.filter((name) => name !== refused);
    const all = [...new Set([...likely, ...Object.keys(ENCODINGS)])];
    encoding.replaceChildren(...all.map((name) => element("option", { value: name }, ENCODINGS[name] ?? name)));
  }

  function choose(id) {
    chosen = id;
    list();
    show();
  }

  select.addEventListener("input", () => {
    chosen = select.value;
    show();
    onChange(chosen === "names" ? null : chosen);
  });
  take.addEventListener("click", () => add(nameOf(area.value), new Blob([area.value])));
  again.addEventListener("click", () => add(handed.name, handed.blob, encoding.value));
  const takeFile = (given) => given && add(given.name, given);
  file.addEventListener("change", () => takeFile(file.files[0]));
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") takeFile(event.dataTransfer.files[0]);
    });
  }
  list();
  show();
  const whole = element("div", {}, element("label", { for: "text" }, "Text"), select, preview, trouble, other, own);
  return {
    element: whole,
    chosen: () => chosen,
    choose,
    // The preview in other tokens.
    tell(kind) {
      tokens = kind;
      show();
    },
  };
}

// What a pasted text is called: its first words.
function nameOf(text) {
  const words = text.replace(/[^\p{L}\p{N} '-]+/gu, " ").trim();
  return words.length > NAME ? words.slice(0, NAME).replace(/ \S*$/, "") : words || "pasted";
}

function titleOf(id) {
  return id.includes("/") ? `${id.split("/")[1].replace(/\.txt$/, "")} (your own)` : id;
}

function previewOf(about, glossary) {
  const running = about.kind === "windows";
  const size = running
    ? `${number(about.characters)} characters of running text`
    : `${number(about.documents)} ${about.documents === 1 ? about.kind.slice(0, -1) : about.kind}`;
  const shown = about.shown.flatMap((_, place) => [...told(about, place), " · "]).slice(0, -1);
  const more = about.documents > about.shown.length ? " …" : "";
  return [
    element(
      "p",
      { class: "hint", style: { margin: "0.4rem 0 0" } },
      `${size}, `,
      glossary("vocabulary", `${about.vocabulary} different tokens`),
      ".",
    ),
    running ? element("pre", { class: "shown" }, ...told(about, 0)) : element("p", { class: "shown" }, ...shown, more),
  ];
}

// A document as it stands or, in byte pairs, token by token.
function told(about, place) {
  return about.pieces
    ? about.pieces[place].map((text) => element("span", { class: "piece" }, text))
    : [about.shown[place]];
}
