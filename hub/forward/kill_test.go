package forward_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/forward"
)

const (
	childDir   = "FORWARD_TEST_DIR"
	childHook  = "FORWARD_TEST_ENDPOINT" // JSON of a webhook
	killEvents = 1500
)

// childMain is a process that forwards until it is killed.
func childMain() {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	w, err := open(dir, eventlog.Config{})
	fail(err)
	var e hub.Endpoint
	fail(json.Unmarshal([]byte(os.Getenv(childHook)), &e))
	fail(w.hub.PutEndpoint(context.Background(), e, "test"))
	s, err := w.hub.Stream(e.Name)
	fail(err)
	stored := int64(0)
	for p := range 2 {
		_, next := s.Bounds(p)
		stored += next
	}
	fmt.Println("ready")
	f := forward.New(forward.Config{Look: 5 * time.Millisecond, Pause: 2 * time.Millisecond}, w.server, slog.New(slog.DiscardHandler), clock.System{}, nil)
	go func() {
		for i := stored; i < killEvents; i++ {
			fail(w.put(e.Name, fmt.Sprint(i)))
		}
	}()
	fail(f.Run(context.Background()))
}

// A process is killed again and again while it stores and forwards. Whatever it stored arrives, and what arrives again says so.
func TestKillLosesNothingAndMarksWhatComesAgain(t *testing.T) {
	h := newHook(t)
	settings, err := json.Marshal(h.endpoint("hook"))
	check(t, err)
	dir := filepath.Join(t.TempDir(), "hub")
	whole := func(got []received) bool {
		lanes := map[string]int64{}
		seen := map[string]bool{}
		for _, e := range got {
			seen[e.ID] = true
			lanes[e.ID[:len("u1/hook/0")]] = max(lanes[e.ID[:len("u1/hook/0")]], e.Sequence+1)
		}
		return int64(len(seen)) == lanes["u1/hook/0"]+lanes["u1/hook/1"] && len(seen) >= killEvents
	}
	kills := 0
	for {
		c := exec.Command(os.Args[0], "-test.run=^$")
		c.Env = append(os.Environ(), childDir+"="+dir, childHook+"="+string(settings))
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		check(t, err)
		check(t, c.Start())
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if kills == 6 {
			h.wait(t, whole)
			check(t, c.Process.Kill())
			_ = c.Wait() // killed
			break
		}
		alive, stop := clock.System{}.After(time.Duration(20+rand.IntN(120)) * time.Millisecond)
		<-alive
		stop()
		check(t, c.Process.Kill())
		_ = c.Wait() // killed
		kills++
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[string]bool{}
	again, marked := 0, 0
	for _, e := range h.got {
		if e.Redelivered {
			marked++
		}
		if seen[e.ID] {
			again++
			if !e.Redelivered {
				t.Errorf("%s came again without a mark", e.ID)
			}
		}
		seen[e.ID] = true
	}
	t.Logf("%d events, %d came again, %d were marked, %d kills", len(seen), again, marked, kills)
	if marked > again+(kills+1)*2*(2*100) {
		t.Errorf("%d are marked and %d came again", marked, again)
	}
}
