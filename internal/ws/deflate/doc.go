// Package deflate compresses and inflates the messages of WebSocket connections (permessage-deflate, RFC 7692 7.2) in
// bounded memory.
//
// A Pool owns all memory that this takes and has a ceiling. A Session is one connection's part of it. What compresses a
// message is lent for that one message and holds nothing of it afterwards: 1 MiB for each connection would be the price
// of keeping it. Where a context is to be taken over, a Session keeps the last bytes of what went before, up to the
// window that was agreed (32 KiB at most), and they are shown to the next compressor as a dictionary. So an idle
// connection without context takeover holds no memory here, and one with it a window for each direction.
//
// Nothing fails or waits for want of memory: what does not fit below the ceiling is not compressed. Inflating is not a
// matter of choice, so its memory is set aside: as many inflaters as there are processors.
//
// It reads no socket, starts no goroutine and knows no frames.
package deflate
