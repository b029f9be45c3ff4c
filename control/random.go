package control

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

// letters returns n random characters of a-z and 2-7, 5 bits each, which fit in names, paths and shells. There is no error to look
// at: crypto/rand ends the process rather than fail.
func letters(n int) string {
	b := make([]byte, (n*5+7)/8)
	rand.Read(b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))[:n]
}

// newUID is never given twice: 130 random bits.
func newUID() string { return letters(26) }

// newLinkID draws a number for a connection; 0 means none.
func newLinkID() uint32 {
	for {
		var b [4]byte
		rand.Read(b[:])
		if id := binary.LittleEndian.Uint32(b[:]); id != 0 {
			return id
		}
	}
}

func newKey() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}
