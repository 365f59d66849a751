// Lets in who shows a token: for an endpoint with `admission: {mode: backend}`. Start several: they share the work.
// Clients send `Authorization: Bearer ann-secret`, or from a browser the subprotocol "bearer.ann-secret" beside one that
// the endpoint speaks.
//
//   node door.mjs --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
import { connect } from "holdfast";
import { control, namespace, nats } from "./settings.mjs";

const users = new Map([
  ["ann-secret", "ann"],
  ["bob-secret", "bob"],
]);

function who({ headers, subprotocols }) {
  const shown = [headers.Authorization?.replace(/^Bearer /, "")];
  for (const offer of subprotocols) if (offer.startsWith("bearer.")) shown.push(offer.slice("bearer.".length));
  const user = shown.map((token) => users.get(token)).find((known) => known !== undefined);
  return user === undefined
    ? { refuse: { status: 401, body: "who are you?", headers: { "WWW-Authenticate": "Bearer" } } }
    : { accept: { user, groups: ["members"] } };
}

const client = await connect({ control, nats });
const doorkeeper = client.admit(who, { namespace });
await doorkeeper.ready;
console.log(`deciding who enters the namespace ${namespace}`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => client.close());
