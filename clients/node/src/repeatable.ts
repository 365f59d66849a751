import type { DescMessage, DescMethodUnary, MessageShape } from "@bufbuild/protobuf";
import { ConnectionService, type SendRequest } from "./gen/holdfast/v1/connection_service_pb.js";
import { GroupService } from "./gen/holdfast/v1/group_service_pb.js";
import { NodeService } from "./gen/holdfast/v1/node_service_pb.js";

const connection = ConnectionService.method;
const group = GroupService.method;
const node = NodeService.method;

/** Calls that do no harm when they are made again although an earlier attempt may have taken effect. */
const harmless: ReadonlySet<unknown> = new Set([
  // They only read.
  connection.get,
  connection.list,
  connection.count,
  group.listMembers,
  group.listGroups,
  node.listNodes,
  node.getNode,
  // They say how something is to be, so that a second time finds it so already. What another backend changed between
  // the two attempts is changed back, as if the call had only been slow.
  connection.pause,
  connection.resume,
  connection.update,
  group.addMembers,
  group.removeMembers,
  node.drainNode,
  // Nothing ends twice: the repeat waits for the same end, or finds nobody (CONNECTION_NOT_FOUND).
  connection.close,
  connection.terminate,
]);

// Not among them: Publish, SendMany, Ping and Pong, which a client would get twice; and GroupService.Close, which would
// close those too who came after the first attempt: the user that was logged out everywhere and logs in anew.

/** Whether a call may be made again when nobody knows what became of an earlier attempt. */
export function isRepeatable<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  request: MessageShape<I>,
): boolean {
  // The connection knows its last 16 request IDs, and answers a repeat without sending anything.
  if ((method as unknown) === connection.send) return (request as unknown as SendRequest).requestId !== "";
  return harmless.has(method);
}
