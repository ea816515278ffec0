// The page Lessons: the list of them with what is done, and a lesson with its task.
// What is done is known to this browser alone.

import { element } from "./elements.js";
import { graded, LESSONS } from "./lesson_texts.js";
import { plain } from "./words.js";

// By the number of a lesson: { typed, say } once it is done, and { kept } for its next look.
const DONE = "microgpt-studio-lessons";
const MARKED = /\{([^}|]+)(?:\|([^}]+))?\}|`([^`]+)`/g; // {word|as it stands} and `code`

function remembered() {
  try {
    return Object(JSON.parse(localStorage.getItem(DONE)));
  } catch {
    return {};
  }
}

function remember(place, changes) {
  const all = remembered();
  localStorage.setItem(DONE, JSON.stringify({ ...all, [place]: { ...all[place], ...changes } }));
}

export async function mount(root, state, services) {
  const { glossary, link } = services;
  let turn = 0;

  // A text with its words explained.
  function rich(text) {
    const parts = [];
    let from = 0;
    for (const found of text.matchAll(MARKED)) {
      const [whole, word, shown, code] = found;
      parts.push(text.slice(from, found.index));
      parts.push(code ? element("code", { class: "mono", translate: "no" }, code) : glossary(word, shown ?? word));
      from = found.index + whole.length;
    }
    return [...parts, text.slice(from)];
  }

  const lesson = (place, text, more) => link(text, "lessons", { lesson: place || null }, more);

  function list() {
    const known = remembered();
    const done = (place) => known[place]?.say !== undefined;
    const count = LESSONS.filter((_, at) => done(at + 1)).length;
    const next = LESSONS.findIndex((_, at) => !done(at + 1)) + 1;
    const anew = () => {
      localStorage.removeItem(DONE);
      show({});
    };
    root.replaceChildren(
      element("h1", { tabindex: "-1" }, "Lessons"),
      element(
        "p",
        { class: "lead" },
        "Twelve lessons of ten minutes: what a model like this is, how it learns, and how to know beforehand what it " +
          "will reach. Each ends with a task that checks your answer. You need to know nothing.",
      ),
      element(
        "div",
        { class: "line" },
        next ? lesson(next, count ? `Go on with lesson ${next}` : "Begin", { class: "button" }) : "",
        element("span", { class: "small", id: "lessons-done" }, `${count} of ${LESSONS.length} done, in this browser`),
        count ? element("button", { type: "button", class: "quiet", onclick: anew }, "Forget what is done") : "",
      ),
      element(
        "ol",
        { class: "lessons" },
        LESSONS.map(({ title, goal }, at) =>
          element(
            "li",
            {},
            lesson(at + 1, title),
            done(at + 1) ? element("span", { class: "running" }, " done") : "",
            element("div", { class: "hint" }, goal),
          ),
        ),
      ),
    );
  }

  async function begin(place, mine) {
    const { title, text, look, steps, question, button = () => "Check" } = LESSONS[place - 1];
    const own = () => remembered()[place] ?? {};
    const todo = element("ol", { class: "todo" });
    const asked = element("label", { for: "lesson-answer" });
    const answer = element("input", { type: "text", id: "lesson-answer", autocomplete: "off", spellcheck: "false" });
    const check = element("button", { type: "submit", class: "main", id: "lesson-check" });
    const told = element("p", { class: "said", role: "status", id: "lesson-told" });
    const onward = element("div", { class: "line" });
    const first = element("p", { class: "trouble" }); // what another lesson should have made
    let facts;

    async function refresh() {
      try {
        facts = await look(services, own().kept);
      } catch (error) {
        facts = { missing: plain(error.message) };
      }
      if (mine !== turn) return;
      if (facts.keep) remember(place, { kept: facts.keep });
      first.textContent = /lesson \d/.test(facts.missing ?? "") ? facts.missing : "";
      todo.replaceChildren(
        ...steps(facts).map(([task, label, page, state]) =>
          element("li", {}, rich(task), label ? [" ", link(label, page, state, { fresh: true })] : ""),
        ),
      );
      asked.replaceChildren(...rich(question(facts)));
      check.textContent = button(own().kept);
      answer.readOnly = own().kept?.guess !== undefined; // a prediction that is written down stays as it is
    }

    function tell(right, say) {
      told.replaceChildren(element("b", {}, right ? "Right. " : ""), ...rich(say));
      told.classList.toggle("right", right);
      const past = place === LESSONS.length;
      onward.replaceChildren(
        right ? lesson(past ? 0 : place + 1, past ? "All lessons" : `Lesson ${place + 1}`, { class: "button" }) : "",
      );
    }

    async function judge() {
      await refresh();
      if (mine !== turn) return;
      const { right, say, keep } = graded(LESSONS[place - 1], answer.value, facts, own().kept);
      if (keep) remember(place, { kept: keep });
      if (right) remember(place, { typed: answer.value, say });
      if (keep) await refresh();
      tell(right, say);
      (right ? onward : told).scrollIntoView({ block: "nearest" });
    }

    const form = element("form", { novalidate: true }, asked, element("div", { class: "line" }, answer, check), told);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      judge();
    });
    await refresh();
    if (mine !== turn) return;
    const { typed, say, kept } = own();
    answer.value = typed ?? kept?.guess ?? "";
    if (say) tell(true, say);
    root.replaceChildren(
      element("p", { class: "hint" }, lesson(0, "All lessons"), ` · lesson ${place} of ${LESSONS.length}, ten minutes`),
      element("h1", { tabindex: "-1" }, title),
      element(
        "div",
        { class: "reading" },
        text.map((paragraph) => element("p", {}, rich(paragraph))),
      ),
      element("h2", {}, "Do this"),
      first,
      todo,
      todo.querySelector("a")
        ? element("p", { class: "hint" }, `To come back from there, choose Lesson ${place} in the line at the top.`)
        : "",
      element("h2", {}, "Your answer"),
      form,
      onward,
    );
  }

  async function show(next) {
    const mine = ++turn;
    const place = Number(next.lesson);
    if (LESSONS[place - 1]) await begin(place, mine);
    else list();
  }

  await show(state);
  return {
    // From one lesson to another: the words of the new one are read from their beginning.
    async update(next) {
      await show(next);
      scrollTo(0, 0);
      root.querySelector("h1").focus({ preventScroll: true });
    },
    unmount: () => turn++,
  };
}
