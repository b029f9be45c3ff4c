package workload_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

// TestTheForgeryIsGood: what the table of refusals spoils is good to begin with.
func TestTheForgeryIsGood(t *testing.T) {
	w := newWorld(t)
	if p, err := w.verify(w.genuine().text(t)); err != nil || p.Workload != string(wt.Bridge) || p.Agent != string(wt.Agent) {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	w := newWorld(t)
	leaf := w.creds.Certificate().Certificate[0]
	own := w.creds.Certificate().PrivateKey.(*ecdsa.PrivateKey)
	thief := newKey(t)
	other := newWorld(t) // a deployment with the same names
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	root := w.Authority.Certificate()
	public, err := x509.MarshalPKIXPublicKey(own.Public())
	must(t, err)
	claim := func(name string, v any) func(*forgery) {
		return func(f *forgery) {
			if f.claims[name] = v; v == nil {
				delete(f.claims, name)
			}
		}
	}
	header := func(name string, v any) func(*forgery) {
		return func(f *forgery) {
			if f.header[name] = v; v == nil {
				delete(f.header, name)
			}
		}
	}
	forged := func(change func(*x509.Certificate)) func(*forgery) { // certified by the authority itself
		return func(f *forgery) { f.by(thief, certify(t, root, w.Key, thief.Public(), change)) }
	}
	id := func(i identity.ID) *url.URL {
		u, err := i.URL()
		must(t, err)
		return u
	}
	hs256 := func(secret []byte) func(*forgery) {
		return func(f *forgery) {
			f.header["alg"] = "HS256"
			f.sign = func(input []byte) []byte {
				m := hmac.New(sha256.New, secret)
				m.Write(input)
				return m.Sum(nil)
			}
		}
	}
	rawHeader := func(format string) func(*forgery) {
		return func(f *forgery) {
			chain, err := json.Marshal(f.header["x5c"])
			must(t, err)
			f.raw = strings.ReplaceAll(format, "CHAIN", string(chain))
		}
	}
	for name, c := range map[string]struct {
		change func(*forgery)
		words  string
	}{
		"alg none":                    {func(f *forgery) { f.header["alg"], f.sign = "none", func([]byte) []byte { return nil } }, "ES256"},
		"alg None with the signature": {header("alg", "None"), "ES256"},
		"HS256 with the public key":   {hs256(public), "ES256"},
		"HS256 with the point":        {hs256(elliptic.MarshalCompressed(elliptic.P256(), own.X, own.Y)), "ES256"},
		"HS256 with the certificate":  {hs256(leaf), "ES256"},
		"RS256":                       {header("alg", "RS256"), "ES256"},
		"ES384":                       {header("alg", "ES384"), "ES256"},
		"no alg":                      {header("alg", nil), "ES256"},
		"no type":                     {header("typ", nil), "not one of a workload"},
		"an identity provider's":      {header("typ", "JWT"), "not one of a workload"},
		"a key of its own beside the certificate": {func(f *forgery) { f.header["jwk"] = jwk(thief); f.sign = es256(thief) }, "signature"},
		"a key somewhere else":                    {func(f *forgery) { f.header["jku"] = "https://evil.example/keys"; f.sign = es256(thief) }, "signature"},
		"a stolen certificate":                    {func(f *forgery) { f.sign = es256(thief) }, "signature"},
		"a signature of nothing":                  {func(f *forgery) { f.sign = func([]byte) []byte { return make([]byte, 64) } }, "signature"},
		"a signature in DER": {func(f *forgery) {
			f.sign = func(b []byte) []byte {
				sum := sha256.Sum256(b)
				sig, err := ecdsa.SignASN1(rand.Reader, own, sum[:])
				must(t, err)
				return sig
			}
		}, "signature"},
		"something critical":     {header("crit", []string{"exp"}), "no token"},
		"an unencoded payload":   {header("b64", false), "no token"},
		"alg said twice":         {rawHeader(`{"alg":"none","typ":"` + workload.Type + `","x5c":CHAIN,"alg":"ES256"}`), "no token"},
		"x5c said twice":         {rawHeader(`{"alg":"ES256","typ":"` + workload.Type + `","x5c":[],"x5c":CHAIN}`), "no token"},
		"names in other letters": {rawHeader(`{"ALG":"ES256","Typ":"` + workload.Type + `","X5C":CHAIN}`), "not one of a workload"},
		"more after the header":  {rawHeader(`{"alg":"ES256","typ":"` + workload.Type + `","x5c":CHAIN}{}`), "no token"},
		"a list as a header":     {rawHeader(`["ES256"]`), "no token"},

		"for another service":  {claim("aud", workload.AudienceStorage), "is for"},
		"for another host":     {claim("aud", "https://lake.servicebus.example.org/"), "is for"},
		"for a host below":     {claim("aud", "https://x."+host+"/"), "is for"},
		"for a path":           {claim("aud", "https://"+host+"/telemetry"), "is for"},
		"for nobody":           {claim("aud", ""), "is for"},
		"for a scheme":         {claim("aud", "https://"), "is for"},
		"for two":              {claim("aud", []string{workload.Audience(host), "https://other.example/"}), "for whom alone"},
		"without an audience":  {claim("aud", nil), "for whom alone"},
		"with a long audience": {claim("aud", strings.Repeat("x", 600)), "for whom alone"},

		"without an end":         {claim("exp", nil), "until when"},
		"without a beginning":    {claim("iat", nil), "when it was made"},
		"good for too long":      {claim("exp", start.Add(workload.MaxLifetime+time.Second).Unix()), "two hours"},
		"good for ever":          {claim("exp", int64(1)<<62), ""},
		"from the future":        {func(f *forgery) { later(f, 61*time.Second) }, "from"},
		"not yet":                {claim("nbf", start.Add(61*time.Second).Unix()), "good only from"},
		"over before it began":   {claim("exp", start.Add(-time.Second).Unix()), "never good"},
		"expired":                {func(f *forgery) { later(f, -61*time.Minute) }, "expired"},
		"times that are texts":   {claim("exp", "tomorrow"), "signature"},
		"claims of another kind": {claim("sub", map[string]any{"a": 1}), "signature"},

		"of another tenant's bridge":  {claim("sub", string(identity.BridgeID(wt.Domain, "it", "ot-cloud", "telemetry"))), "cannot speak"},
		"of another network's bridge": {claim("sub", string(identity.BridgeID(wt.Domain, "ot", "plant-7", "telemetry"))), "cannot speak"},
		"of another deployment's":     {claim("sub", string(identity.BridgeID("isthmus.other", "ot", "ot-cloud", "telemetry"))), "cannot speak"},
		"of another agent":            {claim("sub", string(wt.Other)), "cannot speak"},
		"of no workload":              {claim("sub", string(identity.ControlID(wt.Domain))), "cannot speak"},
		"of nobody":                   {claim("sub", nil), "cannot speak"},
		"of a path":                   {claim("sub", string(wt.Bridge)+"/../other"), "cannot speak"},
		"by another issuer":           {claim("iss", string(wt.Other)), "issuer"},
		"by nobody":                   {claim("iss", nil), "issuer"},

		"without certificates": {header("x5c", nil), "0 certificates"},
		"with no certificates": {header("x5c", []string{}), "0 certificates"},
		"with too many":        {header("x5c", x5c(leaf, root.Raw, root.Raw, root.Raw)), "4 certificates"},
		"with junk":            {header("x5c", x5c([]byte("junk"))), "cannot be read"},
		"with text":            {header("x5c", []string{"-----BEGIN"}), "cannot be read"},
		"with a text alone":    {header("x5c", x5c(leaf)[0]), "no token"},
		"with a huge one":      {header("x5c", x5c(make([]byte, 16<<10))), "bytes"},
		"with a huge key": {func(f *forgery) {
			n := new(big.Int).SetBit(big.NewInt(1), 8191, 1)
			der := certify(t, root, w.Key, &rsa.PublicKey{N: n, E: 65537}, nil)
			f.header["x5c"] = x5c(leaf, der)
		}, "unusual"},
		"of another deployment": {func(f *forgery) {
			cert := other.creds.Certificate()
			f.by(cert.PrivateKey.(*ecdsa.PrivateKey), cert.Certificate...)
		}, "not issued by this deployment"},
		"that brings its authority along": {func(f *forgery) {
			cert := other.creds.Certificate()
			f.by(cert.PrivateKey.(*ecdsa.PrivateKey), cert.Certificate[0], other.Authority.Certificate().Raw)
		}, "not issued by this deployment"},
		"that signed itself": {func(f *forgery) { f.by(thief, certify(t, nil, thief, thief.Public(), nil)) }, "not issued by this deployment"},
		"that an agent issued": {func(f *forgery) {
			f.by(thief, certify(t, w.creds.Leaf(), own, thief.Public(), nil), leaf)
		}, "not issued by this deployment"},
		"of the authority itself": {func(f *forgery) { f.by(w.Key.(*ecdsa.PrivateKey), root.Raw) }, "no agent"},
		"of a relay":              {func(f *forgery) { f.named(t, w, identity.RelayID(wt.Domain, "r1")) }, "no agent"},
		"of the control plane":    {func(f *forgery) { f.named(t, w, identity.ControlID(wt.Domain)) }, "no agent"},
		"of a person":             {func(f *forgery) { f.named(t, w, identity.PersonID(wt.Domain, "ot", "p", "1")) }, "no agent"},
		"of a stranger":           {func(f *forgery) { f.named(t, w, wt.Stranger) }, "cannot speak"},
		"without a SPIFFE id":     {forged(func(c *x509.Certificate) { c.URIs = nil }), "no SPIFFE id"},
		"with two SPIFFE ids":     {forged(func(c *x509.Certificate) { c.URIs = append(c.URIs, id(wt.Other)) }), "no SPIFFE id"},
		"for servers alone":       {forged(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "not issued"},
		"not to sign with":        {forged(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "not one to sign with"},
		"that has lapsed":         {forged(func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Second) }), "lapsed"},
		"that is not good yet":    {forged(func(c *x509.Certificate) { c.NotBefore = start.Add(time.Second) }), "not issued"},
		"of P-384":                {func(f *forgery) { f.by(p384, certify(t, root, w.Key, p384.Public(), nil)) }, "no key for ES256"},
		"of Ed25519": {func(f *forgery) {
			f.header["x5c"] = x5c(certify(t, root, w.Key, edPublic, nil))
			f.sign = func(b []byte) []byte { return ed25519.Sign(edKey, b) }
		}, "no key for ES256"},
		"of RSA": {func(f *forgery) { f.header["x5c"] = x5c(certify(t, root, w.Key, rsaKey.Public(), nil)) }, "no key for ES256"},
	} {
		t.Run(name, func(t *testing.T) {
			f := w.genuine()
			c.change(f)
			token := f.text(t)
			for range 2 { // what was refused once is not taken for known
				p, err := w.verify(token)
				if kind := fault.KindOf(err); err == nil || p != (workload.Proof{}) || kind != fault.Unauthenticated && kind != fault.Expired {
					t.Fatalf("%+v, %v", p, err)
				}
				if !strings.Contains(err.Error(), c.words) {
					t.Errorf("refused with %v, want %q in it", err, c.words)
				}
			}
		})
	}
}

func later(f *forgery, d time.Duration) {
	for _, name := range []string{"iat", "nbf", "exp"} {
		f.claims[name] = f.claims[name].(int64) + int64(d/time.Second)
	}
}

func jwk(key *ecdsa.PrivateKey) map[string]string {
	return map[string]string{"kty": "EC", "crv": "P-256", "x": segment(key.X.FillBytes(make([]byte, 32))), "y": segment(key.Y.FillBytes(make([]byte, 32)))}
}

func TestTextsThatAreNoTokens(t *testing.T) {
	w := newWorld(t)
	good := w.genuine().text(t)
	for name, text := range map[string]string{
		"nothing": "", "dots": "..", "words": "hello", "two parts": spoil(good, 2), "four parts": good + ".x", "five parts": good + ".x.y", "a space": " " + good, "a line": good + "\n",
		"a space inside": strings.Replace(good, ".", ". ", 1), "padded": strings.Replace(good, ".", "=.", 1), "without its signature": good[:strings.LastIndexByte(good, '.')+1],
		"a shorter signature": good[:len(good)-2], "a longer one": good + "AAAA", "other bits at its end": good[:len(good)-1] + "B", "JSON": `{"payload":"x"}`,
		"a SAS token": "SharedAccessSignature sr=x&sig=y&se=1&skn=z", "Bearer": "Bearer " + good, "large": good + strings.Repeat("A", workload.MaxToken),
	} {
		if p, err := w.verify(text); fault.KindOf(err) != fault.Unauthenticated || err == nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for name, text := range map[string]string{"a provider's": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAA", "a SAS token": "SharedAccessSignature sr=x", "nothing": ""} {
		if workload.Is(text) {
			t.Errorf("%s is taken for ours", name)
		}
	}
}

func TestClocksMayDiffer(t *testing.T) {
	w := newWorld(t)
	for name, d := range map[string]time.Duration{"a minute ahead": time.Minute, "an hour and 59 s ago": -(time.Hour + 59*time.Second)} {
		f := w.genuine()
		later(f, d)
		if _, err := w.verify(f.text(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What was good is known, and is looked at again for everything that may change.
func TestKnownTokensAreLookedAtAgain(t *testing.T) {
	w := newWorld(t)
	token := w.genuine().text(t)
	good := func() {
		t.Helper()
		if _, err := w.verify(token); err != nil {
			t.Fatal(err)
		}
	}
	bad := func(what string, kind fault.Kind) {
		t.Helper()
		if _, err := w.verify(token); err == nil || fault.KindOf(err) != kind {
			t.Errorf("%s: %v", what, err)
		}
	}
	good()
	if _, err := w.Verifier.Verify(token, "https://other.example/"); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("for another audience: %v", err)
	}
	w.Revoke("x", string(wt.Agent))
	bad("its agent is gone", fault.Unauthenticated)
	if w.Verifier.Holds(workload.Proof{Agent: string(wt.Agent)}) {
		t.Error("what its agent proved holds")
	}
	w.Revoke()
	good()
	next, _, err := identity.NewAuthority(wt.Domain, start)
	must(t, err)
	w.Trust(w.Authority, next)
	good()
	w.Trust(next)
	bad("its authority is gone", fault.Unauthenticated)
	w.Trust(w.Authority)
	good()
	w.clock.Advance(workload.Lifetime + workload.Skew - time.Second)
	good()
	w.clock.Advance(time.Second)
	bad("its time is over", fault.Expired)
}

func TestNoAuthorityIsNotTheMachines(t *testing.T) {
	w := newWorld(t)
	v := workload.NewVerifier(func() *x509.CertPool { return nil }, nil, w.clock)
	for range 2 {
		if _, err := v.Verify(w.genuine().text(t), host); fault.KindOf(err) != fault.Unauthenticated || err == nil {
			t.Errorf("%v", err)
		}
	}
}

// Many tokens of one agent push each other out, and none of them is refused for it.
func TestKnownTokensAreBounded(t *testing.T) {
	w := newWorld(t)
	const most = 64
	workload.Bound(w.Verifier, most)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range most {
				f := w.genuine()
				f.claims["jti"] = fmt.Sprint(i, "/", j)
				if _, err := w.verify(f.text(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := workload.Known(w.Verifier); n != most {
		t.Errorf("%d are known, want %d", n, most)
	}
	w.clock.Advance(2 * time.Hour)
	f := w.genuine()
	later(f, 2*time.Hour)
	if _, err := w.verify(f.text(t)); err != nil {
		t.Fatal(err)
	}
	if n := workload.Known(w.Verifier); n != 1 {
		t.Errorf("%d are known after all others have ended", n)
	}
}
