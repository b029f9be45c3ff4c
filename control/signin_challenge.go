package control

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// challengeLife is how long somebody may take to sign in.
const challengeLife = 10 * time.Minute

// A challenge is eight bytes of its end, in Unix seconds, sixteen random ones and a MAC of both and of the provider: nothing is kept of one
// that is never used.
const (
	challengeEnd    = 8
	challengeRandom = 16
	challengeBytes  = challengeEnd + challengeRandom + sha256.Size
)

// SignInChallenge begins a sign-in. NotFound when there is no such provider.
func (c *Control) SignInChallenge(ctx context.Context, tenant, provider string) (SignInChallenge, error) {
	p, err := c.identityProvider(ctx, "control.SignInChallenge", tenant, provider)
	if err != nil {
		return SignInChallenge{}, err
	}
	end := c.clock.Now().Add(challengeLife).Truncate(time.Second)
	b := make([]byte, challengeEnd+challengeRandom, challengeBytes)
	binary.BigEndian.PutUint64(b, uint64(end.Unix()))
	rand.Read(b[challengeEnd:])
	mac, err := c.challengeMAC(p.Key(), b)
	if err != nil {
		return SignInChallenge{}, err
	}
	text := base64.RawURLEncoding.EncodeToString(append(b, mac...))
	return SignInChallenge{Challenge: text, Nonce: nonceOf(text), Expires: end.UTC()}, nil
}

// nonceOf is what the provider is told of a challenge (OpenID Connect Core 1.0, 15.5.2).
func nonceOf(challenge string) string {
	sum := sha256.Sum256([]byte(challenge))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (c *Control) challengeMAC(provider resource.Key, b []byte) ([]byte, error) {
	secret, err := c.authority.Secret("sign-in")
	if err != nil {
		return nil, err
	}
	m := hmac.New(sha256.New, secret)
	m.Write(b)
	m.Write([]byte(provider.Path()))
	return m.Sum(nil), nil
}

// checkChallenge wants one that was made here, for this provider, and is not over.
func (c *Control) checkChallenge(op string, provider resource.Key, text string) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil && len(b) == challengeBytes {
		at := challengeEnd + challengeRandom
		mac, err := c.challengeMAC(provider, b[:at])
		if err != nil {
			return err
		}
		if hmac.Equal(mac, b[at:]) {
			if end := time.Unix(int64(binary.BigEndian.Uint64(b)), 0); !c.clock.Now().Before(end) {
				return fault.Newf(op, fault.Unauthenticated, "the sign-in took longer than %d minutes", int(challengeLife.Minutes())).Advise("begin again: isthmus login")
			}
			return nil
		}
	}
	return fault.New(op, fault.Unauthenticated, "the sign-in was not begun here, or at another provider").Advise("begin again: isthmus login")
}
