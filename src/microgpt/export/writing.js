"use strict";
// From text to text with the model: I tokens, II writing, III chance.

// ── I. Tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────

// What keyboards make of plain marks.
const PLAIN = { "‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00a0": " " };

/** What merges stay within: a word with the space before it, a space or a line break by itself. */
const piecesOf = (text) => text.match(/ ?[^ \n]+|[ \n]/gu) ?? [];

/** Text to token ids and back: a character, which is a Unicode code point, is a token, then comes what each merge (a
    pair of ids) makes, and BOS, after the last, begins and ends (Sennrich et al. 2016). */
class Tokenizer {
  constructor(characters, normalize, merges = []) {
    this.texts = Array.from(characters);
    this.ids = new Map(this.texts.map((character, id) => [character, id]));
    this.ranks = new Map(); // of a pair: its place among the merges, and the token that it makes
    const made = new Map(this.ids);
    for (const [rank, [left, right]] of merges.entries()) {
      const text = this.texts[left] + this.texts[right];
      if (!made.has(text)) made.set(text, this.texts.push(text) - 1);
      this.ranks.set(`${left} ${right}`, [rank, made.get(text)]);
    }
    this.bos = this.texts.length;
    this.normalize = normalize;
    this.words = new Map();
    this.described = { characters, normalize, merges };
  }

  /** The text as the model was trained to see it: in NFC, where its training text was. */
  normalized(text) {
    return this.normalize === "nfc" ? text.normalize("NFC") : text;
  }

  knows(text) {
    return Array.from(text).every((character) => this.ids.has(character));
  }

  encode(text) {
    return piecesOf(this.normalized(text)).flatMap((piece) => this.tokensOf(piece));
  }

  tokensOf(piece) {
    return this.merged(Array.from(piece, (character) => this.ids.get(character)));
  }

  /** The same, of words that come again and again. */
  remembered(piece) {
    if (!this.words.has(piece)) this.words.set(piece, this.tokensOf(piece));
    return this.words.get(piece);
  }

  /** The tokens of a piece, a word with the space before it: the earliest merge first, of equals the leftmost. */
  merged(tokens) {
    for (let best = [-1]; best; ) {
      best = null;
      for (let i = 0; i + 1 < tokens.length; i++) {
        const found = this.ranks.get(`${tokens[i]} ${tokens[i + 1]}`);
        if (found && (!best || found[0] < best[0])) best = [...found, i];
      }
      if (best) tokens.splice(best[2], 2, best[1]);
    }
    return tokens;
  }

  /** The distinct characters that are unknown, in order of appearance. */
  unknown(text) {
    return [...new Set(this.normalized(text))].filter((character) => !this.ids.has(character));
  }

  /** A known spelling of a letter with its marks: composed, decomposed, in the other case, without marks; or null. */
  nearest(letter) {
    const bare = (PLAIN[letter] ?? letter).normalize("NFKD").replace(/\p{M}/gu, "");
    const forms = [letter, bare].flatMap((form) => [form, form.toLowerCase(), form.toUpperCase()]);
    const spellings = forms.flatMap((form) => ["NFC", "NFD", "NFKC"].map((name) => form.normalize(name)));
    return spellings.map((spelling) => this.normalized(spelling)).find((s) => s && this.knows(s)) ?? null;
  }

  /** The text with unknown letters in their nearest known spelling; those that have none stay. */
  mended(text) {
    const letters = this.normalized(text).match(/\P{M}\p{M}*|\p{M}+/gu) ?? [];
    return letters.map((letter) => (this.knows(letter) ? letter : this.nearest(letter) ?? letter)).join("");
  }
}

// ── II. Writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A model with its vocabulary. `kind` is "windows" for running text; else it writes documents, and ends them. */
class Writer {
  constructor(gpt, tokenizer, kind) {
    Object.assign(this, { gpt, tokenizer, kind, running: kind === "windows", ctx: gpt.config.ctx });
  }

  /** The most tokens that a prompt may have: a document must leave room for one more. */
  get room() {
    return this.running ? Infinity : this.ctx - 1;
  }

  /** The temperature that suits the text, as in `microgpt sample`. */
  get usual() {
    return this.running ? 0.8 : 0.5;
  }

  /** What the model sees before its first draw: BOS and the prompt, or the last ctx characters of running text. */
  tokens(prompt) {
    const text = this.tokenizer.encode(prompt);
    if (!this.running) return [this.tokenizer.bos, ...text];
    return (text.length ? text : [this.first()]).slice(-this.ctx);
  }

  /** What stands before running text without a prompt: a line break, else a space, else the first character. */
  first() {
    return ["\n", " "].map((mark) => this.tokenizer.ids.get(mark)).find((id) => id !== undefined) ?? 0;
  }

  /** The chances of every token at a temperature: below 1 the likely gains, above 1 the unlikely, at 0 the likeliest is
      sure. BOS, the last token, never occurs in running text. */
  chances(logits, temperature) {
    const { bos } = this.tokenizer;
    const open = logits.map((logit, token) => (this.running && token === bos ? -Infinity : logit));
    const peak = open.reduce((a, b) => Math.max(a, b), -Infinity);
    return softmax(open.map((logit) => (logit === peak ? 0 : (logit - peak) / temperature)));
  }

  /** So many documents after a prompt at once, the same as one by one. */
  documents(kernel, prompt, { dice, temperature, count }) {
    const tokens = this.tokens(prompt);
    const [room, { bos, texts }] = [this.ctx + 1 - tokens.length, this.tokenizer];
    const uniforms = Float64Array.from({ length: count * room }, () => dice.random());
    const written = kernel.write({ prompt: tokens, uniforms, count, temperature, end: bos });
    return Array.from(written.counts, (size, row) => {
      let text = "";
      for (let at = row * room; at < row * room + size; at++) text += texts[written.tokens[at]] ?? "";
      return text;
    });
  }

  /** Yields [the text of a token, logits it was drawn from], until BOS ends the document, ctx is full, or running text
      has `length` characters together with its prompt. */
  async *write(reader, prompt, { dice, temperature, length, stopped }) {
    let tokens = this.tokens(prompt);
    let left = this.running ? length - Array.from(this.tokenizer.normalized(prompt)).length : this.ctx + 1 - tokens.length;
    const numbers = Array.from({ length: left }, () => dice.random()); // its own, however early the text ends
    while (left > 0) {
      const logits = await reader.logits(tokens, stopped);
      if (logits === null) return;
      const token = dice.choose(this.chances(logits, temperature), numbers.shift());
      if (token === this.tokenizer.bos) return;
      const piece = Array.from(this.tokenizer.texts[token]).slice(0, this.running ? left : undefined);
      yield [piece.join(""), logits];
      left -= this.running ? piece.length : 1;
      // Where ctx is full, running text goes on from its latter half: all positions move, and the memory begins anew.
      if (this.running && tokens.length === this.ctx) tokens = tokens.slice(this.ctx - Math.floor(this.ctx / 2));
      tokens.push(token);
    }
  }
}

// ── III. Chance ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Python's random.Random, the Mersenne Twister (Matsumoto & Nishimura 1998): a seed, a whole number of any size, gives
    the same text here as in `microgpt sample`. */
class Dice {
  constructor(seed) {
    const state = (this.state = new Uint32Array(624));
    this.at = 624;
    const key = [];
    for (let rest = seed < 0n ? -seed : seed; rest || !key.length; rest >>= 32n) key.push(Number(rest & 0xffffffffn));
    const mixed = (i) => state[i - 1] ^ (state[i - 1] >>> 30);
    state[0] = 19650218;
    for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, mixed(i)) + i;
    let i = 1;
    const stir = (rounds, factor, extra) => {
      for (let round = 0; round < rounds; round++) {
        state[i] = (state[i] ^ Math.imul(mixed(i), factor)) + extra(round % key.length, i);
        if (++i === 624) [state[0], i] = [state[623], 1];
      }
    };
    stir(Math.max(624, key.length), 1664525, (j) => key[j] + j);
    stir(623, 1566083941, (_, i) => -i);
    state[0] = 0x80000000;
  }

  /** 32 random bits. */
  bits() {
    if (this.at === 624) this.turn();
    let y = this.state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  turn() {
    const { state } = this;
    for (let i = 0; i < 624; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.at = 0;
  }

  /** A number in [0, 1), of 53 random bits. */
  random() {
    const high = this.bits() >>> 5;
    return (high * 2 ** 26 + (this.bits() >>> 6)) / 2 ** 53;
  }

  /** The index that a number in [0, 1) draws, each as often as its weight says. */
  choose(weights, number) {
    let sum = 0;
    const sums = weights.map((weight) => (sum += weight));
    const point = number * sum;
    const index = sums.findIndex((below) => point < below);
    return index < 0 ? weights.length - 1 : index;
  }
}
