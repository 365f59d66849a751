import type { Closed_Cause, Closed_Fault } from "./gen/holdfast/v1/event_pb.js";

/** What the broker knows of one client WebSocket at the moment of the answer. */
export interface Connection {
  /** Opaque; one NATS subject token; never reused. */
  readonly id: string;
  /** The broker process that holds the socket. */
  readonly node: string;
  /** The family of connections its endpoint put it in. */
  readonly namespace: string;
  /** The configured path that accepted it, for example "/ws/{room}". */
  readonly endpoint: string;
  /** CLOSING: only the closing handshake is still under way. */
  readonly state: "OPEN" | "CLOSING";
  /** Whether a backend's pause, or the endpoint's `start_paused`, keeps it from being read. */
  readonly paused: boolean;
  /** Path and query of the handshake request. */
  readonly url: string;
  /** Host header of the handshake request. */
  readonly host: string;
  /**
   * The client's, "192.0.2.7:51022"; "" on a Unix socket. Behind a trusted proxy it is what the proxy says, which may
   * be without a port: "192.0.2.7".
   */
  readonly remoteAddress: string;
  /** Those headers of the handshake request that the endpoint's `keep_headers` names. */
  readonly headers: Readonly<Record<string, string>>;
  /** The one chosen in the handshake; "" when none was. */
  readonly subprotocol: string;
  /** The agreed Sec-WebSocket-Extensions; "" when none were. */
  readonly extensions: string;
  /** Who admission or a backend's update says the client is; "" when nobody has. */
  readonly user: string;
  /** What admission, and backends by update, attached. */
  readonly attributes: Readonly<Record<string, string>>;
  /** The groups it is a member of, sorted. */
  readonly groups: readonly string[];
  /** Facts of the TLS session. Absent: a plain connection. */
  readonly tls: Tls | undefined;
  /** When the handshake was accepted. */
  readonly openTime: Date;
  /** When the broker will close it. Absent: never. */
  readonly expireTime: Date | undefined;
  /** Round trip of the last answered ping, in milliseconds. Absent: none was answered yet. */
  readonly rttMs: number | undefined;
  /** Payload bytes accepted for sending and not yet taken by the kernel. */
  readonly bufferedAmount: number;
  /** Messages received from the client and published. */
  readonly messagesIn: number;
  /** Payload bytes of those messages. */
  readonly bytesIn: number;
  /** Messages written to the client. */
  readonly messagesOut: number;
  /** Payload bytes of those messages. */
  readonly bytesOut: number;
  /** Last published sequence number: an event of this connection with a smaller or equal `seq` is older. */
  readonly seq: number;
}

/** Facts of a connection's TLS session. */
export interface Tls {
  /** "TLS 1.2" or "TLS 1.3". */
  readonly version: string;
  /** IANA name of the cipher suite. */
  readonly cipherSuite: string;
  /** What the client asked for (SNI); "" when it did not. */
  readonly serverName: string;
  /** The verified certificate the client presented. Absent: it presented none. */
  readonly clientCertificate: ClientCertificate | undefined;
}

/** Facts of a verified client certificate. */
export interface ClientCertificate {
  /** Distinguished name, RFC 2253. */
  readonly subject: string;
  /** Distinguished name, RFC 2253. */
  readonly issuer: string;
  /** Decimal. */
  readonly serialNumber: string;
  /** The subject alternative names that are host names. */
  readonly dnsNames: readonly string[];
  /** Fingerprint: 64 hexadecimal digits in lower case. */
  readonly sha256: string;
  /** When the certificate ends. */
  readonly notAfter: Date | undefined;
}

/** Who or what ended a connection. */
export type Cause = Exclude<keyof typeof Closed_Cause, "CAUSE_UNSPECIFIED">;

/** The rule of RFC 6455 that a client broke. */
export type Fault = Exclude<keyof typeof Closed_Fault, "FAULT_UNSPECIFIED">;

/**
 * How a connection ended, and what passed through it.
 *
 * The cause NODE_LOST says that the node of the connection died, or was cut off for too long. When the event has no
 * `seq`, it died, and nobody knows what only it knew: the counters are 0, `attributes` and `reason` empty, `code` is
 * 1006, `user` that of the open, and `closeTime` when the node was found to be dead.
 */
export interface Closed {
  /** The connection's ID. */
  readonly id: string;
  /** The broker process that held it. */
  readonly node: string;
  /** The connection's namespace. */
  readonly namespace: string;
  /** The configured path that had accepted it. */
  readonly endpoint: string;
  /** Who the client was; "" when nobody had said. */
  readonly user: string;
  /** What backends had attached; empty when the node died: not known. */
  readonly attributes: Readonly<Record<string, string>>;
  /** The code the client sent; 1005: its close frame had none; 1006: no close frame came. */
  readonly code: number;
  /** The reason the client sent. */
  readonly reason: string;
  /** The code the broker sent; 0: it sent no close frame; 1005: one without a code. */
  readonly sentCode: number;
  /** The reason the broker sent. */
  readonly sentReason: string;
  /** Whether close frames went both ways. */
  readonly wasClean: boolean;
  /** Who or what ended it. Absent: a cause that this client does not know. */
  readonly cause: Cause | undefined;
  /** The broken rule. Absent: none was broken. */
  readonly fault: Fault | undefined;
  /** One line for people; its wording may change. */
  readonly detail: string;
  /** When the handshake was accepted. Absent: not known. */
  readonly openTime: Date | undefined;
  /** When it ended; when the node died, the time at which that was found. Absent: not known. */
  readonly closeTime: Date | undefined;
  /** Messages received from the client and published; 0 when the node died: not known. */
  readonly messagesIn: number;
  /** Payload bytes of those messages; likewise. */
  readonly bytesIn: number;
  /** Messages written to the client; likewise. */
  readonly messagesOut: number;
  /** Payload bytes of those messages; likewise. */
  readonly bytesOut: number;
}

/** Chooses connections: fields that are set must all match. Absent or empty: every connection. */
export interface Filter {
  /** Only this namespace. */
  readonly namespace?: string;
  /** Only connections of this user. */
  readonly user?: string;
  /** Only members of this group. */
  readonly group?: string;
  /** Only connections of this node. */
  readonly node?: string;
  /** Only connections that have every one of these names with exactly this value. */
  readonly attributes?: Readonly<Record<string, string>>;
}
