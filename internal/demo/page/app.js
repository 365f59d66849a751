// The demo page: a WebSocket client of the broker. It knows nothing of the broker itself; it talks to
// the demo backend in small JSON messages, and shows what comes back.
import * as chat from "./chat.js";
import { $, bytes, short } from "./dom.js";
import * as panel from "./panel.js";
import { Socket } from "./socket.js";

const FILLER = "x".repeat(128 * 1024);
const FILLERS = 64;
const LOOK_EVERY = 200; // ms between looks at bufferedAmount, which has no event

let me = "";
let before = ""; // the ID before the last loss
let paused = false;
let open = false;

const receive = {
  welcome: ({ id }) => {
    socket.settled();
    if (id === me) return;
    me = id;
    chat.note(before ? `Connected again: this tab is now ${short(id)}, before it was ${short(before)}.` : `Connected as ${short(id)}.`);
    showMe();
  },
  connections: (message) => {
    if (!me) socket.send({ type: "hello" }); // we opened while no backend was there
    panel.connections(message);
    paused = message.connections.some((c) => c.id === me && c.paused);
    showBuffered();
  },
  chat: (message) => chat.chat(me, message),
  private: chat.privateLine,
  notice: ({ text }) => chat.note(text),
  result: panel.result,
  events: (message) => {
    panel.events(message);
    for (const { kind, id, what } of message.events) {
      if (id === me) continue;
      if (kind === "open") chat.noteAbout(id, "joined");
      if (kind === "close") chat.noteAbout(id, `left: ${what}`);
    }
  },
};

function onMessage(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    // Not from the demo backend; another backend may answer here, too.
  }
  const handler = Object.hasOwn(receive, message?.type) ? receive[message.type] : null;
  if (handler) handler(message);
  else chat.note(`Message from another backend: ${text.slice(0, 500)}`);
}

function onState({ state, text, code }) {
  $("status").dataset.state = state;
  $("status").textContent = text;
  $("connect").hidden = state !== "closed" && state !== "waiting";
  $("fill").disabled = state !== "open";
  const was = open;
  open = state === "open";
  if (code === undefined) return;
  if (was) chat.note(`${text}.`, "trouble"); // attempts that fail are no news, the status line has them
  chat.lost();
  before = me || before;
  me = "";
  paused = false;
  showMe();
}

function showMe() {
  $("me").textContent = me || "—";
  document.title = me ? `${short(me)} · Holdfast demo` : "Holdfast demo";
  panel.iAm(me);
}

function showBuffered() {
  const waiting = bytes(socket.bufferedAmount);
  if ($("buffered").textContent !== waiting) $("buffered").textContent = waiting;
  $("buffered").dataset.bytes = socket.bufferedAmount;
  $("paused").hidden = !paused;
  const words = "A backend has paused this connection: what you send is not read until it is resumed.";
  if (paused && $("paused").textContent !== words) $("paused").textContent = words;
}

const url = new URL("./", location.href);
url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
const socket = new Socket(url, { onState, onMessage });

panel.start((message) => socket.send(message));
$("connect").addEventListener("click", () => socket.connect());
$("fill").addEventListener("click", () => {
  for (let i = 0; i < FILLERS; i++) socket.send({ type: "filler", text: FILLER });
  showBuffered();
});
$("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!me) return;
  const text = $("text").value.trim();
  if (text) socket.send({ type: "chat", text, number: chat.sending(me, text) });
  $("text").value = "";
});
setInterval(showBuffered, LOOK_EVERY);
