import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { ConnectionService } from "../dist/gen/holdfast/v1/connection_service_pb.js";

function wire(method) {
  const encode = (message) => {
    const bytes = toBinary(method.input, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  return [`/${method.parent.typeName}/${method.name}`, encode, (bytes) => fromBinary(method.output, bytes)];
}

/** The calls that are compared, by @grpc/grpc-js with the same messages. */
export function open(address) {
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  const { send, sendStream } = ConnectionService.method;
  const [sendWire, sendStreamWire] = [wire(send), wire(sendStream)];
  return {
    name: "grpc-js",
    send: (request) =>
      new Promise((resolve, reject) => {
        const message = create(send.input, request);
        const options = { deadline: Date.now() + 5000 };
        client.makeUnaryRequest(...sendWire, message, new grpc.Metadata(), options, (error, answer) =>
          error ? reject(error) : resolve(answer),
        );
      }),
    /** Sends batches, at most 16 of them unanswered. */
    async sendStream(batches, sends) {
      const call = client.makeBidiStreamRequest(...sendStreamWire, new grpc.Metadata());
      let open = 0;
      let wake = () => {};
      const ended = new Promise((resolve, reject) => {
        call.on("data", (answer) => {
          if (answer.failures.length > 0) reject(new Error(answer.failures[0].message));
          open--;
          wake();
        });
        call.on("end", resolve);
        call.on("error", reject);
      });
      for (let i = 0; i < batches; i++) {
        while (open === 16)
          await new Promise((resolve) => {
            wake = resolve;
          });
        open++;
        call.write(create(sendStream.input, { batchId: BigInt(i), sends }));
      }
      call.end();
      await ended;
    },
    close: () => client.close(),
  };
}
