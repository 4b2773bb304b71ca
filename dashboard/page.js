// The page around demo.js, which is the usage example exactly as the README shows it.
//
// This module signs in, gives the example the two functions it calls, and looks after its two
// sockets: what a close means in words, and a new connection where the close code allows one.

const EXAMPLE_HOST = 'localhost:8000';

// What a close code means, and whether the page connects again: within `within` seconds, at random,
// so that a thousand pages do not return at once; `doubling` waits longer after each failure.
const SOON = { within: 5, doubling: true };
const CLOSE_CODES = {
  1009: { words: 'a message from here was too big' },
  1012: { words: 'the server restarts', again: { within: 5 } },
  4401: { words: 'the session has ended', again: SOON, signIn: true },
  4403: { words: 'this account may not see these numbers' },
  4404: { words: 'there is no such course' },
  4409: { words: 'opened in a newer window' },
  4429: { words: 'too many messages or connections', again: { after: 60, within: 30 } },
  4508: { words: 'this connection was too slow', again: SOON },
};
const OTHERWISE = { words: 'the connection was lost', again: SOON };
const LONGEST_WAIT = 60;
const SPOKEN_EVERY = 20;

const element = (id) => document.getElementById(id);

// The numbers

const format = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });

function show(node, text) {
  if (node.textContent === text) return;
  const first = node.textContent === '–';
  node.textContent = text;
  if (first) return;
  node.classList.remove('changed');
  void node.offsetWidth; // lets the highlight begin anew
  node.classList.add('changed');
}

function showNumbers(subject, numbers) {
  for (const node of document.querySelectorAll(`[data-number^="${subject}."]`)) {
    const value = numbers[node.dataset.number.slice(subject.length + 1)];
    show(node, format.format(value) + (node.dataset.unit ?? ''));
  }
  const time = element(`${subject}-generated`);
  time.dateTime = numbers.generated_at;
  time.textContent = new Date(numbers.generated_at).toLocaleTimeString();
}

function updateCourseAnalytics(analytics) {
  showNumbers('course', analytics);
  nameCourse(analytics.course_id);
  speakLater();
}

function updatePlatformOverview(overview) {
  showNumbers('platform', overview);
  element('categories').replaceChildren(...overview.popular_categories.map((category) => {
    const item = document.createElement('li');
    item.textContent = `${category._id}: ${format.format(category.count)}`;
    return item;
  }));
}

async function nameCourse(courseId) {
  const heading = element('course-heading');
  if (heading.dataset.course === courseId) return;
  heading.dataset.course = courseId;
  heading.textContent = courseId;
  const answer = await fetch(`/courses/${encodeURIComponent(courseId)}`).catch(() => null);
  if (answer?.ok) heading.textContent = (await answer.json()).title;
}

let speaking = false;

function speakLater() {
  if (speaking) return;
  speaking = true;
  setTimeout(() => {
    speaking = false;
    const value = (name) => document.querySelector(`[data-number="course.${name}"]`).textContent;
    element('spoken').textContent =
      `${value('students')} students, average completion ${value('avg_completion')}`;
  }, SPOKEN_EVERY * 1000);
}

// The connections

function showConnection(subject, state, text, { offerAgain = false } = {}) {
  const status = element(`${subject}-connection`);
  if (status.textContent !== text) status.textContent = text;
  status.dataset.state = state;
  element(`${subject}-again`).hidden = !offerAgain;
}

function watch(subject, socket, failures = 0) {
  socket.addEventListener('message', (event) => {
    failures = 0;
    element(`${subject}-version`).textContent = JSON.parse(event.data).version;
    showConnection(subject, 'live', 'live');
  });

  socket.addEventListener('close', (event) => {
    const { words, again, signIn: needsSession } = CLOSE_CODES[event.code] ?? OTHERWISE;
    const connect = async () => {
      showConnection(subject, 'waiting', 'reconnecting');
      if (needsSession && !(await signIn())) {
        showConnection(subject, 'stopped', `stopped: ${words}`);
        return;
      }
      const next = new WebSocket(socket.url);
      next.onmessage = socket.onmessage;
      watch(subject, next, failures + 1);
    };
    if (!again) {
      showConnection(subject, 'stopped', `stopped: ${words}`, { offerAgain: true });
      element(`${subject}-again`).onclick = connect;
      return;
    }
    const { after = 0, within, doubling = false } = again;
    const spread = doubling ? Math.min(within * 2 ** failures, LONGEST_WAIT) : within;
    showConnection(subject, 'waiting', `reconnecting: ${words}`);
    setTimeout(connect, (after + Math.random() * spread) * 1000);
  });
}

// The example names the host and port of a default installation; elsewhere its sockets are led
// to where this page came from.
function leadSocketsHere() {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  if (scheme === 'ws:' && location.host === EXAMPLE_HOST) return;
  window.WebSocket = class extends WebSocket {
    constructor(url, ...rest) {
      super(String(url).replace(`ws://${EXAMPLE_HOST}`, `${scheme}//${location.host}`), ...rest);
    }
  };
}

// The session

/** Open a demo session: true, or false with the reason on the page. */
async function signIn() {
  const answer = await fetch('/demo/session', { method: 'POST' }).catch(() => null);
  if (answer?.ok) {
    element('session').textContent = 'Signed in as the demo instructor';
    return true;
  }
  element('session').textContent = answer?.status === 404
    ? 'Sign-in comes from your school’s platform: it opens a session with POST /session and a '
      + 'bearer token. This page only shows the demo.'
    : `Signing in failed (${answer?.status ?? 'no answer'}). Load the page again in a moment.`;
  return false;
}

function runExample() {
  Object.assign(window, { updateCourseAnalytics, updatePlatformOverview });
  leadSocketsHere();
  const script = document.createElement('script');
  script.src = '/static/demo.js';
  script.addEventListener('load', () => {
    /* global courseWs, instructorWs -- the example's own constants */
    watch('course', courseWs);
    watch('platform', instructorWs);
  });
  document.head.append(script);
}

if (location.hostname === '127.0.0.1') {
  // A cookie belongs to one host name, and the example's sockets go to localhost.
  const here = new URL(location.href);
  here.hostname = 'localhost';
  location.replace(here);
} else if (await signIn()) {
  element('numbers').hidden = false;
  runExample();
}
