package control

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/webhook"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// receiver is somebody's HTTPS server.
type receiver struct {
	*httptest.Server
	t      testing.TB
	secret string
	clk    interface{ Now() time.Time }
	events chan webhook.Event

	mu     sync.Mutex
	status []int // of the next answers; 204 when there are none left
	hang   chan struct{}
	tries  int
}

func newReceiver(t testing.TB, clk interface{ Now() time.Time }) *receiver {
	r := &receiver{t: t, clk: clk, events: make(chan webhook.Event, 100)}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) serve(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	hang, status := r.hang, http.StatusNoContent
	if len(r.status) > 0 {
		status, r.status = r.status[0], r.status[1:]
	}
	r.tries++
	secret := r.secret
	r.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-q.Context().Done():
		}
		return
	}
	if err := webhook.Verify(secret, q.Header.Get(webhook.SignatureHeader), body, r.clk.Now(), 0); err != nil {
		r.t.Errorf("the signature: %v", err)
	}
	if status >= 300 && status < 400 {
		w.Header().Set("Location", r.URL+"/elsewhere")
	}
	w.WriteHeader(status)
	if status > 299 {
		return
	}
	var e webhook.Event
	if err := json.Unmarshal(body, &e); err != nil || e.ID == "" || e.ID != q.Header.Get(webhook.DeliveryHeader) || q.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%s, %v, %v", body, err, q.Header)
	}
	r.events <- e
}

// next is the next event that arrives.
func (r *receiver) next() webhook.Event {
	r.t.Helper()
	select {
	case e := <-r.events:
		return e
	case <-time.After(10 * time.Second):
		r.t.Fatal("no event came")
		return webhook.Event{}
	}
}

// hooked is a site with a webhook of ot to a receiver.
func hooked(t testing.TB, events []string, rules ...func(*resource.AccessPolicySpec)) (*site, *receiver) {
	s := newSite(t, rules...)
	r := newReceiver(t, s.clk)
	s.trust(r)
	s.cfg.WebhookPrivate = true
	secret, h, err := s.CreateWebhook(ctx, s.odin, WebhookRequest{URL: r.URL + "/secret-path", Events: events})
	if err != nil || h.Tenant != "ot" || strings.Contains(h.URL, "secret") {
		t.Fatalf("%+v, %v", h, err)
	}
	r.secret = secret
	return s, r
}

func (s *site) trust(list ...*receiver) {
	s.cfg.WebhookRoots = x509.NewCertPool()
	for _, r := range list {
		s.cfg.WebhookRoots.AddCert(r.Certificate())
	}
	s.receivers = s.newReceivers()
}

// delivering sends what waits until the test ends.
func (s *site) delivering() {
	c, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { s.deliverWebhooks(c) })
	s.t.(*testing.T).Cleanup(func() { cancel(); done.Wait() })
}

func TestEventsOfAGrant(t *testing.T) {
	s, r := hooked(t, nil, func(p *resource.AccessPolicySpec) { p.WaitMinutes = 60 })
	s.delivering()
	g := s.ask(s.alice, pressSSH, func(r *GrantRequest) { r.Reason = "see <!channel> & @here" })
	e := r.next()
	if e.Event != webhook.Request || e.Grant != g.ID || e.Tenant != "ot" || e.Person != "alice@example.net of ot" || e.Reason != "see <!channel> & @here" || e.For != "1h" ||
		e.Commands == nil || e.Commands.Approve != "isthmus access approve "+g.ID || e.State != "Requested" {
		t.Errorf("%+v", e)
	}
	if !strings.Contains(e.Text, "see &lt;!channel&gt; &amp; @\u200bhere") || !strings.Contains(e.Text, e.Commands.Approve) {
		t.Errorf("text %q", e.Text)
	}
	s.decide(s.erin, g.ID, ApproveGrant)
	if e = r.next(); e.Event != webhook.Approve || e.By != "erin@example.net of ot" || e.Until.IsZero() || len(e.ApprovedBy) != 1 {
		t.Errorf("%+v", e)
	}
	s.decide(s.alice, g.ID, ExtendGrant, time.Hour)
	if e = r.next(); e.Event != webhook.Request || !strings.Contains(e.Text, "1h more") {
		t.Errorf("%+v", e)
	}
	s.decide(s.erin, g.ID, DenyGrant)
	if e = r.next(); e.Event != webhook.Deny {
		t.Errorf("%+v", e)
	}
	v, err := s.Grant(ctx, s.alice, g.ID)
	if err != nil {
		t.Fatal(err)
	}
	o := s.opens(1, v)
	s.note(s.press, o)
	if e = r.next(); e.Event != webhook.SessionOpen || e.Session == nil || e.Session.ID != sessionID(1) || e.Target != pressSSH {
		t.Errorf("%+v", e)
	}
	s.note(s.press, ends(o, s.clk.Now().Add(time.Minute), session.EndClosed))
	if e = r.next(); e.Event != webhook.SessionEnd || e.Session.Sent != 1200 || !strings.Contains(e.Text, "after 1m (closed; 1200 bytes in, 3400 out)") {
		t.Errorf("%+v", e)
	}
	s.decide(s.alice, g.ID, RevokeGrant)
	if e = r.next(); e.Event != webhook.Revoke || e.Commands != nil {
		t.Errorf("%+v", e)
	}
	late := s.ask(s.alice, pressSSH)
	r.next()
	s.clk.Advance(time.Hour)
	if _, err := s.ageOnce(ctx); err != nil {
		t.Fatal(err)
	}
	if e = r.next(); e.Event != webhook.Expire || e.Grant != late.ID || e.State != string(grant.Lapsed) {
		t.Errorf("%+v", e)
	}
	s.changesWebhook(func(h Webhook) bool { return h.Waiting == 0 && strings.HasPrefix(h.State, "delivered at") })
}

// changesWebhook waits until the one webhook of ot is as wanted.
func (s *site) changesWebhook(wanted func(Webhook) bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		list, err := s.Webhooks(ctx, s.odin)
		if err != nil || len(list) == 0 {
			s.t.Fatal(list, err)
		}
		if wanted(list[0]) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%+v", list[0])
		}
	}
}

func TestEverybodyHearsOfAnEmergency(t *testing.T) {
	s, r := hooked(t, []string{webhook.SessionEnd}, func(p *resource.AccessPolicySpec) { p.BreakGlass = true })
	s.delivering()
	s.ask(s.bob, pressSSH) // is not asked for
	g := s.ask(s.alice, pressSSH, func(r *GrantRequest) { r.Kind, r.For = grant.BreakGlass, 0 })
	e := r.next()
	if e.Event != webhook.BreakGlass || e.Grant != g.ID || !strings.HasPrefix(e.Text, "EMERGENCY: ") || e.Commands.Review == "" || e.Commands.Revoke == "" {
		t.Errorf("%+v", e)
	}
}

func TestAReceiverThatFailsIsTriedAgainForADay(t *testing.T) {
	s, r := hooked(t, []string{webhook.Request})
	r.status = []int{500, 302, 404}
	s.ask(s.alice, pressSSH)
	s.delivering()
	for i, wantState := range []string{"the receiver answered 500", "the receiver answered 302", "the receiver answered 404"} {
		s.changesWebhook(func(h Webhook) bool { return strings.Contains(h.State, wantState) && h.Waiting == 1 })
		s.timers(1)
		s.clk.Advance(pauseAfter(i + 1))
	}
	if e := r.next(); e.Event != webhook.Request {
		t.Errorf("%+v", e)
	}
	s.changesWebhook(func(h Webhook) bool { return h.Waiting == 0 })
	r.mu.Lock()
	if r.tries != 4 {
		t.Errorf("%d tries", r.tries)
	}
	r.status = make([]int, 1000)
	for i := range r.status {
		r.status[i] = 503
	}
	r.mu.Unlock()
	s.ask(s.alice, pressSSH)
	for day := s.clk.Now().Add(25 * time.Hour); s.clk.Now().Before(day); s.clk.Advance(time.Hour) {
		r.mu.Lock()
		before := r.tries
		r.mu.Unlock()
		for end := time.Now().Add(10 * time.Second); ; {
			list, err := s.Webhooks(ctx, s.odin)
			if err != nil {
				t.Fatal(err)
			}
			r.mu.Lock()
			tried := r.tries > before
			r.mu.Unlock()
			if list[0].Waiting == 0 || tried && s.clk.Timers() == 1 || time.Now().After(end) {
				break
			}
		}
	}
	s.changesWebhook(func(h Webhook) bool { return h.Waiting == 0 && strings.HasPrefix(h.State, "given up") })
}

func TestOneBadReceiverHoldsUpNoOther(t *testing.T) {
	s, bad := hooked(t, []string{webhook.Request})
	bad.hang = make(chan struct{})
	defer close(bad.hang)
	good := newReceiver(t, s.clk)
	s.trust(bad, good)
	secret, _, err := s.CreateWebhook(ctx, s.odin, WebhookRequest{URL: good.URL, Events: []string{webhook.Request}})
	if err != nil {
		t.Fatal(err)
	}
	good.secret = secret
	s.delivering()
	for range 3 {
		g := s.ask(s.alice, pressSSH)
		if e := good.next(); e.Grant != g.ID {
			t.Errorf("%+v", e)
		}
	}
}

func TestWebhooksThatAreNot(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct {
		p     Principal
		r     WebhookRequest
		kind  fault.Kind
		words string
	}{
		"an approver":             {s.erin, WebhookRequest{URL: "https://chat.example.net/x"}, fault.Denied, "for owners"},
		"another tenant's owner":  {s.ivy, WebhookRequest{URL: "https://chat.example.net/x", Tenant: "ot"}, fault.NotFound, "there is no"},
		"plain text":              {s.odin, WebhookRequest{URL: "http://chat.example.net/x"}, fault.Invalid, "without TLS only a loopback address"},
		"another scheme":          {s.odin, WebhookRequest{URL: "file:///etc/passwd"}, fault.Invalid, "cannot be used"},
		"a password":              {s.odin, WebhookRequest{URL: "https://me:secret@chat.example.net/x"}, fault.Invalid, "a user or a fragment"},
		"nothing":                 {s.odin, WebhookRequest{}, fault.Invalid, "cannot be read"},
		"an event that is none":   {s.odin, WebhookRequest{URL: "https://chat.example.net/x", Events: []string{"coffee"}}, fault.Invalid, "is no event"},
		"an event twice":          {s.odin, WebhookRequest{URL: "https://chat.example.net/x", Events: []string{"deny", "deny"}}, fault.Invalid, "stands there twice"},
		"this machine":            {s.odin, WebhookRequest{URL: "https://localhost:9090/metrics"}, fault.Denied, "no public address"},
		"this machine, by number": {s.odin, WebhookRequest{URL: "http://127.0.0.1:9090/metrics"}, fault.Denied, "no public address"},
		"a private address":       {s.odin, WebhookRequest{URL: "https://10.0.0.8/"}, fault.Denied, "no public address"},
		"metadata of a cloud":     {s.odin, WebhookRequest{URL: "https://169.254.169.254/latest"}, fault.Denied, "no public address"},
		"mapped into IPv6":        {s.odin, WebhookRequest{URL: "https://[::ffff:10.0.0.8]/"}, fault.Denied, "no public address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := s.CreateWebhook(ctx, c.p, c.r)
			want(t, err, c.kind, c.words)
			if err != nil && strings.Contains(err.Error(), "secret@") {
				t.Error("the error has the password")
			}
		})
	}
	var id string
	for range maxWebhooks {
		_, h, err := s.CreateWebhook(ctx, s.odin, WebhookRequest{URL: "https://chat.example.net/hooks/T0/secret"})
		if err != nil || h.URL != "https://chat.example.net/…" {
			t.Fatalf("%+v, %v", h, err)
		}
		id = h.ID
	}
	_, _, err := s.CreateWebhook(ctx, s.odin, WebhookRequest{URL: "https://chat.example.net/x"})
	want(t, err, fault.Exhausted, "10 webhooks already")
	for _, p := range []Principal{s.ivy, itOps} {
		want(t, s.DeleteWebhook(ctx, p, id), fault.NotFound, "there is no webhook")
		want(t, s.TestWebhook(ctx, p, id), fault.NotFound, "there is no webhook")
		if list, err := s.Webhooks(ctx, p); err != nil || len(list) != 0 {
			t.Errorf("%v, %v", list, err)
		}
	}
	if err := s.DeleteWebhook(ctx, s.odin, id); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Webhooks(ctx, otOps); err != nil || len(list) != maxWebhooks-1 {
		t.Errorf("%v, %v", list, err)
	}
	if got := s.did("ot", "Webhook"); len(got) != maxWebhooks+1 {
		t.Errorf("%v", got)
	}
}

// A name that leads to a private address, whatever it led to when the webhook was made, is dialled by nobody.
func TestNamesOfPrivateAddressesAreNotDialled(t *testing.T) {
	s, r := hooked(t, []string{webhook.Request})
	s.cfg.WebhookPrivate = false
	list, err := s.Webhooks(ctx, s.odin)
	if err != nil {
		t.Fatal(err)
	}
	want(t, s.TestWebhook(ctx, s.odin, list[0].ID), fault.Denied, "127.0.0.1, which is no public address")
	if r.tries != 0 {
		t.Error("it was dialled")
	}
	s.cfg.WebhookPrivate = true
	if err := s.TestWebhook(ctx, s.odin, list[0].ID); err != nil || r.next().Event != webhook.Test {
		t.Error(err)
	}
	s.cfg.WebhookRoots = x509.NewCertPool()
	s.receivers = s.newReceivers()
	err = s.TestWebhook(ctx, s.odin, list[0].ID)
	want(t, err, fault.Unavailable, "certificate is not good")
	if strings.Contains(err.Error(), "secret-path") {
		t.Errorf("the error has the address: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, h, err := s.CreateWebhook(ctx, s.odin, WebhookRequest{URL: "http://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	want(t, s.TestWebhook(ctx, s.odin, h.ID), fault.Unavailable, "cannot be reached")
}

func TestPublicAddresses(t *testing.T) {
	for a, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true, "8.8.8.8": true,
		"10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "127.0.0.1": false, "127.8.8.8": false, "169.254.169.254": false, "0.0.0.0": false, "0.1.2.3": false,
		"100.64.0.1": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.7": false, "203.0.113.9": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "fd12::1": false, "ff02::1": false, "2001:db8::1": false, "::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true,
		"64:ff9b::a00:1": false, "2002:a00:1::": false, "::a00:1": false, "fec0::1": false, "2001::1": false,
	} {
		if got := public(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s is public: %v", a, got)
		}
	}
}

func TestDeliveriesAreBounded(t *testing.T) {
	s, _ := hooked(t, []string{webhook.Request})
	err := s.update(ctx, "test", "", func(w *work) error {
		for range maxWaitingTo + 50 {
			w.now = w.now.Add(time.Millisecond)
			if err := w.tell(webhook.Event{Event: webhook.Request}, "ot"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.changesWebhook(func(h Webhook) bool { return h.Waiting == maxWaitingTo })
	if err := s.update(ctx, "test", "", func(w *work) error { return w.leaveWebhooks("ot") }); err != nil {
		t.Fatal(err)
	}
	if wait, err := s.deliverDue(ctx, map[string]bool{}, nil); err != nil || wait >= 0 {
		t.Errorf("what waited for a webhook that is gone still waits: %v, %v", wait, err)
	}
}
