package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/flate"
)

// codec is the client's side of permessage-deflate (RFC 7692 7) with the parameters that were agreed.
type codec struct {
	agreed parameters

	compressed bytes.Buffer
	deflater   *flate.Writer
	inflater   inflater
}

const fullWindow = 15 // bits; what both sides use unless they agreed on less

// negotiated answers the codec for what the broker chose; nil when it chose nothing. What it may not choose is an
// error (RFC 7692 5.1, 7.1).
func negotiated(offer string, chosen []string) (*codec, error) {
	switch {
	case len(chosen) == 0:
		return nil, nil
	case offer == "":
		return nil, fmt.Errorf("the broker chose extensions that nobody offered: %q", chosen)
	case len(chosen) > 1:
		return nil, fmt.Errorf("the broker chose %d extensions: %q", len(chosen), chosen)
	}
	agreed, err := parseParameters(chosen[0])
	if err != nil {
		return nil, fmt.Errorf("the broker chose %q: %w", chosen[0], err)
	}
	if !agreed.answersAny(offer) {
		return nil, fmt.Errorf("the broker chose %q, which answers no offer of %q", chosen[0], offer)
	}
	c := &codec{agreed: agreed}
	c.inflater = inflater{window: 1 << orFull(agreed.serverBits), most: 64 << 20}
	return c, nil
}

func orFull(bits int) int {
	if bits == 0 {
		return fullWindow
	}
	return bits
}

// inflate inflates a message of the broker.
func (c *codec) inflate(payload []byte) ([]byte, error) {
	if c == nil {
		return nil, errors.New("compressed, but no extension was negotiated")
	}
	return c.inflater.inflate(payload, !c.agreed.serverNoContext)
}

// deflate compresses a message (RFC 7692 7.2.1).
func (c *codec) deflate(message []byte) ([]byte, error) {
	c.compressed.Reset()
	if c.deflater == nil {
		w, err := flate.NewWriterWindow(&c.compressed, 1<<orFull(c.agreed.clientBits))
		if err != nil {
			return nil, err
		}
		c.deflater = w
	} else if c.agreed.clientNoContext {
		c.deflater.Reset(&c.compressed)
	}
	if _, err := c.deflater.Write(message); err != nil {
		return nil, err
	}
	if err := c.deflater.Flush(); err != nil {
		return nil, err
	}
	tail := []byte{0x00, 0x00, 0xFF, 0xFF}
	if !bytes.HasSuffix(c.compressed.Bytes(), tail) {
		return nil, errors.New("the client's compressor did not end with an empty block")
	}
	return bytes.Clone(bytes.TrimSuffix(c.compressed.Bytes(), tail)), nil
}
