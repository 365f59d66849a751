package wire

import "strconv"

// The extension that compresses messages (RFC 7692 7), and its parameters.
const (
	deflateName = "permessage-deflate"

	paramServerNoContextTakeover = "server_no_context_takeover" // RFC 7692 7.1.1.1
	paramClientNoContextTakeover = "client_no_context_takeover" // RFC 7692 7.1.1.2
	paramServerMaxWindowBits     = "server_max_window_bits"     // RFC 7692 7.1.2.1
	paramClientMaxWindowBits     = "client_max_window_bits"     // RFC 7692 7.1.2.2
)

// The sizes that an LZ77 window may have, as exponents of two (RFC 7692 7.1.2).
const (
	MinWindowBits = 8
	MaxWindowBits = 15
)

// leastClientWindowBits is what a client is asked for at least. zlib cannot compress with 8 bits: clients that use it
// end the connection when they are asked to (Python's websockets), or take 9 in silence (browsers). One that offers 8
// gets it.
const leastClientWindowBits = 9

// DeflateParams are the parameters of permessage-deflate (RFC 7692 7.1): what a server prefers, or what both agreed on.
type DeflateParams struct {
	// ServerNoContextTakeover: the server compresses each message by itself, so the client keeps nothing of the last.
	ServerNoContextTakeover bool
	// ClientNoContextTakeover: the client does.
	ClientNoContextTakeover bool
	// ServerMaxWindowBits bounds how far back the server's data may refer: 1<<bits bytes.
	ServerMaxWindowBits int
	// ClientMaxWindowBits bounds the client's. A client that does not offer client_max_window_bits cannot be bounded, and
	// one that does not offer 8 bits is asked for 9 at least.
	ClientMaxWindowBits int
}

// NegotiateDeflate agrees to the first offer of permessage-deflate that is legal; answer is the value of
// Sec-WebSocket-Extensions for it. Without one it returns false, and the answer to the handshake has no such field.
//
// An offer that RFC 7692 7 calls illegal is declined, and the next one is looked at: that is how a client offers
// something else if its first wish cannot be met. No legal offer is ever declined: the preferences only bound what is
// agreed to. The window bits of the preferences must lie between MinWindowBits and MaxWindowBits.
func NegotiateDeflate(offers []Extension, preferences DeflateParams) (agreed DeflateParams, answer string, ok bool) {
	for _, e := range offers {
		if e.Name != deflateName {
			continue
		}
		if o, legal := parseDeflateOffer(e.Params); legal {
			agreed = o.agree(preferences)
			return agreed, o.answer(agreed), true
		}
	}
	return DeflateParams{}, "", false
}

// deflateOffer is an offer that is legal. Bits are 0 where the parameter was not offered.
type deflateOffer struct {
	serverNoContext, clientNoContext bool
	serverBits, clientBits           int
}

// parseDeflateOffer reads an offer. RFC 7692 7: a server MUST decline one that has a parameter which is not defined for
// offers, has an invalid value, or comes twice.
func parseDeflateOffer(params []ExtensionParam) (o deflateOffer, legal bool) {
	for _, p := range params {
		var fresh bool
		valid := p.Value == ""
		switch p.Name {
		case paramServerNoContextTakeover:
			fresh, o.serverNoContext = !o.serverNoContext, true
		case paramClientNoContextTakeover:
			fresh, o.clientNoContext = !o.clientNoContext, true
		case paramServerMaxWindowBits:
			fresh = o.serverBits == 0
			o.serverBits, valid = windowBits(p.Value)
		case paramClientMaxWindowBits:
			fresh = o.clientBits == 0
			if o.clientBits = MaxWindowBits; p.Value != "" { // 7.1.2.2: a client may leave the value to the server
				o.clientBits, valid = windowBits(p.Value)
			}
		default:
			return o, false
		}
		if !fresh || !valid {
			return o, false
		}
	}
	return o, true
}

// windowBits reads "a decimal integer value without leading zeroes between 8 to 15, inclusive" (RFC 7692 7.1.2.1).
func windowBits(value string) (bits int, valid bool) {
	for bits = MinWindowBits; bits <= MaxWindowBits; bits++ {
		if value == strconv.Itoa(bits) {
			return bits, true
		}
	}
	return 0, false
}

// agree restricts the preferences to what the offer allows, and the offer to what is preferred.
func (o deflateOffer) agree(preferences DeflateParams) DeflateParams {
	agreed := DeflateParams{
		// RFC 7692 7.1.1.2: a client that offers client_no_context_takeover uses none whatever the answer.
		ServerNoContextTakeover: o.serverNoContext || preferences.ServerNoContextTakeover,
		ClientNoContextTakeover: o.clientNoContext || preferences.ClientNoContextTakeover,
		ServerMaxWindowBits:     preferences.ServerMaxWindowBits,
		ClientMaxWindowBits:     MaxWindowBits,
	}
	if o.serverBits != 0 {
		agreed.ServerMaxWindowBits = min(o.serverBits, preferences.ServerMaxWindowBits)
	}
	if o.clientBits != 0 {
		agreed.ClientMaxWindowBits = min(o.clientBits, max(preferences.ClientMaxWindowBits, leastClientWindowBits))
	}
	return agreed
}

// answer is what the server says. Both context parameters may be answered unasked (RFC 7692 7.1.1).
func (o deflateOffer) answer(agreed DeflateParams) string {
	answer := deflateName
	if agreed.ServerNoContextTakeover {
		answer += "; " + paramServerNoContextTakeover
	}
	if agreed.ClientNoContextTakeover {
		answer += "; " + paramClientNoContextTakeover
	}
	// 7.1.2.1: this parameter must be answered if it was offered. Unasked we only keep to it: no client needs to know.
	if o.serverBits != 0 {
		answer += "; " + paramServerMaxWindowBits + "=" + strconv.Itoa(agreed.ServerMaxWindowBits)
	}
	// 7.1.2.2: this one must not be answered unless it was offered. 15 bits are what its absence means.
	if o.clientBits != 0 && agreed.ClientMaxWindowBits < MaxWindowBits {
		answer += "; " + paramClientMaxWindowBits + "=" + strconv.Itoa(agreed.ClientMaxWindowBits)
	}
	return answer
}
