package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/bus"
)

// Cluster makes the embedded NATS server one of a cluster.
type Cluster struct {
	// Name of the cluster; empty: the embedded server is alone.
	Name string `yaml:"name" name:"cluster-name" group:"cluster" placeholder:"NAME" help:"Make the embedded server one of this cluster. The name is the same on every machine."`
	// Listen is where the other servers connect to.
	Listen string `yaml:"listen,omitempty" name:"cluster-listen" group:"cluster" placeholder:"ADDRESS" help:"Address for the other servers of the cluster."`
	// Routes are the addresses of all servers.
	Routes []string `yaml:"routes,omitempty" name:"cluster-routes" group:"cluster" placeholder:"ADDRESS" help:"Addresses of all servers, \"host:port\"; this one may be among them, so that the list is the same on every machine; repeatable."`
	// Secret is what the servers know each other by.
	Secret string `yaml:"secret,omitempty" name:"cluster-secret" group:"cluster" placeholder:"TEXT" secret:"" help:"What the servers know each other by, the same on every machine. Others on this machine can read flags: better the variable, or a file."`
	// SecretFile holds Secret.
	SecretFile string `yaml:"secret_file,omitempty" name:"cluster-secret-file" group:"cluster" placeholder:"FILE" help:"File with that secret."`
	// TLS between the servers.
	TLS ClusterTLS `yaml:"tls" embed:""`
}

// ClusterTLS holds PEM files for TLS between the servers, each of which shows its certificate to the other. All
// three, or none: plain text.
type ClusterTLS struct {
	CA   string `yaml:"ca" name:"cluster-tls-ca" group:"cluster" placeholder:"FILE" help:"CA of the servers' certificates. The servers then speak TLS, and whoever has a certificate of it is one of them."`
	Cert string `yaml:"cert" name:"cluster-tls-cert" group:"cluster" placeholder:"FILE" help:"Certificate of this server, for the host that routes of others name."`
	Key  string `yaml:"key" name:"cluster-tls-key" group:"cluster" placeholder:"FILE" help:"Its key."`
}

const (
	// defaultClusterListen is open to other machines: no cluster listens unless it has a name, and then not
	// without a secret or TLS.
	defaultClusterListen = ":6222"
	// minSecret keeps what can be guessed away: whoever has the secret has every message.
	minSecret = 16
)

var validCluster = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// secret is the cluster's secret, wherever it stands.
func (c Cluster) secret() (string, error) { return secretIn(c.Secret, c.SecretFile, "secret") }

// forBus is what the embedded server is told.
func (c Cluster) forBus() (bus.ClusterConfig, error) {
	if c.Name == "" {
		return bus.ClusterConfig{}, nil
	}
	secret, err := c.secret()
	if err != nil {
		return bus.ClusterConfig{}, fmt.Errorf("cluster.secret_file: %w", err)
	}
	cfg, err := c.TLS.config()
	if err != nil {
		return bus.ClusterConfig{}, fmt.Errorf("cluster.tls: %w", err)
	}
	return bus.ClusterConfig{Name: c.Name, Listen: c.Listen, Routes: c.Routes, Secret: secret, TLS: cfg}, nil
}

// config is for both sides of a route: each verifies the other. Nil: no TLS.
func (t ClusterTLS) config() (*tls.Config, error) {
	if t == (ClusterTLS{}) {
		return nil, nil
	}
	cfg, err := tlsConfig(&TLS{Cert: t.Cert, Key: t.Key, ClientCA: t.CA}, "")
	if err != nil {
		return nil, err
	}
	cfg.RootCAs, cfg.ClientAuth = cfg.ClientCAs, tls.RequireAndVerifyClientCert
	return cfg, nil
}

func (v *checker) cluster() {
	secret := v.clusterSecret()
	c := v.Cluster
	switch {
	case c.Name == "" && len(c.Routes) > 0:
		v.refuse("cluster.routes", "%s is for a cluster, and there is none: want cluster.name as well", strings.Join(c.Routes, ","))
	case c.Name == "" && c.Listen != defaultClusterListen:
		v.refuse("cluster.listen", "%q is for a cluster, and there is none: want cluster.name as well", c.Listen)
	case c.Name == "" && c.TLS != (ClusterTLS{}):
		v.refuse("cluster.tls", "it is for a cluster, and there is none: want cluster.name as well")
	case c.Name == "":
		// The secret alone is no contradiction: "broker cluster status" needs nothing else.
	case v.NATS.URL != "":
		v.refuse("cluster.name", "%q is for embedded servers, and nats.url says to start none: want one of the two", c.Name)
	default:
		v.clusterServer(secret != "")
	}
}

// clusterSecret checks the secret, of which nothing is said but its length.
func (v *checker) clusterSecret() string {
	if v.Cluster.Secret != "" && v.Cluster.SecretFile != "" {
		v.refuse("cluster.secret_file", "%q, and cluster.secret is set: want one of the two", v.Cluster.SecretFile)
		return v.Cluster.Secret
	}
	secret, err := v.Cluster.secret()
	key := "cluster.secret"
	if v.Cluster.SecretFile != "" {
		key = "cluster.secret_file"
	}
	switch {
	case err != nil:
		v.refuse(key, "%s", err)
		return "unknown" // it was to be one
	case secret == mask:
		v.refuse(key, "%q is what config show prints in the place of a secret: want the secret", mask)
	case secret != "" && len(secret) < minSecret:
		v.refuse(key, "%d characters are too few: want at least %d, such as those of \"openssl rand -hex 32\"", len(secret), minSecret)
	}
	return secret
}

func (v *checker) clusterServer(secret bool) {
	c := v.Cluster
	if !validCluster.MatchString(c.Name) {
		v.refuse("cluster.name", "%q is not a name: want 1 to 64 of A-Z, a-z, 0-9, _ and -", c.Name)
	}
	v.clusterTLS()
	if !secret && c.TLS == (ClusterTLS{}) && !onlyLoopback(c.Listen) {
		v.refuse("cluster.listen", "%q can be reached from other machines, and a cluster has neither secret nor TLS: want cluster.secret, cluster.tls, or a loopback address such as 127.0.0.1", c.Listen)
	}
	// The secret guards the system account as well, which clients could use.
	switch {
	case secret:
	case !onlyLoopback(v.NATS.Listen):
		v.refuse("nats.listen", "%q can be reached from other machines, and a cluster has no secret: want cluster.secret, or a loopback address such as 127.0.0.1", v.NATS.Listen)
	case len(v.NATS.Users) > 0:
		v.refuse("nats.users", "without a secret everybody could use the account that \"broker cluster\" uses: want cluster.secret as well")
	}
	if len(c.Routes) == 0 {
		v.refuse("cluster.name", "%s, and cluster.routes is empty: want the addresses of all servers of the cluster, such as a:6222,b:6222,c:6222", c.Name)
	}
	for i, address := range c.Routes {
		if err := checkRoute(address); err != nil {
			v.refuse(fmt.Sprintf("cluster.routes[%d]", i), "%s", err)
		}
	}
}

func (v *checker) clusterTLS() {
	t := v.Cluster.TLS
	if t == (ClusterTLS{}) {
		return
	}
	if t.CA == "" || t.Cert == "" || t.Key == "" {
		v.refuse("cluster.tls", "ca %q, cert %q, key %q: want all three", t.CA, t.Cert, t.Key)
		return
	}
	if _, err := t.config(); err != nil {
		v.refuse("cluster.tls", "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
}

var errRoute = errors.New("want \"host:port\"")

// checkRoute checks the address of another server. It may hold no user: the secret is for that.
func checkRoute(address string) error {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@ ") {
		return fmt.Errorf("%q is not the address of a server: %w", maskURL(address), errRoute)
	}
	return nil
}
