// The stages of the forward pass in words, and changes of a model as text. Nothing here touches the page.

const PARTS = {
  embedding: ["embedding", "the vector of the token, plus that of its position"],
  norm_embeddings: ["norm", "the same, at length √n"],
  norm_attention: ["norm", "the stream, at length √n"],
  query: ["query", "what this letter looks for"],
  key: ["key", "what it can be found by"],
  value: ["value", "what it passes on"],
  scores: ["raw scores", "query · key of each letter so far"],
  attention: ["attention", "the scores as shares of 1 (softmax)"],
  attention_output: ["output", "the values, by their shares"],
  residual_attention: ["residual stream", "plus what attention adds"],
  norm_mlp: ["norm", "the stream, at length √n"],
  expanded: ["units, raw", "the MLP before its bend"],
  hidden: ["units", "the MLP's units: how much each fires"],
  residual_mlp: ["residual stream", "plus what the MLP adds"],
  norm_head: ["norm", "the stream, at length √n"],
  logits: ["logits", "a score for each token"],
  probabilities: ["chances", "the logits as shares of 1 (softmax)"],
};
const OF_HEADS = ["query", "key", "value", "scores", "attention", "attention_output"];
const OF_UNITS = ["expanded", "hidden"];
const OF_TOKENS = ["logits", "probabilities"];

export function partOf(stage) {
  const [, layer, part] = /^(?:layer(\d+)\.)?(.*)$/.exec(stage);
  return { layer: layer === undefined ? null : Number(layer), part };
}

export function titleOf(stage) {
  return PARTS[partOf(stage).part][0];
}

export function aboutOf(stage) {
  return PARTS[partOf(stage).part][1];
}

// Which numbers of a model a number of a stage is: its head, its place in there, its unit or its token.
export function placeOf(stage, index, at, sizes) {
  const { layer, part } = partOf(stage);
  if (part === "scores" || part === "attention")
    return { layer, head: Math.floor(index / (at + 1)), to: index % (at + 1) };
  if (OF_HEADS.includes(part)) {
    const size = sizes.emb / sizes.head;
    return { layer, head: Math.floor(index / size), number: index % size };
  }
  if (OF_UNITS.includes(part)) return { layer, unit: index % sizes.wide };
  return OF_TOKENS.includes(part) ? { layer, token: index } : { layer, number: index };
}

// A number in words, such as "query of layer 0, head 1, number 3".
export function named(stage, index, at, sizes, texts) {
  const { layer } = partOf(stage);
  return `${titleOf(stage)}${layer === null ? "" : ` of layer ${layer}`}, ${inside(stage, index, at, sizes, texts)}`;
}

// The same without its layer.
export function brief(stage, index, at, sizes, texts) {
  return `${titleOf(stage)}, ${inside(stage, index, at, sizes, texts)}`;
}

function inside(stage, index, at, sizes, texts) {
  const { head, to, unit, token, number } = placeOf(stage, index, at, sizes);
  return [
    head !== undefined && `head ${head}`,
    to !== undefined && `to position ${to}`,
    unit !== undefined && `unit ${unit}`,
    token !== undefined && `of ${spokenToken(texts[token])}`,
    number !== undefined && `number ${number}`,
  ]
    .filter(Boolean)
    .join(", ");
}

// BOS, the last token, has no text.
export function spokenToken(text = "") {
  return { "": "the end", " ": "space", "\n": "line break" }[text] ?? `“${text}”`;
}

// A vector as rows to look at, none of them too wide.
export function wrapped(rows) {
  if (rows.length > 1 || rows[0].length <= 8) return rows;
  const [row] = rows;
  const columns = row.length <= 64 ? 8 : row.length <= 256 ? 16 : 32;
  return Array.from({ length: Math.ceil(row.length / columns) }, (_, i) => row.slice(i * columns, (i + 1) * columns));
}

// Changes are a text such as "layer0.head2,layer0.unit13,wte.5.3=0.25", which the address keeps.
export const listed = (edits) => (edits ?? "").split(",").filter(Boolean);

const keyOf = (edit) => edit.split("=")[0];

export function withEdit(edits, edit) {
  return [...listed(edits).filter((each) => keyOf(each) !== keyOf(edit)), edit].join(",");
}

export function withoutEdit(edits, edit) {
  return (
    listed(edits)
      .filter((each) => keyOf(each) !== keyOf(edit))
      .join(",") || null
  );
}

export function isEdited(edits, edit) {
  return listed(edits).some((each) => keyOf(each) === keyOf(edit));
}

export function toggled(edits, edit) {
  return isEdited(edits, edit) ? withoutEdit(edits, edit) : withEdit(edits, edit);
}

// A change in words.
export function told(edit, texts) {
  const off = /^layer(\d+)\.(head|unit)(\d+)$/.exec(edit);
  if (off) return `${off[2]} ${off[3]} of layer ${off[1]} is off`;
  const [, matrix, row, column, value] = /^(.*)\.(\d+)\.(\d+)=(.*)$/.exec(edit) ?? [null, edit, "", "", ""];
  return `${weightName(matrix, row, column, texts)} is ${value}`;
}

// A weight by its place in its matrix: of a token's row by that token.
export function weightName(matrix, row, column, texts) {
  const token = matrix === "wte" || matrix === "lm_head";
  return `${matrix}[${token ? spokenToken(texts[row]) : row}][${column}]`;
}

// Where a random number from 0 to 1 falls among chances that stand one after another: { token, from, to }.
export function fallen(chances, random) {
  const sum = chances.reduce((one, other) => one + other, 0);
  let from = 0;
  for (let token = 0; token < chances.length; token++) {
    const to = from + chances[token] / sum;
    if (random < to) return { token, from, to };
    from = to;
  }
  const last = chances.findLastIndex((chance) => chance > 0);
  return { token: last, from: 1 - chances[last] / sum, to: 1 };
}
