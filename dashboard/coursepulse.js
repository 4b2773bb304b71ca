// Live numbers of a course or of the platform, whatever stands between the page and the server.
//
//   import { connect } from '/static/coursepulse.js';
//   const connection = connect({ course: 'knots', onFrame: (frame) => show(frame.analytics) });
//
// A WebSocket where one gets through, else Server-Sent Events, else polling. Versions only grow,
// whichever way they come, and the state says how far the numbers can be trusted. No dependencies.

/**
 * @typedef {object} Frame The server's frame; polled ones have no request_id and latest_event_at.
 * @property {'course_analytics_update' | 'platform_overview'} event
 * @property {string} [course_id]
 * @property {object} [analytics] A course's numbers.
 * @property {object} [data] The platform's numbers.
 * @property {number} version
 * @property {string | null} latest_event_at
 * @property {string | null} request_id
 */

/**
 * @typedef {object} State
 * @property {'live' | 'reconnecting' | 'stale' | 'offline'} state `live`: the numbers are the
 *   newest. `reconnecting`: they were a moment ago. `stale`: that was longer ago than `staleAfter`.
 *   `offline`: over, nothing is tried again.
 * @property {'websocket' | 'events' | 'polling' | null} transport Which way the numbers come.
 * @property {number | null} age Milliseconds since the numbers were last known to be the newest.
 * @property {number | null} code The close code that led here, or its like for an HTTP status.
 * @property {string} reason Why, in words for people.
 */

/**
 * @typedef {object} Options
 * @property {string} [course] The course's id.
 * @property {string} [instructor] Or the instructor's, for the platform's numbers.
 * @property {string} [url] Or the WebSocket's whole address.
 * @property {string} [server] Where coursepulse is, if not where the page is from.
 * @property {() => Promise<string>} [token] Fetches a bearer token; without it: the session cookie.
 * @property {(frame: Frame) => void} onFrame Gets each newer state once.
 * @property {(state: State) => void} [onState] Gets each change of the state.
 * @property {number} [staleAfter] Milliseconds, 30 seconds unless given.
 */

export const LEVELS = ['websocket', 'events', 'polling'];

const PATIENCE = [3, 2, 1]; // failures in a row before the next level is tried
const CLIMB_MS = { events: 600_000, polling: 60_000 }; // then the levels above are tried again
const OPEN_MS = 10_000; // a proxy may swallow a handshake, or hold an answer back, for ever
const SILENCE_MS = { websocket: 120_000, events: 40_000 }; // the server's heartbeat: 15 s
const GRACE_MS = 2_000; // between an answer and the same version's frame
const POLL_MS = [4_000, 6_000];
const RENEW_MS = { before: 30_000, least: 30_000, most: 86_400_000 }; // a token in use
const STEADY_MS = 5_000; // less than this is no reason to begin the back-off anew
const BACK_OFF_MS = { least: 100, first: 1_000, most: 30_000 };
const LOST = 1006;
const STATUS_CODES = { 401: 4401, 403: 4403, 404: 4404, 429: 4429 };

const between = (random, [least, most]) => least + random() * (most - least);

/** Milliseconds before the next attempt after so many failures: a crowd must not return at once. */
export function backOff(failures, random = Math.random) {
  const { least, first, most } = BACK_OFF_MS;
  return between(random, [least, Math.min(first * 2 ** failures, most)]);
}

const SOON = { pause: (failures, random) => between(random, [0, 5_000]) };
const STOP = { stop: true };
const RULES = {
  1009: STOP,
  1012: SOON,
  4401: { renew: true, pause: (failures, random) => between(random, [0, 1_000]) },
  4403: STOP,
  4404: STOP,
  4409: STOP,
  4429: { pause: (failures, random) => between(random, [60_000, 90_000]) },
  4508: SOON,
};
const OTHERWISE = { unknown: true, pause: backOff };

/** What follows a close code: stop, renew the token, or pause; `unknown` codes may be a proxy's. */
export function ruleAfter(code) {
  return RULES[code] ?? OTHERWISE;
}

/** Where every connection begins; `known` is the level that worked last. */
export const TOP = Object.freeze({ level: 0, tries: 0, known: 0 });

/** The level to try after an attempt ended; below the last that worked, one try each is enough. */
export function nextLevel({ level, tries, known }, { worked, code }) {
  if (worked) return { level: 0, tries: 0, known: level };
  if (!ruleAfter(code).unknown) return { level, tries: 0, known }; // the server itself has spoken
  if (tries + 1 < (level < known ? 1 : PATIENCE[level])) return { level, tries: tries + 1, known };
  return level + 1 < LEVELS.length ? { level: level + 1, tries: 0, known } : TOP;
}

/** A reader of an event stream: takes its text in pieces, calls `onData` with each event's data. */
export function eventReader(onData) {
  let rest = '';
  let data = [];
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      if (line !== '' || data.length === 0) continue;
      onData(data.join('\n'));
      data = [];
    }
  };
}

/** The addresses of what the options name. */
export function addresses({ course, instructor, url, server }, page = globalThis.location?.href) {
  if ([course, instructor, url].filter((given) => given !== undefined).length !== 1) {
    throw new TypeError('connect needs one of: course, instructor, url');
  }
  const path = course !== undefined
    ? `/realtime/course/${encodeURIComponent(course)}`
    : `/realtime/instructor/${encodeURIComponent(instructor)}`;
  const prefix = server === undefined ? '' : new URL(server, page).href.replace(/\/$/, '');
  const whole = new URL(url ?? prefix + path, page);
  const found = /^(.*)\/realtime\/(course|instructor)\/(.+)$/.exec(whole.pathname);
  if (!found) throw new TypeError(`${whole} is not the address of a course or an instructor`);
  const [, folder, kind, id] = found;
  const http = `${whole.protocol.replace(/^ws/, 'http')}//${whole.host}${folder}`;
  return {
    kind,
    id: decodeURIComponent(id),
    websocket: `${http.replace(/^http/, 'ws')}/realtime/${kind}/${id}`,
    events: `${http}/realtime/${kind}/${id}/events`,
    polling: kind === 'course' ? `${http}/courses/${id}/analytics`
      : `${http}/analytics/platform/overview`,
  };
}

/** Milliseconds until a fresh token is due for one in use; null where it does not tell its end. */
export function renewalIn(token, now = Date.now()) {
  try {
    const claims = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
    const { before, least, most } = RENEW_MS;
    const due = claims.exp * 1000 - now - before;
    return Number.isFinite(due) ? Math.min(Math.max(due, least), most) : null;
  } catch { // not a JWT
    return null;
  }
}

/**
 * Connect, and stay connected until `close()` or until the server refuses for good.
 * @param {Options} options
 * @returns {Connection}
 */
export function connect(options) {
  return new Connection(options);
}

class Connection {
  #options;
  #at;
  #stopping = new AbortController();
  #state = 'reconnecting';
  #transport = null;
  #version = -1;
  #token = null;
  #proven = null; // when the numbers were last known to be the newest
  #worked = null; // when this attempt first proved them so
  #growingStale;

  constructor(options) {
    this.#options = { staleAfter: 30_000, ...options };
    this.#at = addresses(options);
    this.#run();
  }

  /** `live`, `reconnecting`, `stale` or `offline`. */
  get state() { return this.#state; }

  /** The newest version handed over, -1 before the first. */
  get version() { return this.#version; }

  /** Milliseconds since the numbers were last known to be the newest; null before the first. */
  get age() { return this.#proven === null ? null : performance.now() - this.#proven; }

  /** End the connection. */
  close() { this.#stop(null, 'closed by the page'); }

  async #run() {
    let ladder = TOP;
    let failures = 0;
    let renewed = false;
    while (!this.#stopping.signal.aborted) {
      this.#worked = null;
      const transport = LEVELS[ladder.level];
      const end = await this.#attempt(transport);
      const outcome = { ...end, worked: this.#worked !== null };
      if (outcome.worked) renewed = false;
      if (outcome.worked && performance.now() - this.#worked > STEADY_MS) failures = 0;
      const rule = ruleAfter(outcome.code);
      if (rule.stop || (rule.renew && (renewed || !this.#options.token))) {
        this.#stop(outcome.code, outcome.reason);
        return;
      }
      if (rule.renew) {
        renewed = true;
        this.#token = null;
      }
      // A level tried again while a lower one works is a trial, not an interruption.
      const trial = !outcome.worked && rule.unknown && ladder.level < ladder.known;
      ladder = nextLevel(ladder, outcome);
      if (outcome.planned || trial) continue;
      this.#interrupted(outcome);
      await this.#pause(rule.pause(failures, Math.random));
      failures += 1;
    }
  }

  /** Be connected over one transport; return why that ended. */
  async #attempt(transport) {
    const ending = new AbortController();
    const end = () => ending.abort();
    this.#stopping.signal.addEventListener('abort', end);
    try {
      this.#token ??= (await this.#options.token?.()) ?? null;
      if (this.#stopping.signal.aborted) return { code: null, reason: '' };
      if (transport === 'websocket') return await this.#overWebSocket(ending);
      if (transport === 'events') return await this.#overEvents(ending);
      return await this.#overPolling(ending);
    } catch (error) { // no network, no token, silence
      return { code: LOST, reason: String(error?.message ?? error) };
    } finally {
      end(); // whatever is still open
      this.#stopping.signal.removeEventListener('abort', end);
    }
  }

  async #overWebSocket(ending) {
    const socket = new WebSocket(this.#at.websocket);
    const silence = patience(ending, OPEN_MS);
    const ended = new Promise((resolve) => {
      socket.addEventListener('close', ({ code, reason }) => resolve({ code, reason }));
      ending.signal.addEventListener('abort', () => {
        resolve({ code: LOST, reason: 'silence' });
        socket.close();
      });
    });
    let renewal;
    const authenticate = () => {
      if (ending.signal.aborted || !this.#token) return;
      socket.send(JSON.stringify({ type: 'auth', token: this.#token }));
      const due = renewalIn(this.#token);
      if (due !== null) renewal = setTimeout(renew, due);
    };
    // A fresh token in time extends the connection; without one, 4401 tells.
    const renew = async () => {
      try {
        this.#token = await this.#options.token();
      } catch { // the next attempt asks again
        return;
      }
      authenticate();
    };
    socket.addEventListener('open', authenticate);
    socket.addEventListener('message', ({ data }) => {
      if (ending.signal.aborted) return; // what was on its way when another took over
      this.#receive(JSON.parse(data), 'websocket');
      silence.from(SILENCE_MS.websocket, confirm);
    });
    // A page does not see the server's pings: after a long silence it asks.
    const confirm = async () => {
      try {
        const { version } = await this.#ask(ending.signal);
        await new Promise((resolve) => { setTimeout(resolve, GRACE_MS); });
        if (ending.signal.aborted) return;
        // Newer than any frame, or no answer: this socket is dead.
        if (!(version <= this.#version)) throw new Error('frames do not arrive');
        this.#prove('websocket');
        silence.from(SILENCE_MS.websocket, confirm);
      } catch {
        ending.abort();
      }
    };
    return ended.finally(() => {
      silence.over();
      clearTimeout(renewal);
    });
  }

  async #overEvents(ending) {
    const silence = patience(ending, OPEN_MS);
    try {
      const seen = this.#version < 0 ? {} : { 'Last-Event-ID': String(this.#version) };
      const answer = await this.#fetch(this.#at.events, seen, ending.signal);
      if (!answer.ok) return refusal(answer);
      if (!answer.headers.get('Content-Type')?.startsWith('text/event-stream')) {
        return { code: LOST, reason: 'the answer is no event stream' };
      }
      const climb = performance.now() + CLIMB_MS.events;
      const read = eventReader((data) => this.#receive(JSON.parse(data), 'events'));
      const decoder = new TextDecoder();
      const reader = answer.body.getReader();
      while (performance.now() < climb) {
        const { done, value } = await reader.read();
        if (done) return { code: LOST, reason: 'the stream ended' };
        silence.from(SILENCE_MS.events);
        read(decoder.decode(value, { stream: true }));
        // The server sends what is newer than the version it was told, so this is the newest.
        if (this.#version >= 0) this.#prove('events');
      }
      return { code: LOST, planned: true };
    } finally {
      silence.over();
    }
  }

  async #overPolling(ending) {
    const climb = performance.now() + CLIMB_MS.polling;
    while (performance.now() < climb && !ending.signal.aborted) {
      const silence = patience(ending, OPEN_MS);
      try {
        const { frame, refused } = await this.#ask(ending.signal);
        if (refused) return refused;
        if (frame) this.#receive(frame, 'polling');
        this.#prove('polling');
      } finally {
        silence.over();
      }
      await this.#pause(between(Math.random, POLL_MS));
    }
    return { code: LOST, planned: true };
  }

  /** Ask REST what is newest: a frame with its version, only the version, or a refusal. */
  async #ask(signal) {
    const known = this.#version < 0 ? {} : { 'If-None-Match': `"${this.#version}"` };
    const answer = await this.#fetch(this.#at.polling, known, signal);
    if (answer.status === 304) return { version: this.#version };
    if (!answer.ok) return { refused: refusal(answer) };
    const version = Number(/\d+/.exec(answer.headers.get('ETag') ?? '')?.[0] ?? NaN);
    const numbers = await answer.json();
    const shape = this.#at.kind === 'course'
      ? { event: 'course_analytics_update', course_id: this.#at.id, analytics: numbers }
      : { event: 'platform_overview', data: numbers };
    return { version, frame: { ...shape, version, latest_event_at: null, request_id: null } };
  }

  #fetch(url, headers, signal) {
    const bearer = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    return fetch(url, {
      headers: { ...headers, ...bearer }, signal, cache: 'no-store', credentials: 'include',
    });
  }

  #receive(frame, transport) {
    if (this.#state === 'offline') return; // the page closed it, perhaps in onFrame
    if (frame.version > this.#version) {
      this.#version = frame.version;
      safely(() => this.#options.onFrame?.(frame));
    }
    this.#prove(transport);
  }

  #prove(transport) {
    if (this.#state === 'offline') return;
    this.#proven = performance.now();
    this.#worked ??= this.#proven;
    clearTimeout(this.#growingStale);
    this.#show('live', transport, null, '');
  }

  #interrupted({ code, reason }) {
    if (this.#state === 'offline') return;
    if (this.#state !== 'stale') this.#show('reconnecting', null, code, reason);
    if (this.#proven === null) return; // there is nothing yet that could grow stale
    clearTimeout(this.#growingStale);
    this.#growingStale = setTimeout(
      () => this.#show('stale', null, code, reason),
      Math.max(0, this.#options.staleAfter - this.age),
    );
  }

  #stop(code, reason) {
    if (this.#state === 'offline') return;
    clearTimeout(this.#growingStale);
    this.#show('offline', null, code, reason);
    this.#stopping.abort();
  }

  #show(state, transport, code, reason) {
    if (this.#state === state && this.#transport === transport) return;
    this.#state = state;
    this.#transport = transport;
    safely(() => this.#options.onState?.({ state, transport, age: this.age, code, reason }));
  }

  /** Wait so many milliseconds, or until the network is back or the page closes the connection. */
  #pause(milliseconds) {
    return new Promise((resolve) => {
      const { signal } = this.#stopping;
      const done = () => {
        clearTimeout(timer);
        globalThis.removeEventListener('online', done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      globalThis.addEventListener('online', done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }
}

/** Ends what takes longer than `milliseconds`, counted again `from` each sign of life. */
function patience(ending, milliseconds) {
  let timer;
  const over = () => clearTimeout(timer);
  const from = (left, then = () => ending.abort(new Error('silence'))) => {
    over();
    timer = setTimeout(then, left);
  };
  from(milliseconds);
  return { from, over };
}

function refusal(answer) {
  const code = STATUS_CODES[answer.status] ?? LOST;
  return { code, reason: `the server answered ${answer.status}` };
}

/** Call the page's function; its mistake is the page's, not the end of the connection. */
function safely(call) {
  try {
    call();
  } catch (error) {
    reportError(error);
  }
}
