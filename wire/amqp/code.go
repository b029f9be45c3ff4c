package amqp

import "encoding/binary"

// Format codes (1.6). The high half of a code tells how wide the value is (1.2.1).
const (
	tagDescribed = 0x00

	tagNull    = 0x40
	tagTrue    = 0x41
	tagFalse   = 0x42
	tagUint0   = 0x43
	tagUlong0  = 0x44
	tagList0   = 0x45
	tagUbyte   = 0x50
	tagByte    = 0x51
	tagUint1   = 0x52
	tagUlong1  = 0x53
	tagInt1    = 0x54
	tagLong1   = 0x55
	tagBoolean = 0x56
	tagUshort  = 0x60
	tagShort   = 0x61
	tagUint    = 0x70
	tagInt     = 0x71
	tagFloat   = 0x72
	tagChar    = 0x73
	tagDec32   = 0x74
	tagUlong   = 0x80
	tagLong    = 0x81
	tagDouble  = 0x82
	tagTime    = 0x83
	tagDec64   = 0x84
	tagDec128  = 0x94
	tagUUID    = 0x98
	tagBinary1 = 0xa0
	tagString1 = 0xa1
	tagSymbol1 = 0xa3
	tagBinary4 = 0xb0
	tagString4 = 0xb1
	tagSymbol4 = 0xb3
	tagList1   = 0xc0
	tagMap1    = 0xc1
	tagList4   = 0xd0
	tagMap4    = 0xd1
	tagArray1  = 0xe0
	tagArray4  = 0xf0
)

// known holds a bit for each code of the standard: known[high half] >> low half.
var known = [16]uint16{
	0x4: 0x003f, 0x5: 0x007f, 0x6: 0x0003, 0x7: 0x001f, 0x8: 0x001f, 0x9: 0x0110,
	0xa: 0x000b, 0xb: 0x000b, 0xc: 0x0003, 0xd: 0x0003, 0xe: 0x0001, 0xf: 0x0001,
}

func isKnown(code byte) bool { return known[code>>4]>>(code&15)&1 != 0 }

// extent finds where a value of this code ends whose constructor has been read: head bytes of size, then size bytes. What it returns
// is there.
func extent(code byte, b []byte) (head, size int, err error) {
	if !isKnown(code) {
		return 0, 0, malformed("1.6", "format code %#02x", code)
	}
	switch code >> 4 {
	case 0x4:
		return 0, 0, nil
	case 0x5:
		size = 1
	case 0x6:
		size = 2
	case 0x7:
		size = 4
	case 0x8:
		size = 8
	case 0x9:
		size = 16
	case 0xa, 0xc, 0xe:
		if len(b) < 1 {
			return 0, 0, errShort
		}
		head, size = 1, int(b[0])
	default:
		if len(b) < 4 {
			return 0, 0, errShort
		}
		n := binary.BigEndian.Uint32(b)
		if uint64(n) > uint64(len(b)) { // before it becomes an int, which may have 32 bits
			return 0, 0, errShort
		}
		head, size = 4, int(n)
	}
	if size > len(b)-head {
		return 0, 0, errShort
	}
	return head, size, nil
}

var errShort = malformed("1.2", "a value ends beyond its frame, list or message")

// take cuts the next value, which has no descriptor. The body comes without its size.
func take(b []byte) (code byte, body, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, nil, errShort
	}
	head, size, err := extent(b[0], b[1:])
	if err != nil {
		return 0, nil, nil, err
	}
	end := 1 + head + size
	return b[0], b[1+head : end : end], b[end:], nil
}

// skip returns what follows the next value, which may have descriptors. It does not look into lists, maps and arrays.
func skip(b []byte) (rest []byte, err error) {
	for need := 1; need > 0; {
		if len(b) == 0 {
			return nil, errShort
		}
		if b[0] == tagDescribed {
			need, b = need+1, b[1:]
			continue
		}
		head, size, err := extent(b[0], b[1:])
		if err != nil {
			return nil, err
		}
		need, b = need-1, b[1+head+size:]
	}
	return b, nil
}

// descriptor reads a descriptor the standard defines: 0x00, then its number or its name. Of others the code is 0.
func descriptor(b []byte) (code uint64, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, errShort
	}
	if b[0] != tagDescribed {
		return 0, nil, malformed("1.3", "a described type is wanted, not code %#02x", b[0])
	}
	if b[1] == tagUlong1 && len(b) > 2 { // nearly always
		return uint64(b[2]), b[3:], nil
	}
	switch b[1] {
	case tagUlong1, tagUlong, tagUlong0, tagSymbol1, tagSymbol4:
		tag, body, rest, err := take(b[1:])
		switch {
		case err != nil:
			return 0, nil, err
		case tag == tagSymbol1 || tag == tagSymbol4:
			return codeOfName(body), rest, nil
		}
		return unsigned(body), rest, nil
	}
	rest, err = skip(b[1:])
	return 0, rest, err
}

// counted opens a list, map or array whose code and body are at hand.
func counted(code byte, body []byte) (count int, items []byte, err error) {
	width := 4
	switch code {
	case tagList0:
		return 0, nil, nil
	case tagList1, tagMap1, tagArray1:
		width = 1
	}
	if len(body) < width {
		return 0, nil, malformed("1.6.22", "no room for the count")
	}
	n := unsigned(body[:width])
	items = body[width:]
	// an array's items may be of no width: its reader checks
	if code != tagArray1 && code != tagArray4 && n > uint64(len(items)) {
		return 0, nil, malformed("1.6.22", "%d items announced in %d bytes", n, len(items))
	}
	if (code == tagMap1 || code == tagMap4) && n&1 == 1 {
		return 0, nil, malformed("1.6.23", "a map of %d items, which is odd", n)
	}
	if n > 1<<31-1 {
		return 0, nil, malformed("1.6.24", "%d items", n)
	}
	return int(n), items, nil
}

func isList(code byte) bool { return code == tagList0 || code == tagList1 || code == tagList4 }
func isMap(code byte) bool  { return code == tagMap1 || code == tagMap4 }

// unsigned reads a big-endian number of 0 to 8 bytes.
func unsigned(b []byte) (n uint64) {
	switch len(b) {
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// signed reads a big-endian number of 1, 2, 4 or 8 bytes in two's complement.
func signed(b []byte) int64 {
	switch len(b) {
	case 1:
		return int64(int8(b[0]))
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b)))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	}
	return int64(binary.BigEndian.Uint64(b))
}
