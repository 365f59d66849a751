package opening

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// request makes a request of a head as net/http does. It is nil where net/http does more: where the target is no URL, or
// one that an http.ServeMux would redirect, and where a field for old caches is completed.
func request(h *wire.Head) *http.Request {
	u, err := url.ParseRequestURI(h.Target)
	if err != nil || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/.") {
		return nil
	}
	header := make(http.Header, len(h.Fields))
	values := make([]string, len(h.Fields))
	for i, f := range h.Fields {
		values[i] = f.Value
		if before, repeated := header[f.Name]; repeated {
			header[f.Name] = append(before, f.Value)
		} else {
			header[f.Name] = values[i : i+1 : i+1]
		}
	}
	if header["Pragma"] != nil && header["Cache-Control"] == nil {
		return nil
	}
	return &http.Request{
		Method: http.MethodGet, URL: u, RequestURI: h.Target, Host: h.Host, Header: header, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}
