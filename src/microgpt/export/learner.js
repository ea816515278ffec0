"use strict";
// A training in a thread of its own: what is asked of it, and what it tells.

const AT_ONCE = 12; // milliseconds between two looks for a stop
const SHOWN_EVERY = 200; // milliseconds between two looks at the weights

/** Trains a kernel on lessons from its own step to the last, and then measures it on what is held out. `tell` is told
    losses as they come, weights now and then; `stopped()` ends it after a step. */
async function learned(kernel, lessons, settings, tell, stopped = () => false) {
  let [steps, seconds, shown] = [1, 0, performance.now()];
  let { step } = kernel.save();
  while (step < settings.steps && !stopped()) {
    const [began, count] = [performance.now(), Math.min(steps, settings.steps - step)];
    const given = { ...lessons.sequences(step, count), batch: lessons.batch, rates: ratesOf(settings, step, count) };
    const losses = kernel.advance({ ...given, ...settings });
    const took = performance.now() - began;
    seconds += took / 1000;
    step += losses.length;
    tell({ losses, step, seconds });
    if (losses.length < count) {
      throw new Trouble(`The loss of step ${step + 1} is no finite number: what was learned before it stays.`);
    }
    if (performance.now() > shown + SHOWN_EVERY) {
      tell({ weights: kernel.save().weights });
      shown = performance.now();
    }
    if (took < AT_ONCE / 2) steps *= 2;
    if (took > AT_ONCE) steps = Math.max(1, Math.floor((steps * AT_ONCE) / took));
    await breathe();
  }
}

/** The loss of what is held out, in nats per token. */
async function measured(kernel, lessons, stopped = () => false) {
  let [sum, count] = [0, 0];
  for (let first = 0; first < lessons.heldOut.length && !stopped(); first += 64) {
    const spans = lessons.heldOut.slice(first, first + 64);
    for (const loss of kernel.evaluate(lessons.joined(spans))) sum += loss;
    for (const [start, stop] of spans) count += Math.min(stop - start - 1, lessons.ctx);
    await breathe();
  }
  return sum / count;
}

/** In the thread: the first message is a text and a model, later ones say stop or go on. */
function listening() {
  let [kernel, lessons, settings, stopping] = [null, null, null, false];
  const begun = async ({ text, kind, tokenizer, module, config, params, state, setting }) => {
    const corpus = corpusOf(cleaned(text, tokenizer ? tokenizer.normalize : "nfc"), kind);
    const { characters, normalize, merges } = tokenizer ?? { characters: corpus.characters.join(""), normalize: "nfc" };
    const words = new Tokenizer(characters, normalize, merges);
    settings = setting;
    lessons = new Lessons(corpus, words, settings);
    const vocabulary = words.bos + 1;
    if (vocabulary > config.most) {
      const told = `The text has ${words.bos} different characters`;
      throw new Trouble(`${told}: a new model in this page can have ${config.most - 1}. Give it another text.`);
    }
    const size = params + (tokenizer ? 0 : 2 * (vocabulary - config.vocabulary) * config.emb);
    kernel = await Kernel.started(module, { ...config, vocabulary }, size);
    kernel.load(state ?? { weights: firstWeights(settings, size) });
    postMessage({ begun: { kind: corpus.kind, characters, normalize, vocabulary, params: size } });
  };
  const work = async (asked) => {
    try {
      stopping = false;
      if (asked) await begun(asked);
      await learned(kernel, lessons, settings, postMessage, () => stopping);
      const state = kernel.save();
      const heldOut = await measured(kernel, lessons, () => stopping && false);
      postMessage({ ended: { ...state, heldOut } });
    } catch (error) {
      const full = error instanceof RangeError;
      const told = full ? "This browser has too little memory for it: give a shorter text." : String(error.message);
      const kept = kernel && error instanceof Trouble ? kernel.save() : null;
      postMessage({ trouble: told, unknown: error.unknown, kept });
    }
  };
  onmessage = ({ data }) => {
    if (data === "stop") stopping = true;
    else work(data === "go on" ? null : data);
  };
}
