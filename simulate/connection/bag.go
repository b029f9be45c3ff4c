package connection

import "bytes"

// Names of properties that have a place of their own outside MQTT (IoT Hub: property bags).
const (
	messageID       = "$.mid"
	userID          = "$.uid"
	correlationID   = "$.cid"
	contentType     = "$.ct"
	contentEncoding = "$.ce"
)

// nextProperty cuts the first property off a bag; both parts are still encoded.
func nextProperty(bag []byte) (name, value, rest []byte) {
	one, rest, _ := bytes.Cut(bag, []byte{'&'})
	name, value, _ = bytes.Cut(one, []byte{'='})
	return name, value, rest
}

// isSystem tells whether an encoded name is that of a property with a place of its own.
func isSystem(name []byte) bool {
	return isNamed(name, messageID) || isNamed(name, userID) || isNamed(name, correlationID) || isNamed(name, contentType) || isNamed(name, contentEncoding)
}

// isNamed compares an encoded name that begins with "$".
func isNamed(name []byte, want string) bool {
	after, ok := bytes.CutPrefix(name, []byte("%24"))
	if !ok {
		after, ok = bytes.CutPrefix(name, []byte("$"))
	}
	return ok && string(after) == want[1:]
}

// system returns the encoded value of a property with a place of its own; nil for none.
func system(bag []byte, want string) []byte {
	for len(bag) > 0 {
		var name, value []byte
		if name, value, bag = nextProperty(bag); isNamed(name, want) {
			return value
		}
	}
	return nil
}

// appendDecoded writes percent-encoded text as it is meant. What is no encoding stands for itself.
func appendDecoded(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if hi, lo := digit(text[i+1]), digit(text[i+2]); hi < 16 && lo < 16 {
				dst = append(dst, hi<<4|lo)
				i += 2
				continue
			}
		}
		dst = append(dst, text[i])
	}
	return dst
}

// digit is the value of a hexadecimal digit; 16 for what is none.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
