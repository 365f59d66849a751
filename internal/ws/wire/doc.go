// Package wire is the WebSocket protocol (RFC 6455) without I/O: bytes and state in; frames, messages and faults out.
//
// It parses and builds frame headers, judges them (Check), assembles messages (Reader), unmasks, checks UTF-8 while
// the bytes arrive, reads and writes close payloads, and judges the opening handshake of a server (CheckUpgrade).
// Every MUST that a peer can break is a Fault: a stable name, a close code, a section of the RFC and a text.
//
// It opens no socket, starts no goroutine, knows no clock and takes no lock: whoever reads the socket owns the Reader.
// It sends nothing: answering a ping or a close, and giving up on a silent peer, is up to the caller. It inflates
// nothing: with ReaderConfig.RSV1 a compressed message (RFC 7692) is handed on as it came. It compares no origins.
package wire
