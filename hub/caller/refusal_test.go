package caller_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/caller"
	"github.com/isthmus-io/isthmus/hub/sas"
)

var errNumber = errors.New("number 7")

func TestRefusals(t *testing.T) {
	const proxy = "check the address: is a proxy in between?"
	for name, c := range map[string]struct {
		status     int
		body, next string // the header percent-encoded
		kind       fault.Kind
		words, is  string // what to do next
	}{
		"with what to do":        {404, `{"message":"A;no such thing. Make one: 100%","errorCode":404}`, "Make%20one:%20100%25", fault.NotFound, "no such thing", "Make one: 100%"},
		"without":                {409, `{"Message":"A;it exists"}`, "", fault.Conflict, "it exists", ""},
		"a next nobody can read": {400, `{"message":"A;no. %zz"}`, "%zz", fault.Invalid, "no. %zz", ""},
		"a token":                {401, `{"message":"A;who"}`, "", fault.Denied, "who", ""},
		"a quota":                {403, `{"message":"A;enough"}`, "", fault.Exhausted, "enough", ""},
		"a verb":                 {405, `{"message":"A;not here"}`, "", fault.Invalid, "not here", ""},
		"an etag":                {412, `{"message":"A;stale"}`, "", fault.Precondition, "stale", ""},
		"a size":                 {413, `{"message":"A;large"}`, "", fault.TooLarge, "large", ""},
		"a rate":                 {429, `{"message":"A;often"}`, "", fault.Exhausted, "often", ""},
		"its own mistake":        {500, `{"message":"A;oh"}`, "", fault.Unavailable, "oh", ""},
		"it stops":               {503, `{"message":"A;soon"}`, "", fault.Unavailable, "soon", ""},
		"a device's silence":     {504, `{"message":"A;late"}`, "", fault.Timeout, "late", ""},
		"a page":                 {404, `<html>`, "", fault.Unavailable, "the answer is 404 Not Found, which no machine gives", proxy},
		"other JSON":             {404, `{}`, "", fault.Unavailable, "the answer is 404 Not Found, which no machine gives", proxy},
		"a status of others":     {407, `{"message":"A;pay"}`, "", fault.Unavailable, "the answer is 407 Proxy Authentication Required, which no machine gives", proxy},
		"without end":            {404, `{"message":"A;` + strings.Repeat("x", 1<<20) + `"}`, "", fault.Unavailable, "the answer is 404 Not Found, which no machine gives", proxy},
		"a redirect":             {302, ``, "", fault.Unavailable, "the answer is 302 Found, which no machine gives", proxy},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			s := machine()
			s.Words = func(m string) string { _, text, _ := strings.Cut(m, ";"); return text }
			s.Coded = func(err *fault.Error, h http.Header) error {
				if h.Get("x-number") != "7" {
					t.Errorf("%v", h)
				}
				return err.Because(errNumber)
			}
			_, err := begin(t, s, far(t, func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header().Set("Location", "https://"+host+"/elsewhere")
				w.Header().Set("isthmus-next", c.next)
				w.Header().Set("x-number", "7")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})).Call(t.Context(), caller.Request{Method: http.MethodGet, Path: "/"}, nil)
			if err == nil || fault.KindOf(err) != c.kind || fault.Message(err) != c.words || fault.Next(err) != c.is || asked != 1 {
				t.Errorf("asked %d times: %v\nnext: %q", asked, err, fault.Next(err))
			}
			if errors.Is(err, errNumber) == (c.is == proxy) {
				t.Errorf("its code: %v", err)
			}
		})
	}
}

// Without hooks all of a message is for people.
func TestPlainRefusal(t *testing.T) {
	_, err := begin(t, machine(), near(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"A;nothing here"}`)
	})).Call(t.Context(), caller.Request{Method: http.MethodGet, Path: "/"}, nil)
	if fault.KindOf(err) != fault.NotFound || fault.Message(err) != "A;nothing here" {
		t.Error(err)
	}
}

func TestUnreadable(t *testing.T) {
	_, err := begin(t, machine(), near(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"n":`)
	})).Call(t.Context(), caller.Request{Method: http.MethodGet, Path: "/"}, &struct{}{})
	if fault.KindOf(err) != fault.Unavailable || fault.Message(err) != "the machine's answer cannot be read" {
		t.Error(err)
	}
}

func TestWaysThatLeadNowhere(t *testing.T) {
	there := far(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	with := func(change func(*caller.Access)) caller.Access {
		a := there
		change(&a)
		return a
	}
	for name, c := range map[string]struct {
		caller.Access
		kind        fault.Kind
		words, next string
	}{
		"no process":    {caller.Access{Socket: filepath.Join(t.TempDir(), "s")}, fault.Unavailable, "no hub process answers on ", "isthmus hub serve"},
		"nobody there":  {with(func(a *caller.Access) { a.Address = "127.0.0.1:1" }), fault.Unavailable, host + " at 127.0.0.1:1 cannot be reached: ", "--address"},
		"a stranger":    {with(func(a *caller.Access) { a.Roots = nil }), fault.Unauthenticated, "the certificate of " + host + " at " + there.Address + " is not trusted", "--ca"},
		"another name":  {with(func(a *caller.Access) { a.Connection.HostName = "example.org" }), fault.Unauthenticated, "the certificate of example.org at ", "--ca"},
		"no host":       {with(func(a *caller.Access) { a.Connection.HostName = "a b" }), fault.Invalid, "the machine's host name a b makes no URL", ""},
		"no key at all": {with(func(a *caller.Access) { a.Connection.Key = "§" + key }), fault.Invalid, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := begin(t, machine(), c.Access).Call(t.Context(), caller.Request{Method: http.MethodGet, Path: "/"}, nil)
			if err == nil || fault.KindOf(err) != c.kind || !strings.HasPrefix(fault.Message(err), c.words) || !strings.Contains(fault.Next(err), c.next) {
				t.Fatalf("%v\nnext: %q", err, fault.Next(err))
			}
			if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), url.QueryEscape(key)) || strings.Contains(err.Error(), "sig=") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestADevicesStringIsNone(t *testing.T) {
	_, err := caller.New(machine(), caller.Access{Connection: sas.ConnectionString{HostName: host, DeviceID: "d", Key: key}}, clock.System{})
	if fault.KindOf(err) != fault.Invalid || fault.Next(err) != "the machine prints one: machine show" || strings.Contains(err.Error(), key) {
		t.Error(err)
	}
}
