// Package doctest keeps the documentation true. Its tests run the snippets of the Markdown files against
// the real broker, compare their tables with what the broker says of itself, and look for links and
// names that lead nowhere.
//
// A snippet that is new must be given a way to run it, or a reason why it is not run; see ways in
// snippets_test.go.
package doctest
