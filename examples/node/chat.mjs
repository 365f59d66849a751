// Chat: what one client writes, every open connection of the namespace reads. Run one of it. It keeps nothing, so no
// client notices when it is restarted.
//
//   node chat.mjs --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
import { connect } from "holdfast";
import { control, namespace, nats } from "./settings.mjs";

const client = await connect({ control, nats });
const events = client.events({ namespace, kinds: ["open", "message", "close"] });
await events.ready;
const { count } = await client.count({ namespace });
console.log(`chatting in the namespace ${namespace}, ${count} there`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => events.close());

// One call however many read it, on however many nodes. For rooms: `event.connection.join(room)` when a connection
// opens, and here `client.group(room, { namespace })`.
const everyone = client.everyone({ namespace });

function lineOf(event) {
  const name = `guest-${event.connection.id.slice(-4)}`;
  if (event.kind === "open") return `* ${name} has joined`;
  if (event.kind === "close") return `* ${name} has left`;
  return `${name}: ${Buffer.from(event.data)}`;
}

for await (const event of events) {
  try {
    await everyone.publish(lineOf(event)); // who reads too slowly misses the line, and nobody waits for them
  } catch (error) {
    console.error(error.message); // the broker is away
  }
}
await client.close();
