export type { Client, Count, EventsOptions, SendManyResult, StreamOptions, WatchOptions } from "./client.js";
export { connect } from "./connect.js";
export * from "./errors.js";
export type { EventStream } from "./event-stream.js";
export type * from "./events.js";
export type * from "./facts.js";
export { type SendFailure, SendFailures } from "./failure-log.js";
export type {
  CloseOptions,
  CloseResult,
  ConnectionHandle,
  PauseOptions,
  PingOptions,
  PongOptions,
  SendResult,
  Update,
} from "./handle.js";
export type { Listing, ListOptions } from "./listing.js";
export type { MessageWriter, MessageWriterOptions } from "./message-writer.js";
export type {
  CallOptions,
  Confirmation,
  ConnectOptions,
  MessageOptions,
  SendOptions,
  TlsOptions,
} from "./options.js";
export type { Sender, SenderOptions } from "./sender.js";
export type { Sent } from "./sent.js";
export type { WatchFilter } from "./watch-source.js";
