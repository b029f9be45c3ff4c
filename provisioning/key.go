package provisioning

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// DeriveKey returns the key of a device of an enrollment group: HMAC-SHA256 of its registration id, with the group's key. Both are
// base64 (DPS: symmetric key attestation, group enrollments).
func DeriveKey(groupKey, registrationID string) (string, error) {
	k, err := base64.StdEncoding.DecodeString(groupKey)
	if err != nil || len(k) == 0 {
		return "", fault.New("provisioning.DeriveKey", fault.Invalid, "the key of the group is empty or not base64")
	}
	m := hmac.New(sha256.New, k)
	m.Write([]byte(registrationID))
	return base64.StdEncoding.EncodeToString(m.Sum(nil)), nil
}

// MaxID is the longest registration id and the longest name of a group, in bytes.
const MaxID = 128

// RegistrationID checks a registration id and returns it as it is kept: in lower case (DPS: registration id).
func RegistrationID(id string) (string, error) {
	op := "provisioning.RegistrationID"
	if id == "" || len(id) > MaxID {
		return "", fault.Newf(op, fault.Invalid, "a registration id has 1 to %d characters, this one has %d", MaxID, len(id))
	}
	for i := range len(id) { // first, for letters of other alphabets have some of ours as their small ones
		c := id[i]
		if !alphanumeric(c) && strings.IndexByte("-._:", c) < 0 {
			return "", fault.Newf(op, fault.Invalid, "the registration id %.*q holds %q", MaxID, id, c).Advise("use letters, digits and - . _ :")
		}
	}
	id = strings.ToLower(id)
	if last := id[len(id)-1]; !alphanumeric(last) && last != '-' {
		return "", fault.Newf(op, fault.Invalid, "the registration id %q ends with %q", id, last).Advise("end it with a letter, a digit or a dash")
	}
	return id, nil
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// newKey returns n random bytes as base64.
func newKey(n int) string { return base64.StdEncoding.EncodeToString(random(n)) }

func newETag() string { return hex.EncodeToString(random(8)) }

// newScope makes an id scope as Azure writes them.
func newScope() string { return "0ne" + strings.ToUpper(hex.EncodeToString(random(4))) }

// newOperation makes the id of a registration operation: 5, sixteen digits, a UUID of version 4 (RFC 9562, 5.4).
func newOperation() string {
	u := random(16)
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	h := hex.EncodeToString(u)
	return "5." + hex.EncodeToString(random(8)) + "." + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
