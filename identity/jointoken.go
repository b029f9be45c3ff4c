package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

const joinPrefix = "isthmus-join."

// JoinToken is what a process needs for joining and nothing more: where to ask, by what to know that it asks the right one, and
// a secret good for one time.
type JoinToken struct {
	Addresses []string `json:"addr"`   // host:port of the control plane, to try in order
	Pin       string   `json:"ca"`     // Pin of the authority
	ID        string   `json:"id"`     // finds the token; no secret
	Secret    string   `json:"secret"` // base64url, 32 bytes
}

// String returns the text people hand over: "isthmus-join." and base64url without padding.
func (t JoinToken) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic("identity: a join token must marshal: " + err.Error())
	}
	return joinPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseJoinToken reads what String wrote. White space around it is forgiven; its content never appears in the error.
func ParseJoinToken(s string) (JoinToken, error) {
	bad := func(words string) (JoinToken, error) {
		return JoinToken{}, fault.New("identity.ParseJoinToken", fault.Invalid, words).
			Advise("copy the whole token, or make a new one with: isthmus token join")
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), joinPrefix)
	if !ok {
		return bad("this is not a join token: one begins with " + joinPrefix)
	}
	if len(rest) > 8192 {
		return bad("the join token is too long")
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return bad("the join token is damaged")
	}
	var t JoinToken
	if err := json.Unmarshal(b, &t); err != nil || t.ID == "" || t.Secret == "" || len(t.Addresses) == 0 || len(t.Pin) != 2*sha256.Size {
		return bad("the join token is damaged")
	}
	return t, nil
}

// Pin returns the SHA-256 of a certificate in hexadecimal.
func Pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Pinned tells whether the certificate is the one the token was made with.
func (t JoinToken) Pinned(c *x509.Certificate) bool {
	return subtle.ConstantTimeCompare([]byte(Pin(c)), []byte(t.Pin)) == 1
}
