package simulate_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/simulate/connection/connectiontest"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// tells tells whether a result has a trouble with these words.
func tells(r *simulate.Result, words string) bool {
	return slices.ContainsFunc(r.Troubles, func(x simulate.Trouble) bool { return strings.Contains(x.What, words) })
}

func rejected(condition amqp.Symbol) amqp.State {
	return amqp.Rejected{Error: &amqp.Error{Condition: condition, Description: "no"}}
}

// What a hub has no time for is sent again, later each time, and in order.
func TestABusyHubIsGivenTime(t *testing.T) {
	busy := func(message int) bool { return message >= 2 && message <= 4 }
	for protocol, start := range map[string]func(*stub){
		"amqp": func(s *stub) {
			s.startAMQP(t, nil, func(message int) amqp.State {
				if busy(message) {
					return rejected("com.microsoft:device-container-throttled")
				}
				return amqp.Accepted{}
			})
		},
		"https": func(s *stub) {
			s.startHTTPS(t, 0, func(message int) int {
				if busy(message) {
					return http.StatusTooManyRequests
				}
				return http.StatusNoContent
			})
		},
	} {
		s := newStub(t)
		start(s)
		fake := clock.NewFake(time.Now())
		began := fake.Now()
		r := runs(t, s.fleet(t, fake, "MessageCount=3", "ISTHMUS_SIMULATE_PROTOCOL="+protocol), fake, 20*time.Millisecond, nil)
		if !r.OK() || r.Messages.Deferred != 3 || r.Messages.Acknowledged != 3 || r.Connections.Made != 1 || !tells(r, "the hub has too much to do") {
			t.Errorf("%s: %s", protocol, show(r))
		}
		if got := strings.Join(s.seen, " "); got != "1 2 2 2 2 3" {
			t.Errorf("%s: the hub saw %s", protocol, got)
		}
		if took := fake.Now().Sub(began); took < 2*time.Second { // 1 + 2 + 4 s, of which chance takes up to half
			t.Errorf("%s: it was given %v", protocol, took)
		}
	}
}

// A message that a hub will never take ends its device's part.
func TestWhatAHubNeverTakesIsToldOnce(t *testing.T) {
	for _, x := range []struct {
		protocol, says string
		start          func(*stub)
	}{
		{"amqp", "quota is used up: no (amqp:resource-limit-exceeded)", func(s *stub) {
			s.startAMQP(t, nil, func(int) amqp.State { return rejected(amqp.ConditionResourceLimitExceeded) })
		}},
		{"amqp", "too large: no (amqp:link:message-size-exceeded)", func(s *stub) {
			s.startAMQP(t, nil, func(int) amqp.State { return rejected(amqp.ConditionMessageSizeExceeded) })
		}},
		{"amqp", "the hub's link takes 3", func(s *stub) {
			s.startAMQP(t, func(int) connectiontest.Options { return connectiontest.Options{MaxMessage: 3} }, nil)
		}},
		{"https", "refused a message as too large: 413", func(s *stub) {
			s.startHTTPS(t, 0, func(int) int { return http.StatusRequestEntityTooLarge })
		}},
	} {
		s := newStub(t)
		x.start(s)
		r, err := s.fleet(t, clock.System{}, "MessageCount=3", "ISTHMUS_SIMULATE_PROTOCOL="+x.protocol).Run(t.Context())
		if err != nil || r.OK() || r.Devices.GaveUp != 1 || r.Messages.Acknowledged != 0 || len(r.Troubles) != 1 || !tells(r, x.says) {
			t.Errorf("%s: %v %s", x.says, err, show(r))
		}
	}
}

func TestAHubThatGivesNoLeaveIsLeft(t *testing.T) {
	s := newStub(t)
	s.startAMQP(t, func(connection int) connectiontest.Options { return connectiontest.Options{NoCredit: connection == 1} }, nil)
	fake := clock.NewFake(time.Now())
	r := runs(t, s.fleet(t, fake, "MessageCount=2", "ISTHMUS_SIMULATE_PROTOCOL=amqp"), fake, 500*time.Millisecond, nil)
	if !r.OK() || r.Connections.CutOff != 1 || r.Connections.Made != 2 || r.Messages.Resent != 0 || !tells(r, "gave no leave to send") {
		t.Errorf("%s", show(r))
	}
}

func TestTokensAreRenewedOnConnectionsThatStand(t *testing.T) {
	for protocol, start := range map[string]func(*stub){
		"amqp": func(s *stub) {
			s.startAMQP(t, func(int) connectiontest.Options { return connectiontest.Options{Idle: 120_000} }, nil) // milliseconds
		},
		"https": func(s *stub) { s.startHTTPS(t, time.Hour, nil) },
	} {
		s := newStub(t)
		start(s)
		fake := clock.NewFake(time.Now())
		f := s.fleet(t, fake, "DeviceCount=3", "MessageCount=0", "Interval=600000", "ISTHMUS_SIMULATE_TOKEN_LIFE=10m", "ISTHMUS_SIMULATE_KEEP_ALIVE=19m", "ISTHMUS_SIMULATE_PROTOCOL="+protocol)
		r := runs(t, f, fake, 2*time.Second, func(n simulate.Snapshot) bool {
			for end := time.Now().Add(10 * time.Second); n.Sent > n.Acknowledged && time.Now().Before(end); n = f.Counts() { // however slow the machine
				<-time.After(200 * time.Microsecond)
			}
			return n.Renewed >= 6 && n.Acknowledged >= 3
		})
		if !r.OK() || r.Connections.Renewed < 6 || r.Connections.Made != 3 || r.Connections.CutOff != 0 {
			t.Errorf("%s: %s", protocol, show(r))
		}
		s.stop() // it has counted then
		if protocol == "amqp" && s.pings.Load() < 10 {
			t.Errorf("%d empty frames", s.pings.Load())
		}
	}
}

// A token that a hub takes no longer costs the connection, and a new one is let in.
func TestATokenThatIsRefusedCostsTheConnection(t *testing.T) {
	s := newStub(t)
	s.startAMQP(t, func(connection int) connectiontest.Options {
		tokens := 0
		return connectiontest.Options{Token: func(string) (int32, string) {
			if tokens++; connection == 1 && tokens == 2 {
				return 401, "expired"
			}
			return 200, "OK"
		}}
	}, nil)
	fake := clock.NewFake(time.Now())
	f := s.fleet(t, fake, "MessageCount=0", "Interval=600000", "ISTHMUS_SIMULATE_TOKEN_LIFE=10m", "ISTHMUS_SIMULATE_KEEP_ALIVE=19m", "ISTHMUS_SIMULATE_PROTOCOL=amqp")
	r := runs(t, f, fake, 2*time.Second, func(n simulate.Snapshot) bool { return n.Renewed >= 1 && n.Acknowledged >= 1 })
	if !r.OK() || r.Connections.CutOff != 1 || r.Connections.Made != 2 || !tells(r, "the hub ended the connection: expired") {
		t.Errorf("%s", show(r))
	}
}

// Whoever is not let in over HTTPS learns it with the first message.
func TestWhoIsNotLetInOverHTTPSIsCounted(t *testing.T) {
	s := newStub(t)
	s.startHTTPS(t, 0, func(int) int { return http.StatusUnauthorized })
	r, err := s.fleet(t, clock.System{}, "MessageCount=3", "ISTHMUS_SIMULATE_PROTOCOL=https").Run(t.Context())
	if err != nil || r.OK() || r.Devices.Refused != 1 || r.Devices.Finished != 0 || len(s.seen) != 1 || !tells(r, "the hub refused the device: 401") {
		t.Errorf("%v %s", err, show(r))
	}
}

// Connections at rest are the hub's to close: a device comes back when it has something to say, and only then.
func TestConnectionsAtRestMayBeClosed(t *testing.T) {
	s := newStub(t)
	s.startHTTPS(t, 10*time.Millisecond, func(message int) int {
		if message == 3 {
			return 0 // hung up on
		}
		return http.StatusNoContent
	})
	r, err := s.fleet(t, clock.System{}, "MessageCount=4", "Interval=150", "ISTHMUS_SIMULATE_PROTOCOL=https").Run(t.Context())
	if err != nil || !r.OK() || r.Connections.CutOff != 1 || r.Connections.Made < 3 || r.Messages.Resent != 1 {
		t.Errorf("%v %s", err, show(r))
	}
	if got := strings.Join(s.seen, " "); got != "1 2 3 3 4" {
		t.Errorf("the hub saw %s", got)
	}
}
