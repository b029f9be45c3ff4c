package sas_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// vectors were made with openssl: printf 'sr\nse' | openssl dgst -sha256 -mac HMAC -macopt hexkey:... -binary | base64.
var vectors = []struct{ name, key, token, resource string }{
	{"device, sr encoded as Node does", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fd1&sig=J4E4tYgQrjkDAIIy8IcuLCNUqRaAf%2FjaARoduOIGg5g%3D&se=1900000000", "devices/d1"},
	{"device, sr not encoded, fields in another order", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"SharedAccessSignature se=1900000000&sig=ZHdI%2BN3e4txVX756dkbLqrs4TdrKDSM3V1wS5kKz35o%3D&sr=contoso.azure-devices.net/devices/d1", "devices/d1"},
	{"policy, sr is the host", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"SharedAccessSignature sr=contoso.azure-devices.net&sig=C9Bscn3DK8SXEhga5IgNb54esJo0XsOsd%2FNuix34FrE%3D&se=1900000000&skn=iothubowner", "devices/d1"},
	{"device, lower-hex escapes and a port", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"SharedAccessSignature sr=Contoso.azure-devices.net%3a8883%2fdevices%2fd1&sig=IhLcQOPUUok0xPZeGHjjNYqkHkHlzuHPpFAHEKv1iow%3D&se=1900000000", "devices/d1"},
}

var hosts = []string{"contoso.azure-devices.net"}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			tok, err := sas.Parse(v.token)
			if err != nil {
				t.Fatal(err)
			}
			other := base64.StdEncoding.EncodeToString([]byte("some other key of 32 bytes length"))
			if !tok.SignedBy(other, v.key) || !tok.SignedBy(v.key, "") || tok.SignedBy(other, "not base64!", "") || tok.SignedBy() {
				t.Error("the signature fits the wrong keys")
			}
			if !tok.Covers(hosts, v.resource) || tok.Expires.Unix() != 1900000000 {
				t.Errorf("covers %v, expires %v", tok.Covers(hosts, v.resource), tok.Expires)
			}
			for _, changed := range []string{
				strings.Replace(v.token, "1900000000", "1900000001", 1), strings.Replace(v.token, "d1", "d2", 1), strings.Replace(v.token, "ontoso", "ontosO", 1),
			} {
				if changed == v.token {
					continue
				}
				if tok, err := sas.Parse(changed); err == nil && tok.SignedBy(v.key) {
					t.Errorf("a changed token is still signed: %s", changed)
				}
			}
		})
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		sr, resource string
		want         bool
	}{
		{"contoso.azure-devices.net", "devices/d", true},
		{"CONTOSO.azure-devices.NET%2Fdevices%2Fd", "devices/d", true},
		{"amqps://contoso.azure-devices.net/devices/d/", "/devices/d", true},
		{"contoso.azure-devices.net:8883/devices/d", "devices/d", true},
		{"contoso.azure-devices.net/devices", "devices/d", true},
		{"contoso.azure-devices.net/devices/d", "devices/d/modules/m", true},
		{"contoso.azure-devices.net/devices/d", "devices/dd", false},
		{"contoso.azure-devices.net/devices/d", "devices/D", false},
		{"contoso.azure-devices.net/devices/d/modules/m", "devices/d", false},
		{"contoso.azure-devices.net/devices/d", "devices", false},
		{"contoso.azure-devices.netx/devices/d", "devices/d", false},
		{"contoso.azure-devices.net:x/devices/d", "devices/d", false},
		{"fabrikam.azure-devices.net/devices/d", "devices/d", false},
		{"%zz", "devices/d", false},
	} {
		tok := sas.Token{Resource: c.sr}
		if got := tok.Covers(hosts, c.resource); got != c.want {
			t.Errorf("%s covers %s = %v", c.sr, c.resource, got)
		}
	}
}

func TestUnreadableTokens(t *testing.T) {
	for _, text := range []string{
		"", "Bearer x", "SharedAccessSignature", "SharedAccessSignature ", "SharedAccessSignature sr=a&sig=AAAA", "SharedAccessSignature sr=a&se=1",
		"SharedAccessSignature sr=a&se=x&sig=AAAA", "SharedAccessSignature sr=a&se=-1&sig=AAAA", "SharedAccessSignature sr=a&se=1&sig=%zz",
		"SharedAccessSignature sr=a&se=1&sig=!", "SharedAccessSignature sr=a&sr=b&se=1&sig=AAAA", "SharedAccessSignature sr=" + strings.Repeat("a", 5000),
	} {
		if _, err := sas.Parse(text); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%.60q gives %v", text, err)
		}
	}
}

func TestSignIsReadBack(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	text, err := sas.Sign("contoso.azure-devices.net/devices/a b+#'", key, "device", time.Unix(1900000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := sas.Parse(text)
	if err != nil || !tok.SignedBy(key) || !tok.Covers(hosts, "devices/a b+#'") || tok.Policy != "device" {
		t.Errorf("%s: %+v, %v", text, tok, err)
	}
	if _, err := sas.Sign("x", "not base64", "", time.Now()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a bad key gives %v", err)
	}
}

func TestConnectionStrings(t *testing.T) {
	for _, text := range []string{"HostName=h;DeviceId=d;SharedAccessKey=a2V5PT0=", "HostName=h;SharedAccessKeyName=service;SharedAccessKey=a2V5PT0=",
		"HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=a2V5PT0=", "HostName=h;DeviceId=d;x509=true"} {
		c, err := sas.ParseConnectionString(text + "\n")
		if err != nil || c.String() != text {
			t.Errorf("%s came back as %s, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "HostName=h", "HostName=h;SharedAccessKey=secretsecret", "HostName=h;DeviceId=d;SharedAccessKeyName=p;SharedAccessKey=secretsecret",
		"HostName=h;DeviceId=d;x509=true;SharedAccessKey=secretsecret", "HostName=h;ModuleId=m;SharedAccessKeyName=p;SharedAccessKey=secretsecret"} {
		_, err := sas.ParseConnectionString(text)
		if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q gives %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.token)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := sas.Parse(text)
		if err != nil {
			return
		}
		tok.Covers(hosts, "devices/d")
		if tok.SignedBy("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") {
			for _, v := range vectors {
				if known, _ := sas.Parse(v.token); known.Resource == tok.Resource {
					return
				}
			}
			t.Fatalf("forged: %s", text)
		}
	})
}

// The MAC of an empty key can be made by everybody.
func TestAnEmptyKeySignsNothing(t *testing.T) {
	m := hmac.New(sha256.New, nil)
	m.Write([]byte("contoso.azure-devices.net\n1900000000"))
	tok, err := sas.Parse("SharedAccessSignature sr=contoso.azure-devices.net&se=1900000000&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(m.Sum(nil))))
	if err != nil {
		t.Fatal(err)
	}
	if tok.SignedBy("") || tok.SignedBy("", "") {
		t.Error("a token made with an empty key is good")
	}
	if _, err := sas.Sign("contoso.azure-devices.net", "", "", time.Now()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("signing with an empty key: %v", err)
	}
}
