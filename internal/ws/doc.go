// Package ws is a WebSocket server (RFC 6455) that tells instead of being asked: a connection calls
// its Handler with what the peer said, and nothing in it blocks the caller.
//
//   - An Engine owns what connections share: buffers, one clock, and the goroutines.
//   - Check judges a handshake request, Engine.Upgrade answers it, Conn.Start begins to read.
//   - Handler methods run one at a time, on the goroutine that reads; OnClose is the last, once.
//   - Send, Ping, Pong, Close and Terminate may be called from anywhere, at any time, and never wait
//     for the peer: a bounded queue takes the message or refuses it. Into an empty queue it is
//     written at once, by the caller.
//   - An idle connection holds no buffer.
//   - A connection that is held (Hold, or a Handler that has no room) is not read, so TCP's flow
//     control stops the peer; its heartbeat and receipt clocks stand still.
//
// The protocol itself, without I/O, is package wire; package deflate compresses messages, where an
// endpoint wants it (permessage-deflate, RFC 7692).
package ws
