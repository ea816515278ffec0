"use strict";
// From a text to the sequences of every training step, as `microgpt` makes them, number by number: I the text, II its
// documents, III chance, IV what is trained on and what is held out, V steps.

// ── I. The text ─────────────────────────────────────────────────────────────────────────────────────────────────────

const MOST_BYTES = 10_000_000; // of a text: half a gigabyte of memory while it is read, at most
const SPLIT_STREAM = 2;
const ORDER_STREAM = 1;
const WEIGHTS_STREAM = 0;
const BLANKS = "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"; // Python's
const EDGES = new RegExp(`^[${BLANKS}]+|[${BLANKS}]+$`, "g");

/** What is wrong with a text, for a person. */
class Trouble extends Error {}

/** A text without byte-order mark, with its line breaks as LF, in NFC where that is asked. Throws a Trouble. */
function cleaned(text, normalize) {
  const lines = text.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n");
  const nul = lines.indexOf("\0");
  if (nul >= 0) throw new Trouble(`This is no text: it has a NUL at place ${nul + 1}. Choose a plain text.`);
  if (/\p{Cs}/u.test(lines)) throw new Trouble("This is no text: it has halves of characters. Save it as UTF-8.");
  if (!lines.replace(EDGES, "")) throw new Trouble("There is nothing to learn yet: paste a text, or choose a file.");
  return normalize === "nfc" ? lines.normalize("NFC") : lines;
}

/** SHA-256 of bytes as hexadecimal digits (FIPS 180-4, section 6.2). */
function sha256(bytes) {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  const bits = (root) => Math.floor((root - Math.floor(root)) * 2 ** 32) | 0;
  const round = Int32Array.from(primes, (prime) => bits(Math.cbrt(prime)));
  const hash = Int32Array.from(primes.slice(0, 8), (prime) => bits(Math.sqrt(prime)));
  const tail = new Uint8Array((((bytes.length % 64) + 72) >> 6) * 64); // the rest, a one, zeros, the length in bits
  const whole = bytes.length - (bytes.length % 64);
  tail.set(bytes.subarray(whole));
  tail[bytes.length - whole] = 0x80;
  new DataView(tail.buffer).setBigUint64(tail.length - 8, BigInt(bytes.length) * 8n);
  const w = new Int32Array(64);
  const turn = (x, by) => (x >>> by) | (x << (32 - by));
  const block = (view, at) => {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + 4 * i);
    for (let i = 16; i < 64; i++) {
      const [x, y] = [w[i - 15], w[i - 2]];
      const [s0, s1] = [turn(x, 7) ^ turn(x, 18) ^ (x >>> 3), turn(y, 17) ^ turn(y, 19) ^ (y >>> 10)];
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; i++) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + round[i] + w[i]) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (hash[i] += word));
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, whole);
  for (let at = 0; at < whole; at += 64) block(view, at);
  for (let at = 0; at < tail.length; at += 64) block(new DataView(tail.buffer), at);
  return Array.from(hash, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

// ── II. Its documents ───────────────────────────────────────────────────────────────────────────────────────────────

/** The lines that are not blank, without the blanks at their ends: [start, stop, whether none stands right before]. */
function linesOf(text) {
  const lines = [];
  let opens = true;
  for (let from = 0, end; from <= text.length; from = end + 1) {
    end = text.indexOf("\n", from);
    if (end < 0) end = text.length;
    const line = text.slice(from, end);
    const ink = line.replace(EDGES, "");
    if (ink) {
      const start = from + line.indexOf(ink);
      lines.push([start, start + ink.length, opens]);
    }
    opens = !ink;
  }
  return lines;
}

/** The places of the documents of kind lines or paragraphs. */
function documentsOf(lines, kind) {
  if (kind === "lines") return lines;
  const documents = [];
  for (const [start, stop, opens] of lines) {
    if (opens) documents.push([start, stop]);
    else documents.at(-1)[1] = stop;
  }
  return documents;
}

const sizeOf = (text) => (/[\ud800-\udbff]/.test(text) ? Array.from(text).length : text.length);

const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

/** What a document of the text is, by what its lines look like, as documents.py judges. */
function kindOf(whole) {
  const text = whole.slice(0, 2 ** 22);
  const lines = linesOf(text);
  if (!lines.length) return "windows";
  const length = ([start, stop]) => sizeOf(text.slice(start, stop));
  const lengths = lines.map(length);
  const inner = lengths.slice(0, -1).filter((_, i) => !lines[i + 1][2]).sort((a, b) => a - b);
  if (inner.length) { // lines that break near one width are wrapped prose
    const place = 0.95 * (inner.length - 1);
    const [low, high] = [inner[Math.floor(place)], inner[Math.ceil(place)]];
    const width = Math.floor(low + (high - low) * (place % 1));
    const even = inner.filter((size) => size >= 0.8 * width && size <= 1.05 * width).length / inner.length;
    if (width >= 50 && even >= 0.7) return "windows";
  }
  const groups = documentsOf(lines, "paragraphs");
  const line = mean(lengths);
  const repeated = new Set(lines.map(([start, stop]) => text.slice(start, stop))).size < lines.length;
  if (1 < groups.length && groups.length < lines.length && lines.length <= groups.length * 20) {
    if (mean(groups.map(length)) > 400) return "windows";
    return line <= 12 && !repeated ? "lines" : "paragraphs";
  }
  return line <= 200 ? "lines" : "windows";
}

/** The text in documents, or as running text, with the characters that occur in it. */
function corpusOf(text, kind) {
  const chosen = kind === "auto" ? kindOf(text) : kind;
  const places = chosen === "windows" ? [] : documentsOf(linesOf(text), chosen);
  const pieces = places.map(([start, stop]) => text.slice(start, stop));
  const characters = new Set();
  for (const piece of chosen === "windows" ? [text] : pieces) for (const character of piece) characters.add(character);
  const sorted = [...characters].sort((a, b) => a.codePointAt(0) - b.codePointAt(0));
  return { kind: chosen, text, pieces, characters: sorted };
}

// ── III. Chance ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** NumPy's Generator of PCG64 (O'Neill 2014) seeded with a SeedSequence of 32-bit words. */
class Generator {
  constructor(words) {
    const product = (x, y) => Math.imul(x, y) >>> 0;
    const stir = (factor) => {
      let state = factor === 0x931e8875 ? 0x43b0d7e5 : 0x8b51f9dd;
      return (word) => {
        const mixed = word ^ state;
        state = product(state, factor);
        const value = product(mixed, state);
        return (value ^ (value >>> 16)) >>> 0;
      };
    };
    const hash = stir(0x931e8875);
    const mix = (x, y) => {
      const value = (product(0xca01f9dd, x) - product(0x4973f715, y)) >>> 0;
      return (value ^ (value >>> 16)) >>> 0;
    };
    const pool = Array.from({ length: 4 }, (_, i) => hash(words[i] ?? 0));
    for (let i = 0; i < 4; i++) for (let j = 0; j < 4; j++) if (i !== j) pool[j] = mix(pool[j], hash(pool[i]));
    for (const word of words.slice(4)) for (let j = 0; j < 4; j++) pool[j] = mix(pool[j], hash(word));
    const draw = stir(0x58f38ded);
    const eight = Array.from({ length: 8 }, (_, i) => BigInt(draw(pool[i % 4])));
    const [a, b, c, d] = [0, 2, 4, 6].map((i) => eight[i] | (eight[i + 1] << 32n));
    this.step = (((c << 64n) | d) << 1n) | 1n;
    this.state = BigInt.asUintN(128, ((a << 64n) | b) + this.step);
    this.half = null;
    this.turn();
  }

  turn() {
    this.state = BigInt.asUintN(128, this.state * 0x2360ed051fc65da44385df649fccf645n + this.step);
  }

  bits64() {
    this.turn();
    const word = BigInt.asUintN(64, (this.state >> 64n) ^ this.state);
    const by = this.state >> 122n;
    return BigInt.asUintN(64, (word >> by) | (word << (64n - by)));
  }

  bits32() {
    if (this.half !== null) return [this.half, (this.half = null)][0];
    const word = this.bits64();
    this.half = Number(word >> 32n);
    return Number(word & 0xffffffffn);
  }

  /** A whole number from 0 to below `count`, each as likely (Lemire 2019). */
  below(count) {
    if (count === 1) return 0;
    const range = BigInt(count);
    let product = BigInt(this.bits32()) * range;
    if ((product & 0xffffffffn) < range) {
      const least = (0x100000000n - range) % range;
      while ((product & 0xffffffffn) < least) product = BigInt(this.bits32()) * range;
    }
    return Number(product >> 32n);
  }

  /** The numbers, in an order of chance. */
  permuted(numbers) {
    const order = Int32Array.from(numbers);
    for (let i = order.length - 1; i > 0; i--) {
      const mask = 2 ** (32 - Math.clz32(i)) - 1;
      let j = this.bits32() & mask;
      while (j > i) j = this.bits32() & mask;
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  /** A number in [0, 1), of 53 bits. */
  uniform() {
    return Number(this.bits64() >> 11n) / 2 ** 53;
  }

  /** A number of the normal distribution, by NumPy's ziggurat (Marsaglia & Tsang 2000). */
  normal() {
    const { widths, inside, heights } = (Generator.ziggurat ??= zigguratOf());
    for (;;) {
      const word = this.bits64();
      const layer = Number(word & 0xffn);
      const place = Number((word >> 9n) & 0xfffffffffffffn);
      const x = (word & 0x100n ? -1 : 1) * place * widths[layer];
      if (place < inside[layer]) return x;
      if (layer) {
        const height = heights[layer] + (heights[layer - 1] - heights[layer]) * this.uniform();
        if (height < Math.exp(-0.5 * x * x)) return x;
        continue;
      }
      for (;;) {
        const beyond = -Math.log1p(-this.uniform()) / TAIL;
        if (-2 * Math.log1p(-this.uniform()) > beyond * beyond) {
          return (word >> 17n) & 1n ? -TAIL - beyond : TAIL + beyond;
        }
      }
    }
  }
}

const TAIL = 3.654152885361009; // where the lowest of 256 layers of one area ends
const AREA = 0.004928673233974655;

/** Layers of 52-bit numbers: the width of one, the largest that is surely inside, and the curve at the layer's end. */
function zigguratOf() {
  const [widths, inside, heights] = [0, 0, 0].map(() => new Float64Array(256));
  const curve = (x) => Math.exp(-0.5 * x * x);
  let x = TAIL;
  widths[0] = AREA / curve(x) / 2 ** 52;
  inside[0] = Math.floor(x / widths[0]);
  [widths[255], heights[255], heights[0]] = [x / 2 ** 52, curve(x), 1];
  for (let i = 254; i > 0; i--) {
    const next = Math.sqrt(-2 * Math.log(AREA / x + curve(x)));
    inside[i + 1] = Math.floor((next / x) * 2 ** 52);
    x = next;
    [widths[i], heights[i]] = [x / 2 ** 52, curve(x)];
  }
  return { widths, inside, heights };
}

/** First weights (params,), those that `microgpt` draws. */
function firstWeights({ seed, initial, initial_scale }, params) {
  const chance = new Generator([seed, WEIGHTS_STREAM]);
  const one = initial === "gauss" ? () => chance.normal() : () => 2 * chance.uniform() - 1;
  return Float32Array.from({ length: params }, () => initial_scale * one());
}

// ── IV. What is trained on, and what is held out ────────────────────────────────────────────────────────────────────

/** The whole number next to one of 0 or more; of two equally near the even one. */
const rounded = (number) => (number % 1 === 0.5 ? 2 * Math.round(number / 2) : Math.round(number));

/** A corpus in tokens, in two parts, and the sequences of every step: a function of the step alone. */
class Lessons {
  /** Throws a Trouble where the text is too short, or has characters that the tokenizer does not know. */
  constructor(corpus, tokenizer, { ctx, batch, seed, holdout, split_seed }) {
    Object.assign(this, { ctx, batch, seed, holdout, running: corpus.kind === "windows", epoch: -1 });
    const unknown = corpus.characters.filter((character) => !tokenizer.ids.has(character));
    if (unknown.length) throw Object.assign(new Trouble(`The model has never seen ${listed(unknown)}.`), { unknown });
    if (this.running) this.cutText(corpus.text, tokenizer);
    else this.cutDocuments(corpus.pieces, tokenizer, split_seed);
    this.begin(0);
  }

  /** The last part of running text is held out. */
  cutText(text, tokenizer) {
    const size = sizeOf(text);
    if (size < 4) throw new Trouble(`The text has ${counted(size, "character")}: at least 4 are needed to learn.`);
    let [left, place] = [size - Math.min(Math.max(2, rounded(this.holdout * size)), size - 2), 0];
    if (size === text.length) place = left;
    else for (const character of text) if (left-- > 0) place += character.length; else break;
    const tokens = new Int32Array(text.length);
    this.end = encoded(text.slice(0, place), tokenizer, tokens, 0);
    this.tokens = tokens.subarray(0, encoded(text.slice(place), tokenizer, tokens, this.end));
    if (Math.min(this.end, this.tokens.length - this.end) < 2) {
      throw new Trouble("The text is too short to learn: give more of it.");
    }
    this.count = Math.max(1, Math.floor(this.end / this.ctx) - 1);
    this.heldOut = [];
    for (let start = this.end; start < this.tokens.length - 1; start += this.ctx) {
      this.heldOut.push([start, Math.min(start + this.ctx + 1, this.tokens.length)]);
    }
  }

  /** A share of the different documents is held out, and every copy of these leaves the training. */
  cutDocuments(pieces, tokenizer, splitSeed) {
    const firsts = new Map();
    pieces.forEach((piece, i) => firsts.has(piece) || firsts.set(piece, i));
    if (firsts.size < 2) {
      throw new Trouble("The text has one document alone: give one with at least 2 different lines or paragraphs.");
    }
    const size = Math.min(Math.max(1, rounded(this.holdout * firsts.size)), firsts.size - 1);
    const chosen = new Set(new Generator([splitSeed, SPLIT_STREAM]).permuted(firsts.values()).subarray(0, size));
    const tokens = new Int32Array(pieces.reduce((sum, piece) => sum + piece.length + 1, 1)).fill(tokenizer.bos);
    this.edges = new Int32Array(pieces.length + 1); // the places of BOS
    this.training = new Int32Array(pieces.length);
    this.heldOut = [];
    this.count = 0;
    pieces.forEach((piece, i) => {
      this.edges[i + 1] = encoded(piece, tokenizer, tokens, this.edges[i] + 1);
      if (chosen.has(i)) this.heldOut.push(this.document(i));
      else if (!chosen.has(firsts.get(piece))) this.training[this.count++] = i;
    });
    this.tokens = tokens.subarray(0, this.edges[pieces.length] + 1);
  }

  // ── V. Steps ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Draws the order of an epoch, and for running text the place where its first window begins. */
  begin(epoch) {
    const chance = new Generator([this.seed, ORDER_STREAM, epoch]);
    const room = this.running ? Math.max(1, Math.min(this.ctx, this.end - this.count * this.ctx)) : 1;
    this.phase = chance.below(room);
    this.order = chance.permuted(new Int32Array(this.count).map((_, i) => i));
    this.epoch = epoch;
  }

  /** A document with its BOS on both sides. */
  document(i) {
    return [this.edges[i], this.edges[i + 1] + 1];
  }

  /** Where a sequence of the endless order begins and stops. */
  span(place) {
    const epoch = Math.floor(place / this.count);
    if (epoch !== this.epoch) this.begin(epoch);
    const chosen = this.order[place % this.count];
    if (!this.running) return this.document(this.training[chosen]);
    const start = this.phase + chosen * this.ctx;
    return [start, Math.min(start + this.ctx + 1, this.end)];
  }

  /** The sequences of so many steps, one after another. */
  sequences(first, steps) {
    return this.joined(Array.from({ length: steps * this.batch }, (_, i) => this.span(first * this.batch + i)));
  }

  /** Sequences in one array, sequence k from starts[k] to starts[k + 1]. */
  joined(spans) {
    const starts = new Int32Array(spans.length + 1);
    spans.forEach(([start, stop], k) => (starts[k + 1] = starts[k] + stop - start));
    const tokens = new Int32Array(starts[spans.length]);
    spans.forEach(([start, stop], k) => tokens.set(this.tokens.subarray(start, stop), starts[k]));
    return { tokens, starts };
  }
}

/** Puts the tokens of a text, whose characters are all known, into an array from a place on; returns where they end. */
function encoded(text, tokenizer, tokens, place) {
  if (!tokenizer.ranks.size) {
    for (const character of text) tokens[place++] = tokenizer.ids.get(character);
    return place;
  }
  for (const piece of piecesOf(text)) {
    tokens.set(tokenizer.remembered(piece), place);
    place += tokenizer.remembered(piece).length;
  }
  return place;
}

/** Learning rates of steps: a line from lr to 0. */
const ratesOf = ({ lr, steps }, first, count) =>
  Float64Array.from({ length: count }, (_, i) => lr * (1 - (first + i) / steps));
