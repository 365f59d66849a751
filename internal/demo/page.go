package demo

import (
	"embed"
	"net/http"
	"path"
)

// policy lets the page load its own files and talk to its own host, and nothing else: no inline
// script, no eval, no other site, no frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed page
var files embed.FS

// contentTypes are written here because the machine's own table, which net/http would ask, may say
// anything. What is not listed is not served.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Handler serves the demo page at "/", and its files beside it. It works without a network beyond the
// broker: the page is part of the binary.
func Handler() http.Handler {
	return http.HandlerFunc(servePage)
}

func servePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := r.URL.Path
	if name == "/" || name == "" {
		name = "/index.html"
	}
	contentType, listed := contentTypes[path.Ext(name)]
	body, err := files.ReadFile(path.Join("page", path.Clean("/"+name)))
	if err != nil || !listed {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-cache")
	_, _ = w.Write(body) //nolint:gosec // G705: it is one of our own files
}
