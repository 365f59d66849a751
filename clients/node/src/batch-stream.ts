import { create, type MessageShape } from "@bufbuild/protobuf";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import type { ControlChannel } from "./control.js";
import { errorOf } from "./error-of.js";
import { HoldfastError } from "./errors.js";
import {
  ConnectionService,
  type SendRequestSchema,
  SendStreamRequestSchema,
  type SendStreamResponse,
} from "./gen/holdfast/v1/connection_service_pb.js";
import type { Sent } from "./sent.js";
import { errorFromFailure, errorFromService } from "./status.js";

/** One message on its way into a batch. */
export interface BatchItem {
  readonly request: MessageShape<typeof SendRequestSchema>;
  /** Payload bytes. */
  readonly bytes: number;
  readonly sent: Sent;
}

/** What a stream tells its owner. */
export interface BatchStreamEvents {
  /** A batch is answered; each item has its own outcome: undefined, or why it failed. */
  answered(items: readonly BatchItem[], failures: ReadonlyMap<number, HoldfastError>): void;
  /** The stream has ended; `items` were never answered. Called once, last. */
  ended(items: readonly BatchItem[], error: HoldfastError): void;
}

/** One SendStream call: batches out, one answer for each in. */
export class BatchStream {
  /** Absent when it could not begin. */
  readonly #call:
    | ClientDuplexStream<MessageShape<typeof SendStreamRequestSchema>, SendStreamResponse>
    | undefined;
  readonly #open = new Map<bigint, readonly BatchItem[]>();
  readonly #events: BatchStreamEvents;
  #nextId = 1n;
  #isEnded = false;

  constructor(control: ControlChannel, events: BatchStreamEvents) {
    this.#events = events;
    try {
      this.#call = control.bidiStream(ConnectionService.method.sendStream);
    } catch (cause) {
      // The caller's `metadata` threw, and nobody is above who could catch that: it ends as one that broke.
      const error =
        cause instanceof HoldfastError
          ? cause
          : errorOf("the stream of sends did not begin", { code: "UNKNOWN", cause });
      queueMicrotask(() => this.#ended(error));
      return;
    }
    this.#call.on("data", (answer: SendStreamResponse) => this.#answered(answer));
    this.#call.on("error", (error: ServiceError) => this.#ended(errorFromService(error, false)));
    this.#call.on("end", () =>
      this.#ended(errorOf("the broker ended the stream of sends", { code: "UNAVAILABLE" })),
    );
  }

  /** Batches that wait for their answer. */
  get openBatches(): number {
    return this.#open.size;
  }

  /** Sends one batch; the stream's owner bounds how many are open. */
  write(items: readonly BatchItem[]): void {
    const batchId = this.#nextId++;
    this.#open.set(batchId, items);
    this.#call?.write(create(SendStreamRequestSchema, { batchId, sends: items.map((item) => item.request) }));
  }

  /** Says that no batch follows. Open ones are still answered. */
  end(): void {
    this.#call?.end();
  }

  /** Gives the stream up; `ended` follows with what was not answered. */
  cancel(): void {
    this.#call?.cancel();
  }

  #answered(answer: SendStreamResponse): void {
    const items = this.#open.get(answer.batchId);
    if (items === undefined) return;
    this.#open.delete(answer.batchId);
    const failures = new Map<number, HoldfastError>();
    for (const failure of answer.failures) {
      const connectionId = items[failure.index]?.sent.connectionId ?? "";
      failures.set(failure.index, errorFromFailure({ ...failure, connectionId }));
    }
    this.#events.answered(items, failures);
  }

  #ended(error: HoldfastError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const items = [...this.#open.values()].flat();
    this.#open.clear();
    this.#events.ended(items, error);
  }
}
