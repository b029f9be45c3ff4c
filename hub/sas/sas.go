package sas

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

const scheme = "SharedAccessSignature "

// maxToken bounds what is looked at; real tokens are some 250 bytes.
const maxToken = 4096

// Token is a shared access signature taken apart.
type Token struct {
	Resource string    // sr as received, still percent-encoded
	Expires  time.Time // se
	Policy   string    // skn; empty when a device's own key signed
	expiry   string    // se as received, which the signature covers
	mac      []byte
}

// Parse reads "SharedAccessSignature sr=..&sig=..&se=..[&skn=..]", fields in any order. Invalid text is Unauthenticated.
func Parse(text string) (Token, error) {
	var t Token
	if len(text) > maxToken {
		return t, bad("longer than 4096 bytes")
	}
	fields, ok := strings.CutPrefix(text, scheme)
	if !ok {
		return t, bad("it does not begin with \"SharedAccessSignature \"")
	}
	seen := map[string]bool{}
	for field := range strings.SplitSeq(strings.TrimSpace(fields), "&") {
		key, value, _ := strings.Cut(field, "=")
		if seen[key] {
			return t, bad("a field stands in it twice")
		}
		seen[key] = true
		switch key {
		case "sr":
			t.Resource = value
		case "se":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 || n > 1<<40 {
				return t, bad("se is not a time in seconds since 1970")
			}
			t.expiry, t.Expires = value, time.Unix(n, 0)
		case "sig":
			// PathUnescape, because a '+' of base64 arrives as %2B and a bare one means itself.
			plain, err := url.PathUnescape(value)
			if err != nil {
				return t, bad("sig is not percent-encoded")
			}
			if t.mac, err = base64.StdEncoding.DecodeString(plain); err != nil {
				return t, bad("sig is not base64")
			}
		case "skn":
			name, err := url.PathUnescape(value)
			if err != nil {
				return t, bad("skn is not percent-encoded")
			}
			t.Policy = name
		}
	}
	if t.Resource == "" || t.expiry == "" || t.mac == nil {
		return t, bad("sr, se or sig is missing")
	}
	return t, nil
}

func bad(why string) *fault.Error {
	return fault.New("sas.Parse", fault.Unauthenticated, "the SAS token cannot be read: "+why).
		Advise("make it as SharedAccessSignature sr={resource}&sig={signature}&se={unix seconds}")
}

// SignedBy tells whether one of the keys made the token.
func (t Token) SignedBy(keys ...string) bool { return t.Signer(keys...) >= 0 }

// Signer returns the index of the first key that made the token, -1 when none did. Keys are base64 text; a key that is not matches
// nothing. Every key is tried, in constant time.
func (t Token) Signer(keys ...string) int {
	found := -1
	for i, k := range keys {
		if sum, err := sign(t.Resource, t.expiry, k); err == nil && hmac.Equal(sum, t.mac) && found < 0 {
			found = i
		}
	}
	return found
}

// Covers tells whether sr is the host, or a path under it which leads to the resource: "host/devices" covers "/devices/d". The host is
// compared without regard to case and port, the path segment by segment and exactly. hosts are all names the resource has.
func (t Token) Covers(hosts []string, resource string) bool {
	sr, err := url.PathUnescape(t.Resource)
	if err != nil {
		return false
	}
	if len(sr) > 8 && strings.EqualFold(sr[:8], "amqps://") {
		sr = sr[8:]
	}
	host, path, _ := strings.Cut(sr, "/")
	if !IsHost(host, hosts) {
		return false
	}
	path = strings.TrimSuffix(path, "/")
	resource = strings.TrimPrefix(resource, "/")
	return path == "" || resource == path || strings.HasPrefix(resource, path+"/")
}

// IsHost tells whether a host, with or without a port and in any case, is one of hosts (lower case, no port).
func IsHost(host string, hosts []string) bool {
	for _, h := range hosts {
		if len(host) >= len(h) && strings.EqualFold(host[:len(h)], h) && (len(host) == len(h) || isPort(host[len(h):])) {
			return true
		}
	}
	return false
}

func isPort(s string) bool {
	if len(s) < 2 || len(s) > 6 || s[0] != ':' {
		return false
	}
	_, err := strconv.ParseUint(s[1:], 10, 16)
	return err == nil
}

// Sign makes a token for a resource, which is percent-encoded here, with a base64 key and, for a policy's key, the policy's name.
func Sign(resource, key, policy string, expires time.Time) (string, error) {
	return SignBy(resource, policy, expires, func(text []byte) ([]byte, error) {
		sum, err := mac(text, key)
		return sum, fault.Wrap("sas.Sign", fault.Invalid, err, "the shared access key is empty or not base64")
	})
}

// SignBy is Sign with a key that somebody else keeps: by returns the HMAC-SHA256 of a text. Its error is returned as it is.
func SignBy(resource, policy string, expires time.Time, by func(text []byte) ([]byte, error)) (string, error) {
	sr, se := escape(resource), strconv.FormatInt(expires.Unix(), 10)
	sum, err := by([]byte(sr + "\n" + se))
	if err != nil {
		return "", err
	}
	s := scheme + "sr=" + sr + "&sig=" + escape(base64.StdEncoding.EncodeToString(sum)) + "&se=" + se
	if policy != "" {
		s += "&skn=" + escape(policy)
	}
	return s, nil
}

// escape is what JavaScript calls encodeURIComponent, with a few more characters escaped: a space is %20.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func sign(sr, se, key string) ([]byte, error) { return mac([]byte(sr+"\n"+se), key) }

func mac(text []byte, key string) ([]byte, error) {
	k, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil, err
	}
	if len(k) == 0 { // which everybody has
		return nil, errors.New("the key is empty")
	}
	m := hmac.New(sha256.New, k)
	m.Write(text)
	return m.Sum(nil), nil
}
