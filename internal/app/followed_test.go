package app

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Files that cannot be used are read again after a while: they may only have been unreadable, which a look does not tell.
func TestFilesThatCannotBeUsedAreReadAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	synctest.Test(t, func(t *testing.T) {
		f := follow(name)
		reads, usable := 0, false
		look := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			f.changed(func() bool { reads++; return usable })
			if reads != want {
				t.Errorf("read %d times, want %d", reads, want)
			}
		}
		look(lookAgain, 0)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		look(lookAgain, 1)
		look(lookAgain, 1)
		look(readAgain, 2)
		usable = true
		look(readAgain, 3)
		look(readAgain, 3)
	})
}
