package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// moving lets a fake clock go on until the test says that it saw enough.
func moving(fake *clock.Fake, step time.Duration) (enough func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				fake.Advance(step)
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// noTrace wants nothing of the test to be there after its clean-up.
func noTrace(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// atTerminal runs a command at a terminal until it is interrupted or ends.
func atTerminal(t *testing.T, hw *hubtest.World, clk clock.Clock, args ...string) (out, errs *screen, interrupt func() int) {
	t.Helper()
	w, out, errs := testWorld(map[string]string{"NO_COLOR": "1"})
	w.clock, w.terminal = clk, true
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, w, append(args, "--data-dir", filepath.Dir(hw.Admin), "--hub", hubtest.Contoso))
	}()
	return out, errs, func() int {
		cancel()
		return <-code
	}
}

func TestAJobIsWatchedAtATerminal(t *testing.T) {
	noTrace(t)
	hw := hubtest.Start(t, hubtest.Options{Full: true})
	hw.Device(hubtest.Contoso, "press-1")
	fake := clock.NewFake(time.Now())
	local := &hubShell{t, nil}
	local.wants("job", "invoke-method", "reboot", "--where", "*", "--wait", "5m", "--id", "reboots", "--data-dir", filepath.Dir(hw.Admin), "--hub", hubtest.Contoso)
	_, errs, interrupt := atTerminal(t, hw, fake, "hub", "job", "watch", "reboots")
	enough := moving(fake, time.Second)
	errs.await("0 of 1 done, 0 failed, 1 under way  running")
	enough()
	if !strings.Contains(errs.String(), eraseLine) {
		t.Error("the line does not change in its place")
	}
	if code := interrupt(); code != exitDone || !strings.Contains(errs.String(), "note: the job goes on; end it with: isthmus hub job cancel reboots") {
		t.Errorf("%d %s", code, errs)
	}

	// It ends while somebody watches: the device is gone.
	out, errs, interrupt := atTerminal(t, hw, fake, "hub", "job", "watch", "reboots")
	enough = moving(fake, time.Second)
	local.wants("job", "cancel", "reboots", "--data-dir", filepath.Dir(hw.Admin), "--hub", hubtest.Contoso)
	errs.await("error: job reboots cancelled")
	enough()
	if code := interrupt(); code != exitFailed || !strings.Contains(out.String(), "cancelled") {
		t.Errorf("%d %s", code, out)
	}
}

func TestFeedbackIsFollowed(t *testing.T) {
	noTrace(t)
	hw := hubtest.Start(t, hubtest.Options{})
	hw.Device(hubtest.Contoso, "press-1")
	h := hw.Hub(hubtest.Contoso)
	s := h.CommandSettings()
	s.FeedbackDelay = 0
	if err := h.SetCommandSettings(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	fake := clock.NewFake(time.Now())
	out, errs, interrupt := atTerminal(t, hw, fake, "hub", "c2d", "feedback", "--follow", "-o", "json")
	for _, id := range []string{"m1", "m2"} {
		if _, err := h.SendCommand(t.Context(), hub.Name{Device: "press-1"}, hub.Command{MessageID: id, Ack: "full", Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.PurgeCommands(t.Context(), hub.Name{Device: "press-1"}); err != nil {
			t.Fatal(err)
		}
		enough := moving(fake, time.Second)
		out.await(`"originalMessageId":"` + id + `"`)
		enough()
	}
	if code := interrupt(); code != exitDone || errs.String() != "" {
		t.Errorf("%d %s", code, errs)
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if b, err := h.ReceiveFeedback(t.Context(), time.Minute); err != nil || b != nil {
		t.Errorf("what was printed is still there: %+v, %v", b, err)
	}
}
