package app

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-broker/holdfast/internal/bus"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func TestClusterIsSaidByFileFlagAndVariable(t *testing.T) {
	c, err := loadText(t, "cluster:\n  name: chat\n  routes: [\"a:6222\", \"b:6222\"]\n",
		"HOLDFAST_CLUSTER_SECRET="+testSecret, "HOLDFAST_CLUSTER_ROUTES=a:6222, b:6222, c:6222")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Cluster.forBus()
	want := bus.ClusterConfig{Name: "chat", Listen: ":6222", Routes: []string{"a:6222", "b:6222", "c:6222"}, Secret: testSecret}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestClusterSecretIsReadFromAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("secret", []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var flags Config
	flags.Cluster.SecretFile = "secret"
	c, err := Load(Sources{Flags: flags, Given: []string{"cluster-secret-file"}})
	if err != nil {
		t.Fatal(err)
	}
	if secret, err := c.Cluster.secret(); secret != testSecret || err != nil {
		t.Errorf("%q, %v", secret, err)
	}
	if err := os.WriteFile("secret", []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err == nil || err.Error() != `--cluster-secret-file: "secret" is empty: want the secret in it` {
		t.Errorf("an empty file: %v", err)
	}
}

func TestShowMasksTheClusterSecret(t *testing.T) {
	c, err := loadText(t, "cluster: {name: chat, routes: [\"a:1\"], secret: "+testSecret+"}\n")
	if err != nil {
		t.Fatal(err)
	}
	if text := c.Show(); strings.Contains(text, testSecret) || !strings.Contains(text, "  secret: \"***\"  # h.yaml:1\n") {
		t.Error(text)
	}
}
