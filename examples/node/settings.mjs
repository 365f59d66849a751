// Where the broker is, from flags or the environment: --control, --nats, --namespace. Several addresses of one cluster
// are separated by commas.
import { parseArgs } from "node:util";

const { HOLDFAST_CONTROL, HOLDFAST_NATS, HOLDFAST_NAMESPACE } = process.env;

export const { control, nats, namespace } = parseArgs({
  options: {
    control: { type: "string", default: HOLDFAST_CONTROL ?? "127.0.0.1:7400" },
    nats: { type: "string", default: HOLDFAST_NATS ?? "nats://127.0.0.1:4222" },
    namespace: { type: "string", default: HOLDFAST_NAMESPACE ?? "default" },
  },
}).values;
