// What happens on the page Atoms, in sentences: a step of the backward pass, and steps of gradient descent.

import { number } from "./elements.js";

const RULES = {
  add: "A sum passes it on to each operand as it is",
  sub: "A difference passes it on to the first operand as it is, and to the second with the other sign",
  mul: "A product passes it on to each operand, times the other one",
  truediv: "A quotient y = a ÷ b passes it on times 1 ÷ b to a, and times −y ÷ b to b",
  pow: "A power y = a ^ b passes it on times b × a ^ (b − 1) to a, and times y × log(a) to b",
  neg: "A minus passes it on with the other sign",
  exp: "exp passes it on times its own value",
  log: "log passes it on divided by the operand",
  relu: "ReLU passes it on where the operand is above 0, and nothing elsewhere",
};

// Numbers that fit into a box.
export function short(value) {
  const far = value && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5);
  return value === 0 ? "0" : (far ? value.toExponential(2) : number(value, 4)).replace("-", "−"); // -0 is 0
}

const nameOf = ({ atom, id = atom, label }) => label || `atom ${number(id)}`;

// What the last step did; `met` is its operation.
export function passed({ met, step, steps }) {
  const place = `Step ${number(step)} of ${number(steps)}`;
  if (!met)
    return steps
      ? `${place}: the result has the gradient 1, all else has 0 so far.`
      : "Nothing was computed, so there is nothing to walk back.";
  const gradient = short(met.gradient);
  const shares = met.parents.map(
    (parent) => `${gradient} × ${short(parent.slope)} = ${short(met.gradient * parent.slope)} to ${nameOf(parent)}`,
  );
  return (
    `${place}: ${nameOf(met)} has the gradient ${gradient}. ` +
    `${RULES[met.operation] ?? `${met.operation} passes it on times its slope`}: ${shares.join(", ")}.` +
    (step === steps ? " Now every atom has its gradient." : "")
  );
}

// How far the steps went, and what was predicted of the last; `what` is the loss or the result.
export function descended({ results, rate, predicted, leaves }, what, kind) {
  const each = `Each step moves every ${kind} by −${short(rate)} × its gradient`;
  if (results.length < 2) return leaves ? `${each}.` : `There is no ${kind} that could move.`;
  const [before, now] = results.slice(-2);
  const way = results.length > 5 ? [results[0], null, ...results.slice(-3)] : results;
  const told = way.map((result) => (result === null ? "…" : short(result))).join(" → ");
  const fall = now < before ? "fell" : now > before ? "rose" : "changed";
  return (
    `${each}. After ${results.length - 1} of them: ${what} ${told}. The last was predicted to change it by ` +
    `−${short(rate)} × |gradient|² = ${short(predicted)}; it ${fall} by ${short(Math.abs(now - before))}.` +
    (now > before ? " Where it rises, the step was too far: the slopes changed on the way." : "")
  );
}
