package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// startGuarded is an embedded server that lets these users in, and a connection that may do everything.
func startGuarded(t *testing.T, users ...ServerUser) (*Server, *nats.Conn) {
	t.Helper()
	s, err := StartServer(t.Context(), guardedConfig(t, "here", users))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	return s, dialOwn(t, s)
}

func guardedConfig(t *testing.T, name string, users []ServerUser) ServerConfig {
	return ServerConfig{Listen: "127.0.0.1:0", StoreDir: t.TempDir(), ServerName: name, Logger: quiet, Users: users}
}

// startGuardedCluster is one of two servers of a cluster.
func startGuardedCluster(t *testing.T, users ...ServerUser) (*Server, *nats.Conn) {
	t.Helper()
	at := bustest.FreeAddresses(t, 2)
	started := make(chan *Server)
	for i := range at {
		c := guardedConfig(t, at[i], users)
		c.Cluster = ClusterConfig{Name: "c", Listen: at[i], Routes: at, Secret: "the-cluster-secret"}
		go func() {
			s, err := StartServer(t.Context(), c)
			if err != nil {
				t.Error(err)
			}
			started <- s
		}()
	}
	one, other := <-started, <-started
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		one.Shutdown(context.Background())
		other.Shutdown(context.Background())
	})
	return one, dialOwn(t, one)
}

// dialOwn connects as the broker itself.
func dialOwn(t *testing.T, s *Server) *nats.Conn {
	t.Helper()
	opts, err := ClientOptions(s.Auth(), TLS{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return bustest.Dial(t, s.URL(), opts...)
}

// party is a connection with one user's permissions.
type party struct {
	*nats.Conn
	t      *testing.T
	denied chan error
}

func dialAs(t *testing.T, s *Server, u ServerUser) party {
	t.Helper()
	p := party{t: t, denied: make(chan error, 16)}
	p.Conn = bustest.Dial(t, s.URL(), nats.UserInfo(u.Name, u.Password), nats.CustomInboxPrefix("_INBOX."+u.Name),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { p.denied <- err }))
	return p
}

func (p party) hears(subject string) *nats.Subscription {
	p.t.Helper()
	sub, err := p.SubscribeSync(subject)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.Flush(); err != nil {
		p.t.Fatal(err)
	}
	return sub
}

func (p party) refused(what string) {
	p.t.Helper()
	select {
	case err := <-p.denied:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			p.t.Errorf("%s: %v", what, err)
		}
	case <-time.After(10 * time.Second):
		p.t.Errorf("%s is allowed", what)
	}
}

func (p party) mustNotPublish(subjects ...string) {
	p.t.Helper()
	for _, subject := range subjects {
		if err := p.Publish(subject, []byte("forbidden")); err != nil {
			p.t.Fatal(err)
		}
		p.refused("to publish to " + subject)
	}
}

func (p party) mustNotHear(subjects ...string) {
	p.t.Helper()
	for _, subject := range subjects {
		if _, err := p.SubscribeSync(subject); err != nil {
			p.t.Fatal(err)
		}
		p.refused("to hear " + subject)
	}
}

func receive(t *testing.T, sub *nats.Subscription, want string) *nats.Msg {
	t.Helper()
	m, err := sub.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatalf("%s: %v", sub.Subject, err)
	}
	if string(m.Data) != want {
		t.Errorf("%s is %q, want %q", m.Subject, m.Data, want)
	}
	return m
}

func say(t *testing.T, nc *nats.Conn, subject, reply, text string) {
	t.Helper()
	if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(text)}); err != nil {
		t.Fatal(err)
	}
}

func user(name string, roles ...string) ServerUser {
	return ServerUser{Name: name, Password: "password of " + name, Roles: roles, Namespaces: []string{"chat"}}
}

const (
	chatReply  = "holdfast-in.chat.reply.nodenodeno.nodenodeno-x.t"
	otherReply = "holdfast-in.default.reply.nodenodeno.nodenodeno-x.t"
)

// foreign is what no role but the operator's may hear, and none may say.
var foreign = []string{
	"holdfast.default.message.x", "holdfast.chat.message.x", "holdfast-in.default.group.lobby", "holdfast-in.default.handshake",
	otherReply, "_HOLDFAST.all", "_HOLDFAST.life.x", "$JS.API.STREAM.DELETE.HOLDFAST_LIFE",
}

func TestThreatListenerOnlyHearsItsNamespace(t *testing.T) {
	u := user("ear", RoleListener)
	s, broker := startGuarded(t, u)
	p := dialAs(t, s, u)
	sub := p.hears("holdfast.chat.>")
	say(t, broker, "holdfast.chat.message.x", chatReply, "hi")
	receive(t, sub, "hi")
	p.mustNotHear("holdfast.default.>", "holdfast.>", "holdfast-in.>", "_HOLDFAST.>", "_INBOX.>", "_INBOX.other.>", ">")
	p.mustNotPublish(append(foreign, chatReply, "holdfast-in.chat.group.lobby", "_INBOX.x")...)
}

// A backend that may only answer sends nothing that was not asked for: one answer for each message, in time.
func TestThreatAnswererOnlyAnswers(t *testing.T) {
	once, twice := user("once", RoleAnswerer), user("twice", RoleAnswerer)
	twice.MaxResponses, twice.ResponseTTL = 2, time.Minute
	s, broker := startGuarded(t, once, twice)
	answers := party{Conn: broker, t: t}.hears("holdfast-in.>")
	for _, c := range []struct {
		user ServerUser
		max  int
	}{{once, 1}, {twice, 2}} {
		p := dialAs(t, s, c.user)
		sub := p.hears("holdfast.chat.message.*")
		p.mustNotPublish(append(foreign, chatReply)...) // nobody has asked
		say(t, broker, "holdfast.chat.message.x", chatReply, "hi")
		m := receive(t, sub, "hi")
		for range c.max {
			if err := m.Respond([]byte("answer")); err != nil {
				t.Fatal(err)
			}
			receive(t, answers, "answer")
		}
		p.mustNotPublish(m.Reply, otherReply, "holdfast-in.chat.reply.nodenodeno.nodenodeno-other.t")
	}
}

func TestThreatAnswersComeInTime(t *testing.T) {
	u := user("late", RoleAnswerer)
	u.MaxResponses, u.ResponseTTL = 1, time.Millisecond
	s, broker := startGuarded(t, u)
	p := dialAs(t, s, u)
	sub := p.hears("holdfast.chat.message.*")
	say(t, broker, "holdfast.chat.message.x", chatReply, "hi")
	m := receive(t, sub, "hi")
	time.Sleep(5 * time.Millisecond) // what is tested is that time passes
	p.mustNotPublish(m.Reply)
}

func TestThreatReplierSendsToNoOtherNamespace(t *testing.T) {
	u := user("replier", RoleReplier)
	s, broker := startGuarded(t, u)
	p := dialAs(t, s, u)
	verdicts, err := broker.Subscribe("holdfast-in.*.reply.>", func(m *nats.Msg) { _ = m.Respond([]byte("verdict")) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = verdicts.Unsubscribe() }()
	if err := broker.Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := p.Request(chatReply, []byte("asked"), 10*time.Second); err != nil || string(m.Data) != "verdict" {
		t.Errorf("%v, %v", m, err)
	}
	p.mustNotPublish(append(foreign, "holdfast-in.chat.group.lobby", "holdfast-in.chat.handshake")...)
	p.mustNotHear("holdfast.default.>", "holdfast-in.chat.>", "_INBOX.>")
}

// Whoever may ask for a verdict chooses where it goes. We may publish to more subjects than he, and do not lend him that.
func TestThreatVerdictsSpeakForNobody(t *testing.T) {
	u := user("worker", RoleAnswerer)
	u.MaxResponses = 100
	s, broker := startGuarded(t, u)
	n := startNode(t, s.URL(), func(c *Config) { c.Auth = s.Auth() })
	serve(t, n)
	p := dialAs(t, s, u)
	heard, asked := party{Conn: broker, t: t}.hears(">"), p.hears("holdfast.chat.message.*")
	c, _ := n.open(t)
	subject := string(n.bus.inbound.subjects.AppendReply(nil, "chat", []byte(c.ID().String()), hub.Text))
	say(t, broker, "holdfast.chat.message.x", subject, "hi")
	m := receive(t, asked, "hi")
	for _, to := range append(foreign, "holdfast-in.default.group.lobby", "$JS.API.STREAM.PURGE."+LifeStream, "_INBOX.worker.x") {
		say(t, p.Conn, m.Reply, to, "x")
	}
	for {
		m, err := heard.NextMsg(10 * time.Second)
		switch {
		case err != nil:
			t.Fatal(err)
		case m.Subject == "_INBOX.worker.x": // what was asked for last
			return
		case strings.HasPrefix(string(m.Data), `{"code":`):
			t.Errorf("a verdict went to %s", m.Subject)
		}
	}
}

func TestThreatPublisherHearsNothing(t *testing.T) {
	u := user("publisher", RolePublisher)
	s, broker := startGuarded(t, u)
	p := dialAs(t, s, u)
	groups := party{Conn: broker, t: t}.hears("holdfast-in.*.group.*")
	say(t, p.Conn, "holdfast-in.chat.group.lobby", "", "all")
	receive(t, groups, "all")
	p.mustNotPublish(append(foreign, chatReply)...)
	p.mustNotHear("holdfast.chat.>", "_INBOX.publisher.x", ">")
}

func TestThreatAdmissionAnswersHandshakesAlone(t *testing.T) {
	u := user("door", RoleAdmission)
	s, broker := startGuarded(t, u)
	p := dialAs(t, s, u)
	sub, err := p.QueueSubscribeSync("holdfast-in.chat.handshake", "doors")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	inbox := party{Conn: broker, t: t}.hears("_HOLDFAST.inbox.x")
	say(t, broker, "holdfast-in.chat.handshake", "_HOLDFAST.inbox.x", "may they?")
	m := receive(t, sub, "may they?")
	if err := m.Respond([]byte("they may")); err != nil {
		t.Fatal(err)
	}
	receive(t, inbox, "they may")
	p.mustNotPublish(append(foreign, m.Reply, chatReply, "_HOLDFAST.inbox.y")...)
	p.mustNotHear("holdfast-in.default.handshake", "holdfast.chat.>", "_HOLDFAST.inbox.>")
}

func TestThreatOperatorSpeaksForNobody(t *testing.T) {
	u := user("operator", RoleOperator)
	u.Namespaces = []string{"*"}
	s, broker := startGuarded(t, u)
	p := dialAs(t, s, u)
	sub := p.hears(">")
	js, err := jetstream.New(p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"holdfast.>"}}); err != nil {
		t.Error(err)
	}
	say(t, broker, "holdfast.default.message.x", "", "hi")
	for m, err := sub.NextMsg(10 * time.Second); ; m, err = sub.NextMsg(10 * time.Second) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject == "holdfast.default.message.x" {
			break
		}
	}
	p.mustNotPublish(append(foreign, chatReply)...)
}

// Roles add up, and one of them grants nothing that another refuses.
func TestRolesOfAUserAddUp(t *testing.T) {
	u := user("worker", RoleAnswerer, RolePublisher)
	s, broker := startGuarded(t, u)
	p := dialAs(t, s, u)
	groups := party{Conn: broker, t: t}.hears("holdfast-in.>")
	sub := p.hears("holdfast.chat.>")
	say(t, broker, "holdfast.chat.message.x", chatReply, "hi")
	if err := receive(t, sub, "hi").Respond([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	receive(t, groups, "answer")
	say(t, p.Conn, "holdfast-in.chat.group.lobby", "", "all")
	receive(t, groups, "all")
	p.mustNotPublish(append(foreign, chatReply)...)
}

// Who shows nothing, or something wrong, is not let in: also in a cluster, whose system account has a user too.
func TestThreatEmbeddedServerAsksWhoYouAre(t *testing.T) {
	t.Parallel() // it waits most of the time
	for name, start := range map[string]func(*testing.T, ...ServerUser) (*Server, *nats.Conn){"alone": startGuarded, "cluster": startGuardedCluster} {
		t.Run(name, func(t *testing.T) {
			u := user("worker", RoleListener)
			s, broker := start(t, u)
			js, err := jetstream.New(broker)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.AccountInfo(t.Context()); err != nil {
				t.Errorf("the broker has no JetStream: %v", err)
			}
			dialAs(t, s, u).hears("holdfast.chat.>")
			for what, opt := range map[string]nats.Option{
				"nothing": nats.Name("nobody"), "a wrong password": nats.UserInfo(u.Name, "wrong"), "our user": nats.UserInfo(ownUser, ""),
				"a token": nats.Token(u.Password), "a system user without secret": nats.UserInfo(systemUser, password("", systemPurpose)),
			} {
				if nc, err := nats.Connect(s.URL(), opt, nats.Timeout(20*time.Second)); !errors.Is(err, nats.ErrAuthorization) {
					t.Errorf("with %s: %v", what, err)
					nc.Close()
				}
			}
		})
	}
}

func TestUserWithAnNKeyShowsNoSecret(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	u := ServerUser{Name: "worker", NKey: public, Roles: []string{RoleListener}, Namespaces: []string{"*"}}
	s, broker := startGuarded(t, u)
	nc := bustest.Dial(t, s.URL(), nats.Nkey(public, pair.Sign))
	sub, err := nc.SubscribeSync("holdfast.*.message.x")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	say(t, broker, "holdfast.any.message.x", "", "hi")
	receive(t, sub, "hi")
	other, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(s.URL(), nats.Nkey(public, other.Sign), nats.Timeout(20*time.Second)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("another key: %v", err)
	}
}

// Whoever has no certificate of the CA is not let into a cluster with TLS, although it has no secret.
func TestThreatRoutesAreVerified(t *testing.T) {
	at := bustest.FreeAddresses(t, 3)
	pair, pool := certificate(t, t.TempDir())
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	stranger, theirs := certificate(t, t.TempDir())
	theirs.AddCert(pair.Leaf)
	forged := &tls.Config{Certificates: []tls.Certificate{stranger}, RootCAs: theirs, ClientCAs: theirs, ClientAuth: tls.RequireAndVerifyClientCert}
	a := startClusterServer(t, ClusterConfig{Listen: at[0], Routes: at, TLS: secure})
	b := startClusterServer(t, ClusterConfig{Listen: at[1], Routes: at, TLS: forged})
	c := startClusterServer(t, ClusterConfig{Listen: at[2], Routes: at[2:]})
	eventually(t, "a foreign certificate is refused", func() bool { return a.log.has("tls: ") && b.log.has("tls: ") })
	eventually(t, "plain text is refused", func() bool { return a.log.has("TLS route handshake error") })
	if err := errors.Join(a.stop(), b.stop(), c.stop()); err == nil || strings.Contains(a.log.String(), "2 of 3 servers seen") {
		t.Errorf("they have met: %v\n%s", err, a.log.String())
	}
}

func TestServersMeetOverTLS(t *testing.T) {
	at := bustest.FreeAddresses(t, 3)
	pair, pool := certificate(t, t.TempDir())
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	a := startClusterServer(t, ClusterConfig{Listen: at[0], Routes: at, TLS: secure})
	b := startClusterServer(t, ClusterConfig{Listen: at[1], Routes: at, TLS: secure})
	eventually(t, "they meet", func() bool { return a.log.has("2 of 3 servers seen") && b.log.has("2 of 3 servers seen") })
}

// A secret in a file is shown as it is at each connect.
func TestPasswordFileIsReadAgain(t *testing.T) {
	file := t.TempDir() + "/password"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old\n")
	conf := t.TempDir() + "/nats.conf"
	allow := func(password string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte("authorization {users = [{user: broker, password: "+password+"}]}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	allow("old")
	server := bustest.StartProcess(t, "-c", conf)
	n := startNode(t, server.URL, func(c *Config) { c.Auth = Auth{User: "broker", PasswordFile: file} })
	server.Terminate()
	allow("new")
	write("new\n")
	server.Start()
	eventually(t, "it is let in again", n.bus.Connected)
}
