package rpc

import (
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// fragmentMarks makes the fragment_id of unary sends: the socket's number of the unfinished message and
// a mark that binds it to the connection, both in base 36. Without the mark an ID of one connection
// would fit another, whose socket counts alike, and the message of a SendStream, which never tells its
// number, could be continued from outside.
type fragmentMarks struct{ seed maphash.Seed }

// newFragmentMarks draws the seed: no mark of another process is valid.
func newFragmentMarks() fragmentMarks { return fragmentMarks{maphash.MakeSeed()} }

// fragmentOf is what a mark is made of.
type fragmentOf struct {
	conn   hub.ID
	number uint64
}

const base36 = 36

func (f fragmentMarks) id(conn hub.ID, number uint64) string {
	mark := maphash.Comparable(f.seed, fragmentOf{conn, number})
	b := strconv.AppendUint(make([]byte, 0, 32), number, base36)
	b = append(b, '-')
	return string(strconv.AppendUint(b, mark, base36))
}

// number is the reverse of id; it refuses an ID that this process did not make for this connection.
func (f fragmentMarks) number(conn hub.ID, id string) (uint64, error) {
	digits, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(digits, base36, 64)
	if err != nil || n == 0 || f.id(conn, n) != id {
		return 0, invalidFragment(id, "the fragment_id of an unfinished message that a Send to this connection began")
	}
	return n, nil
}

func invalidFragment(id, allowed string) error {
	return hub.Invalid(hub.InvalidFragment, "message.fragment_id", id, allowed)
}
