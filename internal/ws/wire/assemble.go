package wire

// readHeader takes bytes of a header from b and returns how many. Once the header is complete the frame is inPayload;
// until then its bytes are held.
func (r *Reader) readHeader(b []byte) (taken int, fault *Fault) {
	known := len(r.held)
	if known > 0 {
		r.hold(b[:min(len(b), MaxHeaderSize-known)])
		b = r.held
	}
	h, size, fault := r.parseHeader(b)
	if fault != nil {
		return 0, fault
	}
	if size == 0 {
		if known == 0 {
			r.hold(b)
		}
		return len(b) - known, nil
	}
	r.release(&r.held)
	return size - known, r.begin(h)
}

// parseHeader is ParseHeader, but the rules come first, as soon as the bytes that decide them are there.
func (r *Reader) parseHeader(b []byte) (h Header, n int, fault *Fault) {
	if len(b) < startSize {
		return Header{}, 0, nil
	}
	fault = Check(parseStart(b), State{
		FromClient:  !r.cfg.Client,
		Fragmented:  r.message.opcode != Continuation,
		RSV1Allowed: r.cfg.RSV1,
	})
	if fault != nil {
		return Header{}, 0, fault
	}
	return ParseHeader(b)
}

// begin starts to read the payload of a frame whose header Check has passed. A message that would grow over a limit
// ends here, before its payload has come.
func (r *Reader) begin(h Header) *Fault {
	if !h.Opcode.IsControl() {
		if h.Opcode != Continuation {
			r.message.opcode = h.Opcode
			r.message.compressed = h.RSV1
		}
		if r.message.fragments++; r.message.fragments > r.cfg.fragmentLimit() {
			return faultFragments
		}
		if r.cfg.frameTooLong(h.Length) {
			return faultFrameTooLong
		}
		if h.Length > uint64(r.cfg.messageLimit(r.message.compressed)-len(r.message.buf)) {
			return FaultMessageTooLong
		}
	}
	r.frame = frame{
		remaining: int(h.Length), // at most messageLimit
		mask:      h.Mask,
		opcode:    h.Opcode,
		fin:       h.Fin,
		phase:     inPayload,
	}
	return nil
}

// readPayload takes from b what belongs to the frame and returns how much that is. It sets ev if that completes an
// event. (Events go by pointer in here: copying one at each return would cost more than unmasking a short message.)
func (r *Reader) readPayload(b []byte, ev *Event) (taken int, fault *Fault) {
	taken = min(len(b), r.frame.remaining)
	part := b[:taken:taken] // so that a caller who appends to the payload does not write into the next frame
	r.frame.remaining -= taken
	r.frame.maskPos = byte(Mask(part, r.frame.mask, int(r.frame.maskPos)))
	if r.frame.opcode.IsControl() {
		fault = r.takeControl(part, ev)
	} else {
		fault = r.takeData(part, ev)
	}
	switch {
	case ev.Kind != NoEvent:
		r.frame.phase = lent
	case r.frame.remaining == 0:
		r.frame.phase = inHeader
	}
	return taken, fault
}

// takeControl takes part of the payload of a control frame.
func (r *Reader) takeControl(part []byte, ev *Event) *Fault {
	ended := r.frame.remaining == 0
	if ended && len(r.held) == 0 {
		return ev.setControl(r.frame.opcode, part)
	}
	r.hold(part)
	if !ended {
		return nil
	}
	return ev.setControl(r.frame.opcode, r.held)
}

// takeData takes part of the payload of a data frame.
func (r *Reader) takeData(part []byte, ev *Event) *Fault {
	m := &r.message
	ended := r.frame.fin && r.frame.remaining == 0
	if m.opcode == Text && !m.compressed {
		if !m.text.Next(part) || ended && !m.text.Complete() {
			return FaultInvalidUTF8
		}
	}
	payload := part
	if !ended || len(m.buf) > 0 {
		r.keep(part)
		payload = m.buf
	}
	if !ended {
		return nil
	}
	ev.Kind, ev.Opcode, ev.Compressed, ev.Payload = MessageEvent, m.opcode, m.compressed, payload
	*m = message{buf: m.buf} // which the caller has until Release
	return nil
}

// hold appends part to a header or to the payload of a control frame.
func (r *Reader) hold(part []byte) {
	if len(part) == 0 {
		return
	}
	if r.held == nil {
		r.held = r.cfg.get(MaxControlPayload)
	}
	r.held = append(r.held, part...)
}

// keep appends part, already counted in frame.remaining, to the message. The buffer grows with the bytes that have
// arrived, to twice their number at most, and never by the word of a length field alone. It does not grow over the
// message's size where that is known, nor over the limit.
func (r *Reader) keep(part []byte) {
	m := &r.message
	if need := len(m.buf) + len(part); need > cap(m.buf) {
		most := r.cfg.messageLimit(m.compressed)
		if r.frame.fin {
			most = need + r.frame.remaining
		}
		old := m.buf
		m.buf = append(r.cfg.get(need+min(need, most-need)), old...)
		r.cfg.put(old)
	}
	m.buf = append(m.buf, part...)
}
