package app

import (
	"cmp"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Compression of messages (permessage-deflate, RFC 7692).
type Compression struct {
	Enabled   bool `yaml:"enabled"`
	Level     int  `yaml:"level"`     // 1, fast, to 9, small; without effect below 15 bits
	Threshold Size `yaml:"threshold"` // smaller messages are sent as they are
	// What one message may refer to: with no context takeover, only itself.
	ServerNoContextTakeover bool `yaml:"server_no_context_takeover"`
	ClientNoContextTakeover bool `yaml:"client_no_context_takeover"`
	ServerMaxWindowBits     int  `yaml:"server_max_window_bits"`
	ClientMaxWindowBits     int  `yaml:"client_max_window_bits"`
}

// defaultCompression takes no context over, so that idle connections hold no memory for it.
func defaultCompression() Compression {
	return Compression{
		Level: deflate.DefaultLevel, Threshold: KiB,
		ServerNoContextTakeover: true, ClientNoContextTakeover: true,
		ServerMaxWindowBits: wire.MaxWindowBits, ClientMaxWindowBits: wire.MaxWindowBits,
	}
}

// socket is the same in the words of the sockets, to which 0 is a default.
func (c Compression) socket() ws.Compression {
	return ws.Compression{
		Enabled: c.Enabled, Level: c.Level, Threshold: cmp.Or(int(c.Threshold), -1),
		ServerContextTakeover: !c.ServerNoContextTakeover, ClientContextTakeover: !c.ClientNoContextTakeover,
		ServerMaxWindowBits: c.ServerMaxWindowBits, ClientMaxWindowBits: c.ClientMaxWindowBits,
	}
}

func (v *checker) compression(key string, c Compression) {
	v.between(key+".level", c.Level, 1, 9)
	within(v, key+".threshold", c.Threshold, 0, GiB)
	v.between(key+".server_max_window_bits", c.ServerMaxWindowBits, wire.MinWindowBits, wire.MaxWindowBits)
	v.between(key+".client_max_window_bits", c.ClientMaxWindowBits, wire.MinWindowBits, wire.MaxWindowBits)
}

// between refuses a number that is out of range.
func (v *checker) between(key string, value, lowest, highest int) {
	if value < lowest || value > highest {
		v.refuse(key, "%d is out of range: want %d to %d", value, lowest, highest)
	}
}
