// The twelve lessons: what is read, what is done, and how an answer is judged against what the studio itself computes.
//
// `look` asks the studio for the facts of a task; `keep` among them is remembered, with the lesson, for the next look.
// `judge` is pure: from a number, the facts and what was kept to { right, say, keep }. In texts {word|as it stands} is
// a word that explains itself, and `so` stands what is typed or read as code.

import { number } from "./elements.js";
import { tempered } from "./tempered.js";
import { byHeart } from "./verdict.js";

const LOSS = 0.006; // nats by which a loss may be off: two digits after the point will do
const CLOSE = 0.03; // nats by which a prediction may be off
const LONGER = 4; // times as many steps as the longest run: what is to be predicted
const SHORT = 1000; // steps of the usual training
const LATEST = 20; // runs that are looked into, one by one
const NO_RUN = "There is no finished run on names yet: do lesson 2 first.";
const TWENTY =
  "emma liam olivia noah ava isabella logan william sophia james benjamin mason mia elijah oliver jacob lucas " +
  "charlotte michael alexander";
const ATOM = { expression: "(a*b + c).relu()", values: "a=2,b=5,c=-4" };
const SQUARE = { expression: "a ** 2", values: "a=2" };
const CHAIN = { expression: "(a*b + a) * c", values: "a=2,b=3,c=4" };

const finished = async (get) =>
  (await get("/api/runs")).runs.filter((run) => run.data === "names" && run.status === "finished" && run.holdout);
const detail = (get, name) => get(`/api/runs/${encodeURIComponent(name)}`);
const lowest = (runs) => runs.reduce((best, run) => (run.holdout < best?.holdout ? run : (best ?? run)), undefined);
const nearest = (values, to) => values.reduce((best, one) => (Math.abs(one - to) < Math.abs(best - to) ? one : best));
const largest = (values) => values.indexOf(Math.max(...values));
const trainable = (post, settings) => post("/api/plan", { text: "names", recipe: "default", settings });

// The best run on names, and the same one as long as there is it, so that a question has one answer.
async function model(get, kept) {
  const runs = await finished(get);
  if (!runs.length) return {};
  const { name } = runs.find((run) => run.name === kept?.run) ?? lowest(runs);
  return { run: name, keep: { run: name } };
}

async function atoms(get, asked) {
  const { boxes, result } = await get("/api/atoms/view", asked);
  const found = boxes.map(({ label, value, gradient }) => [label, { value, gradient }]);
  return { result: result.value, ...Object.fromEntries(found) };
}

// What is typed as a number: with a decimal comma, a true minus or a percent sign too.
export function numberOf(typed) {
  const text = typed.trim().replace(/^[−–]/, "-").replace(/\s*%$/, "").replace(",", ".");
  return text === "" ? NaN : Number(text);
}

// Right where a value is near the answer; else what is to be said of the mistake that it shows, or the general hint.
export function judged(value, { answer, within = LOSS, mistakes = [], hint, right }) {
  if (Math.abs(value - answer) <= within) return { right: true, say: right };
  const known = mistakes.find(([wrong]) => Math.abs(value - wrong) <= within);
  return { right: false, say: known ? known[1] : hint };
}

export function graded(lesson, typed, facts, kept) {
  if (facts.missing) return { right: false, say: facts.missing };
  const value = numberOf(typed);
  if (!Number.isFinite(value)) return { right: false, say: "Type a number; 2.36 and 2,36 are both understood." };
  return lesson.judge(value, facts, kept);
}

export const LESSONS = [
  {
    title: "What is a loss?",
    goal: "Being wrong as a number: surprise, in nats.",
    text: [
      "A language model guesses what comes next. Show it `emm`, and it gives a chance to every letter that may " +
        "follow: say 80% to `a`, 5% to `i`, and so on. All chances together make 100%.",
      "Then it sees what really comes. The smaller the chance that it gave to that, the greater its {surprise}. " +
        "This is a number: −ln(chance), where ln is the natural logarithm, a key of every scientific calculator. A " +
        "chance of 100% gives −ln(1) = 0: no surprise at all. 50% gives −ln(0.5) = 0.69, and 1% gives −ln(0.01) = " +
        "4.61. The unit is the {nat}.",
      "The {loss} of a model is its mean surprise over a whole text. Lower is better, and to learn is to lower it.",
      "Before you train a model, know what a bad loss is. One that knows nothing gives the same chance to all that " +
        "may come. The names of this studio are written with 27 signs: 26 letters, and a mark where a name ends.",
    ],
    steps: () => [
      ["Take a calculator with a key ln; a phone held sideways often shows one."],
      ["Work out the chance of each of 27 signs that are all alike, and the surprise at it."],
    ],
    question: () => "What is the loss of a model that gives each of 27 signs the same chance?",
    look: async ({ get }) => ({ signs: (await get("/api/text", { id: "names" })).vocabulary }),
    judge: (value, { signs }) =>
      judged(value, {
        answer: Math.log(signs),
        mistakes: [
          [
            -Math.log(signs),
            "Nearly: a surprise is never below 0. ln(1/27) is negative, and the minus turns it round.",
          ],
          [Math.log10(signs), "This is the key log, the logarithm to base ten. Take the key ln."],
          [Math.log2(signs), "This is the logarithm to base two: the surprise in bits. Take the key ln for nats."],
          [1 / signs, "This is the chance of each sign. The loss is the surprise at it: −ln of what you typed."],
          [signs, "This is how many signs there are. The chance of each is 1 ÷ 27; the loss is −ln of that."],
        ],
        hint: "The chance of each is 1 ÷ 27 = 0.037. Type 1 ÷ 27 =, press ln, and leave out the minus.",
        right: `ln 27 = ${number(Math.log(signs))} nats. A model that scores worse has learned nothing.`,
      }),
  },
  {
    title: "Train your first model",
    goal: "A thousand steps, and the number that counts.",
    text: [
      "A model is a pile of numbers, its {parameters}. At first they are drawn at random, so that it writes babble. " +
        "Training changes them.",
      "One {step} is this: the model reads a name letter by letter, and guesses each letter before it sees it. Then " +
        "every parameter is moved a little, so that the right letters would have had a higher chance. After a " +
        "thousand steps it has read a thousand names.",
      "Is it good then? On names that it has practised on it may only remember. So the studio keeps one name in ten " +
        "aside, and never trains on it. The loss on those is the {held-out loss}: an exam with new questions. It is " +
        "the number that counts in all lessons to come.",
    ],
    steps: () => [
      ["Go there; it is set to 1,000 steps on 29,910 names.", "Open Train", "train", {}],
      ["Press Train. See the loss fall, and drag the slider below “What it writes” from the left to the right."],
      ["Further down a line begins with “Held-out loss”. Take its first number along."],
    ],
    question: () => "What is the held-out loss of your model?",
    look: async ({ get }) => {
      const runs = await finished(get);
      if (!runs.length)
        return { missing: "There is no finished run on names yet: open the page Train, and press Train." };
      const { uniform, unigram, counts } = await detail(get, runs[0].name);
      return { losses: runs.map((run) => run.holdout), uniform, unigram, counts };
    },
    judge: (value, { losses, uniform, unigram, counts }) => {
      const answer = nearest(losses, value);
      const better = number(Math.exp(uniform - answer), 2);
      return judged(value, {
        answer,
        mistakes: [
          [uniform, "This is the loss of guessing all signs alike, for comparison. Yours stands first in that line."],
          [unigram, "This is what letter frequencies alone score, for comparison. Yours stands first in that line."],
          [counts, "This is what the best table of counts scores. Yours stands first in that line."],
        ],
        hint: "None of your runs ended with that. Look for “Held-out loss” below the curve, not for the training loss.",
        right:
          `${number(answer)}, and ${number(uniform)} would be knowing nothing. On average the right letter now has ` +
          `${better} times the chance that blind guessing gives it.`,
      });
    },
  },
  {
    title: "Tokens and vocabulary",
    goal: "A text is cut into pieces, and each has a number.",
    text: [
      "A computer knows numbers only. So a text is cut into pieces, and each kind of piece has a number. A piece is " +
        "a {token}. All tokens that a model knows are its {vocabulary}.",
      "Until now a token was a letter, and one more marked where a name begins and ends: 26 + 1 = 27.",
      "Large models take longer pieces, and find them by counting. Which two neighbours stand side by side most " +
        "often in the text? They become one new token. Then it counts again, and joins the next pair. In the names " +
        "the first pair is `a` and `n`: so `an` is a token from then on. Such tokens are called byte pairs.",
      "Longer tokens make a text shorter: there is less to guess. But there are more to choose from, and each is " +
        "seen less often.",
    ],
    steps: () => [
      [
        "Go there; the names are now cut into 64 kinds of token. At first it takes a moment to learn them.",
        "Open Train with byte pairs",
        "train",
        { tokens: "bpe:64" },
      ],
      ["Below the box Text stand a few names, every other token on a grey ground. Find isabella."],
    ],
    question: () => "Into how many tokens is `isabella` cut?",
    look: async ({ get }) => {
      const { shown, pieces } = await get("/api/text", { id: "names", tokens: "bpe:64" });
      return { pieces: pieces[shown.indexOf("isabella")] };
    },
    judge: (value, { pieces }) =>
      judged(value, {
        answer: pieces.length,
        within: 0,
        mistakes: [
          [8, "These are the letters. A token may have two: count the grounds, grey or plain, and not the letters."],
          [pieces.length + 1, "One too many, if you counted the mark at the end: here only what is seen counts."],
        ],
        hint: "Look where the ground changes between grey and plain: there a token ends and the next begins.",
        right: `${pieces.join(" · ")}: eight letters, but only ${pieces.length} guesses for the model.`,
      }),
  },
  {
    title: "What comes next",
    goal: "Chances, and how daring the writing is.",
    text: [
      "A trained model gives every token a chance to come next. The page X-ray shows them as bars: type how a name " +
        "begins, and see what your model expects.",
      "To write, it rolls a die with 27 sides, on which likely tokens have more room. What comes up is added to the " +
        "name, and then it looks anew. So it does not write the same name each time. What it writes is a {sample}.",
      "The {temperature} changes the die. At 1 the die is as the model says. Below 1 the likely sides grow: names " +
        "become ordinary. Above 1 the rare sides grow: names become odd, and at last babble. At 0 the likeliest " +
        "side wins each time.",
    ],
    steps: ({ run }) => [
      ["See what your model expects after `ma`.", "Open the X-ray", "xray", { run, prompt: "ma" }],
      ["Find the bars below “What comes next”. Remember the chance of the topmost one."],
      ["Guess what it will be at a lower temperature. Then move the slider Temperature to 0.50."],
    ],
    question: () => "At temperature 0.50, what is the chance of the likeliest token after `ma`, in percent?",
    look: async ({ get }, kept) => {
      const { run, keep } = await model(get, kept);
      if (!run) return { missing: NO_RUN };
      const { tokens } = await get("/api/xray/read", { run, prompt: "ma" });
      const { chances } = await get("/api/xray/chances", { run, prompt: "ma", at: tokens.length - 1 });
      const [half, one, two] = [0.5, 1, 2].map((temperature) => Math.max(...tempered(chances, temperature, 0).drawn));
      return { run, keep, half, one, two };
    },
    judge: (value, { half, one, two }) =>
      judged(value, {
        answer: 100 * half,
        within: 0.51,
        mistakes: [
          [100 * one, "This is its chance at temperature 1. Move the slider Temperature to the left, to 0.50."],
          [100 * two, "This is its chance at temperature 2. Move the slider Temperature to the left, to 0.50."],
          [half, "Nearly: in percent, please. 0.25 is 25%."],
        ],
        hint: "Is the text `ma`, and does the slider say 0.50? Then take the percentage at the end of the topmost bar.",
        right: `${number(100 * half, 3)}%, up from ${number(100 * one, 3)}%: the likely has become likelier.`,
      }),
  },
  {
    title: "An atom and its gradient",
    goal: "What happens to a result when one number grows a little.",
    text: [
      "Now look underneath. A model is arithmetic: numbers that are added and multiplied. Here each number is an " +
        "atom, which knows its value and what it was made from.",
      "Take `(a*b + c).relu()` with `a` = 2, `b` = −3 and `c` = 10. `a*b + c` is −6 + 10 = 4. Now relu: it leaves a " +
        "positive number as it is, and makes 0 of a negative one. So the result is 4.",
      "What if `a` grew a little, to 2.1? Then it is −6.3 + 10 = 3.7: the result falls by 0.3 where `a` grew by " +
        "0.1. That is −3 for each unit, and −3 is the {gradient} of `a`, written ∂. It tells which way to turn a " +
        "number, and how much that does. Training needs nothing but the gradient of the loss for each parameter.",
    ],
    steps: () => [
      ["The box at the right is the result.", "Open Atoms", "atoms", { expression: ATOM.expression }],
      ["Click the atom `a`: its gradient is −3."],
      [
        "Set `c` to −10. The sum is below 0, the result 0, and so are the gradients of `a`, `b` and `c`: there relu " +
          "is flat.",
      ],
      ["Before the next numbers, guess. Then set `b` to 5 and `c` to −4, and see whether you were right."],
      ["Then press Take one step: each number moves a little against its gradient, and the result falls."],
    ],
    question: () => "With `a` = 2, `b` = 5 and `c` = −4, what is the gradient of `a`?",
    look: ({ get }) => atoms(get, ATOM),
    judge: (value, { result, a, b, c }) =>
      judged(value, {
        answer: a.gradient,
        mistakes: [
          [result, "This is the result. The gradient is how much it grows for each unit by which `a` grows."],
          [b.gradient, "This is the gradient of `b`. When `a` grows by 1, `a*b` grows by `b`."],
          [c.gradient, "This is the gradient of `c`. When `a` grows by 1, `a*b` grows by `b`."],
          [-3, "This was the gradient while `b` was −3. Now `b` is 5."],
          [
            0,
            "Is the sum below 0? `a*b + c` is 10 − 4 = 6, so relu is not flat here. Look whether `b` is 5 and `c` " +
              "is −4.",
          ],
        ],
        hint: "Work it out: what is the result with `a` = 2, and what with `a` = 2.1? Divide the difference by 0.1.",
        right: `${number(a.gradient)}, the value of b: 0.1 more of a adds ${number(a.gradient / 10)}.`,
      }),
  },
  {
    title: "The backward pass",
    goal: "The chain rule: multiply along a path, add over paths.",
    text: [
      "How does one find the gradient of a number that is far from the result? Step by step, from the result " +
        "backwards. This is the {backward pass}.",
      "At one operation it is easy to say how fast its result grows with each input: that is its slope. For `x + y` " +
        "the slope is 1 towards both. For `x*y` it is `y` towards `x`: when `x` grows by 1, `x*y` grows by `y`. In " +
        "the same way it is `x` towards `y`.",
      "Along a path slopes multiply. If a result grows 4 times as fast as `m`, and `m` grows 3 times as fast as " +
        "`a`, then the result grows 12 times as fast as `a`. This is the chain rule. And if `a` is used in two " +
        "places, two paths lead to it, and its gradient is the sum of both. That is all; a training does it for " +
        "thousands of numbers.",
    ],
    steps: () => [
      ["On paper: in `(a*b + a) * c`, `a` = 2, `b` = 3, `c` = 4, find the two paths from the result to `a`."],
      ["Multiply the slopes along each path, and add the two products."],
      ["Then press › there, step by step, and see the gradients come.", "Open Atoms", "atoms", { ...CHAIN, met: 0 }],
      ["With all gradients known, press Take one step: every number moves at once."],
    ],
    question: () => "What is the gradient of `a`?",
    look: ({ get }) => atoms(get, CHAIN),
    judge: (value, { result, a, b, c }) =>
      judged(value, {
        answer: a.gradient,
        mistakes: [
          [
            b.value * c.value,
            "This is the path by `a*b`: slope `c`, then slope `b`. But `a` is also added: there is a second path.",
          ],
          [c.value, "This is one path: slope `c`, then slope 1. The other goes by `a*b`. Add both."],
          [b.value * c.value * c.value, "You have multiplied both paths. Multiply along a path, but add over paths."],
          [result, "This is the result. Its gradient is 1; walk back from there to `a`."],
        ],
        hint: "From the result to the sum the slope is `c`. From there one path goes straight to `a`, one by `a*b`.",
        right: `${number(b.value * c.value)} by a·b and ${number(c.value)} directly: ${number(a.gradient)} together.`,
      }),
  },
  {
    title: "One step downhill",
    goal: "The learning rate: too small crawls, too large diverges.",
    text: [
      "A gradient says how the loss grows with a parameter. To lower the loss, move the parameter the other way: " +
        "new = old − {lr|learning rate} × gradient. It is a walk downhill in fog: feel the slope under your feet, " +
        "and take one step.",
      "The learning rate is the length of that step. A number 2 with the gradient −3 becomes 2 − 0.1 × (−3) = 2.3 " +
        "at the rate 0.1. If the rate is too small, the thousand steps end far from the valley. If it is too large, " +
        "you step over the valley and land higher up on the other side, where it is steeper still: the training " +
        "diverges.",
      "The studio uses Adam, a method that fits the step of each parameter to its latest gradients. But how long " +
        "steps are on the whole is still yours to choose.",
    ],
    steps: () => [
      ["First with one number: press Take one step there, a few times.", "Open Atoms at a²", "atoms", SQUARE],
      ["Undo all steps. Set the learning rate to 1.1, and take a few again: now the result rises."],
      ["Press Train there, and note the held-out loss.", "Open Train at rate 0.001", "train", { lr: "0.001" }],
      ["Do so again with a learning rate of 0.01, and of 0.1. Which is best?"],
      ["Go on to larger ones, until the held-out loss is worse than knowing nothing, ln 27 = 3.296."],
    ],
    question: () => "Which learning rate of yours ended worse than knowing nothing?",
    look: async ({ get }) => {
      const { runs } = await get("/api/runs");
      const own = runs.filter((run) => run.data === "names" && !run.fault && !run.training).slice(0, LATEST);
      const told = await Promise.all(own.map((run) => detail(get, run.name)));
      const tried = told.map(({ settings, holdout, status, uniform }) => ({
        rate: settings.lr,
        holdout: status === "diverged" ? Infinity : holdout,
        uniform,
      }));
      return { tried: tried.filter(({ rate, holdout }) => rate > 0 && holdout !== null) };
    },
    judge: (value, { tried }) => {
      const own = tried.filter(({ rate }) => Math.abs(rate - value) <= 1e-6 * rate);
      if (!own.length)
        return { right: false, say: "No run of yours has this learning rate: train one with it on names first." };
      const worst = own.reduce((most, one) => (one.holdout > most.holdout ? one : most));
      const told = number(worst.holdout);
      if (worst.holdout <= worst.uniform)
        return {
          right: false,
          say: `At this rate the loss was ${told}, better than knowing nothing. Try 10 times it.`,
        };
      return { right: true, say: `At ${number(value)} it ended with ${told}: its steps were too long.` };
    },
  },
  {
    title: "Attention",
    goal: "Where the model looks back, and how strongly.",
    text: [
      "What comes after `isabell`? To know that, a model should look back: was there a double l, and how did the " +
        "name begin? For this it has {attention}. At each position it looks at all earlier ones, and at itself, and " +
        "gives each a weight: how much of what stands there flows into the guess. The weights make 100%.",
      "Your model has several {head|heads} which do so side by side. Nobody told them what to look for: one may " +
        "look at the letter before, another at the beginning. Each has learned that from gradients alone.",
      "What comes later is hidden from every position. To see the answer before one guesses would be cheating.",
    ],
    steps: ({ run, head = 2 }) => [
      ["Your model reads a name.", "Open the X-ray at isabella", "xray", { run, prompt: "isabella" }],
      ["The number under a letter is the surprise at it. Which letter did it expect least?"],
      [`The last letter is chosen. Press “head ${head}”, above its picture: the arcs now show this head alone.`],
      ["Below the letters stands in words to which positions it attends, the strongest first. Take its number along."],
      [
        `Is it needed? There head ${head} is switched off: compare “Loss on this text” with the loss before.`,
        "Open Model",
        "model",
        { run, prompt: "isabella", edits: `layer0.head${head}` },
      ],
    ],
    question: ({ head = 2 }) => `To which position does head ${head} attend most, from the last letter of isabella?`,
    look: async ({ get }, kept) => {
      const { run, keep } = await model(get, kept);
      if (!run) return { missing: NO_RUN };
      const { heads } = await get("/api/xray/attention", { run, prompt: "isabella", layer: 0 });
      return { run, keep, weights: heads.map((positions) => positions.at(-1)), head: Math.min(2, heads.length - 1) };
    },
    judge: (value, { weights, head }) => {
      const best = weights.map(largest);
      const others = best.flatMap((place, other) =>
        other === head ? [] : [[place, `There head ${other} looks most. Press “head ${head}”, above its picture.`]],
      );
      return judged(value, {
        answer: best[head],
        within: 0,
        mistakes: others,
        hint: "A position is the number behind “at” in the sentence below the letters; the mark of the beginning is 0.",
        right: `Position ${best[head]}, with ${Math.round(100 * weights[head][best[head]])}% of its attention.`,
      });
    },
  },
  {
    title: "Learning by heart",
    goal: "Why names are held out, and when to stop.",
    text: [
      "Think of someone who knows the answers of last year's exam by heart: full marks in the old exam, and lost in " +
        "a new one. A model with enough parameters does the same: it remembers its text.",
      "Try it with twenty names. Eighteen are for practice and two are held out; the model has about two hundred " +
        "parameters for each. Its training loss falls and falls. The {held-out loss} falls too at first, while it " +
        "learns how names look. Then it rises, far above knowing nothing: the model is ever surer of what it " +
        "remembers, and so ever more surprised by what is new. This is called overfitting.",
      "Two things help: more text, or to stop in time, where the held-out loss is lowest.",
    ],
    steps: ({ text }) => [
      ["Press Train there, with 1,000 steps.", "Open Train with twenty names", "train", { text }],
      ["Compare the two curves: the training loss, and the dashed held-out loss."],
      ["A box says that it has learned your text by heart, and at which step it was best."],
    ],
    question: () => "At which step was the held-out loss lowest?",
    look: async ({ get, post }) => {
      const text = (await post("/api/texts?name=twenty+names", new Blob([TWENTY.replaceAll(" ", "\n")]))).id;
      const { runs } = await get("/api/runs");
      const run = runs.find(({ data, status }) => data === "twenty names.txt" && status === "finished");
      if (!run) return { text, missing: "There is no finished run on the twenty names yet: train one first." };
      const { looks } = await detail(get, run.name);
      const best = byHeart(looks);
      return best
        ? { text, best, last: looks.at(-1) }
        : { text, missing: "Your newest run on the twenty names was too short to overfit: train 1,000 steps." };
    },
    judge: (value, { best, last }) =>
      judged(value, {
        answer: best.step,
        within: 0,
        mistakes: [
          [
            last.step,
            "This is the last step: there it was far from best. Look for the lowest point of the dashed line.",
          ],
          [Number(number(best.loss, 3)), "This is the loss at its best. At which step was that?"],
        ],
        hint: "The sentence in the box above the curve says “best at step …”; a line marks it in the curve too.",
        right: `${number(best.loss, 3)} at step ${best.step}, and ${number(last.loss, 3)} at the end.`,
      }),
  },
  {
    title: "Counting against the model",
    goal: "A fair opponent: a table of counts.",
    text: [
      "Is your model good? To know nothing is an opponent too easy to beat. A fair one is a table. Go through all " +
        "names of the training and count which letter followed each letter, each two letters, each three. Then " +
        "guess in these proportions. There is no gradient in that, no learning rate: it is counting and nothing " +
        "else.",
      "The studio makes the best such table that it can, and tests it on the same held-out names. Its loss is the " +
        "dashed line “{counts|the best table of counts}” of the curve. It is the mark to beat.",
      "After a thousand steps your model loses. It has read a thousand names, and the table all of them. More steps " +
        "help, and a larger model. And both together, mixed, are nearly always better than either: they are wrong " +
        "in different places.",
    ],
    steps: ({ run }) => [
      ["The line below the curve has both losses.", "Open your best run", "train", { run }],
      ["Subtract: your model's held-out loss, less that of the best table of counts."],
      ["If you have a minute: choose “Best model in”, which mixes, and see who wins."],
    ],
    question: () => "How far is the table of counts ahead of your model, in nats?",
    look: async ({ get }) => {
      const runs = (await finished(get)).filter((run) => run.counts !== null);
      if (!runs.length) return { missing: NO_RUN };
      const { name } = lowest(runs);
      const { unigram } = await detail(get, name);
      return { run: name, runs: runs.map(({ holdout, counts }) => ({ holdout, counts, unigram })) };
    },
    judge: (value, { runs }) => {
      const [{ counts, unigram }] = runs;
      const answer = nearest(
        runs.map((run) => run.holdout - run.counts),
        value,
      );
      return judged(value, {
        answer,
        mistakes: [
          [
            -answer,
            "Nearly: it is the other way round. Your loss less that of the table; where it is lower, it leads.",
          ],
          [counts, "This is the loss of the table. Subtract it from that of your model."],
          ...runs.flatMap(({ holdout }) => [
            [holdout, "This is the loss of your model. Subtract that of the table from it."],
            [unigram - holdout, "This is how far you are ahead of letter frequencies alone."],
          ]),
        ],
        hint: "Subtract the loss of “the best table of counts” from your held-out loss: both stand below the curve.",
        right:
          answer > 0
            ? `${number(answer + counts)} − ${number(counts)} = ${number(answer, 3)} nats to catch up with.`
            : "Below 0: your model has beaten the table!",
      });
    },
  },
  {
    title: "Bigger, or longer?",
    goal: "Two ways to spend the same work.",
    text: [
      "With more work a model becomes better. But there are two ways to spend it: on a bigger model, with more " +
        "{parameters}, or on a longer training, with more {steps}.",
      "For each token a step uses every parameter, forwards and backwards. So the work is about parameters × " +
        "tokens. The {emb|width}, how many numbers stand for a token, decides how many parameters there are: twice " +
        "the width makes them three to four times as many. So 1,000 steps of a model of width 32 are nearly as much " +
        "work as 4,000 of one of width 16.",
      "Which is better can't be found by thinking. One has to measure, as laboratories do before they spend " +
        "millions on a training. What they find is called a scaling law; the page Scaling draws some.",
    ],
    steps: ({ names }) => [
      ["Press Train there: width 16, 4,000 steps.", "Open Train, longer", "train", { steps: "4000" }],
      ["Press Train there: width 32, 1,000 steps.", "Open Train, bigger", "train", { emb: "32" }],
      [
        "See both side by side. Below “Settings that differ” stand their losses.",
        "Open Compare",
        "compare",
        { runs: names },
      ],
    ],
    question: () => "By how many nats is the better one's held-out loss lower?",
    look: async ({ get, post }) => {
      const sizes = await Promise.all([{}, { emb: 32 }].map((settings) => trainable(post, settings)));
      const runs = await finished(get);
      const [longer, bigger] = sizes.map(({ params }, place) =>
        lowest(runs.filter((run) => run.params === params && run.steps === [LONGER * SHORT, SHORT][place])),
      );
      const both = [longer, bigger].filter(Boolean);
      const names = both.length ? both.map((run) => run.name).join("/") : null;
      const lack = longer ? "the bigger one, width 32 and 1,000 steps" : "the longer one, width 16 and 4,000 steps";
      if (both.length < 2) return { names, missing: `There is no run yet of ${lack}: train it first.` };
      return { names, longer: longer.holdout, bigger: bigger.holdout };
    },
    judge: (value, { longer, bigger }) =>
      judged(Math.abs(value), {
        answer: Math.abs(longer - bigger),
        mistakes: [
          [longer, "This is the loss of the longer one. Subtract the lower loss from the higher."],
          [bigger, "This is the loss of the bigger one. Subtract the lower loss from the higher."],
        ],
        hint: "On the page Compare both held-out losses stand below “Settings that differ”. Subtract the lower one.",
        right:
          `${number(Math.abs(longer - bigger), 2)} nats: for this work ${longer < bigger ? "longer" : "bigger"} is ` +
          "better. With 16 times as much it turns round: try it.",
      }),
  },
  {
    title: "Predict a run before you make it",
    goal: "Write down a number first, and then find out.",
    text: [
      "To say afterwards why something had to come is easy, and worth little. A prediction is written down before. " +
        "Laboratories do so: from small trainings they say what a large one will reach, before they pay for it.",
      "Look at your own numbers, each with four times the steps of the one before. The loss falls, but each time by " +
        "less: what is easy has been learned first. And it can never reach 0, for nobody can know whether `mar` " +
        "goes on to maria or to mark.",
      "Draw them: steps to the right, each factor of 4 one finger wide, and losses upwards. Go on with the curve as " +
        "it bends, and read off where it will be.",
      "You may be off by 0.03 nats. If it is more, you get another try, at a run that you do not know yet.",
    ],
    steps: ({ known, steps = 0 }) => [
      [`Your runs of the usual size: ${known?.length ? known.map(told).join("; ") : "none yet"}.`],
      ["Type your prediction below, and write it down."],
      ["Then make the run.", `Open Train, ${number(steps)} steps`, "train", { steps: String(steps) }],
      ["Come back, and compare."],
    ],
    question: ({ steps = 0 }) => `What will the held-out loss be after ${number(steps)} steps?`,
    button: (kept) => (kept?.guess === undefined ? "Write it down" : "Compare"),
    look: async ({ get, post }, kept) => {
      const { params } = await trainable(post, {});
      const runs = (await finished(get)).filter((run) => run.params === params);
      const lengths = [...new Set(runs.map((run) => run.steps))].sort((one, other) => one - other);
      const known = lengths.map((steps) => lowest(runs.filter((run) => run.steps === steps)));
      const longest = Math.max(LONGER * SHORT, ...lengths);
      const missing =
        known.length < 2 && kept?.guess === undefined
          ? "You need two runs to predict a third: 1,000 steps from lesson 2, and 4,000 from lesson 11."
          : undefined;
      return { known, steps: kept?.steps ?? LONGER * longest, missing };
    },
    judge: (value, { known, steps }, kept) => {
      if (kept?.guess === undefined)
        return {
          right: false,
          say: `Written down: ${number(value)}. Now train ${number(steps)} steps, come back, and press Compare.`,
          keep: { guess: value, steps },
        };
      const run = known.find((each) => each.steps === kept.steps);
      const say = `Your prediction ${number(kept.guess)} waits for a run of ${number(kept.steps)} steps: train it.`;
      if (!run) return { right: false, say };
      const off = Math.abs(kept.guess - run.holdout);
      const score = `You said ${number(kept.guess)}, and it is ${number(run.holdout)}: off by ${number(off, 2)}.`;
      if (off <= CLOSE) return { right: true, say: `${score} You knew it before.` };
      const why = kept.guess < run.holdout ? "It fell by less than you thought" : "It fell by more than you thought";
      return {
        right: false,
        say: `${score} ${why}. Put this number into your drawing, and predict the next run.`,
        keep: {},
      };
    },
  },
];

function told(run) {
  return `${number(run.steps)} steps, ${number(run.holdout)}`;
}
