package workload

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// header is what is read of a token's header before its signature is looked at.
type header struct {
	typ, alg string
	x5c      []string
}

// headerOf reads the header of a token in compact form. Names count as they are spelled (RFC 7515 section 5.3), and those said twice, or
// that must be understood and are not (crit, section 4.1.11), spoil it.
func headerOf(token string) (header, error) {
	op := "workload.header"
	bad := func(err error) (header, error) {
		return header{}, fault.New(op, fault.Unauthenticated, "this is no token").Because(err)
	}
	first, rest, _ := strings.Cut(token, ".")
	if len(token) > MaxToken || strings.Count(rest, ".") != 1 || strings.ContainsFunc(token, notEncoded) {
		return bad(nil)
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return bad(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return bad(err)
	}
	var h header
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return bad(err)
		}
		name, _ := t.(string)
		var to any = new(json.RawMessage)
		switch name {
		case "typ":
			to = &h.typ
		case "alg":
			to = &h.alg
		case "x5c":
			to = &h.x5c
		}
		if seen[name] || name == "crit" || name == "b64" {
			return bad(nil)
		}
		seen[name] = true
		if err := d.Decode(to); err != nil {
			return bad(err)
		}
	}
	if _, err := d.Token(); err != nil {
		return bad(err)
	}
	if len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return bad(nil)
	}
	return h, nil
}

// notEncoded finds what base64url has no place for. The library's decoder would pass over ends of lines.
func notEncoded(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
}

// chain reads the certificates, the signer's first.
func (h header) chain() ([]*x509.Certificate, error) {
	op := "workload.chain"
	if len(h.x5c) == 0 || len(h.x5c) > MaxChain {
		return nil, fault.Newf(op, fault.Unauthenticated, "the token carries %d certificates, and not 1 to %d", len(h.x5c), MaxChain)
	}
	out := make([]*x509.Certificate, len(h.x5c))
	for i, text := range h.x5c {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err == nil {
			out[i], err = x509.ParseCertificate(der)
		}
		if err != nil {
			return nil, fault.New(op, fault.Unauthenticated, "a certificate of the token cannot be read").Because(err)
		}
		if !modest(out[i].PublicKey) {
			return nil, fault.New(op, fault.Unauthenticated, "a certificate of the token has a key of an unusual sort")
		}
	}
	return out, nil
}

// modest tells whether looking at a signature of a key costs little: a stranger may send any.
func modest(key any) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return k.N.BitLen() <= 4096
	}
	return false
}
