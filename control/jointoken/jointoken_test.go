package jointoken_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

func good() jointoken.Token {
	return jointoken.Token{
		Addresses: []string{"relay.example.net:443", "[2001:db8::1]:8443"}, Pin: strings.Repeat("ab", 32),
		ID: "jt1", Secret: "s3cret", TrustDomain: "isthmus.local",
	}
}

func TestRoundTrip(t *testing.T) {
	text, err := good().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{text, " " + text + "\r\n", text[:30] + "\n  " + text[30:], text + "=="} {
		got, err := jointoken.Parse(s)
		if err != nil || !reflect.DeepEqual(got, good()) {
			t.Errorf("Parse(%q) = %+v, %v", s, got, err)
		}
	}
}

func TestUnreadableTokens(t *testing.T) {
	text, err := good().Encode()
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(change func(*jointoken.Token)) string {
		g := good()
		change(&g)
		b, _ := json.Marshal(g)
		if _, err := g.Encode(); err == nil {
			t.Errorf("Encode takes %s", b)
		}
		return jointoken.Prefix + base64.RawURLEncoding.EncodeToString(b)
	}
	for name, s := range map[string]string{
		"empty":             "",
		"something else":    "hunter2",
		"prefix only":       jointoken.Prefix,
		"cut short":         text[:len(text)-7],
		"a letter changed":  strings.Replace(text, text[20:24], "!!!!", 1),
		"too long":          text + strings.Repeat("A", jointoken.MaxLength),
		"no address":        damaged(func(t *jointoken.Token) { t.Addresses = nil }),
		"many addresses":    damaged(func(t *jointoken.Token) { t.Addresses = make([]string, jointoken.MaxAddresses+1) }),
		"address, no port":  damaged(func(t *jointoken.Token) { t.Addresses[0] = "relay.example.net" }),
		"address, port 0":   damaged(func(t *jointoken.Token) { t.Addresses[0] = "relay.example.net:0" }),
		"address, no host":  damaged(func(t *jointoken.Token) { t.Addresses[0] = ":443" }),
		"pin too short":     damaged(func(t *jointoken.Token) { t.Pin = "abcd" }),
		"pin in upper case": damaged(func(t *jointoken.Token) { t.Pin = strings.ToUpper(t.Pin) }),
		"no id":             damaged(func(t *jointoken.Token) { t.ID = "" }),
		"no secret":         damaged(func(t *jointoken.Token) { t.Secret = "" }),
		"odd trust domain":  damaged(func(t *jointoken.Token) { t.TrustDomain = "a/b" }),
	} {
		_, err := jointoken.Parse(s)
		if fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%s: %v, want Invalid with advice", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
}

func TestASecretIsNotPrinted(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, good()); strings.Contains(s, "s3cret") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

func TestPinOfAnAuthority(t *testing.T) {
	a, _, err := identity.NewAuthority("isthmus.local", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g := good()
	g.Pin = jointoken.Pin(a.Certificate())
	if _, err := g.Encode(); err != nil {
		t.Errorf("a real pin is refused: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	text, _ := good().Encode()
	f.Add(text)
	f.Add(jointoken.Prefix)
	f.Add(jointoken.Prefix + base64.RawURLEncoding.EncodeToString([]byte(`{"addrs":["a:1"],"id":1}`)))
	f.Add(jointoken.Prefix + base64.RawURLEncoding.EncodeToString([]byte(`null`)))
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := jointoken.Parse(s)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		again, err := tok.Encode()
		if err != nil {
			if fault.KindOf(err) == fault.TooLarge { // escapes may grow
				return
			}
			t.Fatalf("parsed and cannot be encoded: %v", err)
		}
		back, err := jointoken.Parse(again)
		if err != nil || !reflect.DeepEqual(back, tok) {
			t.Fatalf("%+v came back as %+v, %v", tok, back, err)
		}
	})
}
