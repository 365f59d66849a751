package bus

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// adminTimeout bounds each step of ClusterAdmin: to connect, to ask all servers, to remove one.
	adminTimeout = 3 * time.Second
	// adminQuiet is how long after the last answer no other is expected.
	adminQuiet = 500 * time.Millisecond
)

// ErrNoCluster says that a NATS server is not one of an embedded cluster.
var ErrNoCluster = errors.New("not a broker with an embedded cluster")

// ClusterAdmin asks the servers of an embedded cluster, over one of them, through NATS's system account.
type ClusterAdmin struct{ nc *nats.Conn }

// DialCluster connects to one of the servers. Without a configuration of TLS it is verified as the URL says. Its
// errors are one line.
func DialCluster(url, secret string, secure *tls.Config) (*ClusterAdmin, error) {
	opts := []nats.Option{
		nats.Name("broker cluster"), nats.UserInfo(systemUser, password(secret, systemPurpose)),
		nats.Timeout(adminTimeout), nats.NoReconnect(), nats.IgnoreDiscoveredServers(),
	}
	if secure != nil {
		opts = append(opts, nats.Secure(secure))
	}
	nc, err := nats.Connect(url, opts...)
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		return nil, fmt.Errorf("%s: refused: the secret is not the cluster's, or this is %w", redact(url), ErrNoCluster)
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout):
		return nil, fmt.Errorf("%s: nobody answers there", redact(url))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", redact(url), err)
	}
	return &ClusterAdmin{nc}, nil
}

// Close disconnects.
func (a *ClusterAdmin) Close() { a.nc.Close() }

// answer is what one server says of itself.
type answer[T any] struct {
	Server server.ServerInfo `json:"server"`
	Data   T                 `json:"data"`
}

// ask asks every server at once and gathers the answers: until there are most of them (0: whoever answers), or there are
// least and no more come. It waits for the least as long as it may: who is slow is not dead.
func ask[T any](ctx context.Context, nc *nats.Conn, what string, least, most int) ([]answer[T], error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING."+what, inbox, nil); err != nil {
		return nil, err
	}
	var all []answer[T]
	for most == 0 || len(all) < most {
		m, err := nextWithin(ctx, sub, len(all) > 0 && len(all) >= least)
		switch {
		case errors.Is(err, nats.ErrNoResponders): // it is not the system account that we are in
			return nil, ErrNoCluster
		case err != nil && len(all) > 0:
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("no server answers: %w", err)
		}
		var one answer[T]
		if err := json.Unmarshal(m.Data, &one); err != nil {
			return nil, fmt.Errorf("answer to %s: %w", what, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// nextWithin waits as long as it may, or not for long.
func nextWithin(ctx context.Context, sub *nats.Subscription, hasty bool) (*nats.Msg, error) {
	if hasty {
		short, cancel := context.WithTimeout(ctx, adminQuiet)
		defer cancel()
		ctx = short
	}
	return sub.NextMsgWithContext(ctx)
}

// Remove takes a server out of JetStream for good, by its name or peer ID, and moves the copies of streams
// that it had to others where there are any. Whether it is online, and so would go on being in the cluster
// without JetStream, is the caller's to look at.
func (a *ClusterAdmin) Remove(ctx context.Context, s ClusterServer) error {
	ctx, cancel := context.WithTimeout(ctx, 2*adminTimeout)
	defer cancel()
	request, err := json.Marshal(server.JSApiMetaServerRemoveRequest{Server: s.Name, Peer: s.Peer})
	if err != nil {
		return err
	}
	m, err := a.nc.RequestWithContext(ctx, server.JSApiRemoveServer, request)
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no JetStream leader answers: a majority of the servers must be running")
	} else if err != nil {
		return err
	}
	var response server.JSApiMetaServerRemoveResponse
	if err := json.Unmarshal(m.Data, &response); err != nil {
		return fmt.Errorf("answer to %s: %w", server.JSApiRemoveServer, err)
	}
	if response.Error != nil {
		return errors.New(response.Error.Description)
	}
	return nil
}
