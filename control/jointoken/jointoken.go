package jointoken

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// Prefix opens every token, so that a person and a secret scanner know one when they see it.
const Prefix = "isthmus-join."

// MaxLength bounds the text of a token, MaxAddresses the addresses in it.
const (
	MaxLength    = 8192
	MaxAddresses = 32
)

// Token is a join token taken apart.
type Token struct {
	Addresses   []string `json:"addrs"`       // host:port, tried in order
	Pin         string   `json:"pin"`         // lower-case hex SHA-256 of the DER of the authority's certificate
	ID          string   `json:"id"`          // names the token; no secret
	Secret      string   `json:"secret"`      // spent by the first who joins
	TrustDomain string   `json:"trustDomain"` // of the deployment's SPIFFE ids
}

// Pin returns how a token names an authority's certificate.
func Pin(authority *x509.Certificate) string {
	sum := sha256.Sum256(authority.Raw)
	return hex.EncodeToString(sum[:])
}

// Encode renders the token as text. It fails with Invalid exactly when Parse would refuse the result.
func (t Token) Encode() (string, error) {
	if err := t.check("jointoken.Encode"); err != nil {
		return "", err
	}
	b, err := json.Marshal(t) //nolint:gosec // the token is what hands the secret over
	if err != nil {
		return "", fault.Wrap("jointoken.Encode", fault.Internal, err, "")
	}
	text := Prefix + base64.RawURLEncoding.EncodeToString(b)
	if len(text) > MaxLength {
		return "", fault.Newf("jointoken.Encode", fault.TooLarge, "the join token would have %d characters", len(text)).
			Advise("configure fewer or shorter addresses of the control plane")
	}
	return text, nil
}

// String keeps the secret out of logs.
func (t Token) String() string { return "join token " + t.ID }

// GoString keeps the secret out of %#v.
func (t Token) GoString() string { return t.String() }

// Parse reads what Encode wrote; white space around and inside is forgiven, because tokens travel through mail and terminals.
// Fields it does not know are ignored, so that a newer control plane may say more. Every failure is Invalid.
func Parse(text string) (Token, error) {
	op := "jointoken.Parse"
	if len(text) > MaxLength {
		return Token{}, unreadable(op, "it is far too long")
	}
	text = strings.Join(strings.Fields(text), "")
	body, ok := strings.CutPrefix(text, Prefix)
	switch {
	case text == "":
		return Token{}, unreadable(op, "it is empty")
	case !ok:
		return Token{}, unreadable(op, "it does not begin with "+Prefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(body, "="))
	if err != nil {
		return Token{}, unreadable(op, "a part of it is missing or changed")
	}
	var t Token
	if json.Unmarshal(b, &t) != nil {
		return Token{}, unreadable(op, "a part of it is missing or changed")
	}
	if err := t.check(op); err != nil {
		return Token{}, err
	}
	return t, nil
}

func (t Token) check(op string) error {
	if n := len(t.Addresses); n == 0 || n > MaxAddresses {
		return unreadable(op, "it holds no address of the control plane, or too many")
	}
	for _, a := range t.Addresses {
		host, port, err := net.SplitHostPort(a)
		if p, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || host == "" || p == 0 {
			return unreadable(op, "an address in it is not host:port")
		}
	}
	if pin, err := hex.DecodeString(t.Pin); err != nil || len(pin) != sha256.Size || t.Pin != strings.ToLower(t.Pin) {
		return unreadable(op, "the fingerprint in it is damaged")
	}
	if t.ID == "" || t.Secret == "" || t.TrustDomain == "" || strings.ContainsAny(t.TrustDomain, "/?#@: ") {
		return unreadable(op, "a field of it is empty or damaged")
	}
	return nil
}

func unreadable(op, why string) *fault.Error {
	return fault.New(op, fault.Invalid, "the join token cannot be read: "+why).
		Advise("copy the whole token again, from %q to its end, or have a new one made", Prefix)
}
