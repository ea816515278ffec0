// The words of the page for what the command line calls by flags, and its sentences in these words.

export const LABELS = {
  lr: "learning rate",
  batch: "batch size",
  emb: "width",
  head: "heads",
  layer: "layers",
  ctx: "context length",
  ff: "MLP width",
  beta1: "memory of the gradient",
  beta2: "memory of squares",
  decay: "fall of the rate",
  weight_decay: "weight decay",
  initial: "first weights",
  initial_scale: "spread of first weights",
  norm_embeddings: "norm of embeddings",
  norm_head: "norm before the end",
  position: "position",
  documents: "documents",
  normalize: "Unicode form",
  holdout: "held-out share",
  split_seed: "seed of the split",
  precision: "bits of a number",
  name: "name of the run",
  save_every: "steps between saves",
  keep: "weights to keep",
  eval_every: "steps between tests",
  eval_documents: "documents of a test",
  select: "weights at the end",
  patience: "patience",
  for: "“Best model in”",
  data: "text",
  resume: "the list of runs:",
};

// A run in a list of choices.
export function titleOf(run) {
  return run.training ? `${run.name} (${run.status} now)` : run.name;
}

export function labelOf(name) {
  return LABELS[name] ?? name.replaceAll("_", " ");
}

export function flagOf(name) {
  return `--${name.replaceAll("_", "-")}`;
}

// A sentence of the program without flags, commands and folders of the machine.
export function plain(text) {
  return text
    .replace(/; `microgpt engines` lists them\.?/, ".")
    .replace(/, as `[^`]+` does/g, "")
    .replace(/--documents ([a-z]+(?: or [a-z]+)?)/g, "“documents” set to $1")
    .replace(/(^|[\s(“])\/(?:[^\s/;,]+\/)+([^\s/;,)”]+)/g, "$1$2")
    .replace(/--([a-z][a-z0-9-]*)/g, (_, flag) => labelOf(flag.replaceAll("-", "_")))
    .replace(/\b(emb|ctx|ff)\b/g, (word) => LABELS[word])
    .replace(/\bmultiple of head\b/, "multiple of heads")
    .replace(/\blayer (?=\d)/g, "layers ");
}
