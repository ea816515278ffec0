// Setting boxes in columns: each stands right of all it is made from, and near them.

const SWEEPS = 6; // passes over the columns that untangle edges
const ROUTED = 48; // boxes up to which edges find a way around them; in larger graphs they pass behind
const LANE = 0.45; // rows that such a way takes

// Boxes by id with `column` and `row`, from boxes [{ id, within, kind }] and edges [from, to, count] without circles;
// and for each edge the lanes that it takes through the columns between.
export function layered(boxes, edges) {
  const nodes = new Map(boxes.map((box) => [box.id, node(box.id, box.within, box.kind === "atom", 1)]));
  for (const [from, to] of edges) link(nodes.get(from), nodes.get(to));
  columns([...nodes.values()]);
  const lanes =
    boxes.length <= ROUTED ? edges.map(([from, to]) => route(nodes.get(from), nodes.get(to))) : edges.map(() => []);
  const all = rows([...nodes.values(), ...lanes.flat()]);
  for (let sweep = 0; sweep < SWEEPS; sweep++)
    untangle(sweep % 2 ? [...all].reverse() : all, sweep % 2 ? "after" : "before");
  return { nodes, lanes };
}

const node = (id, within, atom, size) => ({ id, within, atom, size, before: [], after: [], column: 0, row: 0 });

function link(one, other) {
  one.after.push(other);
  other.before.push(one);
}

// The longest way from the left, in the order in which parents are done; an atom, and what has no
// parents, then moves next to its first child.
function columns(nodes) {
  const waiting = new Map(nodes.map((each) => [each, each.before.length]));
  const ready = nodes.filter((each) => !each.before.length);
  const done = [];
  while (ready.length) {
    const now = ready.pop();
    done.push(now);
    for (const next of now.after) {
      next.column = Math.max(next.column, now.column + 1);
      waiting.set(next, waiting.get(next) - 1);
      if (!waiting.get(next)) ready.push(next);
    }
  }
  for (const now of done.reverse()) {
    if ((now.atom || !now.before.length) && now.after.length)
      now.column = Math.min(...now.after.map((next) => next.column)) - 1;
  }
}

// Puts a narrow node into each column that an edge crosses, in place of the edge.
function route(from, to) {
  const lanes = [];
  for (let column = from.column + 1; column < to.column; column++) {
    lanes.push({ ...node(Infinity, from.within, false, LANE), column });
  }
  if (!lanes.length) return lanes;
  from.after.splice(from.after.indexOf(to), 1);
  to.before.splice(to.before.indexOf(from), 1);
  [from, ...lanes].forEach((each, i) => link(each, lanes[i] ?? to));
  return lanes;
}

function rows(nodes) {
  const all = [];
  for (const each of nodes) (all[each.column] ??= []).push(each);
  const used = all.filter(Boolean);
  used.forEach((column, at) =>
    column.forEach((each, row) => Object.assign(each, { column: at, row: row - (column.length - 1) / 2 })),
  );
  return used;
}

// Orders each column by where its neighbours stand, those of one open group together, and sets it as near to them as
// order and room allow.
function untangle(all, side) {
  for (const column of all) {
    const wishes = new Map();
    for (const each of column) {
      const near = each[side];
      each.wish = near.length ? near.reduce((sum, next) => sum + next.row, 0) / near.length : each.row;
      wishes.set(each.within, [...(wishes.get(each.within) ?? []), each.wish]);
    }
    const mean = new Map(
      [...wishes].map(([within, each]) => [within, each.reduce((one, other) => one + other, 0) / each.length]),
    );
    column.sort(
      (one, other) =>
        mean.get(one.within) - mean.get(other.within) ||
        one.within - other.within ||
        Math.round(one.wish) - Math.round(other.wish) ||
        (one.id === other.id ? one.wish - other.wish : one.id - other.id),
    );
    spread(column);
  }
}

// Rows far enough apart, near to the wishes: what touches moves as one block, to the mean of its wishes.
function spread(column) {
  const blocks = [];
  for (const each of column) {
    let block = { nodes: [each], size: each.size, sum: each.wish - each.size / 2 };
    while (blocks.length && start(blocks.at(-1)) + blocks.at(-1).size > start(block)) {
      const last = blocks.pop();
      block = {
        nodes: [...last.nodes, ...block.nodes],
        size: last.size + block.size,
        sum: last.sum + block.sum - block.nodes.length * last.size,
      };
    }
    blocks.push(block);
  }
  for (const block of blocks) {
    let row = start(block);
    for (const each of block.nodes) {
      each.row = row + each.size / 2;
      row += each.size;
    }
  }
}

const start = (block) => block.sum / block.nodes.length;
