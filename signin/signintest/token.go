package signintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"time"
)

// Claims are those of a token.
type Claims map[string]any

// key is a key pair with its name.
type key struct {
	id   string
	pair *ecdsa.PrivateKey
}

func newKey() key {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key{rand.Text()[:8], k}
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

const half = 32 // bytes of a signature, and of a point

// signed makes a token with ES256 (RFC 7518 3.4).
func (k key) signed(c Claims) string {
	text := encode(map[string]string{"alg": "ES256", "kid": k.id, "typ": "JWT"}) + "." + encode(c)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k.pair, sum[:])
	if err != nil {
		panic(err)
	}
	b := make([]byte, 2*half)
	r.FillBytes(b[:half])
	s.FillBytes(b[half:])
	return text + "." + base64.RawURLEncoding.EncodeToString(b)
}

func (k key) public() map[string]string {
	point, err := k.pair.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return map[string]string{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": k.id,
		"x": base64.RawURLEncoding.EncodeToString(point[1 : 1+half]), "y": base64.RawURLEncoding.EncodeToString(point[1+half:]),
	}
}

// Unsigned is a token with the algorithm none (RFC 7519 6.1).
func Unsigned(c Claims) string {
	return encode(map[string]string{"alg": "none"}) + "." + encode(c) + "."
}

// Symmetric is a token with HS256, whose secret is something everybody knows: a public key's text, for instance.
func Symmetric(c Claims, keyID string, secret []byte) string {
	text := encode(map[string]string{"alg": "HS256", "kid": keyID, "typ": "JWT"}) + "." + encode(c)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Tampered is a token with a claim changed under the signature.
func Tampered(token, claim string, value any) string {
	p := strings.Split(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(p[1])
	if err != nil {
		panic(err)
	}
	c := Claims{}
	if err := json.Unmarshal(b, &c); err != nil {
		panic(err)
	}
	c[claim] = value
	return p[0] + "." + encode(c) + "." + p[2]
}

// Respelled is the same token written in other ways that hold as well: the last letter of a signature has bits that mean nothing, and of a
// signature with an elliptic curve there is a second one, which anybody can tell from the first.
func Respelled(token string) []string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, token[len(token)-1])
	out := []string{token[:len(token)-1] + string(letters[last^1])}
	at := strings.LastIndexByte(token, '.') + 1
	if b, err := base64.RawURLEncoding.DecodeString(token[at:]); err == nil && len(b) == 2*half {
		s := new(big.Int).SetBytes(b[half:])
		s.Sub(elliptic.P256().Params().N, s).FillBytes(b[half:])
		out = append(out, token[:at]+base64.RawURLEncoding.EncodeToString(b))
	}
	return out
}

// with is the claims with others put in, or, for nil, taken out.
func (c Claims) with(others Claims) Claims {
	out := Claims{}
	for _, from := range []Claims{c, others} {
		for name, v := range from {
			if v == nil {
				delete(out, name)
			} else {
				out[name] = v
			}
		}
	}
	return out
}

// stamp is a NumericDate.
func stamp(t time.Time) int64 { return t.Unix() }
