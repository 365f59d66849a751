package main_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
)

// cluster runs "broker cluster" with the secret of the tests' clusters.
func cluster(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(brokertest.Binary(t), append([]string{"cluster"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.Env = append(os.Environ(), "HOLDFAST_CLUSTER_SECRET="+brokertest.ClusterSecret)
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), complaints.String()
}

// awaitStatus runs it until it prints what is wanted: JetStream takes seconds to notice some things.
func awaitStatus(t *testing.T, c *brokertest.Cluster, code int, want string) string {
	t.Helper()
	pattern := regexp.MustCompile(want)
	for begin := time.Now(); ; {
		got, stdout, stderr := cluster(t, "status", "--nats="+c.Brokers[0].NATS)
		if got == code && pattern.MatchString(stdout+stderr) {
			return stdout
		}
		if time.Since(begin) > brokertest.Patience {
			t.Fatalf("exit code %d, want %d; it prints\n%s%s\nwant %s", got, code, stdout, stderr, want)
		}
	}
}

// name of a broker's server, as its data directory holds it.
func (v *vault) name(broker int) string {
	v.t.Helper()
	text, err := os.ReadFile(filepath.Join(v.c.DataDir(broker), "server-name"))
	if err != nil {
		v.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TestAMachineIsReplacedForGood loses a machine with its disk, takes it out of the cluster, and puts another
// in its place.
func TestAMachineIsReplacedForGood(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := brokertest.NewCluster(t, 3)
	c.Start(0, 1, 2)
	v := &vault{t: t, c: c}
	v.create()
	v.write(0)
	lost := v.name(2)
	out := awaitStatus(t, c, 0, `(?s)cluster test: 3 servers, of which 2 must be running(.* 127\.0\.0\.1:\d+ +(current|leader) ){3}`)
	if strings.Count(out, " current ") != 2 || strings.Count(out, " leader ") != 1 || strings.Count(out, "127.0.0.1:") != 3 {
		t.Errorf("the status is\n%s", out)
	}
	nats := "--nats=" + c.Brokers[0].NATS
	if code, _, said := cluster(t, "remove", lost, nats); code != 1 || !strings.Contains(said, lost+" is running, and would go on without JetStream: stop its broker first, or use --force") {
		t.Errorf("a running server: %d, %s", code, said)
	}
	c.Kill(2)
	awaitStatus(t, c, 0, lost+` +- +away`)
	if code, stdout, stderr := cluster(t, "remove", lost, nats); code != 0 || stdout != "removed "+lost+" from cluster test\n" {
		t.Fatalf("%d, %s%s", code, stdout, stderr)
	}
	awaitStatus(t, c, 0, `test: 2 servers`)
	c.Forget(2)
	c.Start(2)
	awaitStatus(t, c, 0, `(?s)test: 3 servers.*`+v.name(2))
	if v.name(2) == lost {
		t.Error("the new machine has the old name")
	}
	v.write(2)
	v.check(1)
}

func TestClusterCommandsFailInOneClearLine(t *testing.T) {
	c := brokertest.NewCluster(t, 3)
	c.Start(0, 1, 2)
	alone := brokertest.Start(t)
	nats := "--nats=" + c.Brokers[0].NATS
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"wrong name":      {[]string{"remove", "nobody", nats}, `"nobody" is no server of cluster test: want holdfast-`},
		"wrong secret":    {[]string{"status", nats, "--cluster-secret=wrong-but-long-enough"}, "refused: the secret is not the cluster's"},
		"no cluster":      {[]string{"status", "--nats=" + alone.NATS}, "not a broker with an embedded cluster"},
		"external server": {[]string{"status", "--nats=" + bustest.Server(t)}, "not a broker with an embedded cluster"},
		"nobody there":    {[]string{"status", "--nats=127.0.0.1:1"}, "nats://127.0.0.1:1: nobody answers there"},
		"external by URL": {[]string{"status", "--nats-url=nats://127.0.0.1:1"}, "--nats-url: the cluster of an external server is asked with NATS's own tools"},
		"no known port":   {[]string{"status", "--nats-listen=127.0.0.1:0"}, `--nats-listen: "127.0.0.1:0" picks a port at each start: want --nats`},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, said := cluster(t, test.args...)
			if code != 1 || stdout != "" || !strings.HasPrefix(said, "broker: ") || !strings.Contains(said, test.want) || strings.Count(said, "\n") != 1 {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %q", code, stdout, said, test.want)
			}
		})
	}
}

// A broker that waits for its cluster says what is missing, is alive for whoever probes it, and can be
// stopped.
func TestStartWaitsForAMajority(t *testing.T) {
	ops := brokertest.FreeAddresses(t, 1)[0]
	c := brokertest.NewCluster(t, 3, "--ops-listen="+ops)
	c.Begin(0)
	b := c.Brokers[0]
	for begin := time.Now(); !strings.Contains(b.Stderr(), "waiting for a majority of the cluster: 1 of 3 servers seen"); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > brokertest.Patience {
			t.Fatalf("stderr:\n%s", b.Stderr())
		}
	}
	if status, _ := get(t, "http://"+ops+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	if status, body := get(t, "http://"+ops+"/readyz"); status != http.StatusServiceUnavailable || body != "not ready: starting\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
	if status, _ := get(t, "http://"+ops+"/metrics"); status != http.StatusOK {
		t.Errorf("metrics: %d", status)
	}
	c.Stop(0)
	if strings.Contains(b.Stderr(), brokertest.ClusterSecret) {
		t.Errorf("the secret is in the log:\n%s", b.Stderr())
	}
}
