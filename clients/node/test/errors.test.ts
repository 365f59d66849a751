import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { errorOf } from "../src/error-of.js";
import { ErrorReason } from "../src/gen/holdfast/v1/error_reason_pb.js";
import * as holdfast from "../src/index.js";
import { codeName, errorFromFailure, errorFromService, readStatusDetails } from "../src/status.js";
import { detailsTrailer } from "./fake-broker.js";

const expected: [string, holdfast.StatusCode, new (...args: never[]) => holdfast.HoldfastError][] = [
  ["CONNECTION_NOT_FOUND", "NOT_FOUND", holdfast.ConnectionNotFound],
  ["CONNECTION_GONE", "NOT_FOUND", holdfast.ConnectionNotFound],
  ["CONNECTION_CLOSING", "FAILED_PRECONDITION", holdfast.ConnectionClosing],
  ["CONNECTION_PAUSED", "FAILED_PRECONDITION", holdfast.ConnectionPaused],
  ["MESSAGE_EXPIRED", "FAILED_PRECONDITION", holdfast.MessageExpired],
  ["SEND_QUEUE_FULL", "RESOURCE_EXHAUSTED", holdfast.QueueFull],
  ["RATE_LIMITED", "RESOURCE_EXHAUSTED", holdfast.RateLimited],
  ["WATCH_LAGGED", "RESOURCE_EXHAUSTED", holdfast.SlowConsumer],
  ["SKIPPED_AFTER_FAILURE", "ABORTED", holdfast.SkippedAfterFailure],
  ["NODE_UNREACHABLE", "UNAVAILABLE", holdfast.Unavailable],
  ["BUS_UNAVAILABLE", "UNAVAILABLE", holdfast.Unavailable],
  ["NODE_STOPPING", "UNAVAILABLE", holdfast.Unavailable],
  ["KEYS_UNAVAILABLE", "UNAVAILABLE", holdfast.Unavailable],
  ["NOT_CONFIRMED", "DEADLINE_EXCEEDED", holdfast.NotConfirmed],
  ["NODE_NOT_FOUND", "NOT_FOUND", holdfast.NodeNotFound],
  ["TOO_MANY_GROUPS", "RESOURCE_EXHAUSTED", holdfast.TooManyGroups],
  ["INTERNAL_ERROR", "INTERNAL", holdfast.HoldfastError],
];

function serviceError(code: status, trailer = new Metadata()): ServiceError {
  return Object.assign(new Error(`${code}`), { code, details: "a sentence", metadata: trailer });
}

describe("errors", () => {
  test("every reason of the schema has its class", () => {
    const table = new Map(expected.map(([reason, code, Class]) => [reason, { code, Class }]));
    for (const reason of Object.keys(ErrorReason).filter((name) => Number.isNaN(Number(name)))) {
      if (reason === "ERROR_REASON_UNSPECIFIED") continue;
      const { code, Class } = table.get(reason) ?? {
        code: "INVALID_ARGUMENT" as const,
        Class: holdfast.InvalidArgument,
      };
      const number = status[code];
      const error = errorFromService(
        serviceError(number, detailsTrailer(number, reason, { field: "x" })),
        false,
      );
      assert.equal(error.constructor, Class, reason);
      assert.ok(error instanceof holdfast.HoldfastError);
      assert.deepEqual([error.code, error.reason, error.metadata], [code, reason, { field: "x" }]);
      assert.equal(error.message, `${code} ${reason}: a sentence`);
      assert.equal(error.name, Class.name);
    }
  });

  test("an unknown reason is judged by its code", () => {
    const error = errorFromService(serviceError(14, detailsTrailer(14, "FROM_THE_FUTURE", {})), false);
    assert.ok(error instanceof holdfast.Unavailable);
    assert.equal(error.reason, "FROM_THE_FUTURE");
    assert.equal(errorOf("x", { code: "INTERNAL", reason: "toString" }).constructor, holdfast.HoldfastError);
  });

  test("a failure without details has its code, no reason, and its cause", () => {
    const cause = serviceError(status.PERMISSION_DENIED);
    const error = errorFromService(cause, false);
    assert.deepEqual(
      [error.constructor, error.code, error.reason],
      [holdfast.PermissionDenied, "PERMISSION_DENIED", undefined],
    );
    assert.equal(error.cause, cause);
    assert.deepEqual(error.metadata, {});
  });

  test("a bare deadline means NotConfirmed only where a confirmation was awaited", () => {
    const bare = serviceError(status.DEADLINE_EXCEEDED);
    assert.equal(errorFromService(bare, false).constructor, holdfast.DeadlineExceeded);
    const waited = errorFromService(bare, true);
    assert.ok(waited instanceof holdfast.NotConfirmed && waited instanceof holdfast.DeadlineExceeded);
    assert.equal(waited.reason, "NOT_CONFIRMED");
  });

  test("details of others, and bytes that are no details, are passed over", () => {
    const others = detailsTrailer(5, "OTHER", {}, "example.org").get("grpc-status-details-bin")[0];
    assert.equal(readStatusDetails(others as Buffer), undefined);
    assert.equal(readStatusDetails(Buffer.from("not protobuf at all")), undefined);
    assert.equal(readStatusDetails(Buffer.alloc(0)), undefined);
  });

  test("a failure inside an answer is the same error", () => {
    const failure = { code: 8, reason: ErrorReason.SEND_QUEUE_FULL, message: "full", connectionId: "c" };
    const error = errorFromFailure(failure);
    assert.ok(error instanceof holdfast.QueueFull);
    assert.deepEqual([error.reason, error.metadata], ["SEND_QUEUE_FULL", { connection_id: "c" }]);
    assert.equal(errorFromFailure({ ...failure, reason: 999 as ErrorReason }).reason, "999");
  });

  test("codes that gRPC does not define are UNKNOWN", () => {
    assert.deepEqual([codeName(5), codeName(99), codeName(0)], ["NOT_FOUND", "UNKNOWN", "UNKNOWN"]);
  });
});
