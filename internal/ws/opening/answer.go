package opening

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"time"
)

// answerWriter is the ResponseWriter of a handshake. What is written goes out when the handler returns.
type answerWriter struct {
	listener *Listener
	conn     *conn
	client   *presence
	early    []byte // what the client sent behind its handshake
	taken    bool

	header http.Header
	status int // 0: not decided
	body   bytes.Buffer
}

func (a *answerWriter) Header() http.Header {
	if a.header == nil {
		a.header = make(http.Header)
	}
	return a.header
}

func (a *answerWriter) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answerWriter) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// TakeConn gives the connection to the handler, as Hijack would do with buffers that nobody needs, and what the client
// has sent behind its handshake. Nothing that was written is sent.
func (a *answerWriter) TakeConn() (nc net.Conn, early []byte) {
	if len(a.early) > 0 {
		early = bytes.Clone(a.early)
	}
	a.client.leave()
	a.taken = true
	a.listener.release(a.conn)
	a.listener.tell(a.conn, http.StateHijacked)
	return a.conn.Conn, early
}

// send sends what was written, unless the connection was taken. There is no other request on it.
func (a *answerWriter) send() {
	if a.taken {
		return
	}
	a.WriteHeader(http.StatusOK)
	a.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	resp := http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Header: a.header, Close: true,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()),
	}
	var whole bytes.Buffer
	if resp.Write(&whole) != nil {
		return
	}
	if t := a.listener.Server.WriteTimeout; t > 0 {
		_ = a.conn.SetWriteDeadline(time.Now().Add(t))
	}
	_, _ = a.conn.Write(whole.Bytes()) // the client may be gone
}
