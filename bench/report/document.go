package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A generated part of the document stands between these; its name says what it is: "targets", "machine", or a scenario.
const (
	partBegin = "<!-- bench: "
	partEnd   = "<!-- bench end -->"
)

// Document answers the text with all its generated parts renewed.
func (d *Data) Document(text string) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, partBegin)
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, rest, named := strings.Cut(rest, " -->")
		_, after, ended := strings.Cut(rest, partEnd)
		if !named || !ended {
			return "", fmt.Errorf("part %.20q has no end", name)
		}
		fmt.Fprintf(&out, "%s%s -->\n\n%s\n%s", partBegin, name, d.part(name), partEnd)
		text = after
	}
}

func (d *Data) part(name string) string {
	var b strings.Builder
	switch name {
	case "machine":
		runs := 0
		for _, r := range d.Rows {
			for _, f := range r.Figures {
				runs = max(runs, len(f.Runs))
			}
		}
		fmt.Fprintf(&b, "Measured on %s, up to %d times: %s.\n", d.Date, runs, strings.Join(d.Versions, "; "))
	case "targets":
		d.Judge(&b)
	default:
		d.Table(&b, name)
	}
	return b.String()
}

// Rewrite renews a document, and draws the plots.
func (d *Data) Rewrite(document, plots string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	renewed, err := d.Document(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	errs := []error{os.WriteFile(document, []byte(renewed), 0o644)} //nolint:gosec // it is committed
	for name, drawing := range d.Plots() {
		errs = append(errs, os.WriteFile(filepath.Join(plots, name), []byte(drawing), 0o644)) //nolint:gosec // the same
	}
	return errors.Join(errs...)
}
