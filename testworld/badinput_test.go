package testworld_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/node/agentnode"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/testworld"
)

// refused is what must be seen of a mistake: the kind, words that say what is wrong, and words that say what to do.
type refused struct {
	kind  fault.Kind
	words []string
	next  []string
}

func (want refused) check(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("it was accepted")
	}
	want.checkWords(t, fault.Message(err), fault.Next(err))
	if kind := fault.KindOf(err); kind != want.kind {
		t.Errorf("the kind is %s, not %s", kind, want.kind)
	}
}

func (want refused) checkWords(t *testing.T, words, next string) {
	t.Helper()
	t.Logf("error: %s\nnext: %s", words, next)
	for _, w := range want.words {
		if !strings.Contains(words, w) {
			t.Errorf("the words do not say %q", w)
		}
	}
	for _, w := range want.next {
		if !strings.Contains(next, w) {
			t.Errorf("what to do next does not say %q", w)
		}
	}
}

// TestMistakesChangeNothing makes one mistake after the other in a running deployment. Each gets words of its own and what to do next,
// and leaves everything that was stored as it was.
func TestMistakesChangeNothing(t *testing.T) {
	s := standard(t)
	d := connect(t, s, "press-1")
	send(t, d, 5)
	fill(t, s)
	spent := joinToken(t, s.World, client.JoinTokenRequest{For: "agent", Tenant: "ot", Network: "plant-7"})
	if err := join(t, s.World, spent, "spare", clock.System{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		do   func(*testing.T) error
		want refused
	}{
		{
			"a field that no manifest has",
			func(t *testing.T) error {
				return s.Apply(t.Context(), "apiVersion: isthmus/v1\nkind: Tenant\nmetadata: {name: new}\n---\napiVersion: isthmus/v1\nkind: Service\n"+
					"metadata: {tenant: ot, network: ot-cloud, name: mes}\nspec:\n  type: tcp\n  hostNme: mes.example\n  target: 10.0.0.1\n")
			},
			refused{fault.Invalid, []string{"manifest:10", `unknown field "hostNme" in spec`, `did you mean "hostName"?`}, []string{"correct this", "nothing was changed"}},
		},
		{
			"no address left",
			func(t *testing.T) error { return s.Apply(t.Context(), endpoint("ot", "tiny", "fourth")) },
			refused{fault.Exhausted, []string{"every address of the network ot/tiny is taken", "3 endpoints", "10.8.0.0/29"}, []string{"add a range to spec.addressRanges", "isthmus get endpoints --tenant ot --network tiny"}},
		},
		{
			"ranges that overlap inside a network",
			func(t *testing.T) error { return s.Apply(t.Context(), network("hall-4", "10.9.0.0/24, 10.9.0.128/25")) },
			refused{fault.Invalid, []string{"manifest:4", "10.9.0.0/24 and 10.9.0.128/25 overlap", "must be apart"}, []string{"nothing was changed"}},
		},
		{
			"ranges that come to overlap",
			func(t *testing.T) error { // by a program which knows no manifests
				key := resource.Key{Kind: resource.KindNetwork, Tenant: "ot", Name: "tiny"}
				o, err := s.Client.Get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				n := o.(*resource.Network)
				n.Spec.AddressRanges = append(n.Spec.AddressRanges, netip.MustParsePrefix("10.8.0.0/28"))
				_, err = s.Client.Apply(t.Context(), []resource.Object{n}, client.ApplyOptions{})
				return err
			},
			refused{fault.Invalid, []string{"spec.addressRanges", "10.8.0.0/29 and 10.8.0.0/28 overlap"}, []string{"must be apart"}},
		},
		{
			"auto-approval outside visibility",
			func(t *testing.T) error {
				return s.Apply(t.Context(), "apiVersion: isthmus/v1\nkind: Service\nmetadata: {tenant: ot, network: ot-cloud, name: mes}\n"+
					"spec: {type: tcp, hostName: mes.example, target: 10.0.0.1, ports: [{port: 1}], visibility: [ot], autoApprove: [ot, it]}\n")
			},
			refused{fault.Invalid, []string{"manifest:4", `spec.autoApprove names "it"`, "spec.visibility does not", "add it to spec.visibility"}, []string{"nothing was changed"}},
		},
		{
			"auto-approval that comes to be outside visibility",
			func(t *testing.T) error { // by a program which knows no manifests
				key := resource.Key{Kind: resource.KindService, Tenant: "ot", Scope: "ot-cloud", Name: "historian"}
				o, err := s.Client.Get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				o.(*resource.Service).Spec.AutoApprove = []string{"ot", "it"}
				_, err = s.Client.Apply(t.Context(), []resource.Object{o}, client.ApplyOptions{})
				return err
			},
			refused{fault.Invalid, []string{`spec.autoApprove names "it"`, "spec.visibility does not"}, []string{"add it to spec.visibility"}},
		},
		{
			"a join token for the second time",
			func(t *testing.T) error { return join(t, s.World, spent, "second", clock.System{}) },
			refused{fault.Conflict, []string{"the join token was used at", "spare"}, []string{"good for one process", "isthmus token join --for agent --network ot/plant-7"}},
		},
		{
			"a joiner whose clock is behind",
			func(t *testing.T) error { return joinFresh(t, s, -5*time.Minute) },
			refused{fault.Invalid, []string{"this machine's clock is 5m", "behind the server's"}, []string{"set the clock", "NTP", "still good"}},
		},
		{
			"a joiner whose clock is ahead",
			func(t *testing.T) error { return joinFresh(t, s, 5*time.Minute) },
			refused{fault.Invalid, []string{"this machine's clock is 5m", "ahead of the server's"}, []string{"set the clock", "NTP", "still good"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := everything(t, s)
			c.want.check(t, c.do(t))
			same(t, before, everything(t, s))
		})
	}
	for _, c := range []struct {
		name string
		do   func(*testing.T)
		want refused
	}{
		{
			"a device that signs with another key",
			func(t *testing.T) {
				text, err := s.Device(t.Context(), "press-1")
				if err != nil {
					t.Fatal(err)
				}
				cs, err := sas.ParseConnectionString(text)
				if err != nil {
					t.Fatal(err)
				}
				deviceRefused(t, s, strings.Replace(text, cs.Key, "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgd3I=", 1), clock.System{})
			},
			refused{fault.Unauthenticated, []string{`device "press-1"`, "not signed with one of its keys"}, []string{"isthmus hub device connection-string press-1"}},
		},
		{
			"a device whose clock is two hours behind",
			func(t *testing.T) {
				text, err := s.Device(t.Context(), "press-1")
				if err != nil {
					t.Fatal(err)
				}
				deviceRefused(t, s, text, off{-2 * time.Hour})
			},
			refused{fault.Expired, []string{"the token ended 1h0m"}, []string{"compare the clocks"}},
		},
		{
			"half a PROXY header",
			func(t *testing.T) {
				// Signature, version 2 PROXY, TCP4, and 12 bytes of addresses promised of which 4 come.
				half := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x07\x00\x09"
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: s.Address(8, 66).AsSlice()}}
				conn, err := dialer.DialContext(t.Context(), "tcp", netip.AddrPortFrom(s.HubDirect, testworld.MQTTPort).String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := conn.Write([]byte(half)); err != nil {
					t.Fatal(err)
				}
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("the hub answered %d bytes, %v", n, err)
				}
			},
			refused{fault.Invalid, []string{"the PROXY header is truncated", "20 bytes came", "8 more"}, []string{"sender and receiver", "switched on"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := everything(t, s)
			seen := len(s.HubProcess.Server().Refusals())
			c.do(t)
			eventually(t, 5*time.Second, "the hub notes the refusal", func() bool { return len(s.HubProcess.Server().Refusals()) > seen })
			r := s.HubProcess.Server().Refusals()[0]
			c.want.checkWords(t, r.Why, r.Next)
			if r.Kind != c.want.kind {
				t.Errorf("the kind is %s, not %s", r.Kind, c.want.kind)
			}
			same(t, before, everything(t, s))
		})
	}
	send(t, d, 5) // nobody else noticed
	d.Close()
	if err := s.Client.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAJoinTokenExpires moves the time of a whole deployment.
func TestAJoinTokenExpires(t *testing.T) {
	began := time.Now().UTC()
	fake := clock.NewFake(began)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := testworld.Start(ctx, testworld.Config{Clock: fake})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Apply(ctx, "apiVersion: isthmus/v1\nkind: Tenant\nmetadata: {name: ot}\n---\n"+network("plant-7", "10.7.0.0/24")); err != nil {
		t.Fatal(err)
	}
	token := joinToken(t, w, client.JoinTokenRequest{For: "agent", Tenant: "ot", Network: "plant-7", TTL: 10 * time.Minute})
	fake.Advance(10*time.Minute + 1)
	refused{fault.Expired, []string{"the join token expired at " + began.Add(10*time.Minute).Format("2006-01-02T15:04")}, []string{"isthmus token join --for agent --network ot/plant-7"}}.
		check(t, join(t, w, token, "late", fake))
	if agents, err := w.Client.List(ctx, resource.KindAgent, client.Filter{}); err != nil || len(agents) != 0 {
		t.Errorf("%d agents, %v", len(agents), err)
	}
	token = joinToken(t, w, client.JoinTokenRequest{For: "agent", Tenant: "ot", Network: "plant-7"})
	if err := join(t, w, token, "late", fake); err != nil {
		t.Errorf("with a new token in the same directory: %v", err)
	}
}

// off is a clock that shows another time than the machine's.
type off struct{ by time.Duration }

func (o off) Now() time.Time { return time.Now().Add(o.by) }

func (o off) After(d time.Duration) (<-chan time.Time, func()) { return clock.System{}.After(d) }

func network(name, ranges string) string {
	return "apiVersion: isthmus/v1\nkind: Network\nmetadata: {tenant: ot, name: " + name + "}\nspec: {addressRanges: [" + ranges + "]}\n---\n"
}

func endpoint(tenant, network, name string) string {
	return fmt.Sprintf("apiVersion: isthmus/v1\nkind: PrivateEndpoint\nmetadata: {tenant: %s, network: %s, name: %s}\nspec: {service: ot/ot-cloud/historian, withoutNames: true}\n---\n", tenant, network, name)
}

// fill makes a network whose range has room for three endpoints, and the three.
func fill(t *testing.T, s *testworld.Scenario) {
	t.Helper()
	text := network("tiny", "10.8.0.0/29")
	for i := range 3 {
		text += endpoint("ot", "tiny", fmt.Sprintf("e%d", i))
	}
	if err := s.Apply(t.Context(), strings.TrimSuffix(text, "---\n")); err != nil {
		t.Fatal(err)
	}
}

func joinToken(t *testing.T, w *testworld.World, r client.JoinTokenRequest) string {
	t.Helper()
	token, err := w.Client.CreateJoinToken(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return token.Secret
}

func join(t *testing.T, w *testworld.World, token, name string, clk clock.Clock) error {
	t.Helper()
	return agentnode.Join(context.WithoutCancel(t.Context()), agentnode.Config{DataDir: filepath.Join(w.Dir, "joiner-"+name), Version: "test"}, token, name, clk)
}

// joinFresh joins with a clock that is off, and then shows that the token is still good.
func joinFresh(t *testing.T, s *testworld.Scenario, by time.Duration) error {
	t.Helper()
	token := joinToken(t, s.World, client.JoinTokenRequest{For: "agent", Tenant: "ot", Network: "plant-7"})
	name := "clock-" + strings.Trim(by.String(), "-")
	if by < 0 {
		name += "-behind"
	}
	err := join(t, s.World, token, name, off{by})
	t.Cleanup(func() {
		if err := join(t, s.World, token, name, clock.System{}); err != nil {
			t.Errorf("with the clock set, the same token: %v", err)
		}
	})
	return err
}

func deviceRefused(t *testing.T, s *testworld.Scenario, text string, clk clock.Clock) {
	t.Helper()
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	d, err := simulate.Dial(t.Context(), simulate.Config{ConnectionString: text, Roots: roots, Resolver: s.Resolver(s.PlantDNS), Clock: clk})
	if err == nil {
		d.Close()
		t.Fatal("the device was let in")
	}
	if fault.KindOf(err) != fault.Unauthenticated || !strings.Contains(fault.Message(err), "CONNACK code 5") {
		t.Errorf("the device hears %v", err)
	}
}

// everything is what is stored in a deployment: nouns, tokens, devices and messages. What processes report of themselves is left out.
func everything(t *testing.T, s *testworld.Scenario) []string {
	t.Helper()
	var all []string
	add := func(what string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, what+" "+string(b))
	}
	for _, kind := range resource.Kinds() {
		list, err := s.Client.List(t.Context(), kind, client.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			switch o := o.(type) {
			case *resource.Agent:
				o.Status = resource.AgentStatus{SPIFFEID: o.Status.SPIFFEID}
			case *resource.Relay:
				o.Status = resource.RelayStatus{SPIFFEID: o.Status.SPIFFEID}
			}
			add(string(kind), o)
		}
	}
	tokens, err := s.Client.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range tokens {
		k.LastUsed = time.Time{}
		add("Token", k)
	}
	return append(all, stored(t, s)...)
}

// stored is what the hub keeps: keys of devices, and every message.
func stored(t *testing.T, s *testworld.Scenario) (all []string) {
	t.Helper()
	h, err := s.Hub()
	if err != nil {
		t.Fatal(err)
	}
	devices, err := h.Devices(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		all = append(all, fmt.Sprintf("device %s %s %s %s", d.ID, d.Generation, d.PrimaryKey, d.Status))
	}
	for _, m := range messages(t, s) {
		all = append(all, "message "+m)
	}
	return all
}

// messages reads every message of the hub's log, in the order of partition and sequence.
func messages(t *testing.T, s *testworld.Scenario) (all []string) {
	t.Helper()
	h, err := s.Hub()
	if err != nil {
		t.Fatal(err)
	}
	n, err := h.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for p := range n {
		from, next := h.Bounds(p)
		for from < next {
			events, err := h.Events(t.Context(), p, from, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				all = append(all, fmt.Sprintf("%d/%d %s", p, e.Sequence, e.Body))
				from = e.Sequence + 1
			}
		}
	}
	return all
}

func same(t *testing.T, before, after []string) {
	t.Helper()
	for _, x := range before {
		if !slices.Contains(after, x) {
			t.Errorf("it is gone or has changed: %s", x)
		}
	}
	for _, x := range after {
		if !slices.Contains(before, x) {
			t.Errorf("it was not there before: %s", x)
		}
	}
}
