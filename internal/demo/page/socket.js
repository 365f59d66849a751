// A WebSocket that comes back by itself.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

// After these codes the other side is expected to be there again: lost (1006), going away (1001),
// internal error (1011), service restart (1012), try again later (1013). Anything else was meant.
const COME_BACK = new Set([1001, 1006, 1011, 1012, 1013]);

/**
 * Calls onState({state, text, code?}) with "connecting", "open", "waiting" or "closed", and onMessage
 * with each text message.
 */
export class Socket {
  #url;
  #onState;
  #onMessage;
  #ws = null;
  #timer = 0;
  #failures = 0;

  constructor(url, { onState, onMessage }) {
    this.#url = url;
    this.#onState = onState;
    this.#onMessage = onMessage;
    addEventListener("online", () => this.#timer && this.connect());
    this.connect();
  }

  get bufferedAmount() {
    return this.#ws?.bufferedAmount ?? 0;
  }

  /** Connects now, whatever the back-off says. */
  connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#ws && this.#ws.readyState !== WebSocket.CLOSED) return;
    this.#onState({ state: "connecting", text: "Connecting…" });
    const ws = new WebSocket(this.#url);
    this.#ws = ws;
    ws.binaryType = "arraybuffer";
    ws.onopen = () => this.#onState({ state: "open", text: "Connected" });
    ws.onmessage = ({ data }) => typeof data === "string" && this.#onMessage(data);
    ws.onclose = (event) => this.#closed(event);
  }

  /** Says that the other side really works, so that the next loss begins with a short wait again. */
  settled() {
    this.#failures = 0;
  }

  /** Sends an object as JSON; false when there is no open connection. */
  send(message) {
    if (this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#ws.send(JSON.stringify(message));
    return true;
  }

  #closed({ code, reason }) {
    const why = reason ? `${code}, ${reason}` : `${code}`;
    if (!COME_BACK.has(code)) {
      this.#onState({ state: "closed", text: `Closed by the other side: ${why}`, code });
      return;
    }
    // Full jitter would sometimes wait for nothing; half of it spreads a crowd well enough.
    const ceiling = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failures++);
    const wait = ceiling * (0.5 + Math.random() / 2);
    const what = code === 1012 ? "The broker restarts" : "Connection lost";
    this.#onState({ state: "waiting", text: `${what} (${why}). Trying again in ${(wait / 1000).toFixed(1)} s`, code });
    this.#timer = setTimeout(() => this.connect(), wait);
  }
}
