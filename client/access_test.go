package client_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
)

// What the server sends is what the client reads: every field of the one has its place in the other.
func TestAccessTypesFitTheServers(t *testing.T) {
	for _, c := range []struct{ server, client any }{
		{control.GrantView{}, client.Grant{}}, {control.Pass{}, client.Pass{}}, {control.PassGrant{}, client.PassGrant{}}, {control.SSHCertificate{}, client.SSHCertificate{}},
		{control.SSHAuthority{}, client.SSHAuthority{}}, {control.SessionView{}, client.Session{}}, {control.AccessExplanation{}, client.AccessExplanation{}},
		{control.AccessCondition{}, client.AccessCondition{}}, {control.Webhook{}, client.Webhook{}}, {control.WebhookRequest{}, client.WebhookRequest{}},
	} {
		if s, c := shape(reflect.TypeOf(c.server)), shape(reflect.TypeOf(c.client)); !reflect.DeepEqual(s, c) {
			t.Errorf("the server's %v\n          %v", s, c)
		}
	}
}

// shape lists the JSON names of a struct with the kinds of their values.
func shape(t reflect.Type) map[string]string {
	out := map[string]string{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out[name] = f.Type.Kind().String()
		}
	}
	return out
}

func TestAccessMethodsSpeakTheAPI(t *testing.T) {
	d := newDeployment(t)
	var got string
	s := d.serve(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.RequestURI() + " " + string(body)
		reply(w, 200, `{"items":[],"id":"g1","state":"Approved","secret":"s","webhook":{"id":"w1"}}`)
	})
	c, ctx := d.client(s), context.Background()
	from := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for want, do := range map[string]func() error{
		`POST /v1/access/grants {"target":"ot/p/t","reason":"spindle","from":"2026-11-23T09:00:00Z","for":"1h0m0s","ask":["erin"]}`: func() error {
			g, err := c.RequestAccess(ctx, client.GrantRequest{Target: "ot/p/t", Reason: "spindle", From: from, For: time.Hour, Ask: []string{"erin"}})
			if g.ID != "g1" || g.State != grant.Approved {
				t.Errorf("%+v", g)
			}
			return err
		},
		`GET /v1/access/grants?before=2026-11-23T09%3A00%3A00Z&limit=5&mine=true&open=true&person=alice&state=Approved&target=ot%2Fp%2Ft&tenant=ot&unreviewed=true `: func() error {
			_, err := c.Grants(ctx, client.GrantFilter{Tenant: "ot", Target: "ot/p/t", Person: "alice", State: grant.Approved, Open: true, Mine: true, Unreviewed: true, Before: from, Limit: 5})
			return err
		},
		`GET /v1/access/grants/g1 `:                                                     func() error { _, err := c.Grant(ctx, "g1"); return err },
		`GET /v1/access/grants/g1?wait=20s `:                                            func() error { _, err := c.WaitGrant(ctx, "g1"); return err },
		`POST /v1/access/grants/g1/extend {"why":"more","for":"30m0s"}`:                 func() error { _, err := c.DecideGrant(ctx, "g1", "extend", "more", 30*time.Minute); return err },
		`POST /v1/access/passes {"csr":"pem","grants":["g1"]}`:                          func() error { _, err := c.Pass(ctx, "pem", "g1"); return err },
		`POST /v1/access/ssh-certificates {"grant":"g1","publicKey":"k","login":"svc"}`: func() error { _, err := c.SSHCertificate(ctx, "g1", "k", "svc"); return err },
		`GET /v1/access/authority?tenant=ot `:                                           func() error { _, err := c.SSHAuthority(ctx, "ot"); return err },
		`GET /v1/access/sessions?grant=g1&open=true&refused=true `: func() error {
			_, err := c.Sessions(ctx, client.SessionFilter{Grant: "g1", Open: true, Refused: true})
			return err
		},
		`GET /v1/access/why?grant=g1&person=alice `: func() error { _, err := c.WhyAccess(ctx, "", "alice", "g1"); return err },
		`GET /v1/access/webhooks `:                  func() error { _, err := c.Webhooks(ctx); return err },
		`POST /v1/access/webhooks {"tenant":"ot","url":"https://x","events":["deny"]}`: func() error {
			_, h, err := c.CreateWebhook(ctx, client.WebhookRequest{Tenant: "ot", URL: "https://x", Events: []string{"deny"}})
			if h.ID != "w1" {
				t.Error(h)
			}
			return err
		},
		`POST /v1/access/webhooks/w1/test {}`: func() error { return c.TestWebhook(ctx, "w1") },
		`DELETE /v1/access/webhooks/w1 `:      func() error { return c.DeleteWebhook(ctx, "w1") },
	} {
		if err := do(); err != nil || got != want {
			t.Errorf("\n got %s\nwant %s\n%v", got, want, err)
		}
	}
}

func TestWaitingForAGrantAsksAgain(t *testing.T) {
	d := newDeployment(t)
	asked := 0
	s := d.serve(func(w http.ResponseWriter, _ *http.Request) {
		state := grant.Requested
		if asked++; asked == 2 {
			state = grant.Denied
		}
		b, _ := json.Marshal(client.Grant{Grant: grant.Grant{ID: "g1", State: state}})
		reply(w, 200, string(b))
	})
	g, err := d.client(s).WaitGrant(context.Background(), "g1")
	if err != nil || g.State != grant.Denied || asked != 2 {
		t.Errorf("%+v, %v after %d questions", g, err, asked)
	}
}

func TestRecordingsOfAnyLength(t *testing.T) {
	d := newDeployment(t)
	s := d.serve(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/access/sessions/plain/recording":
			w.Header().Set("Content-Type", "application/x-asciicast")
			_, _ = io.WriteString(w, strings.Repeat("a", 1<<20))
		case "/v1/access/sessions/sealed/recording":
			w.Header().Set("Content-Type", "application/vnd.isthmus.recording")
			_, _ = io.WriteString(w, "age")
		case "/v1/access/sessions/cut/recording":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half of it")
		default:
			problem(w, 403, fault.Denied)
		}
	})
	c, ctx := d.client(closedPort(t), s), context.Background() // the first address is dead
	r, sealed, err := c.Recording(ctx, "plain")
	if err != nil || sealed {
		t.Fatal(sealed, err)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) != 1<<20 || r.Close() != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if r, sealed, err = c.Recording(ctx, "sealed"); err != nil || !sealed || r.Close() != nil {
		t.Error(sealed, err)
	}
	if r, _, err = c.Recording(ctx, "cut"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err == nil {
		t.Errorf("half a recording is whole: %s", b)
	}
	_ = r.Close()
	if _, _, err = c.Recording(ctx, "other"); fault.KindOf(err) != fault.Denied || err == nil {
		t.Error(err)
	}
	if _, _, err = c.Recording(ctx, "../grants"); fault.KindOf(err) != fault.Invalid || err == nil {
		t.Error(err)
	}
	if _, _, err = d.client(closedPort(t)).Recording(ctx, "plain"); fault.KindOf(err) != fault.Unavailable || err == nil {
		t.Error(err)
	}
}

// Names become files, words of commands and lines of ssh's configuration: those that cannot be come from no control plane that is well.
func TestAPassWithNamesThatCannotBe(t *testing.T) {
	d := newDeployment(t)
	var grants string
	s := d.serve(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 201, `{"certificate":"c","grants":[`+grants+`]}`)
	})
	c := d.client(s)
	for text, good := range map[string]bool{
		`{"id":"g1","target":"ot/plant-7/press-4","logins":["service","a.b"]}`: true,
		`{"id":"g1","target":"ot/plant-7/press-4"}`:                            true,
		`{"id":"g1","target":"ot/plant-7/$(touch x)"}`:                         false,
		`{"id":"g1","target":"ot\nProxyCommand x/plant-7/press-4"}`:            false,
		`{"id":"g1","target":"../../press-4"}`:                                 false,
		`{"id":"g1","target":"press-4"}`:                                       false,
		`{"id":"g1","target":"ot/plant-7/press-4","logins":["../../.ssh"]}`:    false,
		`{"id":"g1","target":"ot/plant-7/press-4","logins":[".."]}`:            false,
		`{"id":"g1","target":"ot/plant-7/press-4","logins":["-oX=y"]}`:         false,
	} {
		grants = text
		p, err := c.Pass(context.Background(), "pem")
		if good != (err == nil && len(p.Grants) == 1) || !good && (len(p.Grants) != 0 || p.Certificate != "" || fault.Next(err) == "") {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
}
