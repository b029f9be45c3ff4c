package amqpdoor_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func TestCase06And07PutToken(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.connect()
	cbs := c.cbs()
	for _, x := range []struct {
		kind, audience, token string
		code                  int32
		words                 string
		condition             any
	}{
		{eventhub.TokenSAS, "sb://" + host + "/telemetry", "Send|telemetry|", 202, "Accepted", nil},
		{eventhub.TokenSAS, "AMQPS://NS.example:5671/Telemetry/Partitions/0", "Send|telemetry|", 202, "Accepted", nil},
		{eventhub.TokenJWT, "amqp://" + host + ":5672/telemetry/ConsumerGroups/$Default/Partitions/0", "Listen||", 202, "Accepted", nil},
		{eventhub.TokenSAS, host, "Send||", 202, "Accepted", nil},
		{eventhub.TokenSAS, "sb://" + host + "/telemetry/$management", "Listen|telemetry|", 202, "Accepted", nil},
		{eventhub.TokenSAS, "sb://" + host + "/telemetry", "junk", 401, "InvalidSignature: The token has an invalid signature.", amqp.ConditionUnauthorizedAccess},
		{"amqp:swt", "sb://" + host + "/telemetry", "Send||", 401, "InvalidSignature", amqp.ConditionUnauthorizedAccess},
		{eventhub.TokenSAS, "sb://" + host + "/telemetry", "Send|telemetry|1000", 401, "ExpiredToken: The token is expired. Expiration time:", amqp.ConditionUnauthorizedAccess},
		{eventhub.TokenSAS, "sb://" + host + "/nothing", "Send||", 404, "The messaging entity 'nothing' could not be found.", amqp.ConditionNotFound},
		{eventhub.TokenSAS, "sb://" + host + "/other", "Send|telemetry|", 401, "InvalidAudience", amqp.ConditionUnauthorizedAccess},
		{eventhub.TokenSAS, "sb://" + host + "/a/b/c", "Send||", 404, "could not be found", amqp.ConditionNotFound},
	} {
		answer, err := cbs.Ask(w.ctx, amqp.Message{
			ApplicationProperties: amqp.Map{{Key: "operation", Value: "put-token"}, {Key: "type", Value: x.kind}, {Key: "name", Value: x.audience}},
			HasValue:              true, Value: x.token,
		})
		if err != nil {
			t.Fatal(err)
		}
		code, words := amqptest.Status(answer)
		if code != x.code || !strings.HasPrefix(words, x.words) && !strings.Contains(words, x.words) || answer.ApplicationProperties.Get("error-condition") != x.condition {
			t.Errorf("%s for %s: %v", x.token, x.audience, answer.ApplicationProperties)
		}
	}
}

func TestCase08And09Rights(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	refusals := 0
	w.refuse = func(string, error) { refusals++ }
	c := w.connect()
	const noSend, noListen = "Unauthorized access. 'Send' claim(s) are required to perform this operation", "Unauthorized access. 'Listen' claim(s) are required to perform this operation"
	check := func(e *amqp.Error, words string) {
		t.Helper()
		if e.Condition != amqp.ConditionUnauthorizedAccess || !strings.HasPrefix(e.Description, words) {
			t.Errorf("refused with %v", e)
		}
	}
	check(c.refusedSender("telemetry", nil), noSend) // nothing was put
	check(c.refusedSender("nothing", nil), noSend)   // and nobody is told what there is
	c.put("Listen|telemetry|")
	check(c.refusedSender("telemetry", nil), noSend)
	check(c.refused("other/ConsumerGroups/$Default/Partitions/0", "", nil), noListen)
	c.receiver(first+"0", "", 1, nil)
	c = w.connect()
	c.put("Send|telemetry|")
	check(c.refused(first+"0", "", nil), noListen)
	c.sender("telemetry/Partitions/0", nil)
	c = w.connect()
	c.put("Send|telemetry/partitions/1|")
	check(c.refusedSender("telemetry", nil), noSend)
	check(c.refusedSender("telemetry/Partitions/0", nil), noSend)
	c.sender("telemetry/Partitions/1", nil)
	c = w.connect()
	c.put("Manage||")
	c.sender("amqps://"+host+"/Telemetry", nil)
	c.receiver("/TELEMETRY/consumergroups/$default/partitions/0", "", 1, nil)
	if refusals != 7 {
		t.Errorf("%d refusals were told, want 7", refusals)
	}
}

func TestLinksThatCannotBe(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	for address, want := range map[string]amqp.Symbol{
		"nothing": amqp.ConditionNotFound, "a/b": amqp.ConditionNotFound, "telemetry/Partitions/4": "com.microsoft:argument-out-of-range", "telemetry/Partitions/x": "com.microsoft:argument-out-of-range",
		first + "0": amqp.ConditionNotAllowed, "nothing/Partitions/0": amqp.ConditionNotFound,
	} {
		if e := c.refusedSender(address, nil); e.Condition != want {
			t.Errorf("sender to %s: %v", address, e)
		}
	}
	for address, want := range map[string]amqp.Symbol{
		"telemetry": amqp.ConditionNotAllowed, "telemetry/Partitions/0": amqp.ConditionNotAllowed, first + "4": "com.microsoft:argument-out-of-range",
		"telemetry/ConsumerGroups/none/Partitions/0": amqp.ConditionNotFound, "nothing/ConsumerGroups/$Default/Partitions/0": amqp.ConditionNotFound,
	} {
		if e := c.refused(address, "", nil); e.Condition != want {
			t.Errorf("receiver from %s: %v", address, e)
		}
	}
	if e := c.refusedSender("x", func(a *amqp.Attach) { a.Target, a.Coordinator = nil, true }); e.Condition != amqp.ConditionNotImplemented {
		t.Errorf("coordinator: %v", e)
	}
}

func TestASecondPairToClaims(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.connect()
	c.cbs()
	c.cbs()
	w = newWorld(t, amqpdoor.Config{OneClaimsLink: true}, clock.System{})
	c = w.connect()
	c.put("Listen||") // and ends the session with its links, as one client does each time
	c.put("Listen||")
	c.cbs()
	if e := c.refusedSender("$cbs", nil); e.Condition != amqp.ConditionNotAllowed {
		t.Errorf("refused with %v", e)
	}
}

func TestAudiencesAreBounded(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := newWorld(t, amqpdoor.Config{Claims: 3}, clk)
	c := w.connect()
	cbs := c.cbs()
	put := func(i int, end string) int32 {
		t.Helper()
		code, _, err := cbs.PutToken(w.ctx, eventhub.TokenSAS, fmt.Sprintf("sb://%s/telemetry/Partitions/%d", host, i), "Send||"+end)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	soon := fmt.Sprint(clk.Now().Add(time.Minute).UnixMilli())
	for i := range 3 {
		if code := put(i, soon); code != 202 {
			t.Fatal(code)
		}
	}
	if code := put(3, ""); code != 400 {
		t.Errorf("a fourth one is answered %d", code)
	}
	if code := put(0, soon); code != 202 {
		t.Errorf("a renewal is answered %d", code)
	}
	clk.Advance(2 * time.Minute)
	if code := put(3, ""); code != 202 {
		t.Errorf("the first of new ones is answered %d", code)
	}
}

// advance moves the clock until something is over, and lets the client be heard meanwhile.
func (c *client) advance(clk *clock.Fake, step time.Duration, over func() error) {
	c.w.t.Helper()
	for range 10000 {
		c.beat()
		if over() != nil {
			return
		}
		clk.Advance(step)
	}
	c.w.t.Fatal("nothing happened")
}

// beat lets the client say something, and waits until it was heard, unless the connection is over.
func (c *client) beat() {
	if s, err := c.Session(c.w.ctx); err == nil {
		_ = s.End(c.w.ctx)
	}
}

func TestCase10AClaimLapses(t *testing.T) {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	clk := clock.NewFake(start)
	w := newWorld(t, amqpdoor.Config{}, clk)
	c := w.connect()
	end := func(d time.Duration) string { return fmt.Sprint(start.Add(d).UnixMilli()) }
	c.put("Listen|telemetry|" + end(time.Minute))
	r := c.receiver(first+"0", "", 1, nil)
	clk.Advance(30 * time.Second)
	c.put("Listen|telemetry|" + end(3*time.Minute)) // renewed
	clk.Advance(time.Minute)
	if err := r.Err(); err != nil {
		t.Fatalf("a renewed claim has not kept the link: %v", err)
	}
	c.advance(clk, 10*time.Second, r.Err)
	if clk.Now().Before(start.Add(3 * time.Minute)) {
		t.Errorf("detached at %v", clk.Now())
	}
	if e := c.asError(r.WaitEnd(w.ctx)); e.Condition != amqp.ConditionUnauthorizedAccess || !strings.Contains(e.Description, "'Listen' claim(s) are required") {
		t.Errorf("detached with %v", e)
	}
	if e := c.refused(first+"0", "", nil); e.Condition != amqp.ConditionUnauthorizedAccess {
		t.Errorf("refused with %v", e)
	}
}

func TestAKeyIsRenewed(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := newWorld(t, amqpdoor.Config{}, clk)
	c := w.all()
	s := c.sender("telemetry", nil)
	w.dir.revoked.Store(true)
	c.advance(clk, time.Second, s.Err)
	if e := c.asError(s.WaitEnd(w.ctx)); e.Condition != amqp.ConditionUnauthorizedAccess {
		t.Errorf("detached with %v", e)
	}
}

func TestAnEventHubIsGone(t *testing.T) {
	for _, disabled := range []bool{false, true} {
		clk := clock.NewFake(time.Now())
		w := newWorld(t, amqpdoor.Config{}, clk)
		c := w.all()
		s, r := c.sender("telemetry", nil), c.receiver(first+"0", "", 1, nil)
		w.dir.remove("telemetry", disabled)
		want := amqp.ConditionNotFound
		if disabled {
			want = "com.microsoft:entity-disabled"
		}
		for _, l := range []interface{ Err() error }{s, r} {
			c.advance(clk, time.Second, l.Err)
			if e := c.asError(l.Err()); e.Condition != want {
				t.Errorf("detached with %v", e)
			}
		}
		if e := c.refusedSender("telemetry", nil); e.Condition != want {
			t.Errorf("refused with %v", e)
		}
	}
}

func TestWhatIsNotUsedEnds(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := newWorld(t, amqpdoor.Config{}, clk)
	c := w.all()
	s, r := c.sender("telemetry", nil), c.receiver(first+"0", "", 1, nil)
	begin := clk.Now()
	c.advance(clk, 30*time.Second, s.Err)
	if e := c.asError(s.Err()); e.Condition != amqp.ConditionDetachForced || clk.Now().Sub(begin) < 30*time.Minute {
		t.Errorf("the sender ended with %v after %v", e, clk.Now().Sub(begin))
	}
	if err := r.Err(); err != nil {
		t.Errorf("a receiver that waits is detached: %v", err)
	}
	if err := r.Detach(w.ctx); err != nil {
		t.Fatal(err)
	}
	begin = clk.Now()
	c.advance(clk, 30*time.Second, c.Err)
	e, _ := errors.AsType[*amqp.Error](c.Err())
	if e == nil || e.Condition != amqp.ConditionConnectionForced || clk.Now().Sub(begin) < 5*time.Minute {
		t.Errorf("the connection ended with %v after %v", c.Err(), clk.Now().Sub(begin))
	}
}

func TestWhoProvesNothingIsNotKept(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := newWorld(t, amqpdoor.Config{}, clk)
	c := w.connect()
	c.cbs()
	if _, err := c.session.Requester(w.ctx, "$management"); err != nil {
		t.Fatal(err)
	}
	begin := clk.Now()
	c.advance(clk, 30*time.Second, c.Err)
	if e := c.asError(c.Err()); e.Condition != amqp.ConditionConnectionForced || clk.Now().Sub(begin) < time.Minute || !strings.Contains(e.Description, "60000 milli") {
		t.Errorf("closed with %v after %v", e, clk.Now().Sub(begin))
	}
}

func TestLinksAreBounded(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{Links: 3}, clock.System{})
	c := w.all() // whose links have ended
	one := c.sender("telemetry", nil)
	c.sender("telemetry", nil)
	c.receiver(first+"0", "", 1, nil)
	if e := c.refusedSender("telemetry", nil); e.Condition != amqp.ConditionResourceLimitExceeded {
		t.Errorf("refused with %v", e)
	}
	if err := one.Detach(w.ctx); err != nil {
		t.Fatal(err)
	}
	c.sender("telemetry", nil)
	if e := c.refusedSender(strings.Repeat("x", 5000), nil); e.Condition != amqp.ConditionResourceLimitExceeded || len(e.Description) > 300 {
		t.Errorf("refused with %v", e)
	}
}

func TestWordsAreShort(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	for _, address := range []string{strings.Repeat("x", 5000), strings.Repeat("x", 1000), strings.Repeat("x", 256), strings.Repeat("ß", 400) + "/Partitions/1"} {
		if e := c.refusedSender(address, nil); len(e.Description) > 350 {
			t.Errorf("%d bytes of words: %v", len(e.Description), e)
		}
	}
}

// On a connection that is another door's the claims come by Put, and it is not closed for having no links.
func TestAGuest(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := newWorld(t, amqpdoor.Config{}, clk)
	w.join = true
	c := w.all()
	for range 20 {
		clk.Advance(time.Minute)
		c.beat()
	}
	if err := c.Err(); err != nil {
		t.Errorf("closed: %v", err)
	}
}
