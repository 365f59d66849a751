// The left column's log: chat lines, private lines, who came and went.
import { $, el, who } from "./dom.js";

const KEPT = 500;
const log = $("log");
const seen = new Set(); // "<id>/<seq>": an event can come twice after the bus was away
const pending = new Map(); // number of a line of ours → its element, until it comes back
let numbered = 0;

// The log follows its end until somebody scrolls up to read.
let following = true;
const toEnd = () => following && log.scrollTo(0, log.scrollHeight);
log.addEventListener("scroll", () => {
  following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
});
new ResizeObserver(toEnd).observe(log);

function append(item) {
  log.append(item);
  while (log.childElementCount > KEPT) log.firstElementChild.remove();
  toEnd();
}

/** A line about the connection itself: kind is "note" or "trouble". */
export function note(text, kind = "note") {
  append(el("li", kind, el("p", "", text)));
}

/** A line about another connection. */
export function noteAbout(id, text) {
  append(el("li", "note", who(id), el("p", "", text)));
}

/** Shows a line of ours at once, greyed until the backend sends it to everyone. Returns its number. */
export function sending(me, text) {
  const item = el("li", "mine pending", who(me), el("p", "", text));
  item.title = "not yet read by the broker";
  pending.set(++numbered, item);
  append(item);
  return numbered;
}

export function chat(me, { from, seq, text, number }) {
  const key = `${from}/${seq}`;
  if (seen.has(key)) return;
  seen.add(key);
  if (seen.size > KEPT) seen.delete(seen.values().next().value);
  const own = from === me && pending.get(number);
  if (own) {
    own.classList.remove("pending");
    own.removeAttribute("title");
    pending.delete(number);
    return;
  }
  append(el("li", from === me ? "mine" : "", who(from), el("p", "", text)));
}

export function privateLine({ from, text }) {
  append(el("li", "private", who(from), el("p", "", el("small", "", "to you alone: "), text)));
}

/** The connection ended: what has not come back may or may not have arrived. */
export function lost() {
  for (const item of pending.values()) item.title = "the connection ended before this came back";
  pending.clear();
}
