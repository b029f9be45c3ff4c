package node

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

const guestWords = "only trusted workloads with their identity: a key is not enough"

// TestARoleThatIsTakenAwayCutsWithinASecond: links that stand on a role, or on a key, end with it.
func TestARoleThatIsTakenAwayCutsWithinASecond(t *testing.T) {
	p := startProcess(t)
	roles := func(list ...plan.Assignment) func() {
		return func() { p.change(0, func(h *plan.Hub) { h.Assignments, h.KeysOff = list, false }) }
	}
	give := []plan.Assignment{wt.Assign(resource.RoleDataSender, "telemetry"), wt.Assign(resource.RoleDataReceiver, "")}
	roles(give...)()
	c := p.dial(lakeHost).proved()
	s, r := c.sender("telemetry"), c.receiver(readTelemetry)
	p.must(s.SendAccepted(p.ctx, message(t, "one"), 0))
	if _, err := r.Next(p.ctx); err != nil {
		t.Fatal(err)
	}
	if e := c.refusal("other/ConsumerGroups/nobody/Partitions/0"); e.Condition != amqp.ConditionNotFound {
		t.Errorf("what the role is for, and is not there: %v", e)
	}
	if _, err := c.session.Sender(p.ctx, "other", nil); c.asError(err).Condition != amqp.ConditionUnauthorizedAccess {
		t.Errorf("out of the scope: %v", err)
	}
	p.soon("the sender's end", roles(give[1]), func() {
		if e := c.asError(s.WaitEnd(p.ctx)); e.Condition != amqp.ConditionUnauthorizedAccess || !strings.Contains(e.Description, "'Send' claim(s) are required") {
			t.Errorf("ended with %v", e)
		}
		// The claim as a whole is worth nothing any more: a token that is put again gives what is left.
		if e := c.asError(r.WaitEnd(p.ctx)); e.Condition != amqp.ConditionUnauthorizedAccess {
			t.Errorf("ended with %v", e)
		}
	})
	r = c.proved().receiver(readTelemetry)
	p.soon("a revoked agent's end", func() { p.change(0, func(*plan.Hub) {}, string(wt.Agent)) }, func() { c.asError(r.WaitEnd(p.ctx)) })
	if code, words := c.put(eventhub.TokenJWT, p.bridge(lakeHost)); code != 401 || !strings.Contains(words, "removed from the deployment") {
		t.Errorf("%d %s", code, words)
	}

	byKey := p.dial(lakeHost)
	if code, words := byKey.put(eventhub.TokenSAS, p.root()); code != 202 {
		t.Fatal(code, words)
	}
	r = byKey.receiver(readTelemetry)
	p.soon("a key's end", func() { p.change(0, func(h *plan.Hub) { h.KeysOff = true }) }, func() {
		if e := byKey.asError(r.WaitEnd(p.ctx)); e.Condition != amqp.ConditionUnauthorizedAccess {
			t.Errorf("ended with %v", e)
		}
	})
	if code, words := byKey.put(eventhub.TokenSAS, p.root()); code != 401 || !strings.HasPrefix(words, "LocalAuthDisabled: ") {
		t.Errorf("%d %s", code, words)
	}
	plain := amqptest.Plain(eventhub.PolicyRoot, p.rootKey())
	plain.Hostname = lakeHost
	if _, err := amqptest.Connect(p.ctx, p.tls(p.h.amqpOn[0].Addr().String(), lakeHost), amqptest.Options{SASL: plain, Hostname: lakeHost}); err == nil {
		t.Error("a key as a password is let in")
	}
}

// TestAKeyWithoutIdentityIsNotTrusted: where trusted access is asked, a key opens nothing, and is told why.
func TestAKeyWithoutIdentityIsNotTrusted(t *testing.T) {
	p := startProcess(t)
	root, key := p.root(), p.rootKey()
	p.trust()
	c := p.dial(lakeHost)
	for _, address := range []string{readTelemetry, "$management"} {
		if e := c.refusal(address); e.Condition != amqp.ConditionUnauthorizedAccess || !strings.Contains(e.Description, guestWords) {
			t.Errorf("%s before anything: %v", address, e)
		}
	}
	for name, token := range map[string]string{
		"a key": root, "nothing known": "x", "a provider's": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAA",
	} {
		for _, kind := range []string{eventhub.TokenSAS, eventhub.TokenJWT} {
			if code, words := c.put(kind, token); code != 401 || !strings.Contains(words, guestWords) {
				t.Errorf("%s as %s: %d %s", name, kind, code, words)
			}
		}
	}
	if code, words := c.put(eventhub.TokenJWT, p.d.Token(wt.Other, wt.Other, lakeHost)); code != 401 || !strings.Contains(words, "not among those it trusts") {
		t.Errorf("a workload with a role: %d %s", code, words)
	}
	if e := c.refusal(readTelemetry); !strings.Contains(e.Description, guestWords) {
		t.Errorf("after all these: %v", e)
	}
	_, _, _ = c.cbs.PutToken(p.ctx, eventhub.TokenSAS, "x", "x")
	<-c.Done() // it was one too many
	plain := amqptest.Plain(eventhub.PolicyRoot, key)
	plain.Hostname = lakeHost
	if _, err := amqptest.Connect(p.ctx, p.tls(p.h.amqpOn[0].Addr().String(), lakeHost), amqptest.Options{SASL: plain, Hostname: lakeHost}); err == nil {
		t.Error("a key as a password is let in")
	}
	status, body := p.post(lakeHost, "/telemetry/messages", root)
	if status != 401 || !strings.Contains(body, guestWords) {
		t.Errorf("over HTTPS: %d %s", status, body)
	}
	for _, refused := range []string{p.d.Token(wt.Other, wt.Other, lakeHost), p.d.Token(wt.Agent, wt.Agent, lakeHost)} {
		if status, body := p.post(lakeHost, "/telemetry/messages", "Bearer "+refused); status != 401 {
			t.Errorf("another workload over HTTPS: %d %s", status, body)
		}
	}
	if status, body = p.post(lakeHost, "/telemetry/messages", "Bearer "+p.bridge(lakeHost)); status != 201 {
		t.Errorf("the trusted one over HTTPS: %d %s", status, body)
	}
}

// TestTrustedWorkloads: who is trusted and has a role does what the role gives, and no longer than it lasts.
func TestTrustedWorkloads(t *testing.T) {
	p := startProcess(t)
	p.trust()
	c := p.dial(lakeHost).proved()
	p.must(c.sender("telemetry").SendAccepted(p.ctx, message(t, "one"), 0))
	r := c.receiver(readTelemetry)
	if _, err := r.Next(p.ctx); err != nil {
		t.Fatal(err)
	}
	over := p.socket(lakeHost).proved()
	if _, err := over.receiver("telemetry/ConsumerGroups/$Default/Partitions/0").Next(p.ctx); err != nil {
		t.Errorf("over a WebSocket: %v", err)
	}
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, "https://"+lakeHost+"/isthmus/v1/eventhubs/telemetry/messages?follow=1", nil)
	p.must(err)
	req.Header.Set("Authorization", "Bearer "+p.bridge(lakeHost))
	resp, err := p.client().Do(req)
	p.must(err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s %v", resp.StatusCode, line, err)
	}
	p.soon("the end of trust", func() { p.change(0, func(h *plan.Hub) { h.Trusted = []string{string(wt.Other)} }) }, func() {
		<-c.Done()
		<-over.Done()
		if rest, _ := io.ReadAll(lines); len(rest) > 0 {
			t.Errorf("%q came", rest)
		}
	})
	p.change(0, func(h *plan.Hub) { h.Trusted = []string{string(wt.Bridge)} })
	c = p.dial(lakeHost).proved()
	r = c.receiver(readTelemetry)
	p.soon("the end of the role", func() { p.change(0, func(h *plan.Hub) { h.Assignments = nil }) }, func() { c.asError(r.WaitEnd(p.ctx)) })
	c = p.dial(lakeHost)
	if code, words := c.put(eventhub.TokenJWT, p.bridge(lakeHost)); code != 401 || !strings.Contains(words, "has no role") {
		t.Errorf("trusted without a role: %d %s", code, words)
	}
	// A side that is opened again cuts nobody.
	p.trust()
	c = p.dial(lakeHost).proved()
	r = c.receiver(readTelemetry)
	p.change(0, func(h *plan.Hub) { h.Public, h.Trusted = resource.PublicEnabled, nil })
	p.must(p.dial(lakeHost).proved().sender("telemetry").SendAccepted(p.ctx, message(t, "two"), 0))
	for range 2 {
		if _, err := r.Next(p.ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuestsOfAHub: from the public side of a hub a trusted workload reads events, and everything of devices and services stays closed.
func TestGuestsOfAHub(t *testing.T) {
	p := startProcess(t)
	h, _ := p.h.server.ByHost(hubHost)
	d, err := h.CreateDevice(p.ctx, hubstore.Device{ID: "d"})
	p.must(err)
	device, err := sas.Sign(hubHost+"/devices/d", d.PrimaryKey, "", time.Now().Add(time.Hour))
	p.must(err)
	text, err := h.PolicyConnectionString(hub.PolicyService)
	p.must(err)
	service, err := sas.ParseConnectionString(text)
	p.must(err)
	policy, err := sas.Sign(hubHost, service.Key, hub.PolicyService, time.Now().Add(time.Hour))
	p.must(err)
	p.trust()
	p.change(1, func(h *plan.Hub) { h.Assignments = append(h.Assignments, wt.Assign(resource.RoleHubContributor, "")) })
	c := p.dial(hubHost)
	for name, token := range map[string]string{"a device": device, "a policy": policy} {
		if code, words := c.put(eventhub.TokenSAS, token); code != 401 || !strings.Contains(words, guestWords) {
			t.Errorf("%s: %d %s", name, code, words)
		}
	}
	c.proved()
	for _, address := range []string{"/devices/d/messages/devicebound", "/messages/servicebound/feedback", "/devices/d/methods/devicebound", "/messages/serviceBound/filenotifications"} {
		if e := c.refusal(address); e.Condition != amqp.ConditionNotFound && e.Condition != amqp.ConditionNotAllowed && e.Condition != amqp.ConditionUnauthorizedAccess {
			t.Errorf("%s: %v", address, e)
		}
	}
	if s, err := c.session.Sender(p.ctx, "/messages/devicebound", nil); err == nil {
		t.Errorf("commands may be sent: %v", s.Peer())
	}
	c.receiver(builtin.EntityName(h) + "/ConsumerGroups/$Default/Partitions/0")
	for name, plain := range map[string]*amqptest.SASL{
		"a device": amqptest.Plain("d@sas.contoso", device), "a policy": amqptest.Plain(hub.PolicyService+"@sas.root.contoso", policy), "a policy's key": amqptest.Plain(hub.PolicyService, service.Key),
	} {
		plain.Hostname = hubHost
		if _, err := amqptest.Connect(p.ctx, p.tls(p.h.amqpOn[0].Addr().String(), hubHost), amqptest.Options{SASL: plain, Hostname: hubHost}); err == nil {
			t.Errorf("%s as a password is let in", name)
		}
	}
}

// TestGuestsWhoWaitAreBounded: one address has few places for those who prove nothing, and gets them back.
func TestGuestsWhoWaitAreBounded(t *testing.T) {
	p := startProcess(t)
	p.trust()
	try := func() (*peer, error) {
		c, err := amqptest.Connect(p.ctx, p.tls(p.h.amqpOn[0].Addr().String(), lakeHost), amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: lakeHost})
		if err != nil {
			return nil, err
		}
		t.Cleanup(c.Abort)
		s, err := c.Session(p.ctx)
		return &peer{c, p, lakeHost, s, nil}, err
	}
	var waiting []*peer
	for {
		c, err := try()
		if err != nil {
			break
		}
		if waiting = append(waiting, c); len(waiting) > 100 {
			t.Fatal("there is no end of them")
		}
	}
	if len(waiting) != 16 {
		t.Errorf("%d may wait", len(waiting))
	}
	waiting[0].Abort()
	free, err := try()
	for deadline := time.Now().Add(10 * time.Second); err != nil; free, err = try() {
		if time.Now().After(deadline) {
			t.Fatal("a place that was left stays taken")
		}
	}
	free.proved()
	if _, err := try(); err != nil {
		t.Errorf("who is known still waits: %v", err)
	}
}
