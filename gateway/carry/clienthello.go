package carry

import (
	"errors"
)

var errNotTLS = errors.New("not a TLS handshake record")

// parseHello reads a ClientHello from the beginning of b; whole is false while more bytes are needed.
func parseHello(b []byte) (h Hello, whole bool, err error) {
	if b[0] != 22 {
		return Hello{}, false, errNotTLS
	}
	return Hello{TLS: true}, len(b) > 5, nil
}
