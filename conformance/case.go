package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// testCase is one case of the catalogue.
type testCase struct {
	id    string // such as "6.4.1"
	title string // what is done; the verdict says whether it went as the RFC asks
	rfc   string // the rule
	steps []step

	path          string        // of the endpoint; "/" if empty
	offer         string        // of permessage-deflate; none if empty
	informational string        // why the outcome proves nothing; then it can only fail by harm
	slow          bool          // not in the fast subset
	limit         time.Duration // caseLimit if 0
}

// caseLimit is how long a case may take.
const caseLimit = 60 * time.Second

// compresses: the case needs an endpoint with compression.
func (c *testCase) compresses() bool { return strings.Contains(c.path, "deflate") }

func (c *testCase) section() int {
	n, _ := strconv.Atoi(strings.Split(c.id, ".")[0])
	return n
}

// chapter is a section of the catalogue.
type chapter struct {
	number int
	title  string
	cases  func() []testCase
}

var chapters = []chapter{
	{1, "Framing", framing},
	{2, "Ping and pong", pings},
	{3, "Reserved bits", reservedBits},
	{4, "Opcodes", opcodes},
	{5, "Fragmentation", fragmentation},
	{6, "UTF-8", utf8Handling},
	{7, "Closing", closingHandshake},
	{9, "Limits and performance", limits},
	{10, "Automatic fragmentation", autoFragmentation},
	{12, "Compression, by content", compressionByContent},
	{13, "Compression, by offer", compressionByOffer},
	{14, "Beyond the catalogue", beyond},
}

// catalogue answers all cases, in order.
func catalogue() []testCase {
	var all []testCase
	for _, c := range chapters {
		all = append(all, c.cases()...)
	}
	slices.SortStableFunc(all, func(a, b testCase) int { return compareIDs(a.id, b.id) })
	return all
}

func compareIDs(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
}
