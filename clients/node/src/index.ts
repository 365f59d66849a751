export type {
  Accept,
  AdmitOptions,
  AnswerHeaders,
  Doorkeeper,
  HandshakeAnswer,
  HandshakeHandler,
  HandshakeRequest,
  Refuse,
} from "./admission.js";
export type {
  Audience,
  AudienceCloseOptions,
  AudienceCloseResult,
  NamespaceOptions,
  PublishOptions,
  PublishResult,
} from "./audience.js";
export type { Client } from "./client.js";
export type * from "./client-options.js";
export { connect } from "./connect.js";
export * from "./errors.js";
export type { EventStream } from "./event-stream.js";
export type * from "./events.js";
export type * from "./facts.js";
export { type SendFailure, SendFailures } from "./failure-log.js";
export type {
  GroupHandle,
  MemberFailure,
  MembershipResult,
  MembersOptions,
  NatsPublishOptions,
} from "./group.js";
export type { ConnectionHandle } from "./handle.js";
export type * from "./handle-options.js";
export type { Listing, ListOptions } from "./listing.js";
export type { MessageWriter, MessageWriterOptions } from "./message-writer.js";
export type { BrokerNode, DrainResult, NodeHandle, NodeLife, NodeState } from "./node.js";
export type {
  CallOptions,
  Confirmation,
  ConnectOptions,
  MessageOptions,
  Metadata,
  SendOptions,
  TlsOptions,
} from "./options.js";
export type { Sender, SenderOptions } from "./sender.js";
export type { Sent } from "./sent.js";
export type { WatchFilter } from "./watch-source.js";
