package streamkey_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/access/streamkey"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func TestAKeyIsOfOneGrantAndOneHub(t *testing.T) {
	one, other := []byte("link-key-of-contoso"), []byte("link-key-of-fabrikam")
	key := streamkey.Key(one, "g1")
	// Computed by openssl dgst -sha256 -hmac, so that both sides cannot change together unnoticed.
	if key != "AFcHrW1GFMuPinovbLLeDvBiIZazJGTRze6mmhX2qjs=" {
		t.Errorf("the key is %s", key)
	}
	if b, err := base64.StdEncoding.DecodeString(key); err != nil || len(b) != 32 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if key != streamkey.Key(one, "g1") || key == streamkey.Key(one, "g2") || key == streamkey.Key(other, "g1") {
		t.Error("keys are not of one grant and one hub")
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"grant-0f3a": "0f3a", "grant-": "", "service": "", "Grant-0f3a": "", "": "", "grant-" + strings.Repeat("x", 129): "",
	} {
		got, ok := streamkey.Grant(name)
		if got != want || ok != (want != "") || ok && streamkey.Policy(got) != name {
			t.Errorf("%.20q: %q, %t", name, got, ok)
		}
	}
}

func TestTheConnectionStringIsAServices(t *testing.T) {
	key := []byte("link-key-of-contoso")
	c, err := sas.ParseConnectionString(streamkey.ConnectionString("contoso.azure-devices.net", key, "g1"))
	if err != nil || c.HostName != "contoso.azure-devices.net" || c.Policy != "grant-g1" || c.Key != streamkey.Key(key, "g1") {
		t.Errorf("%+v, %v", c, err)
	}
}
