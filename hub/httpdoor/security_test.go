package httpdoor_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Whoever has no key must not find out which devices there are, whatever sort of token he makes up.
func TestNobodyLearnsWhichDevicesExist(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	w.Device(hubtest.Contoso, "here")
	policy := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	for name, token := range map[string]func(id string) string{
		"a key of one's own": func(id string) string {
			s, err := sas.Sign(hubtest.Contoso+"/devices/"+id, "AAECAwQFBgcICQoLDA0ODw==", "", time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"a policy nobody has": func(string) string {
			s, err := sas.Sign(hubtest.Contoso, "AAECAwQFBgcICQoLDA0ODw==", "nothing", time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"a policy's name and another key": func(string) string {
			s, err := sas.Sign(hubtest.Contoso, "AAECAwQFBgcICQoLDA0ODw==", hub.PolicyDevice, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"a policy without the right": func(string) string { return w.ServiceToken(hubtest.Contoso, hub.PolicyService) },
		"no token":                   func(string) string { return "" },
	} {
		answer := func(id string) string {
			status, h, body := c.call("POST", "/devices/"+id+"/messages/events"+version, token(id), "x")
			body, _, _ = strings.Cut(body, "ExceptionMessage")
			return strings.ReplaceAll(http.StatusText(status)+h.Get("Iothub-Errorcode")+h.Get("Isthmus-Next")+body, id, "ID")
		}
		if here, gone := answer("here"), answer("gone"); here != gone || !strings.HasPrefix(here, "Unauthorized") {
			t.Errorf("%s:\n%s\n%s", name, here, gone)
		}
	}
	if status, _, body := c.call("POST", "/devices/gone/messages/events"+version, policy, "x"); status != 404 {
		t.Errorf("whoever may be any device is told: %d %s", status, body)
	}
	told := false
	for _, r := range w.Server.Refusals() {
		told = told || strings.Contains(r.Why, `the hub has no device "gone"`)
	}
	if !told {
		t.Errorf("people are not told what it was: %+v", w.Server.Refusals())
	}
}

// A reader who came in by the public side gets nothing more once that is closed.
func TestAStreamEndsWithThePublicSide(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	send(t, w, "d", "before")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := newCaller(t, w)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+hubtest.Contoso+"/isthmus/v1/events?follow=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", w.ServiceToken(hubtest.Contoso, hub.PolicyService))
	resp, err := c.c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
	send(t, w, "d", "after")
	if b, err := io.ReadAll(in); len(b) != 0 {
		t.Errorf("it got %q, %v", b, err)
	}
}
