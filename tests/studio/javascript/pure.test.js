// What the studio's pages compute by themselves, tried by node's own runner: no browser, no network.

import assert from "node:assert/strict";
import { test } from "node:test";

import { apart, nearest, short, smoothed, spanned } from "./charts.js";
import { duration, metric } from "./elements.js";
import { layered } from "./layout.js";
import { descended, passed } from "./sentences.js";
import { fallen, named, told, withEdit, withoutEdit, wrapped } from "./stages.js";
import { byHeart } from "./verdict.js";
import { labelOf, plain } from "./words.js";

const look = (step, loss) => ({ step, loss, samples: [] });

test("a sentence of the program loses its flags, its short names and the folders of the machine", () => {
  assert.equal(plain("--lr must be above 0, found -1."), "learning rate must be above 0, found -1.");
  assert.equal(
    plain("emb must be a multiple of head, found --emb 16 --head 3; --head 4 would do."),
    "width must be a multiple of heads, found width 16 heads 3; heads 4 would do.",
  );
  assert.equal(
    plain("the last weights, of step 3, are in /home/ann/runs/one."),
    "the last weights, of step 3, are in one.",
  );
  assert.equal(
    plain("each line is one document; --documents paragraphs or windows changes that"),
    "each line is one document; “documents” set to paragraphs or windows changes that",
  );
  assert.equal(plain("take 3 seeds or more, as `sweep --seeds 3` does."), "take 3 seeds or more.");
  assert.equal(plain("2 steps/s, emb / head and 1/e"), "2 steps/s, width / head and 1/e");
  assert.equal(labelOf("never_heard_of"), "never heard of");
});

test("a text is known by heart where the loss has clearly risen from its lowest, and not before", () => {
  const looks = [look(0, 3), look(10, 2), look(20, 2.05), look(40, 8.2)];
  assert.equal(byHeart(looks), looks[1]);
  assert.equal(byHeart([look(0, 3), look(10, 2), look(20, 2.05)]), null);
  assert.equal(byHeart([look(0, 3), look(10, 2.5), look(20, 2)]), null);
  assert.equal(byHeart([look(0, 3), look(10, null)]), null);
  assert.equal(byHeart([]), null);
});

test("labels are a line apart, as near to their wishes as the room allows", () => {
  assert.deepEqual(apart([50, 52, 200], [20, 300]), [50, 64, 200]);
  assert.deepEqual(apart([300, 298], [20, 300]), [300, 286]);
  assert.deepEqual(apart([0], [20, 300]), [20]);
  assert.deepEqual(apart([], [20, 300]), []);
});

test("ticks are short whatever their size", () => {
  const told = {
    0: "0",
    2.5: "2.5",
    9999: "9,999",
    12000: "12k",
    2.5e6: "2.5M",
    4e9: "4G",
    1e12: "1T",
    1e18: "1.0e18",
  };
  for (const [value, text] of Object.entries(told)) assert.equal(short(Number(value)), text);
  assert.equal(short(2e-5), "2.0e-5");
});

test("a span holds nine of ten, and there is none without an error", () => {
  assert.deepEqual(
    spanned(2, 0.1).map((end) => end.toFixed(4)),
    ["1.8355", "2.1645"],
  );
  assert.equal(spanned(2, null), null);
  assert.equal(spanned(2, 0), null);
});

test("a mean follows its points, and the nearest point is found", () => {
  assert.deepEqual(
    smoothed(
      [
        [1, 2],
        [2, 4],
        [3, 6],
      ],
      2,
    ),
    [
      [1, 2],
      [2, 3],
      [3, 5],
    ],
  );
  assert.deepEqual(
    nearest(
      [
        [1, 5],
        [4, 6],
        [9, 7],
      ],
      6,
    ),
    [4, 6],
  );
});

test("times and sizes are told as a person says them", () => {
  assert.deepEqual([0.008, 1.25, 200, 7200, 400000].map(duration), ["8 ms", "1.3 s", "3.3 min", "2 h", "4.6 days"]);
  assert.deepEqual([0, 999, 1200, 3.4e9].map(metric), ["0", "999", "1.2 k", "3.4 G"]);
});

test("each box of a graph stands right of all it is made from", () => {
  const boxes = [1, 2, 3, 4].map((id) => ({ id, within: 0, kind: "atom" }));
  const { nodes } = layered(boxes, [
    [1, 3, 1],
    [2, 3, 1],
    [3, 4, 1],
    [1, 4, 1],
  ]);
  const column = (id) => nodes.get(id).column;
  assert.ok(column(1) < column(3) && column(2) < column(3) && column(3) < column(4));
});

test("a number of a stage is named by its head, its unit or its token", () => {
  const sizes = { emb: 8, head: 2, wide: 32 };
  assert.equal(named("layer1.query", 5, 3, sizes, []), "query of layer 1, head 1, number 1");
  assert.equal(named("layer0.scores", 6, 3, sizes, []), "raw scores of layer 0, head 1, to position 2");
  assert.equal(named("layer0.expanded", 40, 3, sizes, []), "units, raw of layer 0, unit 8");
  assert.equal(named("logits", 1, 3, sizes, ["a"]), "logits, of the end");
  assert.deepEqual(wrapped([[1, 2, 3]]), [[1, 2, 3]]);
  assert.deepEqual(
    wrapped([Array(20).fill(1)]).map((row) => row.length),
    [8, 8, 4],
  );
});

test("a change takes the place of an earlier one of the same part, and can be put back", () => {
  const edits = withEdit(withEdit(withEdit(undefined, "layer0.head1"), "wte.0.3=1"), "wte.0.3=-2");
  assert.equal(edits, "layer0.head1,wte.0.3=-2");
  assert.deepEqual(
    edits.split(",").map((edit) => told(edit, ["a"])),
    ["head 1 of layer 0 is off", "wte[“a”][3] is -2"],
  );
  assert.equal(withoutEdit(withoutEdit(edits, "wte.0.3"), "layer0.head1"), null);
});

test("a random number falls on the token whose room it is in", () => {
  assert.deepEqual(fallen([0.25, 0.5, 0.25], 0.5), { token: 1, from: 0.25, to: 0.75 });
  assert.equal(fallen([0, 1, 0], 0).token, 1);
  assert.equal(fallen([0.3, 0.7, 0], 1).token, 1);
});

test("a step of the backward pass is a sentence with its numbers, whatever the operation", () => {
  const parents = [
    { atom: 0, label: "a", slope: -3 },
    { atom: 1, label: "", slope: 2 },
  ];
  const met = { id: 4, label: "", operation: "mul", gradient: 0.5, parents };
  assert.equal(
    passed({ met, step: 3, steps: 12 }),
    "Step 3 of 12: atom 4 has the gradient 0.5. A product passes it on to each operand, times the other one: " +
      "0.5 × −3 = −1.5 to a, 0.5 × 2 = 1 to atom 1.",
  );
  const last = passed({ met: { ...met, operation: "sin", parents: parents.slice(1) }, step: 12, steps: 12 });
  assert.match(last, /sin passes it on times its slope: 0.5 × 2 = 1 to atom 1. Now every atom has its gradient.$/);
  assert.match(passed({ met: null, step: 0, steps: 12 }), /^Step 0 of 12: the result has the gradient 1/);
  assert.match(passed({ met: null, step: 0, steps: 0 }), /^Nothing was computed/);
});

test("steps of gradient descent are told with what was predicted, and a rise with its reason", () => {
  const told = (...results) => descended({ results, rate: 0.1, predicted: -0.5, leaves: 2 }, "loss", "weight");
  assert.equal(told(3), "Each step moves every weight by −0.1 × its gradient.");
  assert.match(told(3, 2.6), /After 1 of them: loss 3 → 2.6. .* = −0.5; it fell by 0.4.$/);
  assert.match(told(7, 6, 5, 4, 3, 2), /After 5 of them: loss 7 → … → 4 → 3 → 2/);
  assert.match(told(2, 3), /it rose by 1. .* too far/);
  assert.match(descended({ results: [6], rate: 1, predicted: null, leaves: 0 }, "result", "variable"), /no variable/);
});
