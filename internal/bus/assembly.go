package bus

import "sync/atomic"

// Bounds of what waits for its missing pieces.
const (
	// maxWhole is the largest request and the largest part of an answer.
	maxWhole = 16 << 20
	// maxAssembling bounds the memory of messages in pieces: of those of one node, and of all.
	maxAssemblingNode = 64 << 20
	maxAssembling     = 256 << 20
)

// budget bounds memory. A parent bounds several.
type budget struct {
	limit  int64
	used   atomic.Int64
	parent *budget
}

func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.limit {
		b.used.Add(-int64(n))
		return false
	}
	if b.parent != nil && !b.parent.take(n) {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *budget) give(n int) {
	b.used.Add(-int64(n))
	if b.parent != nil {
		b.parent.give(n)
	}
}

// assembly puts the chunks of one message together. Its memory is taken from a budget when the first of
// several chunks comes; a message in one piece costs nothing.
type assembly struct {
	whole  []byte
	size   int
	budget *budget
}

// add takes the next chunk of a message of that size. It answers the message when it is complete: the chunk
// itself if that is all.
func (a *assembly) add(chunk []byte, size uint32, b *budget) (whole []byte, complete bool, err error) {
	if a.budget == nil {
		if int(size) == len(chunk) {
			return chunk, true, nil
		}
		if size > maxWhole || len(chunk) > int(size) || len(chunk) == 0 || !b.take(int(size)) {
			return nil, false, errWrongSize
		}
		a.whole, a.size, a.budget = make([]byte, 0, size), int(size), b
	}
	if int(size) != a.size || len(chunk) == 0 || len(a.whole)+len(chunk) > a.size {
		return nil, false, errWrongSize
	}
	a.whole = append(a.whole, chunk...)
	if len(a.whole) < a.size {
		return nil, false, nil
	}
	whole = a.whole
	a.drop()
	return whole, true, nil
}

// drop gives up what is there.
func (a *assembly) drop() {
	if a.budget != nil {
		a.budget.give(a.size)
	}
	*a = assembly{}
}
