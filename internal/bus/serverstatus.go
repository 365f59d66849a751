package bus

import (
	"cmp"
	"context"
	"crypto/sha256"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ClusterStatus is what the servers of a cluster say of each other.
type ClusterStatus struct {
	Name string
	// Leader of JetStream's meta group; empty: there is none, and no stream can be made or changed.
	Leader string
	// Size is how many servers JetStream counts, of which Quorum must be there.
	Size, Quorum int
	// Servers by name.
	Servers []ClusterServer
}

// ClusterServer is a server of a cluster.
type ClusterServer struct {
	// Name of the server; empty: nobody who answers knows it, and only Peer is known.
	Name string
	// Peer is JetStream's ID of the server; empty: JetStream does not count it.
	Peer string
	// Answers tells that the server is there, whatever JetStream says. Only then are Address, which is
	// for the other servers, and Connections known.
	Answers     bool
	Address     string
	Connections int
	// Current tells that it has what the leader has, Lag how many operations it is behind, and Seen how
	// long ago the others heard of it; 0: never.
	Current bool
	Lag     uint64
	Seen    time.Duration
}

// unknownName is how the server calls one whose name it does not know.
const unknownName = "Server name unknown"

// Status asks all servers.
func (a *ClusterAdmin) Status(ctx context.Context) (ClusterStatus, error) {
	first, err := ask[server.JSInfo](ctx, a.nc, "JSZ", 1, 1)
	if err != nil {
		return ClusterStatus{}, err
	}
	counted := 0
	if meta := bestView(first); meta != nil {
		counted = meta.Size
	}
	servers, err := ask[server.Varz](ctx, a.nc, "VARZ", counted, 0)
	if err != nil {
		return ClusterStatus{}, err
	}
	n := len(servers)
	routes, err := ask[server.Routez](ctx, a.nc, "ROUTEZ", n, n)
	if err != nil {
		return ClusterStatus{}, err
	}
	views, err := ask[server.JSInfo](ctx, a.nc, "JSZ", n, n)
	if err != nil {
		return ClusterStatus{}, err
	}
	s, all := ClusterStatus{}, make(map[string]*ClusterServer)
	ips := ipsOf(routes)
	for _, v := range servers {
		s.Name = v.Data.Cluster.Name
		one := &ClusterServer{Name: v.Server.Name, Answers: true, Address: addressOf(v, ips), Connections: v.Data.Connections}
		if one.Name == a.nc.ConnectedServerName() {
			one.Connections-- // it is us
		}
		all[peerID(one.Name)] = one
	}
	meta := bestView(views)
	if s.Name == "" || meta == nil {
		return s, ErrNoCluster
	}
	if all[peerID(meta.Leader)] == nil {
		meta.Leader = "" // it does not answer: the others have not noticed yet
	}
	s.Leader, s.Size, s.Quorum = meta.Leader, meta.Size, meta.QuorumNeeded
	addPeers(all, meta)
	for _, one := range slices.SortedFunc(maps.Values(all), byName) {
		s.Servers = append(s.Servers, *one)
	}
	return s, nil
}

func byName(a, b *ClusterServer) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Peer, b.Peer))
}

// bestView is what the leader says, or else what anybody does.
func bestView(views []answer[server.JSInfo]) (best *server.MetaClusterInfo) {
	for _, v := range views {
		if v.Data.Meta != nil && (best == nil || v.Server.Name == v.Data.Meta.Leader) {
			best = v.Data.Meta
		}
	}
	return best
}

// addPeers adds what JetStream says of the servers that it counts. Without a leader nobody is current.
func addPeers(all map[string]*ClusterServer, meta *server.MetaClusterInfo) {
	if meta.Leader != "" {
		leader := &server.PeerInfo{Name: meta.Leader, Peer: peerID(meta.Leader), Current: true}
		meta.Replicas = append(meta.Replicas, leader)
	}
	for _, p := range meta.Replicas {
		one := all[p.Peer]
		if one == nil {
			one = &ClusterServer{Name: p.Name}
			if strings.HasPrefix(p.Name, unknownName) {
				one.Name = ""
			}
			all[p.Peer] = one
		}
		one.Peer, one.Lag, one.Seen = p.Peer, p.Lag, p.Active
		one.Current = p.Current && meta.Leader != ""
	}
}

// ipsOf are the servers' addresses as the others see them: a server that listens on all of its own does not
// know.
func ipsOf(routes []answer[server.Routez]) map[string]string {
	ips := make(map[string]string)
	for _, r := range routes {
		for _, to := range r.Data.Routes {
			ips[to.RemoteName] = to.IP
		}
	}
	return ips
}

func addressOf(v answer[server.Varz], ips map[string]string) string {
	host := v.Data.Cluster.Host
	if ip := ips[v.Server.Name]; ip != "" && (host == "" || net.ParseIP(host).IsUnspecified()) {
		host = ip
	}
	return net.JoinHostPort(host, strconv.Itoa(v.Data.Cluster.Port))
}

// peerID is what JetStream calls the server of this name; the server does not export how (2.15.2). So a
// server can be removed by its name when nobody who is there has ever heard of it.
func peerID(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(name))
	id := sum[:8]
	for i, b := range id {
		id[i] = digits[int(b)%len(digits)]
	}
	return string(id)
}

// Find looks for a server by its name or peer ID among those that JetStream counts.
func (s ClusterStatus) Find(name string) (ClusterServer, bool) {
	for _, one := range s.Servers {
		if one.Peer != "" && (one.Name == name || one.Peer == name || one.Peer == peerID(name)) {
			return one, true
		}
	}
	return ClusterServer{}, false
}
