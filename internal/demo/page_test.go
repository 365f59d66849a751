package demo

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func fetch(method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestPageIsServedWithItsTypes(t *testing.T) {
	for path, want := range map[string]string{
		"/":          "text/html; charset=utf-8",
		"/app.js":    "text/javascript; charset=utf-8",
		"/style.css": "text/css; charset=utf-8",
		"/icon.svg":  "image/svg+xml",
	} {
		answer := fetch(http.MethodGet, path)
		if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != want {
			t.Errorf("%s: %d %s, want 200 %s", path, answer.Code, answer.Header().Get("Content-Type"), want)
		}
		if csp := answer.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, csp)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	for _, path := range []string{"/page/index.html", "/../page.go", "/missing.js", "/app", "/.js"} {
		if answer := fetch(http.MethodGet, path); answer.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, answer.Code)
		}
	}
	if answer := fetch(http.MethodPost, "/"); answer.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %d, want 405", answer.Code)
	}
}

// TestPageIsSelfContained: it must work offline and within its own policy, and text must go in as text.
func TestPageIsSelfContained(t *testing.T) {
	forbidden := regexp.MustCompile(`(src|href)="(https?:)?//|@import|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(| style="| on[a-z]+="`)
	err := fs.WalkDir(files, "page", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := files.ReadFile(path)
		if found := forbidden.Find(body); found != nil {
			t.Errorf("%s holds %q", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
