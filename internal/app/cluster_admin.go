package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus"
)

// ClusterAdmin is what operators do with an embedded cluster.
type ClusterAdmin struct {
	// Config has the secret, and the server to ask where URL names none.
	Config Config
	URL    string
	// Out is where the answers go.
	Out io.Writer
}

// Status writes what the servers say of each other. It fails without a leader, so that a script can ask
// whether the cluster works.
func (a ClusterAdmin) Status(ctx context.Context) error {
	_, status, done, err := askCluster(ctx, a.Config, a.URL)
	if err != nil {
		return err
	}
	defer done()
	if err := writeStatus(a.Out, status); err != nil {
		return err
	}
	return leaderless(status)
}

// Remove takes a server out of the cluster for good. It refuses one that is running, which would stay in the
// cluster, but without JetStream, unless told to force it.
func (a ClusterAdmin) Remove(ctx context.Context, name string, force bool) error {
	admin, status, done, err := askCluster(ctx, a.Config, a.URL)
	if err != nil {
		return err
	}
	defer done()
	server, found := status.Find(name)
	switch {
	case !found:
		return fmt.Errorf("%q is no server of cluster %s: want %s", name, status.Name, alternatives(counted(status)))
	case leaderless(status) != nil:
		return leaderless(status)
	case server.Answers && !force:
		return fmt.Errorf("server %s is running, and would go on without JetStream: stop its broker first, or use --force", name)
	}
	if err := admin.Remove(ctx, server); err != nil {
		return fmt.Errorf("server %s: %w", name, err)
	}
	_, err = fmt.Fprintf(a.Out, "removed %s from cluster %s\n", name, status.Name)
	return err
}

// askCluster connects to the cluster and asks how it is.
func askCluster(ctx context.Context, c Config, url string) (*bus.ClusterAdmin, bus.ClusterStatus, func(), error) {
	none := bus.ClusterStatus{}
	secure, err := adminTLS(c, url)
	if err != nil {
		return nil, none, nil, err
	}
	if url, err = adminURL(c, url); err != nil {
		return nil, none, nil, err
	}
	secret, err := c.Cluster.secret()
	if err != nil {
		return nil, none, nil, c.Problem("cluster.secret_file", "%s", err)
	}
	admin, err := bus.DialCluster(url, secret, secure)
	if err != nil {
		return nil, none, nil, err
	}
	status, err := admin.Status(ctx)
	if err != nil {
		admin.Close()
		return nil, none, nil, fmt.Errorf("%s: %w", shownNATS(url), err)
	}
	return admin, status, admin.Close, nil
}

// adminTLS is for the server that this configuration starts, whose certificate it names. Another is verified as
// NATS does; nil without TLS.
func adminTLS(c Config, url string) (*tls.Config, error) {
	files := c.NATS.serverTLS()
	if url != "" || files == nil {
		return nil, nil
	}
	cfg, err := tlsConfig(files, "")
	if err != nil {
		return nil, c.Problem("nats.tls", "%s", err)
	}
	leaf := cfg.Certificates[0].Certificate[0]
	return pinned(func() []byte { return leaf }), nil
}

// adminURL is the server to ask: the one that is named, or the one that this configuration starts.
func adminURL(c Config, url string) (string, error) {
	if url != "" {
		if !strings.Contains(url, "://") {
			url = "nats://" + url
		}
		return url, nil
	}
	if c.NATS.URL != "" {
		return "", c.Problem("nats.url", "the cluster of an external server is asked with NATS's own tools: want --nats with a broker of an embedded cluster")
	}
	host, port, _ := net.SplitHostPort(c.NATS.Listen)
	if port == "0" {
		return "", c.Problem("nats.listen", "%q picks a port at each start: want --nats with the one of the ready line", c.NATS.Listen)
	}
	if canonicalHost(host) == "" {
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, port), nil
}

func leaderless(s bus.ClusterStatus) error {
	if s.Leader != "" {
		return nil
	}
	running := 0
	for _, server := range s.Servers {
		if server.Answers && server.Peer != "" {
			running++
		}
	}
	if running >= s.Quorum {
		return fmt.Errorf("cluster %s has no JetStream leader yet: %d of %d servers are running", s.Name, running, s.Size)
	}
	return fmt.Errorf("cluster %s has no JetStream leader: %d of %d servers are running, and it takes %d", s.Name, running, s.Size, s.Quorum)
}

// counted are the names of the servers that can be removed.
func counted(s bus.ClusterStatus) (names []string) {
	for _, server := range s.Servers {
		if server.Peer != "" {
			names = append(names, shownServer(server))
		}
	}
	if len(names) == 0 {
		return []string{"a server of it"}
	}
	return names
}

func writeStatus(w io.Writer, s bus.ClusterStatus) error {
	lines := []string{fmt.Sprintf("cluster %s: %d servers, of which %d must be running\n\nSERVER\tADDRESS\tJETSTREAM\tCONNECTIONS", s.Name, s.Size, s.Quorum)}
	for _, server := range s.Servers {
		address, connections := "-", "-"
		if server.Answers {
			address, connections = server.Address, strconv.Itoa(server.Connections)
		}
		lines = append(lines, strings.Join([]string{shownServer(server), address, shownState(server, s.Leader), connections}, "\t"))
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	_, err := fmt.Fprintln(table, strings.Join(lines, "\n"))
	return errors.Join(err, table.Flush())
}

func shownServer(s bus.ClusterServer) string {
	if s.Name == "" {
		return s.Peer // which remove takes as well
	}
	return s.Name
}

func shownState(s bus.ClusterServer, leader string) string {
	switch {
	case s.Peer == "":
		return "removed"
	case !s.Answers && s.Seen == 0:
		return "away"
	case !s.Answers:
		return "away for " + s.Seen.Round(time.Second).String()
	case leader == "":
		return "no leader"
	case s.Name == leader:
		return "leader"
	case s.Current:
		return "current"
	case s.Lag > 0:
		return fmt.Sprintf("%d behind", s.Lag)
	}
	return "not current"
}
