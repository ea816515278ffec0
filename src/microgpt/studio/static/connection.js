// Talking to the server: the token, JSON, files, and the events of a training, also after a break.

const KEPT = "microgpt-studio-token";
const FORBIDDEN = 403; // the status of a token that does not fit

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
let reachable = true; // or what stands against it: "gone", or "locked" where the token is another studio's

export function whenReachable(listener) {
  listeners.add(listener);
}

function tell(now) {
  if (now === reachable) return;
  reachable = now;
  for (const listener of listeners) listener(now);
  if (now !== true) watch();
}

// Paths are read from the page's own address on: a proxy may put all of it below a path of its own.
async function ask(path, options) {
  const headers = { "X-Studio-Token": localStorage.getItem(KEPT) ?? "" };
  let answer;
  try {
    answer = await fetch(`.${path}`, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell("gone");
    throw new Refused("The studio does not answer.", 0);
  }
  tell(answer.status === FORBIDDEN ? "locked" : true);
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

export async function blob(path, params) {
  const answer = await ask(`${path}?${new URLSearchParams(params)}`);
  if (answer.headers.get("content-type") === "application/json") await valueOf(answer);
  return answer.blob();
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
  while (reachable !== true) {
    await new Promise((done) => setTimeout(done, 1000));
    await get("/api/hello").catch(() => {});
  }
  watching = false;
}

const SOON = 200; // milliseconds until a training is asked for its news again …
const QUIET = 500; // … where the last questions brought none …
const HIDDEN = 3000; // … and in a tab that nobody sees
const EAGER = 40; // … and after a button, whose effect somebody waits for, …
const AFTER_A_BUTTON = 8; // so many times
const LATE = 100; // milliseconds after its time that show that the machine has no more to give …
const SELDOM = 2000; // … and at most so many are then between two questions
const MANY = 100; // events that say that there are more

// Calls onMessage for each event of a training; `close` ends that, `look` asks at once. A tab asks and holds no
// connection open: a browser allows six to a host, for all of its tabs. After a break it goes on where it was.
export function events(path, onMessage) {
  const control = new AbortController();
  const { signal } = control;
  let next = 0;
  let quiet = 0;
  let pause = SOON;
  let eager = 0;
  let wake = () => {};
  const look = () => {
    eager = AFTER_A_BUTTON;
    wake();
  };
  document.addEventListener("visibilitychange", look, { signal });
  (async () => {
    while (!signal.aborted) {
      try {
        const { events: news } = await get(path, { from: next }, { signal });
        for (const event of news) {
          if (signal.aborted) return;
          next += 1;
          onMessage(event);
          if (event.last) return;
        }
        quiet = news.length ? 0 : quiet + 1;
        if (news.length >= MANY) continue;
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error.status && error.status !== FORBIDDEN) {
          onMessage({ kind: "lost", error: error.message });
          return;
        }
        quiet = Infinity;
      }
      const usual = document.hidden ? HIDDEN : Math.max(pause, quiet > 4 ? QUIET : SOON);
      const rest = eager-- > 0 ? EAGER : usual;
      const due = performance.now() + rest;
      await new Promise((done) => {
        wake = done;
        setTimeout(done, rest);
      });
      const late = !document.hidden && performance.now() > due + LATE;
      pause = late ? Math.min(SELDOM, pause * 2) : Math.max(SOON, pause * 0.8);
    }
  })();
  return { close: () => control.abort(), look };
}
