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
  // Not awaited, so that one slow answer does not hold up the next. Replies keep their order all the same.
  message.reply(message.data).catch((error) => console.error(`${message.connection.id}: ${error.message}`));
}
await client.close();
