package hub_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

var longAgo = time.Unix(1, 0)

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := node()
		c, s := open(t, h, chat)
		expire := func(d time.Duration) {
			at := time.Now().Add(d)
			if in, err := c.Update(hub.Update{Expire: &at}); err != nil || !in.ExpireTime.Equal(at) {
				t.Fatalf("%v, %v", in, err)
			}
		}
		wait := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d) // of the bubble's clock
			synctest.Wait()
			if got := fmt.Sprint(s.Record().Closes); got != want {
				t.Errorf("closes %s, want %s", got, want)
			}
		}
		expire(time.Minute)
		expire(time.Hour) // replaces
		wait(time.Hour-1, "[]")
		if _, err := c.Update(hub.Update{Expire: new(time.Time)}); err != nil || !c.Info().ExpireTime.IsZero() {
			t.Fatal(err)
		}
		wait(time.Hour, "[]")
		now := time.Now()
		_, err := c.Update(hub.Update{Expire: &now})
		wantReason(t, err, hub.InvalidExpireTime)
		expire(time.Second)
		wait(time.Second-1, "[]")
		wait(1, "[{4401 expired EXPIRED}]")
		s.End(hub.End{Cause: hub.CauseExpired})
	})
}

func TestEndStopsTheClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := node()
		c, s := open(t, h, chat)
		at := time.Now().Add(time.Minute)
		if _, err := c.Update(hub.Update{Expire: &at}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Pause(time.Minute); err != nil {
			t.Fatal(err)
		}
		s.End(hub.End{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if r := s.Record(); len(r.Closes) != 0 || r.Resumes != 0 {
			t.Errorf("asked of an ended socket: %+v", r)
		}
	})
}

func TestPauseEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := node()
		c, s := open(t, h, chat)
		pause := func(d, want time.Duration) {
			t.Helper()
			at, err := c.Pause(d)
			if err != nil || time.Until(at) != want {
				t.Fatalf("pause %s: until %s, %v", d, at, err)
			}
		}
		resumes := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if n := s.Record().Resumes; n != want {
				t.Errorf("%d resumes, want %d", n, want)
			}
		}
		pause(time.Second, time.Second)
		pause(time.Minute, time.Minute) // sets a new resume_after
		resumes(time.Minute-1, 0)
		resumes(1, 1)
		pause(0, chat.MaxPause)
		resumes(chat.MaxPause-1, 1)
		resumes(1, 2)
		pause(time.Second, time.Second)
		if err := c.Resume(); err != nil {
			t.Fatal(err)
		}
		resumes(time.Hour, 3) // only that one
		for _, d := range []time.Duration{-1, chat.MaxPause + 1} {
			_, err := c.Pause(d)
			wantReason(t, err, hub.InvalidDuration)
		}
		s.SetState(func(st *hub.SocketState) { st.Closing = true })
		_, err := c.Pause(0)
		wantReason(t, err, hub.ConnectionClosing)
		wantReason(t, c.Resume(), hub.ConnectionClosing)
	})
}

func TestStartPausedIsResumedByTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := node()
		_, s := open(t, h, &hub.Endpoint{Path: "/", Namespace: "default", StartPaused: true, MaxPause: time.Minute})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := s.Record().Resumes; n != 1 {
			t.Errorf("%d resumes", n)
		}
	})
}

func TestShutdownSpreadsItsCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := node()
		const n = 100
		for range n {
			s := &hubtest.Socket{AnswerClose: true}
			if _, err := s.Open(h, chat); err != nil {
				t.Fatal(err)
			}
		}
		closed := func() (k int) {
			for _, e := range p.Events() {
				if e.Closed != nil {
					k++
					if e.Closed.End.SentCode != hub.CodeRestart || e.Closed.End.Cause != hub.CauseNodeDrain {
						t.Errorf("closed %+v", e.Closed.End)
					}
				}
			}
			return k
		}
		begin, done := time.Now(), make(chan struct{})
		go func() {
			h.Shutdown(context.Background(), 10*time.Second)
			close(done)
		}()
		for second := 1; second < 10; second++ {
			time.Sleep(time.Until(begin.Add(time.Duration(second)*time.Second - 1)))
			synctest.Wait()
			if k, want := closed(), second*n/10; k != want {
				t.Errorf("%d closed after %d s, want %d", k, second, want)
			}
		}
		<-done
		if took := time.Since(begin); closed() != n || took > 10*time.Second {
			t.Errorf("%d closed in %s", closed(), took)
		}
		_, _, err := hubtest.Open(h, chat)
		wantReason(t, err, hub.NodeStopping)
	})
}

func TestShutdownTerminatesWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := node()
		c, s := open(t, h, chat) // its peer never answers the close frame
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		h.Shutdown(ctx, time.Second)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %s", took)
		}
		if r := s.Record(); !slices.Equal(r.Terminated, []hub.Cause{hub.CauseNodeDrain}) || story(p.Of(c)) != "open1 close2" {
			t.Errorf("%v, %s", r.Terminated, story(p.Of(c)))
		}
	})
}
