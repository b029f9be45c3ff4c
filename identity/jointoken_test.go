package identity_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

func TestJoinTokenComesBackAsItWas(t *testing.T) {
	a, _, err := identity.NewAuthority("isthmus.test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := identity.JoinToken{Addresses: []string{"a:443", "b:443"}, Pin: identity.Pin(a.Certificate()), ID: "x", Secret: "y"}
	got, err := identity.ParseJoinToken("  " + want.String() + "\n")
	if err != nil || !slices.Equal(got.Addresses, want.Addresses) || got.ID != "x" || got.Secret != "y" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if !got.Pinned(a.Certificate()) {
		t.Error("the authority does not fit its own pin")
	}
	b, _, err := identity.NewAuthority("isthmus.test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got.Pinned(b.Certificate()) {
		t.Error("another authority fits the pin")
	}
}

func TestDamagedJoinTokensAreRefusedWithoutTheirContent(t *testing.T) {
	good := identity.JoinToken{Addresses: []string{"a:1"}, Pin: strings.Repeat("0", 64), ID: "i", Secret: "topsecret"}.String()
	for name, s := range map[string]string{
		"empty": "", "other": "isthmus_abc_def", "cut": good[:len(good)-3], "not base64": "isthmus-join.***",
		"not json": "isthmus-join.aGVsbG8", "no secret": identity.JoinToken{Addresses: []string{"a:1"}, Pin: strings.Repeat("0", 64), ID: "i"}.String(),
		"long": "isthmus-join." + strings.Repeat("A", 9000),
	} {
		_, err := identity.ParseJoinToken(s)
		if fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(s) > 20 && strings.Contains(err.Error(), s[14:20]) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
}
