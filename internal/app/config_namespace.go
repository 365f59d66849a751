package app

import (
	"fmt"
	"slices"
)

// Namespace limits the clients of a tenant, on all its endpoints together.
type Namespace struct {
	Name   string          `yaml:"name"`
	Limits NamespaceLimits `yaml:"limits"`
	Rates  NamespaceRates  `yaml:"rates"`
}

// NamespaceLimits are how many connections there may be, at once and new in a second; 0: no limit.
type NamespaceLimits struct {
	Connections           int `yaml:"connections"`
	NewConnections        int `yaml:"new_connections"`
	ConnectionsPerUser    int `yaml:"connections_per_user"`
	NewConnectionsPerUser int `yaml:"new_connections_per_user"`
}

// NamespaceRates are what its clients may send in a second, all together; 0: no limit.
type NamespaceRates struct {
	Messages        int  `yaml:"messages"`
	Bytes           Size `yaml:"bytes"`
	MessagesPerUser int  `yaml:"messages_per_user"`
	BytesPerUser    Size `yaml:"bytes_per_user"`
}

func (v *checker) tenants() {
	for i, n := range v.Namespaces {
		key := fmt.Sprintf("namespaces[%d]", i)
		v.namespaceName(key+".name", i)
		v.count(key+".limits.connections", n.Limits.Connections, 0)
		v.count(key+".limits.new_connections", n.Limits.NewConnections, 0)
		v.count(key+".limits.connections_per_user", n.Limits.ConnectionsPerUser, 0)
		v.count(key+".limits.new_connections_per_user", n.Limits.NewConnectionsPerUser, 0)
		v.count(key+".rates.messages", n.Rates.Messages, 0)
		within(v, key+".rates.bytes", n.Rates.Bytes, 0, 64*GiB)
		v.count(key+".rates.messages_per_user", n.Rates.MessagesPerUser, 0)
		within(v, key+".rates.bytes_per_user", n.Rates.BytesPerUser, 0, 64*GiB)
	}
}

// namespaceName refuses a name that nobody would meet the limits of.
func (v *checker) namespaceName(key string, i int) {
	name := v.Namespaces[i].Name
	if j := slices.IndexFunc(v.Namespaces[:i], func(n Namespace) bool { return n.Name == name }); j >= 0 {
		v.refuse(key, "%q is the name of namespaces[%d]: want each once", name, j)
		return
	}
	if used := v.usedNamespaces(); len(used) > 0 && !slices.Contains(used, name) {
		v.refuse(key, "%q is the namespace of no endpoint: want %s", name, alternatives(used))
	}
}

// usedNamespaces are those of the endpoints.
func (c Config) usedNamespaces() (names []string) {
	for _, e := range c.Endpoints {
		if !slices.Contains(names, e.Namespace) {
			names = append(names, e.Namespace)
		}
	}
	return names
}
