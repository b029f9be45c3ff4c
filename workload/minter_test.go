package workload_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

func TestTokensProveWorkloads(t *testing.T) {
	w := newWorld(t)
	m := workload.NewMinter(w.creds, w.clock)
	for _, who := range []identity.ID{wt.Bridge, wt.Agent} {
		for _, audience := range []string{workload.AudienceEventHubs, "https://eventhubs.azure.net", workload.Audience(host), "sb://Lake.ServiceBus.Example", host} {
			token, expires, err := m.Token(t.Context(), string(who), audience)
			if err != nil || !expires.Equal(start.Add(workload.Lifetime)) {
				t.Fatal(expires, err)
			}
			if !workload.Is(token) || len(token) > 2500 {
				t.Errorf("%d bytes: %s", len(token), token)
			}
			for range 2 {
				p, err := w.verify(token)
				if want := (workload.Proof{Workload: string(who), Agent: string(wt.Agent), Expires: expires.Add(workload.Skew)}); err != nil || p != want {
					t.Errorf("%s for %s: %+v, %v", who, audience, p, err)
				}
			}
		}
	}
}

func TestTokensAreGivenAgainForHalfTheirLife(t *testing.T) {
	w := newWorld(t)
	m := workload.NewMinter(w.creds, w.clock)
	ask := func(audience string) string {
		t.Helper()
		text, expires, err := m.Token(t.Context(), string(wt.Bridge), audience)
		if err != nil || expires.Sub(w.clock.Now()) < workload.Lifetime/2 {
			t.Fatal(expires, err)
		}
		return text
	}
	first := ask(host)
	if ask("another") == first {
		t.Error("two audiences have one token")
	}
	w.clock.Advance(workload.Lifetime/2 - time.Second)
	if ask(host) != first {
		t.Error("another one was made too early")
	}
	w.clock.Advance(time.Second)
	second := ask(host)
	if second == first {
		t.Error("none was made in time")
	}
	key, keyPEM, err := identity.NewKey()
	must(t, err)
	csr, err := identity.NewRequest(key, wt.Agent)
	must(t, err)
	cert, err := w.Authority.IssueIdentity(csr, wt.Agent, w.clock.Now(), 20*time.Minute)
	must(t, err)
	must(t, w.creds.Replace(cert, keyPEM, w.Authority.CertificatePEM()))
	third, expires, err := m.Token(t.Context(), string(wt.Bridge), host)
	if err != nil || third == second || !expires.Equal(w.clock.Now().Add(20*time.Minute)) {
		t.Errorf("after renewal: the same %v, until %s, %v", third == second, expires, err)
	}
	if _, err := w.verify(third); err != nil {
		t.Error(err)
	}
	w.clock.Advance(21 * time.Minute)
	if _, _, err := m.Token(t.Context(), string(wt.Bridge), host); fault.KindOf(err) != fault.Expired {
		t.Errorf("with a certificate that lapsed: %v", err)
	}
}

// A clock that was set back makes no token that is given for longer than it is good.
func TestTokensAfterTheClockWasSetBack(t *testing.T) {
	d := wt.New(t, clock.NewFake(start))
	creds := d.Credentials(wt.Agent)
	clk := &settable{now: start.Add(5 * time.Hour)}
	m := workload.NewMinter(creds, clk)
	first, _, err := m.Token(t.Context(), string(wt.Bridge), host)
	must(t, err)
	clk.now = start
	second, _, err := m.Token(t.Context(), string(wt.Bridge), host)
	if err != nil || second == first {
		t.Errorf("a token from the future is given again: %v", err)
	}
	if _, err := d.Verifier.Verify(second, host); err != nil {
		t.Error(err)
	}
}

type settable struct {
	clock.System
	now time.Time
}

func (s *settable) Now() time.Time { return s.now }

func TestWhatNoAgentCanMint(t *testing.T) {
	w := newWorld(t)
	m := workload.NewMinter(w.creds, w.clock)
	bridges := strings.TrimSuffix(string(wt.Bridge), "telemetry")
	for name, who := range map[string]string{
		"another agent": string(wt.Other), "a bridge of another network": strings.Replace(string(wt.Bridge), "ot-cloud", "plant-7", 1),
		"a bridge of another tenant": strings.Replace(string(wt.Bridge), "tenant/ot", "tenant/it", 1), "another trust domain's": strings.Replace(string(wt.Bridge), wt.Domain, "example.org", 1),
		"no name": bridges, "a path": bridges + "a/b", "a query": bridges + "a?b", "nobody": "", "the control plane": string(identity.ControlID(wt.Domain)),
		"a long name": bridges + strings.Repeat("x", 300),
	} {
		if _, _, err := m.Token(t.Context(), who, host); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, audience := range []string{"", strings.Repeat("x", 600)} {
		if _, _, err := m.Token(t.Context(), string(wt.Bridge), audience); fault.KindOf(err) != fault.Invalid {
			t.Errorf("an audience of %d bytes: %v", len(audience), err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
