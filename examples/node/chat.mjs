// Chat: what one client writes, every open connection of the namespace reads. Run one of it; when it is
// restarted it asks the broker who is there, and no client loses its connection.
//
//   node chat.mjs --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
import { connect } from "holdfast";
import { control, namespace, nats } from "./settings.mjs";

const client = await connect({ control, nats });
const here = new Set(); // connection IDs: no state that `list` would not bring back

// First listen, then look, so that nobody who comes in between is overlooked.
const events = client.events({ namespace, kinds: ["open", "message", "close"] });
await events.ready;
for await (const { id } of client.list({ namespace })) here.add(id);
console.log(`chatting in the namespace ${namespace}, ${here.size} there`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => events.close());

// Lines travel in batches and keep their order for each reader. Who has left meanwhile is no news: the close
// event follows. Who reads too slowly misses lines (SEND_QUEUE_FULL), and nobody waits for them.
const sender = client.sender({ onFailure: () => {} });
const nameOf = (id) => `guest-${id.slice(-4)}`;

async function say(line) {
  for (const id of here) await sender.send(id, line);
}

for await (const event of events) {
  const { id } = event.connection;
  if (event.kind === "open") {
    here.add(id);
    await say(`* ${nameOf(id)} has joined`);
  } else if (event.kind === "message") {
    await say(`${nameOf(id)}: ${Buffer.from(event.data)}`);
  } else if (here.delete(id)) {
    await say(`* ${nameOf(id)} has left`);
  }
}
await client.close();
