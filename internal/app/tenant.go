package app

import (
	"sync"
	"sync/atomic"

	"github.com/holdfast-broker/holdfast/internal/ws"
)

// tenant is a namespace whose connections are limited, on all its endpoints together.
type tenant struct {
	gate  gate
	quota *ws.Quota // nil: what it sends is not limited

	mu    sync.Mutex
	users visitors[string]
}

// tenantsOf makes what counts the connections of namespaces.
func (e *edge) tenantsOf(namespaces []Namespace) map[string]*tenant {
	all := make(map[string]*tenant, len(namespaces))
	for _, n := range namespaces {
		t := &tenant{
			gate: gate{most: n.Limits.Connections, perSecond: n.Limits.NewConnections, full: namespaceFull, hasty: namespaceHasty},
			users: visitors[string]{
				most: n.Limits.ConnectionsPerUser, perSecond: n.Limits.NewConnectionsPerUser, full: userFull, hasty: userHasty,
				quota: e.quotas(n.Rates.MessagesPerUser, n.Rates.BytesPerUser, &e.held.user),
			},
		}
		if quota := e.quotas(n.Rates.Messages, n.Rates.Bytes, &e.held.namespace); quota != nil {
			t.quota = quota()
		}
		all[n.Name] = t
	}
	return all
}

// quotas makes quotas of so much in a second, and counts the connections that were held for them; nil: there is no limit.
func (e *edge) quotas(messages int, bytes Size, held *atomic.Uint64) func() *ws.Quota {
	if messages == 0 && bytes == 0 {
		return nil
	}
	return func() *ws.Quota { return e.engine.NewQuota(messages, int64(bytes), held) }
}

// held counts how often a connection was held for a quota, by whose it was.
type held struct{ ip, user, namespace atomic.Uint64 }

// byLimit are these counts, and how often a connection was over a rate of its own.
func (h *held) byLimit(own uint64) map[string]uint64 {
	return map[string]uint64{
		"connection": own, "ip": h.ip.Load(), "user": h.user.Load(), "namespace": h.namespace.Load(),
	}
}
