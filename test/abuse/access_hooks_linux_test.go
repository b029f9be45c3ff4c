package abuse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/webhook"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// delivery is one as it came.
type delivery struct {
	signature, id string
	body          []byte
	at            time.Time
}

// receiver is a chat tool's end of a webhook.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex // guards got
	got []delivery
}

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(io.LimitReader(q.Body, 1<<20))
		if err != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, delivery{q.Header.Get(webhook.SignatureHeader), q.Header.Get(webhook.DeliveryHeader), body, time.Now()})
	}))
	t.Cleanup(r.Close)
	return r
}

// takes waits for an event about a grant.
func (r *receiver) takes(t *testing.T, event, grant string) (found delivery) {
	t.Helper()
	await(t, "the delivery of "+event, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, d := range r.got {
			var e webhook.Event
			if err := json.Unmarshal(d.body, &e); err != nil {
				return err
			}
			if e.Event == event && e.Grant == grant {
				found = d
				return nil
			}
		}
		return fmt.Errorf("it is none of %d", len(r.got))
	})
	return found
}

// A receiver that verifies takes what the server sends, and nothing that somebody changed, made up, held back or sent again.
func TestForgedWebhooks(t *testing.T) {
	p := startShop(t)
	ctx := t.Context()
	alice, bob, olga := p.person("alice", resource.RoleOperator), p.person("bob", resource.RoleApprover), p.person("olga", resource.RoleOwner)
	chat := receive(t)
	secret, hook, err := olga.CreateWebhook(ctx, client.WebhookRequest{URL: chat.URL + "/hook"})
	must(t, err)
	g := alice.letIn(bob, client.GrantRequest{Reason: "@here <script>alert(1)</script> [click](javascript:x)"})
	request, approve := chat.takes(t, webhook.Request, g.ID), chat.takes(t, webhook.Approve, g.ID)
	for _, d := range []delivery{request, approve} {
		if err := webhook.Verify(secret, d.signature, d.body, d.at, 0); err != nil {
			t.Errorf("as the server sent it: %v", err)
		}
		var e webhook.Event
		must(t, json.Unmarshal(d.body, &e))
		if strings.Contains(e.Text, "@here") || strings.Contains(e.Text, "<script>") || e.ID != d.id || d.id == "" {
			t.Errorf("a chat would be told: %q, delivery %q of %q", e.Text, d.id, e.ID)
		}
		tame(t, "the text", e.Text)
	}
	d := request
	for name, c := range map[string]struct {
		secret, signature string
		body              []byte
		now               time.Time
		kind              fault.Kind
	}{
		"for another target":        {secret, d.signature, bytes.Replace(d.body, []byte("plant-7/echo"), []byte("plant-7/safe"), 1), d.at, fault.Unauthenticated},
		"with another event's body": {secret, d.signature, approve.body, d.at, fault.Unauthenticated},
		"with a space":              {secret, d.signature, append(bytes.Clone(d.body), ' '), d.at, fault.Unauthenticated},
		"cut off":                   {secret, d.signature, d.body[:len(d.body)-1], d.at, fault.Unauthenticated},
		"empty":                     {secret, d.signature, nil, d.at, fault.Unauthenticated},
		"signed by a stranger":      {secret, webhook.Sign("isthmus_webhook_guessed", d.body, d.at), d.body, d.at, fault.Unauthenticated},
		"for another receiver":      {secret + "x", d.signature, d.body, d.at, fault.Unauthenticated},
		"with half a signature":     {secret, d.signature[:len(d.signature)-32], d.body, d.at, fault.Unauthenticated},
		"without a signature":       {secret, "", d.body, d.at, fault.Invalid},
		"with a header of 1 MB":     {secret, d.signature + strings.Repeat(",v1=00", 1<<18), d.body, d.at, fault.Invalid},
		"made young":                {secret, fmt.Sprintf("t=%d%s", d.at.Add(time.Hour).Unix(), d.signature[strings.IndexByte(d.signature, ','):]), d.body, d.at.Add(time.Hour), fault.Unauthenticated},
		"again, an hour later":      {secret, d.signature, d.body, d.at.Add(time.Hour), fault.Expired},
		"to a clock that is behind": {secret, d.signature, d.body, d.at.Add(-time.Hour), fault.Expired},
	} {
		if err := webhook.Verify(c.secret, c.signature, c.body, c.now, 0); fault.KindOf(err) != c.kind || fault.Next(err) == "" || strings.Contains(errorText(err), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := p.server.Log(); strings.Contains(text, secret) {
		t.Error("the server's log has the secret")
	}
	if n := said(p.audited(), secret); n > 0 {
		t.Error("the audit log has the secret")
	}

	// Receivers that lead on, never end or never answer keep nothing from others, and the list of webhooks says what is wrong with them.
	var led sync.Map
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { led.Store(q.URL.Path, true) }))
	t.Cleanup(elsewhere.Close)
	over := make(chan struct{})
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/leads":
			http.Redirect(w, q, elsewhere.URL+"/metadata", http.StatusTemporaryRedirect)
		case "/pours":
			for chunk := make([]byte, 64<<10); q.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		default:
			select {
			case <-over:
			case <-q.Context().Done():
			}
		}
	}))
	t.Cleanup(func() { close(over); bad.CloseClientConnections(); bad.Close() })
	for _, path := range []string{"/leads", "/pours", "/sleeps"} {
		_, _, err := olga.CreateWebhook(ctx, client.WebhookRequest{URL: bad.URL + path})
		must(t, err)
	}
	memory := p.server.watchMemory()
	began := time.Now()
	for range 5 {
		chat.takes(t, webhook.Approve, alice.letIn(bob, client.GrantRequest{}).ID)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a receiver beside bad ones waited %v for five events", took)
	}
	await(t, "the state of a receiver that leads elsewhere", func() error {
		list, err := olga.Webhooks(ctx)
		if err != nil {
			return err
		}
		for _, h := range list {
			if strings.Contains(h.URL, bad.Listener.Addr().String()) && h.State != "" && h.Waiting > 0 {
				return nil
			}
			tame(t, "a webhook's state", h.State)
		}
		return errors.New("no webhook has trouble")
	})
	if _, followed := led.Load("/metadata"); followed {
		t.Error("the server follows where a receiver leads it")
	}
	memory().within(t, 60)
	if n := strings.Count(p.server.Log(), "level=WARN"); n > 100 {
		t.Errorf("%d warnings", n)
	}
	must(t, olga.DeleteWebhook(ctx, hook.ID))
	if n := said(p.audited(), `"Webhook"`); n == 0 || n > 20 {
		t.Errorf("%d records of webhooks", n)
	}
}
