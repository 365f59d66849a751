// Several control APIs in this process, as the nodes of one broker, and a client that knows them all.
import { type Client, type ConnectOptions, connect } from "../src/index.js";
import { deadline } from "./deadline.js";
import { type FakeBroker, type Handlers, startFakeBroker } from "./fake-broker.js";

/** One node of a {@link FakeCluster}. */
export interface FakeNode {
  readonly broker: FakeBroker;
  /** Calls of its handlers, by name, in order. */
  readonly calls: readonly string[];
}

/** Nodes and their client. */
export interface FakeCluster extends AsyncDisposable {
  readonly nodes: readonly FakeNode[];
  readonly client: Client;
  /** Calls of all nodes. */
  calls(): readonly string[];
}

/** What a node does; `stop` ends it at once, in the middle of a call if need be. */
export type NodeHandlers = (index: number, stop: () => void) => Handlers;

/** Starts so many nodes and returns when the client is connected to each of them. */
export async function startFakeCluster(
  size: number,
  handlersOf: NodeHandlers,
  options: ConnectOptions = {},
): Promise<FakeCluster> {
  const nodes = await Promise.all(
    Array.from({ length: size }, (_, index) => startFakeNode((stop) => handlersOf(index, stop))),
  );
  const client = await connect({ control: nodes.map(({ broker }) => broker.address), ...options });
  await deadline(connectedToAll(client, nodes), "connections to all nodes");
  return {
    nodes,
    client,
    calls: () => nodes.flatMap(({ calls }) => calls),
    async [Symbol.asyncDispose]() {
      await client.close();
      for (const { broker } of nodes) broker.stop();
    },
  };
}

/** Starts one node that keeps account of its calls. */
export async function startFakeNode(
  handlersOf: (stop: () => void) => Handlers,
  address?: string,
): Promise<FakeNode> {
  const calls: string[] = [];
  const handlers = handlersOf(() => broker.stop());
  const { group = {}, node = {}, ...connection } = handlers;
  const broker = await startFakeBroker(
    {
      ...counted(connection, "", calls),
      group: counted(group, "group.", calls),
      node: counted({ getNode: () => ({ node: {} }), ...node }, "node.", calls),
    },
    address,
  );
  return { broker, calls };
}

type Handler = (...args: unknown[]) => unknown;

function counted<T extends object>(handlers: T, service: string, calls: string[]): T {
  const pairs = Object.entries(handlers).map(([name, handler]) => [
    name,
    (...args: unknown[]) => {
      calls.push(service + name);
      return (handler as Handler)(...args);
    },
  ]);
  return Object.fromEntries(pairs) as T;
}

/** No event tells when a further address is connected: calls are made until each node has seen one. */
async function connectedToAll(client: Client, nodes: readonly FakeNode[]): Promise<void> {
  while (nodes.some(({ calls }) => calls.length === 0)) await client.node().get();
  for (const { calls } of nodes) (calls as string[]).length = 0;
}
