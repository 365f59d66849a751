// A chat: what one client writes, every open connection of the namespace reads. Run one of it; when it is
// restarted it asks the broker who is there, and no client loses its connection.
//
//   node chat.mjs --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
import { connect } from "holdfast";
import { control, namespace, nats } from "./settings.mjs";

const nameOf = ({ id, user }) => user || `guest-${id.slice(-4)}`;

const client = await connect({ control, nats });
const events = client.events({ namespace, kinds: ["open", "message", "close"] });
await events.ready; // first listen, then look: so nobody who comes in between is overlooked

const names = new Map();
for await (const connection of client.list({ namespace })) names.set(connection.id, nameOf(connection));
console.log(`chatting in the namespace ${namespace}, ${names.size} there`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => events.close());

// The sender keeps the order of the lines for each reader. A reader that has just left is no news: its close
// event follows. Whoever reads too slowly misses lines (SEND_QUEUE_FULL), and nobody waits for them.
const sender = client.sender({
  onFailure: ({ connectionId, error }) => {
    if (error.code !== "NOT_FOUND") console.error(`${connectionId}: ${error.message}`);
  },
});

async function say(line) {
  for (const id of names.keys()) await sender.send(id, line);
}

for await (const event of events) {
  const { id } = event.connection;
  if (event.kind === "open") {
    names.set(id, nameOf(event.opened));
    await say(`* ${names.get(id)} has joined`);
  } else if (event.kind === "close" && names.has(id)) {
    const name = names.get(id);
    names.delete(id);
    await say(`* ${name} has left`);
  } else if (event.kind === "message") await say(`${names.get(id) ?? "?"}: ${event.data}`);
}
await client.close();
