package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Headers of a delivery.
const (
	SignatureHeader = "Isthmus-Signature"
	DeliveryHeader  = "Isthmus-Delivery"
)

// Tolerance is how old a delivery may be, or how far ahead the sender's clock, when a receiver has no reason to choose otherwise.
const Tolerance = 5 * time.Minute

const (
	maxHeader     = 1024 // bytes that are looked at
	maxSignatures = 5    // a sender that changes its secret signs with both
)

// Sign returns the signature header of a body that is sent at a moment.
func Sign(secret string, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(digest(secret, t, body))
}

func digest(secret, t string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}

// Verify tells whether a body comes from who knows the secret, and was sent not longer than tolerance before now, nor after it (Tolerance when
// it is 0). Invalid for a header that is none, Unauthenticated for a wrong signature, Expired for a right one of another time. Parts of the
// header that it does not know are left alone.
func Verify(secret, header string, body []byte, now time.Time, tolerance time.Duration) error {
	const op = "webhook.Verify"
	if tolerance <= 0 {
		tolerance = Tolerance
	}
	t, signatures := parse(header)
	sent, err := strconv.ParseInt(t, 10, 64)
	if err != nil || sent < 0 || strconv.FormatInt(sent, 10) != t || len(signatures) == 0 {
		return fault.Newf(op, fault.Invalid, "the header %s is missing or cannot be read", SignatureHeader).Advise("only Isthmus sends to this address: drop the request")
	}
	if secret == "" {
		return fault.New(op, fault.Invalid, "there is no secret to verify with").Advise("keep the secret that was shown when the webhook was made")
	}
	want, right := digest(secret, t, body), false
	for _, s := range signatures {
		got, err := hex.DecodeString(s)
		right = (err == nil && hmac.Equal(got, want)) || right
	}
	if !right {
		return fault.New(op, fault.Unauthenticated, "the signature is wrong").Advise("verify the body's bytes as they came, with this webhook's secret; else drop the request")
	}
	// Compared as seconds: a moment far away must not overflow a duration.
	if d := now.Unix() - sent; d > int64(tolerance/time.Second) || d < -int64(tolerance/time.Second) {
		return fault.Newf(op, fault.Expired, "it was sent at %s", time.Unix(sent, 0).UTC().Format(time.RFC3339)).
			Advise("check this machine's clock; else somebody sends an old delivery again: drop it")
	}
	return nil
}

// parse takes the time and the signatures out of a header. A time that stands there twice is none.
func parse(header string) (t string, signatures []string) {
	if len(header) > maxHeader {
		return "", nil
	}
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case name == "t" && t != "":
			return "", nil
		case name == "t":
			t = value
		case name == "v1" && len(signatures) < maxSignatures:
			signatures = append(signatures, value)
		}
	}
	return t, signatures
}
