package doctest_test

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// whoMayCommand starts a broker with the file of the document, on a port of its own, and calls it as one of the workers.
func whoMayCommand(t *testing.T, s snippet) {
	dir := withCertificate(t)
	certificate, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	const token = "fit-for-a-document-only"
	write(t, dir, "clients.crt", string(certificate))
	write(t, dir, "chat.token", token+"\n")
	write(t, dir, "holdfast.yaml", s.text)
	brokertest.Binary(t) // is built here
	t.Chdir(dir)         // the file names files
	b := brokertest.Launch(t, append(brokertest.Args(t), "--config=holdfast.yaml", "--control-listen=0.0.0.0:0")...)
	if !b.Ready.Ready {
		t.Fatal(b.Stderr())
	}
	creds := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	conn, err := grpc.NewClient(b.Control, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	if _, err := holdfastv1.NewConnectionServiceClient(conn).Count(ctx, &holdfastv1.CountRequest{}); err != nil {
		t.Error(err)
	}
	_, err = holdfastv1.NewNodeServiceClient(conn).DrainNode(ctx, &holdfastv1.DrainNodeRequest{Node: b.Node})
	if upper(status.Code(err).String()) != "PERMISSION_DENIED" {
		t.Errorf("the workers may drain: %v", err)
	}
	b.Signal(sigterm)
	b.Wait() // then all that it logged is there
	for _, part := range []string{"msg=audit", "method=NodeService/DrainNode", "result=PERMISSION_DENIED", "identity=chat-workers", "target=" + b.Node, "peer="} {
		if !strings.Contains(b.Stderr(), part) {
			t.Errorf("%s is not in the log:\n%s", part, b.Stderr())
		}
	}
}

// rolesFile starts a broker with the file of the document, on a port of its own, and connects as the workers.
func rolesFile(t *testing.T, s snippet) {
	dir := withCertificate(t)
	const password = "fit-for-a-document-only"
	write(t, dir, "workers.password", password+"\n")
	write(t, dir, "holdfast.yaml", s.text)
	brokertest.Binary(t) // is built here
	t.Chdir(dir)         // the file names files
	b := brokertest.Launch(t, append(brokertest.Args(t), "--config=holdfast.yaml", "--nats-listen=0.0.0.0:0")...)
	if !b.Ready.Ready {
		t.Fatal(b.Stderr())
	}
	url := strings.Replace(b.NATS, "0.0.0.0", "127.0.0.1", 1)
	secure := nats.Secure(&tls.Config{InsecureSkipVerify: true})
	denied := make(chan error, 16)
	workers := party{t: t, denied: denied, Conn: bustest.Dial(t, url, secure, nats.UserInfo("chat-workers", password),
		nats.CustomInboxPrefix("_INBOX.chat-workers"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))}
	workers.mustNotPublish("holdfast-in.default.group.lobby", "holdfast-in.chat.reply.x")
	workers.mustNotSubscribe("_INBOX.>")
	if _, err := nats.Connect(url, secure, nats.Timeout(brokertest.Patience)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a user: %v", err)
	}
}

// TestThreatsHaveTests: every row of the table of threats names a test, and each that it names is there.
func TestThreatsHaveTests(t *testing.T) {
	there := testsOf(t)
	for _, row := range read(t, "docs/security.md").table(t, "Threats") {
		names := words(row["tests"])
		if len(names) == 0 {
			t.Errorf("%s: no test", row["threat"])
		}
		for _, name := range names {
			if !there[name] {
				t.Errorf("%s: there is no %s", row["threat"], name)
			}
		}
	}
}

// testsOf are the names of all tests of this repository.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for _, dir := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range testName.FindAllSubmatch(text, -1) {
				all[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

var testName = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
