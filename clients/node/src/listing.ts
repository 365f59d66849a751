import type { ControlChannel } from "./control.js";
import { connectionOf } from "./convert.js";
import type { Connection, Filter } from "./facts.js";
import { ConnectionService } from "./gen/holdfast/v1/connection_service_pb.js";
import type { CallOptions } from "./options.js";

/** Options of {@link Client.list}. `timeoutMs` holds for each page. */
export interface ListOptions extends CallOptions {
  /** Connections in one page. Default 100, at most 1000. */
  readonly pageSize?: number;
}

/**
 * Connections that match a filter, by rising ID, fetched page by page as the loop takes them. A connection that
 * lives throughout appears exactly once; one that opens or ends meanwhile may or may not.
 */
export class Listing implements AsyncIterable<Connection> {
  readonly #control: ControlChannel;
  readonly #filter: Filter;
  readonly #options: ListOptions;
  readonly #unreachable = new Set<string>();

  /** Made by {@link Client.list}. */
  constructor(control: ControlChannel, filter: Filter, options: ListOptions) {
    this.#control = control;
    this.#filter = filter;
    this.#options = options;
  }

  /**
   * Nodes that did not answer in time, so that their connections are missing from what the loop has taken so
   * far. Empty after the loop: the listing was complete.
   */
  get unreachableNodes(): readonly string[] {
    return [...this.#unreachable];
  }

  /** Begins at the first page. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection, void, undefined> {
    const { pageSize } = this.#options;
    this.#unreachable.clear();
    let pageToken = "";
    do {
      const request = { filter: this.#filter, pageSize, pageToken };
      const page = await this.#control.unary(ConnectionService.method.list, request, this.#options);
      for (const node of page.unreachableNodes) this.#unreachable.add(node);
      for (const connection of page.connections) yield connectionOf(connection);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }
}
