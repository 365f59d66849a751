// What the client does per second and per CPU microsecond, against a real broker.
import { connect } from "../dist/index.js";
import { concurrently, measure, Results, startBroker, startPeers } from "./stage.mjs";

const rounds = Number(process.env.ROUNDS ?? 5);
const text = "x".repeat(100);
const broker = await startBroker();
const peers = await startPeers(broker.listen[0], 100);
const client = await connect({ control: broker.control, nats: broker.nats });
const ids = [];
for await (const { id } of client.list()) ids.push(id);
const results = new Results();
let turn = 0;
const anyId = () => ids[turn++ % ids.length];

/** Takes that many message events and does something with each. */
async function events(count, handle, stream) {
  await stream.ready;
  let left = count;
  const taken = measure(count, async () => {
    peers.send(count / ids.length);
    for await (const event of stream) {
      handle(event);
      if (--left === 0) break;
    }
  });
  return taken;
}

for (let round = 0; round <= rounds; round++) {
  const add = (name, result) => round > 0 && results.add(name, result);
  add("send, 32 callers", await concurrently(5_000, () => client.connection(anyId()).send(text)));
  const sender = client.sender();
  const batched = async () => {
    for (let i = 0; i < 100_000; i++) await sender.send(anyId(), text);
    await sender.flush();
  };
  add("sender", await measure(100_000, batched));
  await sender.close();
  const echo = (event) => void event.reply(event.data, { confirm: false });
  add("echo, events and replies", await events(20_000, echo, client.events({ kinds: ["message"] })));
}
results.print();
await client.close();
peers.stop();
broker.stop();
