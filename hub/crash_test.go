package hub_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// childDir, when it is set, makes the test binary a hub that delivers messages there until it is killed.
const childDir = "HUB_TEST_DELIVER_IN"

const childDevices = 16

// childDelivers sends to every device and lets every device complete what it is given, and tells each step on its standard output: what
// was acknowledged after that, what is about to be completed before.
func childDelivers(dir string) int {
	ctx := context.Background()
	h, _, err := openHub(ctx, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var all sync.WaitGroup
	for d := range childDevices {
		n := hub.Name{Device: fmt.Sprint("d", d)}
		p, err := connectPlayer(ctx, h, n)
		if err != nil {
			fail(err)
		}
		all.Go(func() {
			for i := 0; ; i++ {
				c, err := h.SendCommand(ctx, n, hub.Command{MessageID: fmt.Sprintf("%s-%d-%d", n.Device, os.Getpid(), i), Body: make([]byte, 100*(i%20))})
				switch {
				case err == nil:
					say("sent %s %d", c.MessageID, c.Sequence)
				case code.Of(err) != code.QueueDepthExceeded:
					fail(err)
				}
			}
		})
		all.Go(func() {
			for range p.waiting {
				for {
					c, err := p.NextCommand(ctx)
					if err != nil {
						fail(err)
					}
					if c == nil {
						break
					}
					say("given %s %d", c.MessageID, c.DeliveryCount)
					if c.Sequence%5 == 0 { // some are never completed
						continue
					}
					say("completing %s", c.MessageID)
					p.Complete(c.Lock, func(err error) {
						if err != nil {
							fail(err)
						}
						say("completed %s", c.MessageID)
					})
				}
			}
		})
	}
	all.Wait()
	return 1
}

func openHub(ctx context.Context, dir string) (*hub.Hub, *hub.Server, error) {
	s, err := hub.New(ctx, hub.Config{Dir: dir}, &memory{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := s.SetHubs([]plan.Hub{one}); err != nil {
		return nil, nil, err
	}
	h, _ := s.ByHost(host)
	_, err = h.SetLimits(ctx, []byte(`{"device":{"commands":{}},"hub":{"commands":{}}}`), "test")
	return h, s, err
}

func connectPlayer(ctx context.Context, h *hub.Hub, n hub.Name) (*player, error) {
	if _, err := h.Device(ctx, n.Device); err != nil {
		if _, err := h.CreateDevice(ctx, hubstore.Device{ID: n.Device}); err != nil {
			return nil, err
		}
	}
	text, err := h.PolicyConnectionString(hub.PolicyDevice)
	if err != nil {
		return nil, err
	}
	policy, err := sas.ParseConnectionString(text)
	if err != nil {
		return nil, err
	}
	token, err := sas.Sign(host+"/devices/"+n.Device, policy.Key, hub.PolicyDevice, time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	p := &player{waiting: make(chan struct{}, 1)}
	p.Session, err = h.Connect(ctx, hub.Request{Device: n.Device, Token: token, Side: public, Door: "test", Receiver: p, Cut: func(hub.Cause) {}})
	if err == nil {
		p.Listen(hub.Commands, true)
	}
	return p, err
}

// delivery is what the parent knows of one message.
type delivery struct{ sent, given, completing, completed bool }

func TestKillLosesNoCommandAndRepeatsNoneThatIsDone(t *testing.T) {
	dir := t.TempDir()
	known := map[string]*delivery{}
	var highest int64
	for round := range 3 {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		numbers := map[int64]bool{}
		before := highest
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 500+300*round {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			var what, id string
			var number int64
			if got, _ := fmt.Sscan(lines.Text(), &what, &id, &number); got < 2 {
				t.Fatalf("it said %q", lines.Text())
			}
			d := known[id]
			if d == nil {
				d = &delivery{}
				known[id] = d
			}
			switch what {
			case "sent":
				d.sent = true
				if number <= before || numbers[number] {
					t.Fatalf("%s has the number %d, which was given before", id, number)
				}
				numbers[number], highest = true, max(highest, number)
			case "given":
				if d.completed {
					t.Fatalf("%s was completed and comes again", id)
				}
				if d.given && number == 0 {
					t.Fatalf("%s comes again and does not say so", id)
				}
				d.given = true
			case "completing":
				d.completing = true
			case "completed":
				d.completed = true
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the child was not killed: %v", err)
		}
	}
	h, s, err := openHub(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	left := map[string]int{}
	for d := range childDevices {
		for {
			c, err := h.ReceiveCommand(t.Context(), hub.Name{Device: fmt.Sprint("d", d)}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if c == nil {
				break
			}
			left[c.MessageID] = c.DeliveryCount
		}
	}
	var completed, given int
	for id, d := range known {
		count, there := left[id]
		switch {
		case d.completed && there:
			t.Errorf("%s was completed and is there", id)
		case d.sent && !d.completing && !there:
			t.Errorf("%s was acknowledged and is lost", id)
		case there && d.given && count == 0:
			t.Errorf("%s was given before and does not say so", id)
		}
		if d.completed {
			completed++
		}
		if there && d.given {
			given++
		}
	}
	if completed < 100 || given == 0 || len(left) < given {
		t.Errorf("%d completed, %d left, %d of them given: too little happened", completed, len(left), given)
	}
	t.Log(strings.TrimSpace(fmt.Sprintf("%d known, %d completed, %d left, %d of them were given", len(known), completed, len(left), given)))
}
