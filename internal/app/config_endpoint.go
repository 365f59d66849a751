package app

import (
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

var (
	validNamespace = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
	validToken     = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110 5.6.2
)

func (v *checker) endpoints() {
	if len(v.Endpoints) == 0 {
		v.refuse("endpoints", "empty: want at least one, or no such key for the default endpoint \"/\"")
	}
	v.paths()
	for i, e := range v.Endpoints {
		key := fmt.Sprintf("endpoints[%d]", i)
		if !validNamespace.MatchString(e.Namespace) {
			v.refuse(key+".namespace", "%q is not a namespace: want 1 to 32 of a-z, 0-9, _ and -", e.Namespace)
		}
		v.handshake(key, e)
		v.traffic(key, e)
		v.events(key, e)
	}
}

// paths checks what net/http will be told.
func (v *checker) paths() {
	var good []int // the endpoints whose paths are
	for i, e := range v.Endpoints {
		key := fmt.Sprintf("endpoints[%d].path", i)
		if complaint := wrongPath(e.Path); complaint != "" {
			v.refuse(key, "%q %s", e.Path, complaint)
			continue
		}
		for _, j := range good {
			if other := v.Endpoints[j].Path; other == e.Path {
				v.refuse(key, "%q is the path of endpoints[%d]: want one of its own", e.Path, j)
				break
			} else if register(other, e.Path) != "" {
				v.refuse(key, "%q conflicts with %q of endpoints[%d]: want paths of which one is more specific where both match", e.Path, other, j)
				break
			}
		}
		good = append(good, i)
	}
}

// wrongPath says what is wrong with a path by itself.
func wrongPath(p string) string {
	if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, " \t\r\n?#") {
		return "is not a path: want one that begins with \"/\", without white space, \"?\" and \"#\""
	}
	if cleaned := clean(p); cleaned != p {
		return fmt.Sprintf("is never asked for: want %q", cleaned)
	}
	if strings.HasPrefix(p, "/{") && strings.HasSuffix(p, "...}") && strings.Count(p, "/") == 1 {
		return "would match every path: want at least one fixed segment before it, as in \"/ws/{rest...}\""
	}
	if complaint := register(p); complaint != "" {
		return "is not a path: " + complaint
	}
	return ""
}

// clean is the path that net/http sends a client to instead.
func clean(p string) string {
	cleaned := path.Clean(p)
	if strings.HasSuffix(p, "/") && cleaned != "/" {
		cleaned += "/"
	}
	return cleaned
}

// register tries paths on a router like that of the edge. It returns what is wrong with the last one.
func register(paths ...string) (complaint string) {
	defer func() {
		if r := recover(); r != nil {
			complaint = fmt.Sprint(r)
			if _, reason, ok := strings.Cut(complaint, ": at offset "); ok {
				complaint = "at offset " + reason
			}
		}
	}()
	mux := http.NewServeMux()
	mux.Handle("/", http.NotFoundHandler())
	for _, p := range paths {
		mux.Handle(exactPattern(p), http.NotFoundHandler())
	}
	return ""
}

func (v *checker) handshake(key string, e Endpoint) {
	v.each(key+".subprotocols", e.Subprotocols, func(at, name string) {
		switch {
		case name == wire.AnySubprotocol:
		case !validToken.MatchString(name):
			v.refuse(at, "%q is not a subprotocol: want an HTTP token, or \"*\" for whatever the client offers first", name)
		case strings.HasPrefix(name, "bearer."):
			v.refuse(at, "%q is never chosen: what begins with \"bearer.\" is a client's credential", name)
		}
	})
	if e.SubprotocolRequired && len(e.Subprotocols) == 0 {
		v.refuse(key+".subprotocol_required", "true, and subprotocols is empty: want one there, or \"*\"")
	}
	v.each(key+".origins", e.Origins, func(at, origin string) {
		if !ws.ValidOrigin(origin) {
			v.refuse(at, "%q is not an origin: want same-origin, https://example.org, https://*.example.org, \"null\" or \"*\"", origin)
		}
	})
	v.each(key+".keep_headers", e.KeepHeaders, func(at, name string) {
		if !validToken.MatchString(name) {
			v.refuse(at, "%q is not the name of a header: want an HTTP token, such as User-Agent", name)
		}
	})
	v.admission(key+".admission", e.Admission)
	v.compression(key+".compression", e.Compression)
}

func (v *checker) traffic(key string, e Endpoint) {
	v.noneOrWithin(key+".heartbeat.interval", e.Heartbeat.Interval, 100*Millisecond, 24*Hour)
	within(v, key+".heartbeat.timeout", e.Heartbeat.Timeout, 100*Millisecond, 24*Hour)
	v.limits(key+".limits.", e.Limits)
	r, key := e.Rates, key+".rates."
	v.count(key+"messages", r.Messages, 0)
	within(v, key+"bytes", r.Bytes, 0, 64*GiB)
	v.count(key+"control_frames", r.ControlFrames, 0)
	v.oneOf(key+"policy", r.Policy, "wait", "close")
}

func (v *checker) limits(key string, l Limits) {
	within(v, key+"message_size", l.MessageSize, 1, 64*MiB)
	within(v, key+"frame_size", l.FrameSize, 0, 64*MiB)
	v.count(key+"fragments", l.Fragments, 1)
	within(v, key+"send_queue", l.SendQueue, KiB, GiB)
	v.count(key+"send_queue_messages", l.SendQueueMessages, 1)
	v.oneOf(key+"send_queue_policy", l.SendQueuePolicy, "reject", "close", "drop_oldest")
	within(v, key+"max_pause", l.MaxPause, Millisecond, 24*Hour)
	within(v, key+"close_timeout", l.CloseTimeout, 100*Millisecond, Hour)
	v.noneOrWithin(key+"idle_timeout", l.IdleTimeout, Second, 24*Hour)
	v.noneOrWithin(key+"max_lifetime", l.MaxLifetime, Second, 8760*Hour)
	v.count(key+"connections", l.Connections, 0)
	v.count(key+"connections_per_ip", l.ConnectionsPerIP, 0)
	v.count(key+"new_connections", l.NewConnections, 0)
	v.count(key+"new_connections_per_ip", l.NewConnectionsPerIP, 0)
}

func (v *checker) events(key string, e Endpoint) {
	v.each(key+".events", e.Events, func(at, kind string) {
		v.oneOf(at, kind, "open", "message", "close", "ping", "pong")
	})
	for _, kind := range []string{"open", "message", "close"} {
		if !slices.Contains(e.Events, kind) {
			v.refuse(key+".events", "[%s] leaves out %s: open, message and close cannot be left out; ping and pong can be added",
				strings.Join(e.Events, ", "), kind)
		}
	}
	v.each(key+".event_attributes", e.EventAttributes, func(at, name string) {
		if !validToken.MatchString(name) {
			v.refuse(at, "%q is not an attribute for events: want an HTTP token, for it becomes the header Holdfast-Attr-<name>", name)
		}
	})
}

// each checks the entries of a list, and that none stands there twice.
func (v *checker) each(key string, entries []string, check func(at, entry string)) {
	for i, entry := range entries {
		at := fmt.Sprintf("%s[%d]", key, i)
		if slices.Contains(entries[:i], entry) {
			v.refuse(at, "%q stands there twice: want each once", entry)
			continue
		}
		check(at, entry)
	}
}
