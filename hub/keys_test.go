package hub_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// keysOf returns both keys of a policy, the primary first.
func keysOf(w *world, policy string) [2]string {
	w.t.Helper()
	var out [2]string
	for i, which := range []hub.Which{hub.Primary, hub.Secondary} {
		text, err := w.hub().PolicyConnectionStringWith(policy, which)
		if err != nil {
			w.t.Fatal(err)
		}
		c, err := sas.ParseConnectionString(text)
		if err != nil {
			w.t.Fatal(err)
		}
		out[i] = c.Key
	}
	return out
}

// signed makes a token for everything in the hub.
func signed(t *testing.T, key, policy string) string {
	t.Helper()
	token, err := sas.Sign(host, key, policy, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRenewedKeysOfAPolicy(t *testing.T) {
	for _, c := range []struct {
		which hub.Which
		good  [2]bool // the old primary and secondary afterwards
	}{
		{hub.Primary, [2]bool{false, true}},
		{hub.Secondary, [2]bool{true, false}},
		{hub.Swap, [2]bool{true, true}},
	} {
		t.Run(string(c.which), func(t *testing.T) {
			w := newWorld(t)
			old, others := keysOf(w, hub.PolicyDevice), keysOf(w, hub.PolicyService)
			var cuts [2]*causes
			for i, key := range old {
				w.device(fmt.Sprint("d", i))
				s, got, err := w.connect(fmt.Sprint("d", i), signed(t, key, hub.PolicyDevice), public)
				if err != nil {
					t.Fatal(err)
				}
				defer s.End()
				cuts[i] = got
			}
			_, own := w.device("own")
			s, ownCuts, err := w.connect("own", own, public)
			if err != nil {
				t.Fatal(err)
			}
			defer s.End()
			renewed := w.hub().Renewed()
			n, err := w.hub().RenewPolicyKey(t.Context(), hub.PolicyDevice, c.which, "the test")
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-renewed:
			default:
				t.Error("nobody is told")
			}
			check := func(when string) {
				t.Helper()
				for i, key := range old {
					_, err := w.hub().Authenticate(t.Context(), "own", signed(t, key, hub.PolicyDevice))
					if c.good[i] != (err == nil) || err != nil && fault.KindOf(err) != fault.Unauthenticated {
						t.Errorf("%s: old key %d: %v", when, i, err)
					}
				}
				if _, _, err := w.hub().Authorize(signed(t, others[0], hub.PolicyService), hub.ServiceConnect); err != nil {
					t.Errorf("%s: another policy: %v", when, err)
				}
				now := keysOf(w, hub.PolicyDevice)
				if c.which == hub.Swap && (now[0] != old[1] || now[1] != old[0]) {
					t.Errorf("%s: not swapped", when)
				}
				for i, key := range now {
					if _, err := w.hub().Authenticate(t.Context(), "own", signed(t, key, hub.PolicyDevice)); err != nil {
						t.Errorf("%s: new key %d: %v", when, i, err)
					}
				}
			}
			check("at once")
			gone := 0
			for i := range old {
				want := hub.Cause(0)
				if !c.good[i] {
					want = hub.KeyGone
					gone++
				}
				if got := cuts[i].last(); got != want {
					t.Errorf("the session of key %d is cut for %q, want %q", i, got, want)
				}
			}
			if n != gone || ownCuts.last() != 0 {
				t.Errorf("%d cut, want %d; the device with a key of its own: %q", n, gone, ownCuts.last())
			}
			w.server.Close()
			w.open()
			check("after a restart")
		})
	}
}

func TestRenewedKeysOfADevice(t *testing.T) {
	w := newWorld(t)
	d, token := w.device("d")
	byPolicy := signed(t, policyKey(w, hub.PolicyDevice), hub.PolicyDevice)
	renew := func(which hub.Which) int {
		t.Helper()
		n, err := w.hub().RenewDeviceKey(t.Context(), "d", which, "the test")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	s, cuts, err := w.connect("d", token, public)
	if err != nil {
		t.Fatal(err)
	}
	if n := renew(hub.Secondary) + renew(hub.Swap); n != 0 || cuts.last() != 0 {
		t.Errorf("%d cut for %q though its key is there still", n, cuts.last())
	}
	if n := renew(hub.Secondary); n != 1 || cuts.last() != hub.KeyGone {
		t.Errorf("%d cut for %q though its key is gone", n, cuts.last())
	}
	s.End()
	if _, _, err := w.connect("d", token, public); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("with the old key: %v", err)
	}
	now, err := w.hub().Device(t.Context(), "d")
	if err != nil || now.ETag == d.ETag || now.PrimaryKey == d.PrimaryKey || now.SecondaryKey == d.SecondaryKey || now.Generation != d.Generation {
		t.Errorf("%v: the device is %+v", err, now.ID)
	}
	// Whoever came by a policy does not care for the device's keys.
	s, cuts, err = w.connect("d", byPolicy, public)
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	if n := renew(hub.Primary) + renew(hub.Secondary); n != 0 || cuts.last() != 0 {
		t.Errorf("%d cut for %q", n, cuts.last())
	}
}

func TestKeysThatCannotBeRenewed(t *testing.T) {
	w := newWorld(t)
	if _, err := w.hub().CreateDevice(t.Context(), hubstore.Device{ID: "x509", AuthType: hub.AuthCertificateAuthority}); err != nil {
		t.Fatal(err)
	}
	w.device("d")
	before := keysOf(w, hub.PolicyOwner)
	for name, c := range map[string]struct {
		do   func() (int, error)
		kind fault.Kind
	}{
		"no policy":           {func() (int, error) { return w.hub().RenewPolicyKey(t.Context(), "nobody", hub.Primary, "t") }, fault.NotFound},
		"no key of a policy":  {func() (int, error) { return w.hub().RenewPolicyKey(t.Context(), hub.PolicyOwner, "both", "t") }, fault.Invalid},
		"no device":           {func() (int, error) { return w.hub().RenewDeviceKey(t.Context(), "none", hub.Primary, "t") }, fault.NotFound},
		"no key of a device":  {func() (int, error) { return w.hub().RenewDeviceKey(t.Context(), "d", "", "t") }, fault.Invalid},
		"a device without it": {func() (int, error) { return w.hub().RenewDeviceKey(t.Context(), "x509", hub.Primary, "t") }, fault.Invalid},
		"a string with both": {func() (int, error) {
			_, err := w.hub().PolicyConnectionStringWith(hub.PolicyOwner, hub.Swap)
			return 0, err
		}, fault.Invalid},
	} {
		if n, err := c.do(); fault.KindOf(err) != c.kind || n != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if keysOf(w, hub.PolicyOwner) != before {
		t.Error("something changed all the same")
	}
}

// A device that connects while its key goes is refused or cut, never neither.
func TestRacingRenewalAndConnectLeaveNoSession(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		id := fmt.Sprint("d", i)
		_, token := w.device(id)
		renew := func() error {
			_, err := w.hub().RenewDeviceKey(t.Context(), id, hub.Primary, "the test")
			return err
		}
		if i%2 == 1 {
			token = signed(t, policyKey(w, hub.PolicyDevice), hub.PolicyDevice)
			renew = func() error {
				_, err := w.hub().RenewPolicyKey(t.Context(), hub.PolicyDevice, hub.Primary, "the test")
				return err
			}
		}
		var all sync.WaitGroup
		var s *hub.Session
		var cuts *causes
		var err error
		all.Go(func() { s, cuts, err = w.connect(id, token, public) })
		all.Go(func() {
			if err := renew(); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if err == nil {
			if cuts.last() != hub.KeyGone {
				t.Errorf("%s has a session with a key that is gone", id)
			}
			s.End()
		} else if fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", id, err)
		}
	}
	if n := w.hub().Connected(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestRenewalsAreLoggedWithoutKeys(t *testing.T) {
	w := newWorld(t)
	w.server.Close()
	var text bytes.Buffer
	s, err := hub.New(t.Context(), hub.Config{Dir: w.dir}, w.log, slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})), w.clock, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.server = s
	t.Cleanup(func() { _ = s.Close() })
	if err := s.SetHubs([]plan.Hub{one}); err != nil {
		t.Fatal(err)
	}
	d, _ := w.device("d")
	keys := keysOf(w, hub.PolicyService)
	secrets := []string{d.PrimaryKey, d.SecondaryKey, keys[0], keys[1]}
	if _, err := w.hub().RenewPolicyKey(t.Context(), hub.PolicyService, hub.Secondary, "policy iothubowner from 192.0.2.9:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.hub().RenewDeviceKey(t.Context(), "d", hub.Primary, "the local socket"); err != nil {
		t.Fatal(err)
	}
	d, err = w.hub().Device(t.Context(), "d")
	if err != nil {
		t.Fatal(err)
	}
	keys = keysOf(w, hub.PolicyService)
	for _, secret := range append(secrets, d.PrimaryKey, keys[1]) {
		if strings.Contains(text.String(), secret) {
			t.Error("a key is in the log")
		}
	}
	for _, want := range []string{
		`msg="hub: policy key renewed" hub=ot/cloud/contoso policy=service key=secondary by="policy iothubowner from 192.0.2.9:1" cut=0`,
		`msg="hub: device key renewed" hub=ot/cloud/contoso device=d key=primary by="the local socket" cut=0`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no line with %s in\n%s", want, text.String())
		}
	}
}

func TestPoliciesAreListedWithTheirRights(t *testing.T) {
	var out []string
	for _, p := range newWorld(t).hub().Policies() {
		out = append(out, p.Name+": "+strings.Join(p.Rights.Names(), " "))
	}
	want := "device: DeviceConnect\niothubowner: RegistryRead RegistryWrite ServiceConnect DeviceConnect\nregistryRead: RegistryRead\n" +
		"registryReadWrite: RegistryRead RegistryWrite\nservice: ServiceConnect"
	if got := strings.Join(out, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
