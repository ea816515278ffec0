// Talking to the server: the token, JSON, and streams of events that come back after a break.

const KEPT = "microgpt-studio-token";

// The token comes once, behind the # of the address, which no server and no log ever sees.
export async function enter() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("token")) localStorage.setItem(KEPT, given.get("token"));
  if (given.has("once")) {
    const answer = await fetch("api/enter", { method: "POST", body: JSON.stringify({ code: given.get("once") }) });
    if (answer.ok) localStorage.setItem(KEPT, (await answer.json()).token);
  }
  if (given.has("token") || given.has("once")) history.replaceState(null, "", location.pathname + location.search);
}

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const listeners = new Set();
let reachable = true;

export function whenReachable(listener) {
  listeners.add(listener);
}

function tell(now) {
  if (now === reachable) return;
  reachable = now;
  for (const listener of listeners) listener(now);
}

// Paths are read from the page's own address on: a proxy may put all of it below a path of its own.
async function ask(path, options) {
  const headers = { "X-Studio-Token": localStorage.getItem(KEPT) ?? "" };
  let answer;
  try {
    answer = await fetch(`.${path}`, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell(false);
    watch();
    throw new Refused("The studio does not answer. Start it again with: microgpt studio", 0);
  }
  tell(true);
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(told.error ?? `The studio answered ${answer.status}.`, answer.status);
}

// The JSON of an answer. A refusal of what a person typed comes with status 200, so that the console stays clean.
async function valueOf(answer) {
  const value = await answer.json();
  if (typeof value?.error === "string") throw new Refused(value.error, 422);
  return value;
}

export async function get(path, params = {}, options = {}) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(given);
  return valueOf(await ask(given.length ? `${path}?${query}` : path, options));
}

export async function post(path, body = {}, options = {}) {
  const plain = body instanceof Blob ? body : JSON.stringify(body);
  return valueOf(await ask(path, { method: "POST", body: plain, ...options }));
}

let watching = false;

// Looks every second whether the server is back.
async function watch() {
  if (watching) return;
  watching = true;
  while (!reachable) {
    await new Promise((done) => setTimeout(done, 1000));
    await get("/api/hello").catch(() => {});
  }
  watching = false;
}

// Calls onMessage for each event of a stream; returns what ends it. After a break it goes on where it was.
export function events(path, onMessage) {
  const control = new AbortController();
  let next = 0;
  (async () => {
    while (!control.signal.aborted) {
      try {
        const answer = await ask(`${path}?from=${next}`, { signal: control.signal });
        for await (const { id, data } of parsed(answer.body)) {
          next = id + 1;
          onMessage(data);
          if (data.last) return;
        }
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error.status) {
          onMessage({ kind: "lost", error: error.message });
          return;
        }
        tell(false);
        watch();
      }
      await new Promise((done) => setTimeout(done, 700));
    }
  })();
  return () => control.abort();
}

async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.data) yield { id: Number(fields.id), data: JSON.parse(fields.data) };
    }
  }
}
