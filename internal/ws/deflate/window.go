package deflate

// window is a context (RFC 7692 7.1.1): the last size bytes of all messages that were compressed in one direction.
type window struct {
	size  int // 0: no context is taken over
	bytes []byte
}

// add moves the window on over a message.
func (w *window) add(message []byte) {
	if w.size == 0 {
		return
	}
	if over := len(message) - w.size; over > 0 {
		message = message[over:]
	}
	if w.bytes == nil {
		w.bytes = make([]byte, 0, w.size)
	}
	if over := len(w.bytes) + len(message) - w.size; over > 0 {
		w.bytes = w.bytes[:copy(w.bytes, w.bytes[over:])]
	}
	w.bytes = append(w.bytes, message...)
}
