package tpm_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning/tpm"
	"github.com/isthmus-io/isthmus/provisioning/tpm/tpmtest"
)

func chip(t testing.TB) *tpmtest.TPM {
	t.Helper()
	c, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parsed(t testing.TB, b []byte) *tpm.Public {
	t.Helper()
	p, err := tpm.ParsePublic(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOnlyTheTPMGetsTheKey(t *testing.T) {
	mine, other := chip(t), chip(t)
	ek, srk := parsed(t, mine.EndorsementKey()), parsed(t, mine.StorageRootKey()[2:])
	for _, n := range []int{1, 16, 32, tpm.MaxKey} {
		key := bytes.Repeat([]byte{byte(n)}, n)
		blob, err := tpm.Wrap(ek, srk, key, "contoso.azure-devices.net/d")
		if err != nil {
			t.Fatal(err)
		}
		got, about, err := mine.Activate(blob)
		if err != nil || !bytes.Equal(got, key) || about != "contoso.azure-devices.net/d" {
			t.Errorf("%d bytes: %x, %q, %v", n, got, about, err)
		}
		if _, _, err := other.Activate(blob); err == nil {
			t.Error("another TPM opens it")
		}
		if n >= 16 && bytes.Contains(blob, key) {
			t.Error("the key stands in the blob")
		}
	}
	// With the endorsement key alone, and another storage root key, the credential is not activated.
	blob, err := tpm.Wrap(ek, parsed(t, other.StorageRootKey()), []byte("k"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := mine.Activate(blob); err == nil {
		t.Error("it opens below another storage root key")
	}
	for _, key := range [][]byte{nil, make([]byte, tpm.MaxKey+1)} {
		if _, err := tpm.Wrap(ek, srk, key, ""); fault.KindOf(err) != fault.Invalid {
			t.Errorf("a key of %d bytes: %v", len(key), err)
		}
	}
}

func TestWhatIsNoKeyToEncryptTo(t *testing.T) {
	good := chip(t).EndorsementKey()
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "half": good[:len(good)/2], "more": append(bytes.Clone(good), 0), "long": make([]byte, 5000),
		"a keyed hash": change(2, 0, 8), "an unknown hash": change(4, 0, 0x12), "a signing key": change(6, 0, 4, 0, 0x72),
		"no AES": change(44, 0, 0x10), "1024 bits": change(52, 4, 0), "a small modulus": change(60, 0, 0), "an even exponent": change(54, 0, 0, 0, 4),
	} {
		if _, err := tpm.ParsePublic(b); fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The vector was made with another language's HMAC, after part 1, clause 11.4.10.2.
func TestKDFa(t *testing.T) {
	const want = "867f14149dfeb66552c754a222a04360f197eca5cd2a877a1c204d8adabe8bba" +
		"7e0b0cc48a1a69bf026c3b4a3f4b9491591019117cdadcf5497b23361ce72ea1"
	if got := hex.EncodeToString(tpm.KDFa(crypto.SHA256, []byte("key"), "STORAGE", []byte("context"), 512)); got != want {
		t.Errorf("%s", got)
	}
}

func FuzzParsePublic(f *testing.F) {
	c, err := tpmtest.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.EndorsementKey())
	f.Add(c.StorageRootKey()[2:])
	f.Add([]byte{0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := tpm.ParsePublic(b)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		if _, err := tpm.Wrap(p, p, []byte("0123456789abcdef"), "x"); err != nil {
			t.Fatalf("a key that can be parsed cannot be used: %v", err)
		}
	})
}
