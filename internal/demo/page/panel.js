// The right column: connections, actions, facts and events.
import { $, bytes, el, short, who } from "./dom.js";

const KEPT = 200;
const rows = new Map(); // id → {row, radio, detail, tags}
let selected = "";
let refreshed = ""; // whose facts were asked for because it was selected
let me = "";
let send = () => false;

const target = () => ({ id: selected });

/** Wires the panel to a function that sends an object to the backend. */
export function start(sender) {
  send = sender;
  $("connections").addEventListener("change", (event) => select(event.target.value));
  for (const button of document.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => act({ type: button.dataset.action, ...target() }));
  }
  submit("private", () => {
    act({ type: "private", ...target(), text: $("line").value, receipt: $("receipt").checked });
    $("line").value = "";
  });
  submit("close", () => act({ type: "close", ...target(), code: Number($("code").value), reason: $("reason").value }));
}

function submit(form, handler) {
  $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    handler();
  });
}

function act(message) {
  if (send(message)) say(true, `${message.type} ${short(message.id)} …`);
  else say(false, "This tab has no connection.");
}

function say(ok, text) {
  $("result").dataset.ok = ok;
  $("result").textContent = text;
}

/** Our own ID: "" while there is no connection. */
export function iAm(id) {
  me = id;
  for (const key of rows.keys()) paint(key);
}

function select(id) {
  selected = id;
  $("target").textContent = id ? short(id) : "—";
  $("actions").disabled = !id;
  $("facts").replaceChildren();
  if (id && $("facts-box").open) {
    refreshed = id;
    send({ type: "get", id });
  }
}

/** The list of all connections. Rows stay the same elements, so that focus and choice survive. */
export function connections({ connections: list, total }) {
  const present = new Set(list.map((c) => c.id));
  for (const [id, { row }] of rows) {
    if (present.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
  for (const facts of list) {
    if (!rows.has(facts.id)) add(facts.id);
    rows.get(facts.id).facts = facts;
    paint(facts.id);
  }
  $("count").textContent = total;
  $("more").hidden = total <= list.length;
  $("more").textContent = `and ${total - list.length} more`;
  if (selected && !present.has(selected)) select("");
  if (!selected) choose(list.find((c) => c.id !== me)?.id ?? list[0]?.id);
}

function choose(id) {
  if (!id) return;
  rows.get(id).radio.checked = true;
  select(id);
}

function add(id) {
  const radio = el("input");
  radio.type = "radio";
  radio.name = "connection";
  radio.value = id;
  const detail = el("span", "detail");
  const tags = el("span", "tags");
  const row = el("label", "connection", radio, who(id), detail, tags);
  row.dataset.id = id;
  rows.set(id, { row, radio, detail, tags });
  $("connections").append(row);
}

function paint(id) {
  const { row, detail, tags, facts } = rows.get(id);
  detail.textContent = `${browser(facts.agent)} · ${facts.remote}`;
  row.title = `${id}\n${facts.agent}`;
  row.dataset.paused = facts.paused;
  const wanted = [];
  if (id === me) wanted.push(el("span", "tag", "this tab"));
  if (facts.closing) wanted.push(el("span", "tag", "closing"));
  if (facts.paused) wanted.push(el("span", "tag is-paused", "paused"));
  tags.replaceChildren(...wanted);
}

function browser(agent) {
  for (const name of ["Firefox", "Edg", "Chrome", "Safari"]) if (agent.includes(`${name}/`)) return name;
  return agent.split("/")[0] || "client";
}

/** The backend's answer to an action. */
export function result({ action, id, ok, text, reason, connection }) {
  if (connection && id === selected) facts(connection);
  if (action === "get" && id === refreshed) {
    refreshed = "";
    if (ok) return; // nobody asked: it would take the place of an answer that somebody waits for
  }
  const name = [action, id && short(id)].filter(Boolean).join(" ");
  say(ok, ok ? `${name}: ${text}` : `${name || "request"} refused: ${reason} (${text})`);
  if (ok && action === "get") $("facts-box").open = true;
}

function facts(connection) {
  const lines = [];
  for (const [name, value] of Object.entries(flat(connection))) lines.push(el("dt", "", name), el("dd", "", value));
  $("facts").replaceChildren(...lines);
}

function flat(object, prefix = "") {
  const out = {};
  for (const [name, value] of Object.entries(object)) {
    if (value !== null && typeof value === "object") Object.assign(out, flat(value, `${prefix}${name}.`));
    else out[prefix + name] = String(value);
  }
  return out;
}

/** What happened on NATS since the last time. */
export function events({ events: list, skipped }) {
  const body = $("events");
  for (const { seq, kind, id, what, size } of list) {
    const detail = size === undefined ? what : `${what}, ${bytes(size)}`;
    const cells = [el("td", "", String(seq)), el("td", `kind-${kind}`, kind), el("td", "", who(id)), el("td", "", detail)];
    body.prepend(el("tr", "", ...cells));
  }
  if (skipped) body.prepend(el("tr", "", el("td"), el("td"), el("td"), el("td", "", `${skipped} more events not shown`)));
  while (body.childElementCount > KEPT) body.lastElementChild.remove();
}
