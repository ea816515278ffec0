// How the lessons judge an answer, from facts as the studio gives them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { graded, LESSONS, numberOf } from "./lesson_texts.js";

const judge = (place, typed, facts, kept) => graded(LESSONS[place - 1], String(typed), facts, kept);

test("a number may be written as people do", () => {
  assert.deepEqual(["2.36", " 2,36 ", "−3", "–3", "48 %", "48.5%"].map(numberOf), [2.36, 2.36, -3, -3, 48, 48.5]);
  assert.ok(["", " ", "l at 6", "1.2.3"].every((typed) => Number.isNaN(numberOf(typed))));
});

test("there are twelve lessons, each short, and whole even while its facts are missing", () => {
  assert.equal(LESSONS.length, 12);
  for (const [at, { text, steps, question }] of LESSONS.entries()) {
    const words = text.join(" ").split(/\s+/).length;
    assert.ok(words > 90 && words < 200, `lesson ${at + 1} has ${words} words`);
    for (const facts of [{}, { missing: "train first" }]) {
      const told = [question(facts), ...steps(facts).map(([task, label]) => task + label)].join(" ");
      assert.ok(question(facts).endsWith("?") && !/NaN|\[object/.test(told), told);
      assert.ok(steps(facts).length > 1);
    }
    assert.equal(judge(at + 1, "1", { missing: "train first" }).say, "train first");
    assert.equal(judge(at + 1, "much", {}).right, false);
  }
});

test("a known mistake is told as such, any other gets the general hint, and neither tells the answer", () => {
  const facts = { signs: 27 };
  const said = ["-3.3", "1.43", "4.755", "0.037", "27", "5"].map((typed) => judge(1, typed, facts));
  assert.equal(new Set(said.map(({ say }) => say)).size, said.length);
  assert.ok(said.every(({ right, say }) => !right && !say.includes("3.29") && !say.includes("3.3")));
  assert.ok(judge(1, "3,296", facts).right && judge(1, "3.30", facts).right && !judge(1, "3.31", facts).right);
});

test("any run of one's own will do, and its own numbers are told", () => {
  const facts = { losses: [2.3626, 2.2759], uniform: 3.2958, unigram: 2.8162, counts: 1.9963 };
  assert.deepEqual(
    [2.36, 2.28, 2.32, 2.816].map((typed) => judge(2, typed, facts).right),
    [true, true, false, false],
  );
  assert.match(judge(2, 2.363, facts).say, /2\.363.*2\.5 times the chance/);
});

test("a learning rate is too large where its worst run scores worse than knowing nothing, or diverged", () => {
  const tried = [0.01, 1, 1, 3].map((rate, at) => ({ rate, holdout: [2.36, 2.5, 44, Infinity][at], uniform: 3.2958 }));
  assert.deepEqual(
    [0.01, 0.1, 1, 3].map((typed) => judge(7, typed, { tried }).right),
    [false, false, true, true],
  );
  assert.match(judge(7, 0.1, { tried }).say, /train one/);
});

test("a table that is beaten is no mistake", () => {
  const runs = [{ holdout: 1.95, counts: 1.9963, unigram: 2.8162 }];
  assert.match(judge(10, "-0.05", { runs }).say, /beaten/);
  assert.match(judge(10, "0.05", { runs }).say, /other way round/);
});

test("a prediction stands before its run, which scores it; one that was too far off makes room for the next", () => {
  const known = [{ steps: 1000, holdout: 2.3626 }];
  const { keep } = judge(12, 2.25, { known, steps: 16000 });
  assert.deepEqual(keep, { guess: 2.25, steps: 16000 });
  assert.equal(judge(12, 9, { known, steps: 16000 }, keep).keep, undefined);
  const after = { known: [...known, { steps: 16000, holdout: 2.2361 }], steps: 16000 };
  assert.ok(judge(12, 9, after, keep).right);
  const missed = judge(12, 9, after, { guess: 2.19, steps: 16000 });
  assert.deepEqual([missed.right, missed.keep], [false, {}]);
  assert.match(missed.say, /off by 0\.046.*less than you thought/);
});
