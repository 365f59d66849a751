package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/bus"
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
	opts, err := bus.ClientOptions(b.natsAuth(), b.natsTLS(), b.logger)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it serves until the clients are gone
	b.stopDemo = cancel
	c := demo.Config{
		NATSURL: b.natsURL, NATS: opts, Control: b.controlListener.Addr().String(),
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
