// The atoms of one step, alive: an expression in the operations of symmetry.py, its backward pass step by step, and the
// step downhill. The page's own arithmetic, once more, in the language of the browser.

// Of each operation the value, and the slopes towards a and b.
export const TABLE = {
  "+": [(a, b) => a + b, () => 1, () => 1],
  "−": [(a, b) => a - b, () => 1, () => -1],
  "×": [(a, b) => a * b, (a, b) => b, (a) => a],
  relu: [(a) => (a > 0 ? a : 0), (a) => (a > 0 ? 1 : 0)],
};
const RATE = 0.05;

// The atoms of relu(a × b + c) − t, squared, in order of creation; leaves first.
export function recorded({ a, b, c, t }) {
  const atoms = [];
  const leaf = (name, data) => atoms.push({ name, data, grad: 0, from: [] }) - 1;
  const made = (symbol, ...from) => {
    const [value, ...slopes] = TABLE[symbol];
    const data = from.map((each) => atoms[each].data);
    return (
      atoms.push({
        name: symbol,
        data: value(...data),
        grad: 0,
        from: from.map((atom, i) => ({ atom, slope: slopes[i](...data) })),
      }) - 1
    );
  };
  const [one, two, three, four] = [leaf("a", a), leaf("b", b), leaf("c", c), leaf("t", t)];
  const off = made("−", made("relu", made("+", made("×", one, two), three)), four);
  made("×", off, off);
  return atoms;
}

// The gradients after so many steps of the backward pass, and what the last one did: [{ to, slope, above }].
export function backward(atoms, steps) {
  const grads = atoms.map((_, i) => (i === atoms.length - 1 ? 1 : 0));
  let last = null;
  const operations = atoms.map((_, i) => i).filter((i) => atoms[i].from.length);
  for (const at of operations.reverse().slice(0, steps)) {
    last = { at, paid: atoms[at].from.map(({ atom, slope }) => ({ atom, slope, above: grads[at] })) };
    for (const { atom, slope } of atoms[at].from) grads[atom] += slope * grads[at];
  }
  return { grads, last };
}

const short = (value) => Number(value.toPrecision(4)).toString().replace("-", "−");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function told(atoms, last) {
  if (!last) return "Nothing has been passed back yet: only the loss has a gradient, 1.";
  const words = last.paid.map(
    ({ atom, slope, above }) => `${short(slope)} × ${short(above)} = ${short(slope * above)} to ${atoms[atom].name}`,
  );
  return `“${atoms[last.at].name}” passes on slope × its gradient: ${words.join(", and ")}.`;
}

function mount(root) {
  const values = { a: 2, b: -1, c: 4, t: 0.5 };
  let steps = 0;
  let before = null;
  const boxes = element("div", { class: "atoms-alive" });
  const sentence = element("p", { "aria-live": "polite" });
  const inputs = Object.keys(values).map((name) =>
    element("input", {
      type: "number",
      step: "any",
      "aria-label": name,
      oninput: ({ target }) => {
        if (target.value === "" || !Number.isFinite(target.valueAsNumber)) return;
        values[name] = target.valueAsNumber;
        [steps, before] = [0, null];
        draw();
      },
    }),
  );
  const button = (name, onclick) => element("button", { type: "button", class: "md-button", onclick }, name);
  const controls = element(
    "p",
    {},
    button("One step back through the graph", () => draw((steps += 1))),
    button("All of it", () => draw((steps = 99))),
    button("Take one step downhill", () => {
      const atoms = recorded(values);
      const { grads } = backward(atoms, 99);
      before = atoms.at(-1).data;
      for (const [i, name] of Object.keys(values).entries()) if (name !== "t") values[name] -= RATE * grads[i];
      draw((steps = 0));
    }),
  );
  root.append(
    element("h2", {}, "The atoms of one step, alive"),
    element("p", {}, "loss = (relu(a × b + c) − t)². Change a number, pass the gradients back, take the step."),
    boxes,
    sentence,
    controls,
  );

  function draw() {
    const atoms = recorded(values);
    const { grads, last } = backward(atoms, steps);
    boxes.replaceChildren(
      ...atoms.map((atom, i) =>
        element(
          "div",
          { class: `atom-alive${last?.at === i ? " now" : ""}` },
          element("b", {}, i === atoms.length - 1 ? "loss" : atom.name),
          inputs[i] ?? element("span", {}, short(atom.data)),
          element("small", {}, `gradient ${short(grads[i])}`),
        ),
      ),
    );
    inputs.forEach((input, i) => {
      if (document.activeElement !== input) input.value = Number(atoms[i].data.toPrecision(6));
    });
    const loss = short(atoms.at(-1).data);
    sentence.textContent =
      before === null || steps ? told(atoms, last) : `A step of ${RATE} × the gradients: ${short(before)} → ${loss}.`;
  }
  draw();
}

if (typeof document !== "undefined") {
  const root = document.getElementById("alive");
  if (root) mount(root);
}
