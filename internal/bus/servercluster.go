package bus

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// ClusterConfig makes the embedded server one of a cluster, with JetStream in it. The servers are few and
// always the same: JetStream decides by majority, and counts who is away.
type ClusterConfig struct {
	// Name of the cluster, the same on every server; empty: none.
	Name string
	// Listen is host:port for the other servers.
	Listen string
	// Routes are the addresses of all servers, host:port; the server itself may be among them.
	Routes []string
	// Secret that the servers have in common; empty: whoever reaches Listen, or is let in by TLS, is one of them.
	Secret string
	// TLS for both sides of a route; nil: plain text.
	TLS *tls.Config
}

// The users of a cluster. Their passwords are made of the secret, which itself is never sent.
const (
	routeUser  = "holdfast-route"
	systemUser = "holdfast-system"

	routePurpose  = "route"
	systemPurpose = "system"
)

// password for one purpose: who learns one knows neither the secret nor the other password.
func password(secret, purpose string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("holdfast cluster: " + purpose))
	return hex.EncodeToString(mac.Sum(nil))
}

// apply adds the cluster to the options of a server.
func (c ClusterConfig) apply(opts *server.Options) error {
	host, port, err := splitAddress("cluster address", c.Listen)
	if err != nil {
		return err
	}
	opts.Cluster = server.ClusterOpts{
		Name: c.Name, Host: host, Port: port,
		// Clients that are told of other servers would look for them on their own machine.
		NoAdvertise: isLoopback(opts.Host),
		TLSConfig:   c.TLS,
	}
	var user *url.Userinfo
	if c.Secret != "" {
		opts.Cluster.Username, opts.Cluster.Password = routeUser, password(c.Secret, routePurpose)
		user = url.UserPassword(opts.Cluster.Username, opts.Cluster.Password)
	}
	for _, address := range c.Routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", User: user, Host: address})
	}
	// Whoever shows no user is in the global account, as without a cluster; the system account is for
	// ClusterAdmin.
	system := server.NewAccount(server.DEFAULT_SYSTEM_ACCOUNT)
	opts.Accounts, opts.SystemAccount = []*server.Account{system}, system.Name
	opts.Users = append(opts.Users, &server.User{Username: systemUser, Password: password(c.Secret, systemPurpose), Account: system})
	return nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// checkJoins refuses streams of a server that was alone: a cluster does not know them, and JetStream would
// delete them as orphans.
func checkJoins(storeDir string) error {
	jetStream := filepath.Join(storeDir, "jetstream")
	if _, err := os.Stat(filepath.Join(jetStream, server.DEFAULT_SYSTEM_ACCOUNT, "_js_", "_meta_")); err == nil {
		return nil // it was in a cluster before
	}
	streams, err := filepath.Glob(filepath.Join(jetStream, "*", "streams", "*"))
	if err != nil || len(streams) == 0 {
		return err
	}
	return fmt.Errorf("embedded nats: store directory %s has the stream %s of a server without a cluster, "+
		"which a cluster would delete: want a new directory", storeDir, filepath.Base(streams[0]))
}
