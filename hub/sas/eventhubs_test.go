package sas_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// textVector was made with openssl: printf 'sr\nse' | openssl dgst -sha256 -hmac KEYTEXT -binary | base64.
const textVector = "crfk32cAhed0%2B%2BMNQUhgYR9mnaQx4ASz1uVx3lcVtNU%3D"

func TestKeysAreReadBothWays(t *testing.T) {
	const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	expires := time.Unix(1900000000, 0)
	asText, err := sas.SignText("sb://ns.example/telemetry", key, "p", expires)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := sas.Sign("sb://ns.example/telemetry", key, "p", expires)
	if err != nil {
		t.Fatal(err)
	}
	if asText == decoded {
		t.Error("the two readings are the same")
	}
	for name, text := range map[string]string{"text": asText, "decoded": decoded} {
		tok, err := sas.Parse(text)
		if err != nil || tok.EitherSigner("other", key) != 1 || tok.EitherSigner("", "other") != -1 || tok.EitherSigner() != -1 {
			t.Errorf("%s: %v, signer %d", name, err, tok.EitherSigner("other", key))
		}
	}
	tok, err := sas.Parse("SharedAccessSignature sr=sb%3A%2F%2Fns.example%2Ftelemetry&sig=" + textVector + "&se=1900000000&skn=p")
	if err != nil || tok.EitherSigner(key) != 0 || tok.Signer(key) != -1 {
		t.Errorf("%v: a token made with openssl is not good", err)
	}
	if _, err := sas.SignText("x", "", "", expires); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an empty key: %v", err)
	}
}

func TestUnder(t *testing.T) {
	hosts := []string{"ns.example", "127.0.0.1"}
	for _, c := range []struct {
		sr, path string
		ok       bool
	}{
		{"ns.example", "", true},
		{"sb%3A%2F%2Fns.example%2F", "", true},
		{"sb%3A%2F%2FNS.example%3A5671%2FTelemetry%2FConsumerGroups%2F%24Default%2FPartitions%2F0", "telemetry/consumergroups/$default/partitions/0", true},
		{"amqps%3a%2f%2fns.example%2ftelemetry", "telemetry", true},
		{"amqp://127.0.0.1:5672/telemetry/", "telemetry", true},
		{"ns.example.org/telemetry", "telemetry", false},
		{"sb://other/telemetry", "telemetry", false},
		{"%zz", "", false},
	} {
		if path, ok := (sas.Token{Resource: c.sr}).Under(hosts); path != c.path || ok != c.ok {
			t.Errorf("%s: %q, %v", c.sr, path, ok)
		}
	}
}

func TestConnectionStringsOfEventHubs(t *testing.T) {
	for _, text := range []string{
		"Endpoint=sb://ns.example/;SharedAccessKeyName=p;SharedAccessKey=a2V5PT0=",
		"Endpoint=sb://ns.example/;SharedAccessKeyName=p;SharedAccessKey=a2V5PT0=;EntityPath=telemetry",
		"Endpoint=sb://[::1]:5672/;SharedAccessKeyName=p;SharedAccessKey=a2V5PT0=;UseDevelopmentEmulator=true",
		"Endpoint=sb://localhost:5672/;SharedAccessKeyName=p;SharedAccessKey=a2V5PT0=;UseDevelopmentEmulator=true;EntityPath=telemetry",
	} {
		if c, err := sas.ParseEventHubs(text + "\n"); err != nil || c.String() != text {
			t.Errorf("%s: %s, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "HostName=h;SharedAccessKeyName=p;SharedAccessKey=secretsecret", "Endpoint=http://h/;SharedAccessKeyName=p;SharedAccessKey=secretsecret",
		"Endpoint=sb://h/;SharedAccessKey=secretsecret", "Endpoint=sb://h/;SharedAccessKeyName=p"} {
		if _, err := sas.ParseEventHubs(text); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Whatever a person pastes: it is refused without being repeated, or read and written alike ever after.
func FuzzParseEventHubs(f *testing.F) {
	f.Add("Endpoint=sb://ns.example:5671/;SharedAccessKeyName=p;SharedAccessKey=a2V5PT0=;EntityPath=telemetry")
	f.Add("endpoint = sb://[::1]/ ;SharedAccessKeyName=p;SharedAccessKey=k;UseDevelopmentEmulator=TRUE")
	f.Add("Endpoint=sb://h%/;;;=;")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := sas.ParseEventHubs(text)
		if err != nil {
			return
		}
		again, err := sas.ParseEventHubs(c.String())
		if err != nil || again != c {
			t.Errorf("%q: %+v, and then %+v, %v", text, c, again, err)
		}
	})
}

// Under never panics, gives no path with slashes at its ends, and what it gives is of one of the hosts.
func FuzzUnder(f *testing.F) {
	for _, sr := range []string{"ns.example", "sb%3A%2F%2Fns.example%3A5671%2FTelemetry%2F", "amqps://ns.example//a//", "://", "%zz", "ns.example:x/a"} {
		f.Add(sr)
	}
	f.Fuzz(func(t *testing.T, sr string) {
		path, ok := (sas.Token{Resource: sr}).Under([]string{"ns.example"})
		if strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || path != strings.ToLower(path) || ok && !strings.Contains(strings.ToLower(sr), "ns.example") && !strings.Contains(sr, "%") {
			t.Errorf("%q: %q, %v", sr, path, ok)
		}
	})
}
