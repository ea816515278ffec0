// The words: each explained where it stands, on hover, on focus and on touch.

import { element } from "./elements.js";

export const WORDS = {
  loss:
    "How surprised the model is by the next character, on average, in nats: the negative logarithm of the chance it " +
    "gave to what came. 0 would be certainty; lower is better.",
  "training loss":
    "The loss on the documents of the step itself. One step sees few documents, so it jumps; the bold line is the " +
    "mean of the last 100 steps.",
  "held-out loss":
    "The loss on documents that were kept aside and never trained on. It shows what the model has understood rather " +
    "than remembered.",
  uniform: "The loss of guessing every token alike: the logarithm of the vocabulary's size.",
  unigram: "The loss of a model that knows only how often each character occurs, and not what came before it.",
  counts:
    "The loss of the best table of counts of the same training text: how often each character followed the few " +
    "before it (interpolated modified Kneser-Ney). A model that is worse has not learned what counting tells. Of " +
    "running text it also sees what stands before a window.",
  mixed:
    "The loss of the model and a table of counts together, each with its share of every chance. They are wrong in " +
    "different places, so both together are nearly always better than either. The run writes with both.",
  nat: "The unit of surprise: 1 nat is the surprise at something that had a chance of 1/e, about 37%.",
  step: "One update of all weights by Adam, after looking at a batch of documents.",
  steps: "How many updates of the weights (Adam steps) the training takes.",
  lr: "The learning rate: how far a step moves each weight. Too small learns slowly, too large never settles.",
  batch: "How many documents a step looks at before it changes the weights.",
  emb: "How many numbers represent a token: the width of the model.",
  head: "Attention heads: each looks back at earlier characters in its own way. They share the width among them.",
  layer: "Blocks of attention and MLP, one after another: the depth of the model.",
  ctx: "The context: how many positions the model can look back on.",
  ff: "How many times as wide as the model the MLP of a block is inside.",
  engine:
    "The program that computes: atomic (one object for each number), array (NumPy) or fused (one C kernel). All " +
    "compute the same function.",
  speed: "Steps a second, over the last moments of this training.",
  precision: "How exactly the engine computes: numbers of 32 bits have about 7 digits, those of 64 about 16.",
  "±": "The standard error: with another held-out text of the same size it would lie this near two times in three.",
  recipe: "Named settings to begin with; what you change overrides them.",
  weight:
    "One learned number of the model. An input is multiplied by it, so it says how much that input counts and in " +
    "which direction.",
  "backward pass":
    "The walk back from the loss through every operation to every weight. At each one the chain rule multiplies by " +
    "a local derivative; what arrives is the gradient: how the loss would change if that number grew a little.",
  parameters: "The numbers that are learned: all weights of the model together.",
  FLOP: "Floating-point operations: additions and multiplications of useful work.",
  memory: "Bytes for weights, gradients, Adam's two moments and what the backward pass needs of the forward pass.",
  document: "One training text: a name, or a window of running text.",
  token:
    "What the model reads and writes one of at a time: a character, unless the text was told in bytes or in byte " +
    "pairs, or the mark of begin and end.",
  vocabulary: "All tokens that the model knows.",
  sample: "Text that the model wrote, each character drawn from the chances that it gave.",
  temperature: "How daring the writing is: below 1 likely characters become likelier, above 1 unlikely ones do.",
  "top-k": "Draw only from this many of the likeliest characters; 0 draws from all.",
  seed: "The number that all chance is made from: the same seed gives the same run, bit by bit.",
  verdict:
    "What an interval says about a drop in loss: that it is there, that it can't be told from zero, or that the " +
    "loss rose.",
  "seeds to add": "With this many more runs at each level, four of five tries would separate the row from chance.",
  "90% interval":
    "Where the truth lies, nine times in ten, judged by how much the seeds differ. More seeds make it narrower.",
  law:
    "A formula for the loss by size and length of training, fitted to the runs: a floor that nothing removes, and " +
    "what size and length still take off.",
  sweep: "A planned set of runs that differ in one thing or two, each with several seeds.",
  run: "One training, from settings to held-out loss, kept in a folder of its own.",
  warmup: "Steps over which the learning rate rises to its full height.",
  decay: "How the learning rate falls after the warm-up.",
  holdout: "The share of the text that is kept aside for the held-out loss.",
  attention: "How much each position looks at each earlier one, in one head: weights that sum to 1.",
  "residual stream":
    "The numbers that stand for a position all the way through the model. Attention and MLP read them, and add to " +
    "them.",
  norm: "Divides numbers by their typical size, so that what reads them finds neither tiny nor huge ones.",
  MLP:
    "The part of a layer that works on each position by itself: a row of units, each a weighted sum that counts " +
    "where it is above 0, and weighted sums of these.",
  logits: "The model's raw score for each token; softmax turns them into chances.",
  gradient: "How much the loss would change if this number grew a little, for each unit of growth.",
  embedding: "The numbers that represent a token inside the model.",
  surprise: "The negative logarithm of the chance that the model gave to this character, in nats.",
  beta1: "Adam's memory of the mean gradient.",
  beta2: "Adam's memory of the mean squared gradient.",
};

let shown = null;
let box = null;
let byKeyboard = false; // whether the focus was moved by a key

// A word with its meaning. `text` is what stands in the page, where that differs. In a label it is no stop of its own
// for the Tab key, which has its control: that one's focus shows the meaning.
export function glossary(term, text = term, meaning = WORDS[term]) {
  if (!meaning) return document.createTextNode(text);
  return element("span", { ...attributes(term, meaning), tabindex: "0", role: "button" }, text);
}

const attributes = (term, meaning) => ({ class: "term", "data-word": term, "data-meaning": meaning });

export function labelled(term, text, meaning = WORDS[term]) {
  if (!meaning) return document.createTextNode(text);
  return element("span", attributes(term, meaning), text);
}

function show(word) {
  if (shown === word) return;
  hide();
  shown = word;
  box ??= document.body.appendChild(element("div", { id: "word", role: "tooltip" }));
  box.textContent = word.dataset.meaning;
  box.hidden = false;
  if (word.tabIndex === 0) word.setAttribute("aria-describedby", "word");
  const place = word.getBoundingClientRect();
  const left = Math.max(8, Math.min(place.left, innerWidth - box.offsetWidth - 8));
  const above =
    place.top > box.offsetHeight + 8 && (word.closest("label") || place.bottom + box.offsetHeight > innerHeight);
  box.style.left = `${left + scrollX}px`;
  box.style.top = `${(above ? place.top - box.offsetHeight - 6 : place.bottom + 6) + scrollY}px`;
}

function hide() {
  shown?.removeAttribute("aria-describedby");
  shown = null;
  if (box) box.hidden = true;
}

const wordOf = (event) => (event.target instanceof Element ? event.target.closest(".term[data-word]") : null);
const wordOfControl = ({ target }) => (byKeyboard ? target.labels?.[0]?.querySelector(".term[data-word]") : null);
const showOrHide = (word) => (word ? show(word) : hide());
document.addEventListener("pointerover", (event) => showOrHide(wordOf(event)));
document.addEventListener("pointerdown", () => (byKeyboard = false));
document.addEventListener("focusin", (event) => showOrHide(wordOf(event) ?? wordOfControl(event)));
document.addEventListener("focusout", hide);
document.addEventListener("click", (event) => {
  const word = wordOf(event);
  if (!word) return;
  event.preventDefault(); // a word within a label must not press its switch
  show(word);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Tab") byKeyboard = true;
  if (event.key === "Escape") hide();
  const word = wordOf(event);
  if (!word || (event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  show(word);
});
