package file

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// A correlation id is when the upload began, chance, and a proof that this hub made it for this device: so a device that says once more how
// an upload went is told apart from one that makes ids up, although the upload is forgotten.
const (
	correlationHead = 16 // bytes: 8 of the time, 8 of chance
	correlationMAC  = 16
)

func newCorrelation(key []byte, device string, now time.Time) string {
	b := make([]byte, correlationHead)
	binary.BigEndian.PutUint64(b, uint64(now.Unix()))
	_, _ = rand.Read(b[8:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, correlationProof(key, device, b)...))
}

func correlationProof(key []byte, device string, head []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("isthmus upload\n" + device + "\n"))
	m.Write(head)
	return m.Sum(nil)[:correlationMAC]
}

// correlationBegan tells when the upload began; ok is false when the hub made no such id for the device.
func correlationBegan(key []byte, device, id string) (began time.Time, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(b) != correlationHead+correlationMAC || !hmac.Equal(b[correlationHead:], correlationProof(key, device, b[:correlationHead])) {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0), true
}
