package doctest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the top of the repository.
const root = "../.."

// document is a Markdown file.
type document struct {
	path     string // from the root
	snippets []snippet
	tables   map[string][]row // by the heading that they stand under; the last one of each
	headings []string
	text     string // without its fenced blocks
}

// snippet is a fenced block.
type snippet struct {
	key  string // "README.md#Run it/1": the file, the heading, and which block under it
	lang string
	text string
	line int
}

// row is a line of a table, by the heading of the column.
type row map[string]string

// read reads a Markdown file.
func read(t *testing.T, path string) document {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	d := document{path: path, tables: make(map[string][]row)}
	var heading, plain string
	var fence *snippet
	var table []string
	count := make(map[string]int)
	for i, line := range strings.Split(string(b), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != nil && trimmed == "```":
			d.snippets = append(d.snippets, *fence)
			fence = nil
		case fence != nil:
			fence.text += line + "\n"
		case strings.HasPrefix(trimmed, "```"):
			count[heading]++
			lang, _, _ := strings.Cut(strings.TrimPrefix(trimmed, "```"), " ")
			fence = &snippet{key: fmt.Sprintf("%s#%s/%d", path, heading, count[heading]), lang: lang, line: i + 1}
		default:
			plain += line + "\n"
			if strings.HasPrefix(line, "#") {
				heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
				d.headings = append(d.headings, heading)
			}
			if strings.HasPrefix(line, "|") {
				table = append(table, line)
				continue
			}
		}
		if table != nil {
			d.tables[heading] = rows(t, table)
			table = nil
		}
	}
	d.text = plain
	return d
}

// cellEnd is a "|" between cells, not one that is escaped.
var cellEnd = regexp.MustCompile(`(^|[^\\])\|`)

func cells(line string) (all []string) {
	line = cellEnd.ReplaceAllString(strings.Trim(strings.TrimSpace(line), "|"), "$1\x00")
	for cell := range strings.SplitSeq(line, "\x00") {
		all = append(all, strings.TrimSpace(cell))
	}
	return all
}

func rows(t *testing.T, lines []string) (all []row) {
	t.Helper()
	head := cells(lines[0])
	for _, line := range lines[2:] {
		r := make(row)
		values := cells(line)
		if len(values) != len(head) {
			t.Errorf("%q has %d cells, its table %d columns", line, len(values), len(head))
			continue
		}
		for i, name := range head {
			r[name] = values[i]
		}
		all = append(all, r)
	}
	return all
}

// bare is a cell without the marks of code.
func bare(cell string) string { return strings.ReplaceAll(cell, "`", "") }

// words are what stands between the marks of code in a cell.
func words(cell string) (all []string) {
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			all = append(all, part)
		}
	}
	return all
}

// one finds the snippet of a key.
func (d document) one(t *testing.T, key string) snippet {
	t.Helper()
	for _, s := range d.snippets {
		if s.key == key {
			return s
		}
	}
	t.Fatalf("no snippet %s", key)
	return snippet{}
}

// whole is the text with its fenced blocks, which follow it.
func (d document) whole() string {
	var b strings.Builder
	b.WriteString(d.text)
	for _, s := range d.snippets {
		b.WriteString(s.text)
	}
	return b.String()
}

// table finds the table under a heading.
func (d document) table(t *testing.T, heading string) []row {
	t.Helper()
	table := d.tables[heading]
	if len(table) == 0 {
		t.Fatalf("%s has no table under %q", d.path, heading)
	}
	return table
}

// documents are the files whose snippets are run here. The READMEs of the clients have their own tests.
func documents(t *testing.T) (all []document) {
	t.Helper()
	paths := []string{"README.md", "CHANGELOG.md", "examples/README.md"}
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range docs {
		paths = append(paths, "docs/"+filepath.Base(path))
	}
	for _, path := range paths {
		all = append(all, read(t, path))
	}
	return all
}
