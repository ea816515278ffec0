"use strict";
// The model in kernel.c of MicroGPT: The Art of Symmetry, compiled for WebAssembly: it trains, and reads faster than
// model.js. All numbers of the model are float32.

const LINE = 64; // bytes to which memory is aligned
const PAGE = 65536; // bytes by which it grows
const MOST_MEMORY = 2 ** 31 - PAGE; // of 32-bit addresses, without their sign

/** Base64 of zlib's format to bytes. */
async function unpacked(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A model of so many parameters and tokens, its training's moments, and all that they need, in one memory. */
class Kernel {
  /** Starts a compiled kernel (a WebAssembly.Module), which may run in any number of threads. */
  static async started(module, config, params) {
    const instance = await WebAssembly.instantiate(module, { Math });
    return new Kernel(instance.exports, config, params);
  }

  constructor(functions, config, params) {
    Object.assign(this, { functions, config, params, seen: [], slots: 0, top: functions.__heap_base.value });
    this.top += -this.top & (LINE - 1);
    functions.kernel_know(config.vocabulary);
    this.state = this.room(functions.kernel_state_bytes());
    this.activations = this.room(functions.kernel_activations_bytes());
  }

  // What is computed

  /** Takes weights and moments, each (params,), and the number of steps done. */
  load({ weights, adam_m = new Float32Array(this.params), adam_v = new Float32Array(this.params), step = 0 }) {
    this.seen = [];
    this.functions.kernel_import(this.state, ...this.lent(weights, adam_m, adam_v), BigInt(step));
    return this;
  }

  /** The inverse. */
  save() {
    const places = this.lent(...Array.from({ length: 3 }, () => new Float32Array(this.params)));
    const step = Number(this.functions.kernel_export(this.state, ...places));
    const [weights, adam_m, adam_v] = places.map((place) => this.read(Float32Array, place, this.params));
    return { weights, adam_m, adam_v, step };
  }

  /** Takes a step for each rate, on `batch` sequences of `tokens`, sequence k from starts[k] to starts[k + 1]. Returns
      the losses of the steps done; fewer than asked where the next one is not finite. */
  advance({ tokens, starts, batch, rates, beta1, beta2, weight_decay }) {
    this.seen = [];
    const steps = rates.length;
    const workspace = this.workspace(Number(this.functions.kernel_slots(BigInt(batch))));
    const batches = wide(Array.from({ length: steps + 1 }, (_, step) => step * batch));
    const places = this.lent(tokens, wide(starts), batches, rates, new Float64Array(steps), new Int32Array(1));
    const [atTokens, atStarts, atBatches, atRates, losses, stop] = places;
    const sizes = [atTokens, atStarts, atBatches, BigInt(steps), atRates, beta1, beta2, weight_decay];
    const done = this.functions.kernel_train(this.state, workspace, ...sizes, losses, stop, 1n);
    return this.read(Float64Array, losses, Number(done));
  }

  /** The summed loss of each sequence. */
  evaluate({ tokens, starts }) {
    const count = starts.length - 1;
    const workspace = this.workspace(1);
    const empty = new Float64Array(tokens.length);
    const places = this.lent(tokens, wide(starts), empty, empty, new Int32Array(1));
    const [atTokens, atStarts, atTotals, atTargets, stop] = places;
    const given = [this.state, workspace, atTokens, atStarts, BigInt(count)];
    this.functions.kernel_evaluate(...given, atTotals, atTargets, stop, 1n);
    const [totals, targets] = [atTotals, atTargets].map((place) => this.read(Float64Array, place, tokens.length));
    return Array.from(starts.subarray(1), (end, k) => {
      let sum = 0;
      const last = Math.min(end - 1, starts[k] + this.config.ctx);
      for (let at = starts[k]; at < last; at++) sum += Math.log(totals[at]) - targets[at];
      return sum;
    });
  }

  /** The logits after 1 to ctx tokens, as a Reader gives them, or null once `stopped()`. */
  async logits(tokens, stopped = () => false) {
    await breathe();
    if (stopped()) return null;
    const differs = tokens.findIndex((token, i) => token !== this.seen[i]);
    const known = Math.min(differs < 0 ? tokens.length : differs, tokens.length - 1);
    const [place, logits] = this.lent(Int32Array.from(tokens), new Float64Array(this.config.vocabulary));
    this.functions.kernel_next(this.state, this.activations, place, BigInt(known), BigInt(tokens.length), logits);
    this.seen = Array.from(tokens);
    return this.read(Float64Array, logits, this.config.vocabulary);
  }

  /** Documents that go on from the same tokens, each with its own row of uniform numbers, as `microgpt sample` draws
      them: until the token `end`, or a full row. The tokens that were drawn, in rows, and how many of each. */
  write({ prompt, uniforms, count, temperature, end }) {
    this.writing ??= this.room(this.functions.kernel_writing_bytes(1n));
    const workspace = this.workspace(1);
    const room = uniforms.length / count;
    const tokens = Int32Array.from({ length: count * prompt.length }, (_, i) => prompt[i % prompt.length]);
    const starts = wide(Array.from({ length: count + 1 }, (_, document) => document * prompt.length));
    const sizes = wide(new Array(this.config.vocabulary).fill(1));
    const results = [new Int32Array(uniforms.length), wide(new Array(count)), new Int32Array(1)];
    const places = this.lent(tokens, starts, uniforms, sizes, ...results);
    const [atTokens, atStarts, atUniforms, atSizes, written, counts, stop] = places;
    const drawing = [temperature, 0n, 1, 0, BigInt(end)];
    const given = [atTokens, atStarts, BigInt(count), atUniforms, BigInt(room), atSizes, ...drawing];
    this.functions.kernel_write(this.state, workspace, this.writing, ...given, written, counts, stop, 1n);
    const long = this.read(Int32Array, counts, 2 * count);
    return { tokens: this.read(Int32Array, written, uniforms.length), counts: long.filter((_, i) => i % 2 === 0) };
  }

  // Its memory: what stays, and above it what the next call is given

  /** So many bytes of zeros, for good. */
  room(bytes) {
    const [place, size] = [this.top, Number(bytes)];
    this.reach(place + size);
    new Uint8Array(this.memory, place, size).fill(0);
    this.top = place + size + (-size & (LINE - 1));
    return place;
  }

  workspace(slots) {
    if (slots > this.slots) {
      const bytes = Number(this.functions.kernel_workspace_bytes(BigInt(slots)));
      [this.slots, this.work] = [slots, this.room(bytes)];
    }
    return this.work;
  }

  /** Arrays, copied to where a call finds them. */
  lent(...arrays) {
    let end = this.top;
    const places = arrays.map(({ byteLength }) => [end, (end += byteLength + (-byteLength & (LINE - 1)))][0]);
    this.reach(end);
    arrays.forEach((array, i) => new array.constructor(this.memory, places[i], array.length).set(array));
    return places;
  }

  read(kind, place, length) {
    return new kind(this.memory, place, length).slice();
  }

  get memory() {
    return this.functions.memory.buffer;
  }

  reach(end) {
    if (end > MOST_MEMORY) throw new RangeError(`${end} bytes of memory`);
    const missing = end - this.memory.byteLength;
    if (missing > 0) this.functions.memory.grow(Math.ceil(missing / PAGE));
  }
}

/** Whole numbers below 2^31 as the 64-bit integers of C. */
function wide(numbers) {
  const words = new Int32Array(2 * numbers.length);
  for (let i = 0; i < numbers.length; i++) words[2 * i] = numbers[i];
  return words;
}
