// Groups, users, everyone and nodes: what goes to the broker and what comes of its answers.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { ErrorReason } from "../src/gen/holdfast/v1/error_reason_pb.js";
import type {
  AddMembersRequest,
  GroupServiceCloseRequest,
  ListGroupsRequest,
  ListMembersRequest,
  PublishRequest,
} from "../src/gen/holdfast/v1/group_service_pb.js";
import { Confirmation } from "../src/gen/holdfast/v1/message_pb.js";
import { Node_State } from "../src/gen/holdfast/v1/node_service_pb.js";
import * as holdfast from "../src/index.js";
import { publishToGroup } from "../src/nats-group.js";
import { type Handlers, refusal, startFakeBroker } from "./fake-broker.js";
import { gathered } from "./gathered.js";

async function using(handlers: Handlers) {
  const broker = await startFakeBroker(handlers);
  const client = await holdfast.connect({ control: broker.address });
  const stop = async () => {
    await client.close();
    broker.stop();
  };
  return { client, [Symbol.asyncDispose]: stop };
}

const tooMany = { code: 8, reason: ErrorReason.TOO_MANY_GROUPS, message: "1,000 groups" };

describe("audiences", () => {
  test("publish carries target, message and options, and answers the counts", async () => {
    const seen: PublishRequest[] = [];
    const counts = { matched: 21n, succeeded: 1n, full: 2n, gone: 3n, failed: 4n, pending: 11n };
    await using it = await using({
      group: {
        publish(request) {
          seen.push(request);
          return { ...counts, unreachableNodes: ["k5w2j4qzta"] };
        },
      },
    });
    const options = {
      except: ["a"],
      confirmation: "WRITTEN",
      expireAfterMs: 1500,
      compress: false,
    } as const;
    assert.deepEqual(await it.client.group("room-7", { namespace: "chat" }).publish("hé", options), {
      ...{ matched: 21, succeeded: 1, full: 2, gone: 3, failed: 4, pending: 11 },
      unreachableNodes: ["k5w2j4qzta"],
    });
    await it.client.user("ann").publish(new Uint8Array([0, 255]));
    await it.client.everyone({ namespace: "chat" }).publish("");
    const [group, user, everyone] = seen;
    assert.deepEqual(
      [group?.target?.namespace, group?.target?.to],
      ["chat", { case: "group", value: "room-7" }],
    );
    assert.deepEqual(
      [user?.target?.namespace, user?.target?.to],
      ["default", { case: "user", value: "ann" }],
    );
    assert.deepEqual(everyone?.target?.to, { case: "everyone", value: true });
    assert.deepEqual(group?.message?.payload, { case: "text", value: "hé" });
    assert.deepEqual([group?.message?.compress, group?.message?.more], [false, false]);
    assert.deepEqual([group?.exceptConnectionIds, group?.confirmation], [["a"], Confirmation.WRITTEN]);
    assert.deepEqual([group?.expireAfter?.seconds, group?.expireAfter?.nanos], [1n, 500_000_000]);
    assert.equal(user?.message?.payload.case, "binary");
    assert.deepEqual([user?.exceptConnectionIds, user?.confirmation, user?.expireAfter], [[], 0, undefined]);
    await assert.rejects(it.client.user("ann").publish("a\ud800"), { reason: "INVALID_MESSAGE" });
  });

  test("a publish that ends without counts is NotConfirmed only where a confirmation was asked for", async () => {
    await using it = await using({ group: { publish: (_, call) => call.cancelled.then(() => ({})) } });
    const everyone = it.client.everyone();
    await assert.rejects(everyone.publish("x", { timeoutMs: 300 }), (error) => {
      return (error as Error).constructor === holdfast.DeadlineExceeded;
    });
    await assert.rejects(
      everyone.publish("x", { timeoutMs: 300, confirmation: "RECEIVED" }),
      holdfast.NotConfirmed,
    );
  });

  test("close carries what it is given, and nothing else", async () => {
    const seen: GroupServiceCloseRequest[] = [];
    await using it = await using({
      group: {
        close(request) {
          seen.push(request);
          return { matched: 3n, unreachableNodes: ["n"] };
        },
      },
    });
    assert.deepEqual(await it.client.user("ann").close(), { matched: 3, unreachableNodes: ["n"] });
    await it.client.group("g").close({ code: 0, reason: "moved", except: ["a", "b"] });
    assert.deepEqual(
      seen.map(({ code, reason, exceptConnectionIds }) => [code, reason, exceptConnectionIds]),
      [
        [undefined, "", []],
        [0, "moved", ["a", "b"]],
      ],
    );
  });
});

describe("groups", () => {
  test("add and remove name the group and its namespace; single failures are values", async () => {
    const seen: [string, AddMembersRequest["groups"], string[]][] = [];
    await using it = await using({
      group: {
        addMembers({ namespace, groups, connectionIds }) {
          seen.push([namespace, groups, connectionIds]);
          return { succeeded: 1, failures: [{ connectionId: "b", ...tooMany }] };
        },
        removeMembers({ namespace, groups, connectionIds }) {
          seen.push([namespace, groups, connectionIds]);
          return { succeeded: 2 };
        },
      },
    });
    const group = it.client.group("room-7", { namespace: "chat" });
    const { succeeded, failures } = await group.add(["a", "b"]);
    assert.deepEqual([succeeded, failures[0]?.connectionId], [1, "b"]);
    assert.ok(failures[0]?.error instanceof holdfast.TooManyGroups);
    assert.deepEqual(await group.remove(["a", "b"]), { succeeded: 2, failures: [] });
    assert.deepEqual(seen, [
      ["chat", ["room-7"], ["a", "b"]],
      ["chat", ["room-7"], ["a", "b"]],
    ]);
  });

  test("a connection joins and leaves in its own namespace; its failure is thrown", async () => {
    const seen: unknown[] = [];
    const note = ({ namespace, groups, connectionIds }: AddMembersRequest) =>
      void seen.push([namespace, groups, connectionIds]);
    await using it = await using({
      group: {
        addMembers(request) {
          note(request);
          return { failures: request.namespace === "chat" ? [] : [{ connectionId: "a", ...tooMany }] };
        },
        removeMembers(request) {
          note(request as never);
          return { succeeded: 1 };
        },
      },
    });
    const connection = it.client.connection("a", { namespace: "chat" });
    await connection.join("g");
    await connection.leave(["g", "h"]);
    await assert.rejects(it.client.connection("a").join("g"), holdfast.TooManyGroups);
    assert.deepEqual(seen, [
      ["chat", ["g"], ["a"]],
      ["chat", ["g", "h"], ["a"]],
      ["default", ["g"], ["a"]],
    ]);
  });

  test("members and groups come page by page, and say which nodes are missing", async () => {
    const members: ListMembersRequest[] = [];
    const groups: ListGroupsRequest[] = [];
    await using it = await using({
      group: {
        listMembers(request) {
          members.push(request);
          return request.pageToken === ""
            ? { connectionIds: ["a", "b"], nextPageToken: "p2", unreachableNodes: ["n"] }
            : { connectionIds: ["c"] };
        },
        listGroups(request) {
          groups.push(request);
          return { groups: [{ name: "room-7", members: 3n }] };
        },
      },
    });
    const listing = it.client.group("room-7", { namespace: "chat" }).members({ pageSize: 2 });
    assert.deepEqual(await gathered(listing), ["a", "b", "c"]);
    assert.deepEqual(listing.unreachableNodes, ["n"]);
    assert.deepEqual(
      members.map(({ namespace, group, pageSize, pageToken }) => [namespace, group, pageSize, pageToken]),
      [
        ["chat", "room-7", 2, ""],
        ["chat", "room-7", 2, "p2"],
      ],
    );
    const found = it.client.groups({ namespace: "chat", prefix: "room-", pageSize: 5 });
    assert.deepEqual(await gathered(found), [{ name: "room-7", members: 3 }]);
    assert.deepEqual([groups[0]?.namespace, groups[0]?.prefix, groups[0]?.pageSize], ["chat", "room-", 5]);
  });

  test("over NATS: the subject and headers of the contract, and no name that is another subject", async () => {
    const published: unknown[] = [];
    const publish = (subject: string, data: unknown, { headers }: { headers: MsgHdrs }) =>
      published.push([subject, data, headers.get("Holdfast-Opcode"), headers.get("Holdfast-Except")]);
    const outlet = { nats: { publish } as unknown as NatsConnection, inboundPrefix: "holdfast-in" };
    publishToGroup(outlet, { namespace: "chat", name: "room-7" }, "hi", { except: ["a", "b"] });
    const bytes = new Uint8Array([255]);
    publishToGroup(outlet, { namespace: "chat", name: "a:b=c@d_" }, bytes, {});
    assert.deepEqual(published, [
      ["holdfast-in.chat.group.room-7", "hi", "text", "a,b"],
      ["holdfast-in.chat.group.a:b=c@d_", bytes, "binary", ""],
    ]);
    for (const name of ["a.b", "*", ">", "", "a b", "x".repeat(129)])
      assert.throws(() => publishToGroup(outlet, { namespace: "chat", name }, "", {}), {
        reason: "INVALID_GROUP",
      });
    assert.throws(() => publishToGroup(outlet, { namespace: "*", name: "g" }, "", {}), {
      reason: "INVALID_NAMESPACE",
    });
    await using it = await using({});
    await assert.rejects(it.client.group("g").publishOverNats("x"), { code: "FAILED_PRECONDITION" });
  });
});

describe("nodes", () => {
  test("a node's facts are plain values; an unknown state is absent", async () => {
    const startTime = new Date("2030-01-01T00:00:00.250Z");
    const known = { id: "k5w2j4qzta", connections: 7n, listen: ["ws://x"], state: Node_State.DRAINING };
    const life = { leaseLeft: { seconds: 9n, nanos: 500_000_000 }, lost: 3n, repeatedCloses: 2n };
    await using it = await using({
      node: {
        listNodes: () => ({
          nodes: [{ ...known, life, startTime: timestampFromDate(startTime) }, { state: 99 as Node_State }],
        }),
        getNode({ node }) {
          if (node === "") return { node: known };
          throw refusal(status.NOT_FOUND, "NODE_NOT_FOUND", { node });
        },
        drainNode: ({ node }) => ({ connections: node === known.id ? 7n : 0n }),
      },
    });
    const [first, second] = await it.client.nodes();
    assert.deepEqual([first?.id, first?.state, first?.connections], ["k5w2j4qzta", "DRAINING", 7]);
    assert.deepEqual([first?.startTime, first?.seenTime, second?.state], [startTime, undefined, undefined]);
    const expected = { leaseLeftMs: 9500, waiting: 0, freezes: 0, claims: 0, lost: 3, repeatedCloses: 2 };
    assert.deepEqual([first?.life, second?.life], [expected, undefined]);
    assert.deepEqual((await it.client.node().get()).listen, ["ws://x"]);
    await assert.rejects(it.client.node("aaaaaaaaaa").get(), holdfast.NodeNotFound);
    assert.deepEqual(await it.client.node("k5w2j4qzta").drain(), { connections: 7 });
  });
});
