package workload_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

// forgery is a token before it is put together. Its header is text, so that it can be what no library writes.
type forgery struct {
	header map[string]any
	raw    string // instead of header
	claims map[string]any
	sign   func(input []byte) []byte
}

// genuine is a good token of Bridge that a change spoils.
func (w *world) genuine() *forgery {
	cert := w.creds.Certificate()
	return &forgery{
		header: map[string]any{"alg": "ES256", "typ": workload.Type, "x5c": x5c(cert.Certificate...)},
		claims: map[string]any{
			"iss": string(wt.Agent), "sub": string(wt.Bridge), "aud": workload.Audience(host),
			"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(time.Hour).Unix(),
		},
		sign: es256(cert.PrivateKey.(*ecdsa.PrivateKey)),
	}
}

func x5c(chain ...[]byte) []string {
	out := []string{}
	for _, der := range chain {
		out = append(out, base64.StdEncoding.EncodeToString(der))
	}
	return out
}

// es256 signs as RFC 7518 section 3.4 says, with a key of any curve.
func es256(key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(input []byte) []byte {
		sum := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			panic(err)
		}
		n := (key.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
	}
}

func segment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (f *forgery) text(t testing.TB) string {
	t.Helper()
	header := []byte(f.raw)
	if f.raw == "" {
		var err error
		header, err = json.Marshal(f.header)
		must(t, err)
	}
	payload, err := json.Marshal(f.claims)
	must(t, err)
	input := segment(header) + "." + segment(payload)
	return input + "." + segment(f.sign([]byte(input)))
}

// certify has a key of one's own certified by an issuer, as a template says: what the authority itself would never issue.
func certify(t testing.TB, issuer *x509.Certificate, by crypto.Signer, public crypto.PublicKey, change func(*x509.Certificate)) []byte {
	t.Helper()
	id, err := wt.Agent.URL()
	must(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "forged"}, URIs: []*url.URL{id}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if change != nil {
		change(tmpl)
	}
	if issuer == nil {
		issuer = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, public, by)
	must(t, err)
	return der
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, _, err := identity.NewKey()
	must(t, err)
	return k.(*ecdsa.PrivateKey)
}

// by has the forgery signed by a key, with a chain of its own.
func (f *forgery) by(key *ecdsa.PrivateKey, chain ...[]byte) {
	f.header["x5c"], f.sign = x5c(chain...), es256(key)
}

// named has it signed by an agent with that id, which the authority certifies.
func (f *forgery) named(t testing.TB, w *world, id identity.ID) {
	t.Helper()
	cert := w.Credentials(id).Certificate()
	f.by(cert.PrivateKey.(*ecdsa.PrivateKey), cert.Certificate...)
	f.claims["iss"] = string(id)
}

func spoil(text string, segments int) string {
	return strings.Join(strings.Split(text, ".")[:segments], ".")
}
