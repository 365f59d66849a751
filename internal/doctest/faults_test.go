package doctest_test

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// fault is something that a client can do wrong.
type fault struct {
	name  string
	bytes []byte
}

func frames(all ...wstest.Frame) (b []byte) {
	for _, f := range all {
		b = f.Append(b)
	}
	return b
}

// strict has limits that are quick to break.
const strict = `
endpoints:
  - path: /
    limits: {message_size: 1KiB, fragments: 2}
`

func faults() []fault {
	long := strings.Repeat("x", 126)
	part := wstest.Frame{Opcode: wire.Text, NoFin: true}
	mask := "\x00\x00\x00\x00"
	return []fault{
		{"EXPECTED_FIN", frames(wstest.Frame{Opcode: wire.Ping, NoFin: true})},
		{"EXPECTED_MASK", frames(wstest.Frame{Opcode: wire.Text, Unmasked: true})},
		{"INVALID_CLOSE_CODE", frames(wstest.Close(1005, ""))},
		{"INVALID_CLOSE_CODE", frames(wstest.Close(5000, ""))},
		{"INVALID_CONTROL_PAYLOAD_LENGTH", frames(wstest.Ping(long))},
		{"INVALID_CONTROL_PAYLOAD_LENGTH", frames(wstest.Frame{Opcode: wire.Close, Payload: []byte{3}})},
		{"INVALID_OPCODE", frames(wstest.Frame{Opcode: 3})},
		{"INVALID_OPCODE", frames(wstest.Frame{Opcode: wire.Continuation})},
		{"INVALID_OPCODE", frames(part, wstest.Text("another"))},
		{"INVALID_UTF8", frames(wstest.Frame{Opcode: wire.Text, Payload: []byte{0xff}})},
		{"INVALID_UTF8", frames(wstest.Close(1000, "\xff"))},
		{"TOO_MANY_FRAGMENTS", frames(part, wstest.Frame{Opcode: wire.Continuation, NoFin: true}, wstest.Frame{Opcode: wire.Continuation})},
		{"UNEXPECTED_RSV_1", frames(wstest.Frame{Opcode: wire.Text, RSV1: true})},
		{"UNEXPECTED_RSV_2_3", frames(wstest.Frame{Opcode: wire.Text, RSV2: true})},
		{"UNEXPECTED_RSV_2_3", frames(wstest.Frame{Opcode: wire.Text, RSV3: true})},
		{"UNSUPPORTED_DATA_PAYLOAD_LENGTH", []byte("\x81\xfe\x00\x05" + mask + "hello")},
		{"UNSUPPORTED_DATA_PAYLOAD_LENGTH", []byte("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00" + mask)},
		{"UNSUPPORTED_MESSAGE_LENGTH", frames(wstest.Binary(make([]byte, 1025)))},
	}
}

// ruleOf reads the bytes as the broker does and answers the section of the rule that they break.
func ruleOf(t *testing.T, input []byte) string {
	t.Helper()
	var r wire.Reader
	r.Reset(&wire.ReaderConfig{MessageLimit: 1 << 10, FragmentLimit: 2})
	input = bytes.Clone(input) // it is unmasked in place
	for len(input) > 0 {
		_, n, fault := r.Next(input)
		if fault != nil {
			return fault.Section
		}
		input = input[n:]
	}
	t.Fatal("no fault")
	return ""
}

func TestFaultsAreThoseOfTheTable(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, strict))
	documented := make(map[string]row)
	for _, r := range read(t, operating).table(t, "Faults") {
		documented[bare(r["fault"])] = r
	}
	for name, n := range holdfastv1.Closed_Fault_value {
		if _, there := documented[name]; !there && n != 0 {
			t.Errorf("the table lacks %s", name)
		}
	}
	seen := map[string][]string{"INVALID_COMPRESSED_DATA": {wire.FaultInvalidCompressedData.Section}}
	for _, f := range faults() {
		seen[f.name] = append(seen[f.name], ruleOf(t, f.bytes))
		code, err := strconv.ParseUint(documented[f.name]["close code"], 10, 16)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		events := bustest.Record(t, b.NATS, "holdfast.default.close.*")
		peer := wstest.Dial(t, b.URL("/"), nil)
		peer.Raw(f.bytes)
		peer.ExpectClose(uint16(code))
		_ = peer.Close()
		want := ending{Cause: "PROTOCOL_FAULT", Fault: f.name, SentCode: int(code)}
		if f.name == "UNSUPPORTED_MESSAGE_LENGTH" {
			want.Cause = "MESSAGE_TOO_LARGE"
		}
		if diff := gocmp.Diff(want, endingOf(t, events.Wait(1)[0])); diff != "" {
			t.Errorf("%s: close event (-documented +published):\n%s", f.name, diff)
		}
	}
	for name, r := range documented {
		broken := seen[name]
		slices.Sort(broken)
		if diff := gocmp.Diff(slices.Compact(broken), sections(r["rule"])); diff != "" {
			t.Errorf("%s: rules (-broken +documented):\n%s", name, diff)
		}
	}
}

// sections makes "RFC 6455 5.2" and "RFC 6455 5.4" of "RFC 6455 5.2, 5.4".
func sections(rule string) (all []string) {
	rfc, numbers := rule[:min(len(rule), len("RFC 6455 "))], rule[min(len(rule), len("RFC 6455 ")):]
	for number := range strings.SplitSeq(numbers, ", ") {
		all = append(all, rfc+number)
	}
	slices.Sort(all)
	return all
}
