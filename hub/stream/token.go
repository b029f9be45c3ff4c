package stream

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// end is one of the two that a bridge is for.
type end string

const (
	ofDevice  end = "device"
	ofService end = "service"
)

// maxToken bounds what is looked at.
const maxToken = 2048

// claims are what a token says (RFC 7519). To clients it is opaque.
type claims struct {
	Expires int64  `json:"exp"`
	Bridge  string `json:"jti"`
	Hub     string `json:"hub"`
	End     end    `json:"end"`
}

var (
	encoding = base64.RawURLEncoding
	head     = encoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))
)

// token makes the token of one end of a bridge. What says how long it is good is the bridge; exp is for people who look.
func (g *Gateway) token(b *bridge, e end) string {
	body, _ := json.Marshal(claims{g.clock.Now().Add(g.cfg.Meet + hub.MaxStreamTimeout).Unix(), b.id, b.hub.HostName(), e}) // texts and a number always marshal
	text := head + "." + encoding.EncodeToString(body)
	return text + "." + encoding.EncodeToString(g.sign(text))
}

func (g *Gateway) sign(text string) []byte {
	mac := hmac.New(sha256.New, g.key[:])
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// read checks a token for a bridge and tells which end it is for.
func (g *Gateway) read(token, id string, h *hub.Hub) (end, error) {
	bad := fault.New("stream.Join", fault.Unauthenticated, "the token is not one of this bridge").Advise("ask for a new stream: a token is good once, within a minute")
	if len(token) > maxToken {
		return "", bad
	}
	at := strings.LastIndexByte(token, '.')
	if at < 0 {
		return "", bad
	}
	mac, err := encoding.DecodeString(token[at+1:])
	if err != nil || !hmac.Equal(mac, g.sign(token[:at])) {
		return "", bad
	}
	_, middle, _ := strings.Cut(token[:at], ".")
	body, err := encoding.DecodeString(middle)
	var c claims
	if err != nil || json.NewDecoder(bytes.NewReader(body)).Decode(&c) != nil {
		return "", bad
	}
	if c.Bridge != id || c.Hub != h.HostName() || g.clock.Now().Unix() >= c.Expires {
		return "", bad
	}
	return c.End, nil
}
