package doctest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const clusterDocument = "docs/cluster.md"

// clusterFile checks the file of three machines.
func clusterFile(t *testing.T, s snippet) {
	dir := t.TempDir()
	secret := write(t, dir, "cluster-secret", strings.Repeat("0123456789abcdef", 4)+"\n")
	write(t, dir, "holdfast.yaml", strings.ReplaceAll(s.text, "/etc/holdfast/cluster-secret", secret))
	if out, code := broker(t, dir, "config check --config=holdfast.yaml"); code != 0 {
		t.Errorf("%d:\n%s", code, out)
	}
}

// externalFile checks the file of brokers without a server of their own.
func externalFile(t *testing.T, s snippet) {
	dir := t.TempDir()
	credentials := write(t, dir, "broker.creds", "")
	write(t, dir, "holdfast.yaml", strings.ReplaceAll(s.text, "/etc/holdfast/broker.creds", credentials))
	if out, code := broker(t, dir, "config check --config=holdfast.yaml"); code != 0 {
		t.Errorf("%d:\n%s", code, out)
	}
}

// clusterExample starts the example on free ports, reaches a client of one broker through another, and ends
// everything as Ctrl-C does.
func clusterExample(t *testing.T, s snippet) {
	command, ok := strings.CutSuffix(s.text, "go run ./examples/cluster\n")
	if !ok || command != "" {
		t.Fatalf("the snippet is %q", s.text)
	}
	dir := t.TempDir()
	example := filepath.Join(dir, "cluster")
	bash(t, "", "go build -o '"+example+"' ./examples/cluster").end()
	p := start(t, "", []string{"TMPDIR=" + dir, "HOLDFAST_BROKER=" + brokertest.Binary(t)}, example, "-free")
	p.await("Ctrl-C ends everything")
	brokers := make([]brokertest.Ready, 0, 3)
	for _, line := range regexp.MustCompile(`(?m)\{"ready":true.*\}$`).FindAllString(p.said(), -1) {
		var b brokertest.Ready
		if err := json.Unmarshal([]byte(line), &b); err != nil {
			t.Fatal(err)
		}
		brokers = append(brokers, b)
	}
	if len(brokers) != 3 || strings.Count(p.said(), "nats-server-") != 3 {
		t.Fatalf("it says\n%s", p.said())
	}
	peer := wstest.Dial(t, brokers[0].Listen[0], nil)
	cc, err := grpc.NewClient(brokers[2].Control, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	everyone := &holdfastv1.Target{To: &holdfastv1.Target_Everyone{Everyone: true}}
	answer, err := holdfastv1.NewGroupServiceClient(cc).Publish(t.Context(), &holdfastv1.PublishRequest{Target: everyone, Message: text("all")})
	if err != nil || answer.Succeeded != 1 {
		t.Errorf("%v, %v", answer, err)
	}
	peer.Expect(wire.Text, "all")
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.end()
	if n := strings.Count(p.said(), "exit status 0"); n != 6 {
		t.Errorf("%d of 6 processes ended in order:\n%s", n, p.said())
	}
	if left, err := filepath.Glob(filepath.Join(dir, "holdfast-cluster-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// freeTens finds a number of the 400 from first on, so that the ports that begin with it and end with 1, 2 and 3 are free.
func freeTens(t *testing.T, first int) string {
	t.Helper()
	for range 100 {
		tens, free := first+rand.N(400), true
		for last := 1; last <= 3 && free; last++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d%d", tens, last))
			if free = err == nil; free {
				defer func() { _ = l.Close() }() // so that the next number is another
			}
		}
		if free {
			return strconv.Itoa(tens)
		}
	}
	t.Fatal("no free ports")
	return ""
}

// embeddedCluster starts the three brokers, looks at them, loses one and removes it.
func embeddedCluster(t *testing.T, s snippet) {
	d, dir := read(t, clusterDocument), t.TempDir()
	text := func(heading string, n int) string {
		return d.one(t, fmt.Sprintf("%s#%s/%d", clusterDocument, heading, n)).text
	}
	ports := strings.NewReplacer("127.0.0.1:808$i", "127.0.0.1:0", "127.0.0.1:740$i", "127.0.0.1:0", "127.0.0.1:750$i", "127.0.0.1:0",
		"127.0.0.1:422", "127.0.0.1:"+freeTens(t, 1100), "127.0.0.1:622", "127.0.0.1:"+freeTens(t, 1500))
	try := "On one machine, to try it"
	// The binary itself, for a function in the background would be another process, and not the one to kill.
	begin := strings.Replace(s.text, "broker --listen", "'"+brokertest.Binary(t)+"' --listen", 1)
	p := bash(t, dir, ports.Replace(begin+`echo "$HOLDFAST_CLUSTER_SECRET" >secret; echo "pids" $(jobs -p) "."; wait`))
	eventually(t, "three ready lines", func() bool { return strings.Count(p.said(), `"ready":true`) == 3 })
	secret := "HOLDFAST_CLUSTER_SECRET=" + strings.TrimSpace(readFile(t, dir, "secret"))

	var status string
	for begin := time.Now(); shape(status) != shape(text(try, 3)); { // a server may be behind at first
		if time.Since(begin) > brokertest.Patience {
			t.Fatalf("it prints\n%s\nthe document has\n%s", status, text(try, 3))
		}
		status = bash(t, dir, asBroker(t, ports.Replace(text(try, 2))), secret).end()
	}
	bustest.Dial(t, ports.Replace("nats://127.0.0.1:4223")) // one of the others, as the text says

	name := strings.TrimSpace(readFile(t, dir, "holdfast-data-3/server-name"))
	kill(t, p, 3)
	remove := strings.NewReplacer("holdfast-k3j5x7qzta", name, "--config=holdfast.yaml", ports.Replace("--nats=127.0.0.1:4221")).Replace(text("Replacing a machine", 1))
	var out *program
	eventually(t, "the server is removed", func() bool { // a leader may have to be elected
		out = bash(t, dir, asBroker(t, remove), secret)
		return out.exitCode() == 0
	})
	if !strings.Contains(out.said(), "removed "+name) {
		t.Errorf("it prints %s", out.said())
	}
}

// shape is a table of servers without what differs each time.
func shape(table string) string {
	table = regexp.MustCompile(`holdfast-\w+`).ReplaceAllString(table, "NAME")
	table = regexp.MustCompile(`127.0.0.1:\d+`).ReplaceAllString(table, "ADDRESS")
	table = regexp.MustCompile(`\b(leader|current) +\d+`).ReplaceAllString(table, "STATE")
	return regexp.MustCompile(` +`).ReplaceAllString(table, " ")
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// kill ends the n-th broker that the program has started.
func kill(t *testing.T, p *program, n int) {
	t.Helper()
	pids := strings.Fields(regexp.MustCompile(`pids .*\.`).FindString(p.said()))
	if len(pids) < n+2 {
		t.Fatalf("no processes:\n%s", p.said())
	}
	pid, err := strconv.Atoi(pids[n])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
