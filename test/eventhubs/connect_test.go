package eventhubs

import (
	"strings"
	"testing"
	"time"
)

// TestConnect: every client comes in by every way it knows, and what it sends there comes back.
func TestConnect(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	cases := map[string]string{"plain TCP": "EH02", "TLS": "EH03"}
	for _, s := range both {
		for _, way := range []string{"plain TCP", "TLS", "WebSockets"} {
			t.Run(s.name+" over "+way, func(t *testing.T) {
				t.Parallel()
				covers(t, "EH01", s.with)
				if id := cases[way]; id != "" {
					covers(t, id, s.with)
				}
				covers(t, "EH06", s.with)
				hub := w.hub(t, 2)
				d := w.driver(t, s)
				d.must("open", w.by(t, way, s, hub), m{"client": "p", "kind": "producer"})
				d.must("open", w.by(t, way, s, hub), m{"client": "c", "kind": "consumer"})
				d.must("read", m{"client": "c", "reader": "r", "partition": "1", "position": m{"earliest": true}})
				d.must("send", m{"client": "p", "partition": "1"}, texts("there", "and back"))
				wantBodies(t, d.receives("r", "1", 2), "there", "and back")
				d.must("close", m{"client": "c"})
				d.must("close", m{"client": "p"})
			})
		}
	}
	t.Run("Proton", func(t *testing.T) {
		t.Parallel()
		for name, q := range map[string]m{
			"ANONYMOUS over plain TCP": {"mechanisms": "ANONYMOUS", "url": "amqp://" + w.plain},
			"ANONYMOUS over TLS":       {"mechanisms": "ANONYMOUS", "url": "amqps://" + w.amqps, "ca": w.ca},
			"no SASL":                  {"url": "amqp://" + w.plain},
			"PLAIN":                    {"mechanisms": "PLAIN", "url": "amqps://" + w.amqps, "ca": w.ca, "user": rootPolicy, "password": w.key(t, "", rootPolicy)},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				covers(t, "EH01", withProton)
				hub := w.hub(t, 1)
				d := w.driver(t, proton)
				d.must("connect", m{"client": "c", "host": w.namespace}, q)
				if q["user"] == nil {
					covers(t, "EH06", withProton)
					a := d.must("token", m{"client": "c", "audience": "sb://" + w.namespace + "/" + hub, "token": w.token(t, hub, rootPolicy, time.Hour)})
					if a.at("status.int") != 202.0 || a.text("description") != "Accepted" || a.at("correlation.string") != "1" {
						t.Errorf("a token is answered with %v", a)
					}
				}
				d.must("send", m{"client": "c", "address": hub, "messages": []m{{"data": bytesOf("there")}, {"data": bytesOf("and back")}}})
				got := d.must("receive", m{"client": "c", "address": hub + "/ConsumerGroups/$Default/Partitions/0", "count": 2})
				wantBodies(t, got.events(), "there", "and back")
				d.must("close", m{"client": "c"})
			})
		}
	})
}

// TestRefused: what an SDK says of tokens and rights that are not good.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	hub := w.hub(t, 1)
	listen, send := w.policy(t, "listens", "Listen"), w.policy(t, "sends", "Send")
	codes := map[string]string{js.name: "UnauthorizedError", golang.name: "unauthorized"}
	for _, s := range both {
		// is checks an error's kind and words.
		is := func(t *testing.T, e answer, words string) {
			t.Helper()
			if e.text("code") != codes[s.name] || !strings.Contains(e.text("message"), words) {
				t.Errorf("the error is %v, want %s with %q", e, codes[s.name], words)
			}
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := w.driver(t, s)
			tls := w.by(t, "TLS", d.sdk, hub)
			for name, c := range map[string]struct{ connection, words string }{
				"wrong key":      {w.connection(hub, rootPolicy, "bm90IHRoZSBrZXk="), "InvalidSignature: The token has an invalid signature."},
				"unknown policy": {w.connection(hub, "nobody", "bm90IHRoZSBrZXk="), "InvalidSignature: The token has an invalid signature."},
				"expired":        {w.ready(w.token(t, hub, rootPolicy, -time.Minute), hub), "ExpiredToken: The token is expired. Expiration time:"},
			} {
				t.Run(name, func(t *testing.T) {
					covers(t, "EH07", s.with)
					d := d.in(t)
					d.must("open", tls, m{"client": name, "kind": "producer", "connection": c.connection})
					is(t, d.fails("send", m{"client": name}, texts("no")), c.words)
					d.must("open", tls, m{"client": name, "kind": "consumer", "connection": c.connection})
					d.must("read", m{"client": name, "reader": name, "partition": "0"})
					is(t, d.loses(name, "0"), c.words)
				})
			}
			t.Run("send with a right to listen", func(t *testing.T) {
				covers(t, "EH08", s.with)
				d := d.in(t)
				d.must("open", tls, m{"client": "p", "kind": "producer", "connection": w.connection(hub, "listens", listen)})
				is(t, d.fails("send", m{"client": "p"}, texts("no")), "Unauthorized access. 'Send' claim(s) are required to perform this operation")
			})
			t.Run("listen with a right to send", func(t *testing.T) {
				covers(t, "EH08", s.with)
				d := d.in(t)
				d.must("open", tls, m{"client": "c", "kind": "consumer", "connection": w.connection(hub, "sends", send)})
				d.must("read", m{"client": "c", "reader": "c", "partition": "0"})
				is(t, d.loses("c", "0"), "Unauthorized access. 'Listen' claim(s) are required to perform this operation")
			})
			t.Run("no such event hub", func(t *testing.T) {
				covers(t, "EH11", s.with)
				d := d.in(t)
				d.must("open", tls, m{"client": "n", "kind": "producer", "connection": w.connection("nowhere", rootPolicy, w.key(t, "", rootPolicy))})
				e := d.fails("send", m{"client": "n"}, texts("no"))
				if !strings.Contains(e.text("message"), "The messaging entity") || !strings.Contains(e.text("message"), "could not be found") {
					t.Errorf("the error is %v", e)
				}
				if e = d.fails("hub", m{"client": "n"}); !strings.Contains(e.text("message"), "could not be found") && !strings.Contains(e.text("message"), "404") {
					t.Errorf("the error is %v", e)
				}
			})
		})
	}
}

// TestTokens: forms of tokens, each good.
func TestTokens(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			hub := w.hub(t, 1)
			d := w.driver(t, s)
			tls := w.by(t, "TLS", d.sdk, hub)
			for name, q := range map[string]m{
				"for the namespace":         {"connection": w.ready(w.token(t, "", rootPolicy, time.Hour), hub)},
				"ready-made":                {"connection": w.ready(w.token(t, hub, rootPolicy, time.Hour), hub)},
				"of the event hub's policy": {"connection": w.connection(hub, "own", w.policy(t, hub+"/own", "Send", "Listen"))},
				"JWT":                       {"namespace": w.namespace, "hub": hub, "token": testToken, "tokenFor": 3600000},
			} {
				t.Run(name, func(t *testing.T) {
					covers(t, "EH09", s.with)
					d := d.in(t)
					d.must("open", tls, m{"client": name, "kind": "producer"}, q)
					d.must("send", m{"client": name, "partition": "0"}, texts(name))
					before := d.must("partition", m{"client": name, "partition": "0"}).number("last") - 1
					d.must("open", tls, m{"client": name + " reads", "kind": "consumer"}, q)
					d.must("read", m{"client": name + " reads", "reader": name, "partition": "0", "position": m{"sequence": before}})
					wantBodies(t, d.receives(name, "0", 1), name)
					d.must("close", m{"client": name + " reads"})
				})
			}
		})
	}
}

// TestLapse: a ready-made token that ends takes its links with it.
func TestLapse(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	hub := w.hub(t, 1)
	d := w.driver(t, golang)
	covers(t, "EH10", golang.with)
	d.must("open", w.by(t, "TLS", d.sdk, hub), m{"client": "c", "kind": "consumer", "connection": w.ready(w.token(t, hub, rootPolicy, 3*time.Second), hub)})
	d.must("read", m{"client": "c", "reader": "r", "partition": "0", "position": m{"earliest": true}})
	if e := d.loses("r", "0"); e.text("code") != "unauthorized" {
		t.Errorf("the error is %v", e)
	}
}
