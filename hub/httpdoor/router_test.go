package httpdoor_test

import (
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
)

func TestRouter(t *testing.T) {
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/devices", "devices    "},
		{"GET", "/devices/", "devices    "},
		{"GET", "/DEVICES/d", "devices/{device} d   "},
		{"POST", "/devices/query", "devices/query    "},
		{"GET", "/devices/query", "devices/{device} query   "},
		{"GET", "/devices/a%2Fb%25%23/Modules/%24edgeAgent", "devices/{device}/modules/{module} a/b%# $edgeAgent  "},
		{"DELETE", "/devices/d/messages/deviceBound/lock", "devices/{device}/messages/devicebound/{name} d   lock"},
		{"POST", "/digitaltwins/d/components/c/commands/n", "digitaltwins/{device}/components/{component}/commands/{name} d  c n"},
		{"GET", "/messages/serviceBound/feedback", "messages/serviceBound/feedback    "},
		{"GET", "/isthmus/v1/policies/service", "isthmus/v1/policies/{name}    service"},
		{"GET", "/", "NotFound"},
		{"GET", "/shadows/d", "NotFound"},
		{"GET", "/a/b/c/d/e/f/g/h/i/j", "NotFound"},
		{"PATCH", "/devices/d", "InvalidOperation"},
		{"BREW", "/devices", "InvalidOperation"},
	} {
		u, err := url.ParseRequestURI(c.path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := httpdoor.Find(c.method, u)
		if err != nil {
			got = code.Of(err).Name
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, got, c.want)
		}
	}
}

func FuzzRouter(f *testing.F) {
	for _, s := range []string{"/devices/d", "/devices/%2F/modules/m", "//", "/a//b", "/devices/a/b/c/d/e/f/g/h"} {
		f.Add("GET", s)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		got, err := httpdoor.Find(method, u)
		if err == nil && got == "" || err != nil && code.Of(err).Status/100 != 4 {
			t.Errorf("%s %s: %q, %v", method, path, got, err)
		}
	})
}

func BenchmarkRouter(b *testing.B) {
	u := &url.URL{Path: "/isthmus/v1/authorities"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := httpdoor.Find("GET", u); err != nil {
			b.Fatal(err)
		}
	}
}

// docs/hub-api.md lists every route with the right it needs, and no other.
func TestEveryRouteIsInTheDocuments(t *testing.T) {
	b, err := os.ReadFile("../../docs/hub-api.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\| ([^|]*) \\|").FindAllStringSubmatch(string(b), -1) {
		listed[strings.ToLower(m[1])] = m[2]
	}
	for _, r := range httpdoor.Routes() {
		name := strings.ToLower(r.Method + " /" + r.Path)
		right, ok := listed[name]
		if !ok {
			t.Errorf("%s is not listed", name)
		}
		delete(listed, name)
		want := strings.Join(r.Right.Names(), " and ")
		if r.Or != 0 {
			want += ", or " + strings.Join(r.Or.Names(), " and ")
		}
		switch {
		case r.Right == hub.EveryRight:
			want = "every right"
		case r.Local:
			want = "the socket only"
		case r.Device:
			want = "the device"
			if strings.Contains(r.Path, "{module}") {
				want = "the module"
			}
		case r.Other:
			want = "a ticket"
		}
		if ok && right != want {
			t.Errorf("%s needs %s, and %s is written", name, want, right)
		}
	}
	for name := range listed {
		t.Errorf("%s is listed and does not exist", name)
	}
}
