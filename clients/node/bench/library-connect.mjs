import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { ConnectionService } from "../dist/gen/holdfast/v1/connection_service_pb.js";

/** The calls that are compared, by @connectrpc/connect-node. */
export function open(address) {
  const baseUrl = `http://${address}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  const client = createClient(ConnectionService, createGrpcTransport({ baseUrl, sessionManager }));
  return {
    name: "connect-node",
    send: (request) => client.send(request, { timeoutMs: 5000 }),
    /** Sends batches, at most 16 of them unanswered. */
    async sendStream(batches, sends) {
      let open = 0;
      let wake = () => {};
      async function* requests() {
        for (let i = 0; i < batches; i++) {
          while (open === 16)
            await new Promise((resolve) => {
              wake = resolve;
            });
          open++;
          yield { batchId: BigInt(i), sends };
        }
      }
      for await (const answer of client.sendStream(requests())) {
        if (answer.failures.length > 0) throw new Error(answer.failures[0].message);
        open--;
        wake();
      }
    },
    close: () => sessionManager.abort(),
  };
}
