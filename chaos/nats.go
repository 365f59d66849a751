//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/reserve"
)

// lifeStream is where brokers record what opens and closes.
const lifeStream = "HOLDFAST_LIFE"

// natsServer is one server of the cluster, always at the same address and with the same disk.
type natsServer struct {
	*process

	number  int
	address string
	stage   *stage
	disk    *smallDisk // nil: as large as the machine's
}

const natsConfig = `
server_name: n%[1]d
listen: %[2]q
jetstream: {store_dir: %[3]q, max_file: 1GB}
cluster: {
  name: chaos, listen: %[4]q, no_advertise: true
  routes: [%[5]s]
}
`

// prepareNATS writes the configurations. Clients are not told of other servers: every broker must go through its taps.
func (s *stage) prepareNATS() error {
	clients, err := reserve.Addresses(servers)
	if err != nil {
		return err
	}
	routes, err := reserve.Addresses(servers)
	if err != nil {
		return err
	}
	for i := range s.nats {
		n := &natsServer{number: i, address: clients[i], stage: s}
		s.nats[i] = n
		if i == servers-1 {
			if n.disk, err = newSmallDisk(n.store()); err != nil {
				s.noDisk = err
			}
		}
		config := fmt.Sprintf(natsConfig, i, n.address, n.store(), routes[i],
			"nats-route://"+strings.Join(routes, ", nats-route://"))
		if err := os.WriteFile(n.config(), []byte(config), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (n *natsServer) config() string {
	return filepath.Join(n.stage.dir, fmt.Sprintf("n%d.conf", n.number))
}
func (n *natsServer) store() string { return filepath.Join(n.stage.dir, fmt.Sprintf("n%d", n.number)) }
func (n *natsServer) url() string   { return "nats://" + n.address }

func (n *natsServer) start() (err error) {
	command := []string{n.stage.settings.nats, "-c", n.config()}
	if n.disk != nil {
		command = n.disk.command(command)
	}
	n.process, err = spawn(n.stage.dir, fmt.Sprintf("n%d", n.number), nil, command[0], command[1:]...)
	if err != nil {
		return err
	}
	return until("NATS server accepts clients", func() bool {
		c, err := net.Dial("tcp", n.address) //nolint:gosec // an address of our own
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// streamLeader asks every server that answers which of them leads the life stream, and how many replicas are current.
func (s *stage) streamLeader() (leader, current int) {
	for _, nc := range s.asking {
		m, err := nc.Request("$JS.API.STREAM.INFO."+lifeStream, nil, time.Second)
		if err != nil {
			continue
		}
		var info struct {
			Cluster struct {
				Leader   string `json:"leader"`
				Replicas []struct {
					Current bool `json:"current"`
				} `json:"replicas"`
			} `json:"cluster"`
		}
		if json.Unmarshal(m.Data, &info) != nil || info.Cluster.Leader == "" {
			continue
		}
		for _, r := range info.Cluster.Replicas {
			if r.Current {
				current++
			}
		}
		leader, err = strconv.Atoi(strings.TrimPrefix(info.Cluster.Leader, "n"))
		if err == nil {
			return leader, current + 1
		}
	}
	return -1, 0
}

func (s *stage) ask() error {
	for _, n := range s.nats {
		nc, err := nats.Connect(n.url(), nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
		if err != nil {
			return err
		}
		s.asking = append(s.asking, nc)
	}
	return nil
}

// smallDisk is a file system of its own that can be filled. It is mounted in a mount namespace that ends with us.
type smallDisk struct {
	holder *exec.Cmd
	stdin  io.Closer
	path   string
	user   bool
}

// diskSize holds the streams of a run, and is filled in a moment.
const diskSize = "192m"

func newSmallDisk(path string) (*smallDisk, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	d, err := holdDisk(path, false)
	if err != nil {
		d, err = holdDisk(path, true)
	}
	return d, err
}

// holdDisk starts a process that does nothing but hold the namespace. Users other than root need one of users beside it.
func holdDisk(path string, user bool) (*smallDisk, error) {
	flags := []string{"--mount"}
	if user {
		flags = []string{"--user", "--map-root-user", "--mount"}
	}
	script := fmt.Sprintf("mount -t tmpfs -o size=%s none '%s' && echo ready && exec cat", diskSize, path)
	d := &smallDisk{path: path, user: user, holder: exec.Command("unshare", append(flags, "sh", "-c", script)...)} //nolint:gosec // a script of our own
	d.holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := d.holder.StdinPipe()
	if err != nil {
		return nil, err
	}
	d.stdin = in
	out, err := d.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.holder.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		_ = in.Close()
		return nil, errors.Join(errors.New("no file system of our own can be mounted here"), d.holder.Wait())
	}
	return d, nil
}

// command runs another one where the disk is mounted.
func (d *smallDisk) command(command []string) []string {
	enter := []string{"nsenter", "--mount", "--target", strconv.Itoa(d.holder.Process.Pid)}
	if d.user {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	return append(append(enter, "--"), command...)
}

// inside is the disk's path for everybody.
func (d *smallDisk) inside(name string) string {
	return fmt.Sprintf("/proc/%d/root%s", d.holder.Process.Pid, filepath.Join(d.path, name))
}

// fill takes all room that is left.
func (d *smallDisk) fill() error {
	f, err := os.Create(d.inside("filler")) //nolint:gosec // a path of our own
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 64<<10); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (d *smallDisk) makeRoom() error { return os.Remove(d.inside("filler")) } //nolint:gosec // a path of our own

func (d *smallDisk) close() {
	_ = d.stdin.Close()
	_ = d.holder.Wait()
}

// until asks again and again: what a process is doing, nobody is told of.
func until(what string, met func() bool) error {
	for begin := time.Now(); !met(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > patience {
			return fmt.Errorf("no %s within %v", what, patience)
		}
	}
	return nil
}
