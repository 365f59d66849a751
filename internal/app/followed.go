package app

import (
	"os"
	"sync/atomic"
	"time"
)

// followed are files that are read again when they change. Whoever needs them looks, so that no goroutine has to.
type followed struct {
	names   []string
	start   time.Time
	looked  atomic.Int64 // when the files were looked at last, since start
	reading atomic.Bool

	// of whoever set reading
	seen   []os.FileInfo // what they were when they were looked at last
	failed time.Time     // when they could not be used; zero: they could
}

// lookAgain is how long a look at the files is good for, so that a flood of handshakes costs none.
const lookAgain = time.Second

// readAgain is when files that could not be used are read again although they look the same: who may read them, or that
// there was no descriptor left, is not seen.
const readAgain = 10 * time.Second

// follow looks at files that are read for the first time behind it.
func follow(names ...string) *followed {
	f := &followed{names: names, start: time.Now()}
	f.seen = f.look()
	return f
}

// changed calls read, which answers whether they can be used, if the files changed since the last look. One caller does so,
// the others go on with what there is.
func (f *followed) changed(read func() bool) {
	if time.Since(f.start)-time.Duration(f.looked.Load()) < lookAgain || !f.reading.CompareAndSwap(false, true) {
		return
	}
	defer f.reading.Store(false)
	f.looked.Store(int64(time.Since(f.start)))
	now := f.look() // before the files are read: what changes behind it is seen the next time
	if sameFiles(f.seen, now) && (f.failed.IsZero() || time.Since(f.failed) < readAgain) {
		return
	}
	f.seen, f.failed = now, time.Time{}
	if !read() {
		f.failed = time.Now()
	}
}

// look answers what the files are now; nil stands for one that cannot be seen.
func (f *followed) look() []os.FileInfo {
	var all []os.FileInfo
	for _, name := range f.names {
		info, err := os.Stat(name)
		if err != nil {
			info = nil
		}
		all = append(all, info)
	}
	return all
}

func sameFiles(a, b []os.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil {
			if a[i] != b[i] {
				return false
			}
			continue
		}
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}
