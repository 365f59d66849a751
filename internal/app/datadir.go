package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dataDir is the directory of an embedded NATS server, locked while the process lives.
type dataDir struct {
	path string
	lock *os.File
	// serverName is the NATS server name: JetStream knows its peers by it, so it stays the same over
	// restarts, unlike the node ID.
	serverName string
}

func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	// The kernel lets go of the lock when the process ends, however it ends.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s: in use by another broker", path)
		}
		return nil, fmt.Errorf("data directory %s: lock: %w", path, err)
	}
	name, err := serverName(filepath.Join(path, "server-name"))
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &dataDir{path: path, lock: lock, serverName: name}, nil
}

// serverName reads the name, or makes one at the first start.
func serverName(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil {
		if name := strings.TrimSpace(string(b)); name != "" && !strings.ContainsAny(name, " \t\n.*>") {
			return name, nil
		}
		return "", fmt.Errorf("%s: not a server name: one word without spaces, '.', '*' and '>'", file)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("data directory: %w", err)
	}
	name := "holdfast-" + strings.ToLower(rand.Text()[:10])
	if err := os.WriteFile(file, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	return name, nil
}

func (d *dataDir) close() { _ = d.lock.Close() }
