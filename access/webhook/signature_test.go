package webhook

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

var at = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

const secret = "isthmus_webhook_abcdef"

func TestVerify(t *testing.T) {
	body := []byte(`{"id":"1","event":"request"}`)
	good := Sign(secret, body, at)
	for name, c := range map[string]struct {
		secret, header, body string
		now                  time.Time
		kind                 fault.Kind
		words                string
	}{
		"as it was sent":                 {secret, good, string(body), at, 0, ""},
		"a little later":                 {secret, good, string(body), at.Add(5 * time.Minute), 0, ""},
		"by a clock that is behind":      {secret, good, string(body), at.Add(-5 * time.Minute), 0, ""},
		"with something new beside it":   {secret, good + ",v2=ff", string(body), at, 0, ""},
		"after a change of secrets":      {secret, "t=" + itoa(at.Unix()) + ",v1=" + strings.Repeat("0", 64) + "," + good[strings.Index(good, "v1="):], string(body), at, 0, ""},
		"again, much later":              {secret, good, string(body), at.Add(time.Hour), fault.Expired, "was sent at 2026-11-23T09:00:00Z"},
		"before it was sent":             {secret, good, string(body), at.Add(-time.Hour), fault.Expired, "was sent at"},
		"another body":                   {secret, good, string(body) + " ", at, fault.Unauthenticated, "signature is wrong"},
		"another secret":                 {secret + "x", good, string(body), at, fault.Unauthenticated, "signature is wrong"},
		"made young":                     {secret, "t=" + itoa(at.Add(time.Hour).Unix()) + good[strings.Index(good, ","):], string(body), at.Add(time.Hour), fault.Unauthenticated, "signature is wrong"},
		"two times":                      {secret, good + ",t=1", string(body), at, fault.Invalid, "cannot be read"},
		"no header":                      {secret, "", string(body), at, fault.Invalid, "missing"},
		"no signature":                   {secret, "t=1", string(body), at, fault.Invalid, "cannot be read"},
		"no time":                        {secret, good[strings.Index(good, "v1="):], string(body), at, fault.Invalid, "cannot be read"},
		"a time that is none":            {secret, "t=now,v1=" + strings.Repeat("0", 64), string(body), at, fault.Invalid, "cannot be read"},
		"a time before all times":        {secret, "t=-5,v1=" + strings.Repeat("0", 64), string(body), at, fault.Invalid, "cannot be read"},
		"a time written otherwise":       {secret, "t=+1" + good[strings.Index(good, ","):], string(body), at, fault.Invalid, "cannot be read"},
		"a very long header":             {secret, good + "," + strings.Repeat("x", 2000), string(body), at, fault.Invalid, "cannot be read"},
		"a signature behind many others": {secret, "t=" + itoa(at.Unix()) + strings.Repeat(",v1=00", 5) + good[strings.Index(good, ","):], string(body), at, fault.Unauthenticated, "wrong"},
		"a part of a signature":          {secret, good[:len(good)-2], string(body), at, fault.Unauthenticated, "wrong"},
		"no secret":                      {"", Sign("", body, at), string(body), at, fault.Invalid, "no secret"},
		"the end of time":                {secret, "t=9223372036854775807,v1=00", string(body), at, fault.Unauthenticated, "wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Verify(c.secret, c.header, []byte(c.body), c.now, 0)
			if (err == nil) != (c.words == "") || err != nil && (fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) || fault.Next(err) == "") {
				t.Errorf("got %v, want %s: %s", err, c.kind, c.words)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the secret stands in the error")
			}
		})
	}
}

func itoa(n int64) string { b, _ := json.Marshal(n); return string(b) }

// What the doc comment promises to those who verify in another language: computed by one.
func TestTheSignatureIsWhatTheDocumentSays(t *testing.T) {
	const want = "t=1795424400,v1=4329349e554c3de14fd701461704b9a91cf548f19822d2bdb6ab52503b5fb3ea"
	if got := Sign("key", []byte("body"), time.Unix(1795424400, 0)); got != want {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	for _, n := range Names() {
		if !Known(n) {
			t.Errorf("%s is not known", n)
		}
	}
	if Known(Test) || Known("") {
		t.Error("a webhook may ask for what is no event")
	}
}

func FuzzVerify(f *testing.F) {
	body := []byte(`{"id":"1"}`)
	f.Add(Sign(secret, body, at), body)
	f.Add("t=1,v1=00", body)
	f.Add("t=,v1=,,,=", []byte{})
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		err := Verify(secret, header, body, at, time.Minute)
		if err != nil {
			return
		}
		// What is good must hold what we would have written for the time that stands in it.
		stamp, signatures := parse(header)
		for _, s := range signatures {
			if want := digest(secret, stamp, body); strings.EqualFold(s, hexOf(want)) {
				return
			}
		}
		t.Fatalf("%q is taken for good", header)
	})
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range b {
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}
