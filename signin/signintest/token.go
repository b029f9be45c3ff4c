package signintest

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
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
	pair *rsa.PrivateKey
}

func newKey() key {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
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

// signed makes a token with RS256 (RFC 7518 3.3).
func (k key) signed(c Claims) string {
	text := encode(map[string]string{"alg": "RS256", "kid": k.id, "typ": "JWT"}) + "." + encode(c)
	sum := sha256.Sum256([]byte(text))
	s, err := rsa.SignPKCS1v15(rand.Reader, k.pair, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(s)
}

func (k key) public() map[string]string {
	return map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id,
		"n": base64.RawURLEncoding.EncodeToString(k.pair.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.pair.E)).Bytes()),
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

// Respelled is the same token in other letters: the last one of a signature has bits that mean nothing.
func Respelled(token string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, token[len(token)-1])
	return token[:len(token)-1] + string(letters[last^1])
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
