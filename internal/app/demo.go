package app

import (
	"context"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/demo"
)

// pages answers plain HTTP requests for "/" and the page's files, or is nil.
func (b *broker) pages() http.Handler {
	if !b.cfg.Demo {
		return nil
	}
	return demo.Handler()
}

// startDemo starts the demo's backend, which knows of the broker only what every backend knows: two
// addresses.
func (b *broker) startDemo(ctx context.Context) error {
	if !b.cfg.Demo {
		return nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it serves until the clients are gone
	b.stopDemo = cancel
	c := demo.Config{
		NATSURL: b.natsURL, NATS: b.demoOptions(), Control: b.controlListener.Addr().String(),
		Namespace: b.demoNamespace(), Logger: b.logger.With("part", "demo"),
	}
	b.serve("demo", func() error { return demo.Run(ctx, c) })
	url := clientURL(b.clientListeners[0], b.cfg.Listen[0])
	b.logger.Info("demo: open this page in two tabs", "url", "http"+strings.TrimPrefix(url, "ws"))
	return nil
}

// demoNamespace is that of the endpoint which the page connects to.
func (b *broker) demoNamespace() string {
	for _, e := range b.cfg.Endpoints {
		if e.Path == "/" {
			return e.Namespace
		}
	}
	return ""
}

func (b *broker) demoOptions() (opts []nats.Option) {
	n := b.cfg.NATS
	if n.Credentials != "" {
		opts = append(opts, nats.UserCredentials(n.Credentials))
	}
	if n.TLS.CA != "" {
		opts = append(opts, nats.RootCAs(n.TLS.CA))
	}
	if n.TLS.Cert != "" {
		opts = append(opts, nats.ClientCert(n.TLS.Cert, n.TLS.Key))
	}
	return opts
}
