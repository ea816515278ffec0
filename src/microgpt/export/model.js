"use strict";
// A whole GPT in plain JavaScript. Read it downwards: I numbers, II the model, III its weights, IV its memory.
// It computes what symmetry.py and variations.py of MicroGPT: The Art of Symmetry define. Weights are float32; what is
// computed from them is float64, the number of JavaScript.

// ── I. Numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** The dot product of two vectors, or of the `size` numbers of each that begin at `start`. */
function dot(u, v, start = 0, size = u.length) {
  let sum = 0;
  for (let i = start; i < start + size; i++) sum += u[i] * v[i];
  return sum;
}

/** y = W x. A matrix has `rows` (one for each output), `columns`, and its `numbers`, row by row. */
function linear(x, matrix) {
  const { rows, columns, numbers } = matrix;
  const y = new Float64Array(rows);
  for (let row = 0, at = 0; row < rows; row++) {
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += numbers[at++] * x[column];
    y[row] = sum;
  }
  return y;
}

const add = (u, v) => u.map((number, i) => number + v[i]);

const relu = (x) => x.map((number) => Math.max(number, 0));

const square = (x) => x.map((number) => number * number);

const ROTARY_BASE = 10000;

/** In each head of `size` numbers, i and i + size/2 are the axes of a plane, turned by position · base^(-2i/size) (Su et
    al. 2021, eq. 34). */
function turned(x, position, size) {
  const [y, half] = [new Float64Array(x.length), size / 2];
  for (let start = 0; start < x.length; start += size) {
    for (let i = 0; i < half; i++) {
      const angle = position * ROTARY_BASE ** (-i / half);
      const [a, b, cos, sin] = [x[start + i], x[start + half + i], Math.cos(angle), Math.sin(angle)];
      y[start + i] = a * cos - b * sin;
      y[start + half + i] = b * cos + a * sin;
    }
  }
  return y;
}

/** y = x / sqrt(mean(x²) + 1e-5) (Zhang & Sennrich 2019, eq. 4). */
function rmsnorm(x) {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + 1e-5);
  return x.map((number) => number * scale);
}

/** exp(x) / Σ exp(x). What all share cancels out, so the largest is taken off before exp can overflow. */
function softmax(x) {
  const peak = x.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = x.map((number) => Math.exp(number - peak));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

// ── II. The model ───────────────────────────────────────────────────────────────────────────────────────────────────

/** GPT-2 (Radford et al. 2019) with RMSNorm, ReLU or its square, learned or rotary positions, a head of its own or the
    embedding's numbers, and no biases: a configuration, and a matrix for each name. */
class GPT {
  constructor(config, matrices) {
    this.config = config;
    this.matrices = matrices;
  }

  /** Scores every token as the next one. `past` holds the keys and values of the tokens before, and grows by this. */
  logits(token, position, past) {
    const { layer, norm_embeddings, norm_head } = this.config;
    let x = this.row("wte", token); // what it is
    if (this.matrices.wpe) x = add(x, this.row("wpe", position)); // and where it stands
    if (norm_embeddings) x = rmsnorm(x);
    for (let i = 0; i < layer; i++) {
      x = add(x, this.attention(rmsnorm(x), i, past[i]));
      x = add(x, this.mlp(rmsnorm(x), i));
    }
    return linear(norm_head ? rmsnorm(x) : x, this.matrices.lm_head ?? this.matrices.wte);
  }

  /** Relates points in time: in each head the query of a token meets the keys of all so far (Vaswani et al. 2017, eq. 1). */
  attention(x, layer, past) {
    const matrix = (part) => this.matrices[`layer${layer}.attn_${part}`];
    const size = x.length / this.config.head; // numbers of a token that one head sees
    let [query, key, value] = ["wq", "wk", "wv"].map((part) => linear(x, matrix(part)));
    if (this.config.position === "rotary") [query, key] = [query, key].map((y) => turned(y, past.keys.length, size));
    past.keys.push(key);
    past.values.push(value);
    const output = new Float64Array(x.length);
    for (let start = 0; start < x.length; start += size) {
      const weights = softmax(past.keys.map((key) => dot(query, key, start, size) / Math.sqrt(size)));
      past.values.forEach((value, time) => {
        for (let i = start; i < start + size; i++) output[i] += weights[time] * value[i];
      });
    }
    return linear(output, matrix("wo"));
  }

  /** Processes a single point in time. */
  mlp(x, layer) {
    const hidden = relu(linear(x, this.matrices[`layer${layer}.mlp_fc1`]));
    const active = this.config.activation === "relu2" ? square(hidden) : hidden; // relu2: So et al. 2021, section 4.2
    return linear(active, this.matrices[`layer${layer}.mlp_fc2`]);
  }

  row(name, index) {
    const { columns, numbers } = this.matrices[name];
    return Float64Array.from(numbers.subarray(index * columns, (index + 1) * columns));
  }
}

// ── III. Its weights ────────────────────────────────────────────────────────────────────────────────────────────────

/** Matrices by name: views of one flat vector in which they follow one another. `shapes` are [name, rows, columns]. */
function matricesOf(weights, shapes) {
  const matrices = {};
  let offset = 0;
  for (const [name, rows, columns] of shapes) {
    matrices[name] = { rows, columns, numbers: weights.subarray(offset, (offset += rows * columns)) };
  }
  return matrices;
}

/** The little-endian float32 numbers in base64 text of 76-character lines, as every browser's machine stores them. */
async function decode(base64, size) {
  const bytes = new Uint8Array(4 * size);
  const slice = 77 * 4096; // whole lines with their ends
  for (let at = 0, offset = 0; at < base64.length; at += slice) {
    const piece = atob(base64.slice(at, at + slice));
    for (let i = 0; i < piece.length; i++) bytes[offset++] = piece.charCodeAt(i);
    await breathe();
  }
  return new Float32Array(bytes.buffer);
}

// ── IV. Its memory ──────────────────────────────────────────────────────────────────────────────────────────────────

let breath = performance.now();

/** Long work lets the browser paint and listen, some sixty times a second. */
async function breathe() {
  if (performance.now() - breath < 12) return;
  await new Promise((wake) => setTimeout(wake));
  breath = performance.now();
}

/** Reads tokens, and remembers their keys and values: a text that extends the last one costs only what is new. */
class Reader {
  constructor(gpt) {
    this.gpt = gpt;
    this.seen = [];
    this.past = Array.from({ length: gpt.config.layer }, () => ({ keys: [], values: [] }));
  }

  /** The logits after 1 to ctx tokens, or null once `stopped()`. One call at a time. */
  async logits(tokens, stopped = () => false) {
    this.forget(tokens);
    let scores = null;
    while (this.seen.length < tokens.length) {
      const position = this.seen.length;
      scores = this.gpt.logits(tokens[position], position, this.past);
      this.seen.push(tokens[position]);
      await breathe();
      if (stopped()) return null;
    }
    return scores;
  }

  /** Keeps what these tokens begin with, but never their last one, whose logits are asked for. */
  forget(tokens) {
    const differs = this.seen.findIndex((token, i) => i >= tokens.length - 1 || token !== tokens[i]);
    if (differs < 0) return;
    this.seen.length = differs;
    for (const { keys, values } of this.past) keys.length = values.length = differs;
  }
}
