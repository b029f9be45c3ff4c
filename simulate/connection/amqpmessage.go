package connection

import (
	"encoding/binary"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Constructors of texts (1.6.20, 1.6.21): the short one; the long one has the bit of longer besides.
const (
	shortBinary = 0xa0
	shortString = 0xa1
	shortSymbol = 0xa3
	longer      = 0x10
	null        = 0x40
)

// appendHead writes the sections of a message before the bytes of its body (3.2), of which there are size. What is in the bag stands where
// SDKs put it.
func appendHead(dst []byte, address string, bag []byte, size int) []byte {
	dst = amqp.AppendDescriptor(dst, amqp.CodeProperties)
	start := len(dst)
	dst = amqp.StartList(dst)
	dst = appendText(dst, shortString, system(bag, messageID))
	dst = appendText(dst, shortBinary, system(bag, userID))
	dst = amqp.AppendString(dst, address)
	dst = append(dst, null, null) // subject, reply-to
	dst = appendText(dst, shortString, system(bag, correlationID))
	dst = appendText(dst, shortSymbol, system(bag, contentType))
	dst = appendText(dst, shortSymbol, system(bag, contentEncoding))
	amqp.FinishList(dst, start, 8)
	begin, pairs := len(dst), 0
	dst = amqp.AppendDescriptor(dst, amqp.CodeApplicationProperties)
	start = len(dst)
	dst = amqp.StartMap(dst)
	for len(bag) > 0 {
		var name, value []byte
		if name, value, bag = nextProperty(bag); len(name) == 0 || isSystem(name) {
			continue
		}
		if value == nil {
			value = []byte{}
		}
		dst = appendText(appendText(dst, shortString, name), shortString, value)
		pairs++
	}
	if pairs == 0 {
		dst = dst[:begin]
	} else {
		amqp.FinishMap(dst, start, pairs)
	}
	return amqp.AppendBinaryHead(amqp.AppendDescriptor(dst, amqp.CodeData), size)
}

// appendText writes percent-encoded text as a value of the type whose short constructor is given; nil as null.
func appendText(dst []byte, constructor byte, text []byte) []byte {
	if text == nil {
		return append(dst, null)
	}
	start := len(dst)
	if len(text) <= 255 { // decoded, it is no longer
		dst = appendDecoded(append(dst, constructor, 0), text)
		dst[start+1] = byte(len(dst) - start - 2)
		return dst
	}
	dst = appendDecoded(append(dst, constructor|longer, 0, 0, 0, 0), text)
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-5))
	return dst
}
