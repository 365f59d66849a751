package main_test

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// awaitBroker waits for what a broker does when something asks it to.
func awaitBroker(t *testing.T, b *brokertest.Broker, what string, met func() bool) {
	t.Helper()
	for begin := time.Now(); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > brokertest.Patience {
			t.Fatalf("no %s; stderr:\n%s", what, b.Stderr())
		}
	}
}

// TestControlCertificatesAreReadAgain: new connections get the new certificate, and those that stand go on.
func TestControlCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writeCertificate(t, cert, key, 1)
	b := brokertest.Start(t, "--control-tls-cert="+cert, "--control-tls-key="+key)
	insecure := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	cc, err := grpc.NewClient(b.Control, grpc.WithTransportCredentials(credentials.NewTLS(insecure)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	watch, err := holdfastv1.NewConnectionServiceClient(cc).Watch(t.Context(), &holdfastv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		nc, err := tls.Dial("tcp", b.Control, insecure)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		return nc.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitBroker(t, b, "refusal of a bad file", func() bool {
		if n := serial(); n != 1 {
			t.Fatalf("certificate %d instead of the old one", n)
		}
		return metric(t, b, `holdfast_tls_reloads_total{result="failed"}`) == "1"
	})
	writeCertificate(t, cert, key, 2)
	awaitBroker(t, b, "new certificate", func() bool { return serial() == 2 })
	wstest.Dial(t, b.URL("/"), nil)
	if _, err := watch.Recv(); err != nil {
		t.Errorf("the watch from before: %v", err)
	}
}

// TestGrantsTravelBetweenBrokers: the broker that owns a connection enforces what the caller of another one may do, over a
// real NATS server. The owner has no identities of its own: it believes what it is told.
func TestGrantsTravelBetweenBrokers(t *testing.T) {
	server := bustest.StartProcess(t)
	asked := brokertest.Start(t, "--nats-url="+server.URL, brokertest.Config(t, `
control:
  auth:
    identities: [{name: chat, token: a-token-of-the-chat-workers, allow: {verbs: [read, send], namespaces: [chat]}}]
    jwt: {algorithms: [HS256], secret: `+tokenSecret+`}
`))
	owner := brokertest.Start(t, "--nats-url="+server.URL, brokertest.Config(t, `
endpoints: [{path: /chat, namespace: chat}, {path: /other, namespace: other}]
`))
	events := bustest.Record(t, server.URL, "holdfast.>")
	ours := wstest.Dial(t, owner.URL("/chat"), nil)
	chat := subjectID(events.Wait(1)[0].Subject)
	wstest.Dial(t, owner.URL("/other"), nil)
	other := subjectID(events.Wait(2)[1].Subject)
	client := holdfastv1.NewConnectionServiceClient(asked.GRPC())
	byToken := func(token string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	}
	claimed := issue(t, map[string]any{"holdfast": map[string]any{"verbs": []string{"read", "send"}, "namespaces": []string{"chat"}}})
	for who, ctx := range map[string]context.Context{"an identity": byToken("a-token-of-the-chat-workers"), "a JWT": byToken(claimed)} {
		awaitBroker(t, asked, "answer of the other broker", func() bool {
			_, err := client.Get(ctx, &holdfastv1.GetRequest{ConnectionId: chat})
			if code := status.Code(err); code != codes.OK && code != codes.Unavailable && code != codes.NotFound {
				t.Fatalf("%s: %v", who, err)
			}
			return err == nil
		})
		text := &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: "for " + who}}
		if _, err := client.Send(ctx, &holdfastv1.SendRequest{ConnectionId: chat, Message: text}); err != nil {
			t.Errorf("%s sends: %v", who, err)
		}
		ours.Expect(1, "for "+who)
		_, err := client.Send(ctx, &holdfastv1.SendRequest{ConnectionId: other, Message: text})
		if status.Code(err) != codes.NotFound {
			t.Errorf("%s sends to another namespace: %v", who, err)
		}
		_, err = client.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: chat})
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "close") {
			t.Errorf("%s closes: %v", who, err)
		}
		list, err := client.List(ctx, &holdfastv1.ListRequest{})
		if err != nil || len(list.GetConnections()) != 1 || list.GetConnections()[0].GetId() != chat {
			t.Errorf("%s lists %v, %v", who, list, err)
		}
	}
	awaitBroker(t, owner, "line of the owner about the foreign namespace", func() bool {
		return strings.Contains(owner.Stderr(), "msg=audit") && strings.Contains(owner.Stderr(), "identity=chat")
	})
}
