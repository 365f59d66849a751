import type { CallOptions } from "./options.js";

/** Options of {@link Client.list}. `timeoutMs` holds for each page. */
export interface ListOptions extends CallOptions {
  /** Connections in one page. Default 100, at most 1000. */
  readonly pageSize?: number;
}

/** One page, as the broker answers it. */
export interface Page<T> {
  readonly items: readonly T[];
  /** "" after the last. */
  readonly nextPageToken: string;
  readonly unreachableNodes: readonly string[];
}

/**
 * What the broker lists, in a stable order, fetched page by page as the loop takes it. What is there throughout
 * appears exactly once; what comes or goes meanwhile may or may not.
 */
export class Listing<T> implements AsyncIterable<T> {
  readonly #fetch: (pageToken: string) => Promise<Page<T>>;
  readonly #unreachable = new Set<string>();

  /** Made by {@link Client.list}, {@link Client.groups} and {@link GroupHandle.members}. */
  constructor(fetch: (pageToken: string) => Promise<Page<T>>) {
    this.#fetch = fetch;
  }

  /**
   * Nodes that did not answer in time, so that what they hold is missing from what the loop has taken so far. Empty
   * after the loop: the listing was complete.
   */
  get unreachableNodes(): readonly string[] {
    return [...this.#unreachable];
  }

  /** Begins at the first page. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    this.#unreachable.clear();
    let pageToken = "";
    do {
      const page = await this.#fetch(pageToken);
      for (const node of page.unreachableNodes) this.#unreachable.add(node);
      yield* page.items;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }
}
