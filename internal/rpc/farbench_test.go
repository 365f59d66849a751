package rpc

import (
	"errors"
	"io"
	"strconv"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// through runs a benchmark at the owner of a connection and at another node.
func through(b *testing.B, f func(b *testing.B, client holdfastv1.ConnectionServiceClient, id string)) {
	for i, name := range []string{"owner", "other"} {
		b.Run(name, func(b *testing.B) {
			_, nodes := newCluster(b, 2)
			socket := &hubtest.Socket{Discard: true}
			c, err := socket.Open(nodes[0].hub, chat)
			if err != nil {
				b.Fatal(err)
			}
			for _, m := range nodes { // the cluster remembers calls; not here
				m.drop = func(envelope) bool { m.seen = nil; return false }
			}
			b.ReportAllocs()
			f(b, nodes[i].client, c.ID().String())
		})
	}
}

func BenchmarkClusterSend(b *testing.B) {
	through(b, func(b *testing.B, client holdfastv1.ConnectionServiceClient, id string) {
		for b.Loop() {
			if _, err := client.Send(b.Context(), send(id, text(hundred))); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkClusterSendStream measures one send in batches.
func BenchmarkClusterSendStream(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			through(b, func(b *testing.B, client holdfastv1.ConnectionServiceClient, id string) {
				stream, err := client.SendStream(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				batch := &holdfastv1.SendStreamRequest{}
				for range size {
					batch.Sends = append(batch.Sends, send(id, text(hundred)))
				}
				answered := make(chan error, 1)
				go func() {
					for {
						if _, err := stream.Recv(); err != nil {
							answered <- err
							return
						}
					}
				}()
				b.ResetTimer()
				for i := 0; i < b.N; i += size {
					if err := stream.Send(batch); err != nil {
						b.Fatal(err)
					}
				}
				_ = stream.CloseSend()
				if err := <-answered; !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
			})
		})
	}
}
