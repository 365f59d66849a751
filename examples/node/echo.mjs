// Echoes every message to the connection it came from. Start several: the queue group "echo" gives each
// message to one of them. Stop and restart them as you like: no client loses its connection.
//
//   node echo.mjs --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
import { connect } from "holdfast";
import { control, namespace, nats } from "./settings.mjs";

const client = await connect({ control, nats });
const events = client.events({ namespace, kinds: ["message"], queue: "echo" });
await events.ready;
console.log(`echoing the namespace ${namespace}`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => events.close());

for await (const message of events) {
  try {
    await message.reply(message.data); // when this returns, the broker has it: no waiting for a slow client
  } catch (error) {
    console.error(`${message.connection.id}: ${error.message}`); // it has left, or it reads too slowly
  }
}
await client.close();
