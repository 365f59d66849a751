// Two gRPC libraries, alternating in one process against one broker. See README.md.
import { connect } from "../dist/index.js";
import { open as openConnect } from "./library-connect.mjs";
import { open as openGrpcJs } from "./library-grpc-js.mjs";
import { concurrently, measure, Results, startBroker, startPeers } from "./stage.mjs";

const rounds = Number(process.env.ROUNDS ?? 9);
const broker = await startBroker();
const peers = await startPeers(broker.listen[0], 100);
const lister = await connect({ control: broker.control });
const ids = [];
for await (const { id } of lister.list()) ids.push(id);
await lister.close();

const payload = { case: "text", value: "x".repeat(100) };
const request = (_, i) => ({ connectionId: ids[i % ids.length], message: { payload } });
const libraries = [openConnect(broker.control), openGrpcJs(broker.control)];
const results = new Results();
for (let round = 0; round <= rounds; round++) {
  // The first round warms up; the order changes from round to round.
  for (const library of round % 2 ? libraries : libraries.toReversed()) {
    const add = (what, result) => round > 0 && results.add(`${what}, ${library.name}`, result);
    let turn = 0;
    add("Send x32", await concurrently(6_000, () => library.send(request(undefined, turn++))));
    for (const [size, batches] of [
      [1, 6_000],
      [100, 400],
    ]) {
      const sends = Array.from({ length: size }, request);
      add(`batches of ${size}`, await measure(batches * size, () => library.sendStream(batches, sends)));
    }
  }
}
results.print();
for (const library of libraries) library.close();
peers.stop();
broker.stop();
