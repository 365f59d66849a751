package hub_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

func message(cf hub.Confirmation) *hub.Message {
	return &hub.Message{Opcode: hub.Text, Payload: []byte("x"), Confirmation: cf}
}

func TestLast16RequestsAreRemembered(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	ask := func(id int) hub.Sent {
		sent, err := c.Send(message(hub.Queued), strconv.Itoa(id), nil)
		if err != nil {
			t.Fatal(err)
		}
		return sent
	}
	first := make([]hub.Sent, 17)
	for i := range 17 {
		first[i] = ask(i)
	}
	for i := 1; i < 17; i++ {
		if again := ask(i); again != first[i] {
			t.Errorf("request %d: %v, first %v", i, again, first[i])
		}
	}
	if n := len(s.Record().Messages); n != 17 {
		t.Errorf("%d messages", n)
	}
	if ask(0); len(s.Record().Messages) != 18 {
		t.Error("the 17th last is remembered")
	}
}

// What was not taken must be tried again, and must not push out what was.
func TestRefusedRequestIsNotRemembered(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	if _, err := c.Send(message(hub.Queued), "taken", nil); err != nil {
		t.Fatal(err)
	}
	s.Refuse(hub.ErrQueueFull)
	for i := range 40 {
		_, err := c.Send(message(hub.Queued), strconv.Itoa(i), nil)
		wantReason(t, err, hub.SendQueueFull)
	}
	s.Refuse(nil)
	for _, id := range []string{"taken", "39"} {
		if _, err := c.Send(message(hub.Queued), id, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Record().Messages); n != 2 {
		t.Errorf("%d messages; the repeat of the first was sent, or the retry was not", n)
	}
}

func TestConcurrentRepeatsSendOnce(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	var all sync.WaitGroup
	outcomes := make(chan hub.Outcome, 32)
	for i := range 32 {
		cf := hub.Queued
		if i%2 == 0 {
			cf = hub.Received
		}
		all.Go(func() {
			if _, err := c.Send(message(cf), "r", func(o hub.Outcome) { outcomes <- o }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.Confirm(hub.Outcome{RTT: time.Second})
	if n := len(s.Record().Messages); n != 1 {
		t.Errorf("%d messages", n)
	}
	close(outcomes)
	n := 0
	for range outcomes {
		n++
	}
	if n != 16 {
		t.Errorf("%d of 16 heard of the outcome", n)
	}
}

func TestRepeatHearsTheOutcomeOfTheFirst(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	outcomes := make(chan hub.Outcome, 3)
	ask := func() {
		if _, err := c.Send(message(hub.Received), "r", func(o hub.Outcome) { outcomes <- o }); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	ask()
	if len(outcomes) != 0 {
		t.Error("told before it was known")
	}
	s.Confirm(hub.Outcome{Err: hub.ErrNotConfirmed})
	ask()
	for range 3 {
		wantReason(t, (<-outcomes).Err, hub.NotConfirmed)
	}
}
