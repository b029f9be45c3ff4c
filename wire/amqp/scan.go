package amqp

// Scan finds the sections of a message (3.2). It copies nothing and does not look into sections, but for their type and extent. Sections
// that are unknown, come twice or out of order are errors of [ErrMalformed].
func Scan(message []byte) (s Sections, err error) {
	var last uint64
	var body []byte // the message from the body on
	for rest := message; len(rest) > 0; {
		at := rest
		code, tag, next, err := section(at)
		if err != nil {
			return Sections{}, err
		}
		rest = next
		whole := at[: len(at)-len(rest) : len(at)-len(rest)]
		if repeated := code == last && (code == codeData || code == codeSequence); !repeated && code <= bodyEnd(last) {
			return Sections{}, malformed("3.2", "section %#02x after %#02x", code, last)
		}
		last = code
		if !sectionHolds(code, tag) {
			return Sections{}, malformed("3.2", "code %#02x in section %#02x", tag, code)
		}
		switch code {
		case codeHeader:
			s.Header = whole
		case codeDeliveryAnnotations:
			s.DeliveryAnnotations = whole
		case codeMessageAnnotations:
			s.MessageAnnotations = whole
		case codeProperties:
			s.Properties = whole
		case codeApplicationProperties:
			s.ApplicationProperties = whole
		case codeData, codeSequence, codeValue:
			if body == nil {
				body, s.Kind = at, bodyKind(code)
			}
			end := len(body) - len(rest)
			s.Body = body[:end:end]
		case codeFooter:
			s.Footer = whole
		}
	}
	return s, nil
}

// bodyEnd is what the next section must be above of: a body is of one kind.
func bodyEnd(last uint64) uint64 {
	if last >= codeData && last <= codeValue {
		return codeValue
	}
	return last
}

func bodyKind(code uint64) BodyKind {
	switch code {
	case codeData:
		return Data
	case codeSequence:
		return Sequence
	}
	return Value
}

// section reads a section's descriptor and extent. tag is the code of its value, tagDescribed when that has a descriptor of its own.
func section(b []byte) (code uint64, tag byte, rest []byte, err error) {
	code, rest, err = descriptor(b)
	if err != nil {
		return 0, 0, nil, err
	}
	if len(rest) == 0 {
		return 0, 0, nil, errShort
	}
	tag = rest[0]
	rest, err = skip(rest)
	return code, tag, rest, err
}

func sectionHolds(code uint64, tag byte) bool {
	switch code {
	case codeHeader, codeProperties, codeSequence:
		return isList(tag)
	case codeDeliveryAnnotations, codeMessageAnnotations, codeApplicationProperties, codeFooter:
		return isMap(tag)
	case codeData:
		return tag == tagBinary1 || tag == tagBinary4
	case codeValue:
		return true
	}
	return false
}

// EachData calls f with what each data section of a body holds, of a message as of a batch of messages. data points into body. It stops
// at f's first error and returns it; a section of another type is an error of [ErrMalformed].
func EachData(body []byte, f func(data []byte) error) error {
	for len(body) > 0 {
		code, rest, err := descriptor(body)
		if err != nil {
			return err
		}
		tag, data, rest, err := take(rest)
		if err != nil {
			return err
		}
		if code != codeData || !sectionHolds(code, tag) {
			return malformed("3.2.6", "section %#02x among data sections", code)
		}
		if err := f(data); err != nil {
			return err
		}
		body = rest
	}
	return nil
}

// EachPair calls f with every pair of a map, with or without the descriptor of a section before it, until f returns false. key is the
// text of a string or symbol, nil when the key is something else; value is the encoded value. Both point into section. An empty section
// has no pairs. The map's form is checked as far as f lets it run, and of values their extent.
func EachPair(section []byte, f func(key []byte, value []byte) bool) error {
	if len(section) == 0 {
		return nil
	}
	if section[0] == tagDescribed {
		rest, err := skip(section[1:])
		if err != nil {
			return err
		}
		section = rest
	}
	tag, body, _, err := take(section)
	if err != nil {
		return err
	}
	if !isMap(tag) {
		return malformed("1.6.23", "a map is wanted, not code %#02x", tag)
	}
	count, b, err := counted(tag, body)
	if err != nil {
		return err
	}
	for ; count > 0; count -= 2 {
		afterKey, err := skip(b)
		if err != nil {
			return err
		}
		rest, err := skip(afterKey)
		if err != nil {
			return err
		}
		key, _ := TextOf(b[:len(b)-len(afterKey)])
		n := len(afterKey) - len(rest)
		if !f(key, afterKey[:n:n]) {
			return nil
		}
		b = rest
	}
	if len(b) > 0 {
		return errTail
	}
	return nil
}

// TextOf returns the text of an encoded string or symbol, which points into value. It is not checked for UTF-8.
func TextOf(value []byte) ([]byte, bool) {
	tag, body, _, err := take(value)
	if err != nil {
		return nil, false
	}
	switch tag {
	case tagString1, tagString4, tagSymbol1, tagSymbol4:
		return body, true
	}
	return nil, false
}

// IntegerOf returns the number of an encoded integer of any width or of a timestamp; false for a ulong above the largest long too.
func IntegerOf(value []byte) (int64, bool) {
	tag, body, _, err := take(value)
	if err != nil {
		return 0, false
	}
	switch tag {
	case tagUbyte, tagUshort, tagUint0, tagUint1, tagUint, tagUlong0, tagUlong1, tagUlong:
		n := int64(unsigned(body))
		return n, n >= 0
	case tagByte, tagShort, tagInt1, tagInt, tagLong1, tagLong, tagTime:
		return signed(body), true
	}
	return 0, false
}

// EachField calls f with every field of a list, with or without the descriptor of a section before it, until f returns false. value is
// the encoded value, and points into section. An empty section has no fields. The list's form is checked as far as f lets it run, and of
// values their extent.
func EachField(section []byte, f func(i int, value []byte) bool) error {
	if len(section) == 0 {
		return nil
	}
	if section[0] == tagDescribed {
		rest, err := skip(section[1:])
		if err != nil {
			return err
		}
		section = rest
	}
	tag, body, _, err := take(section)
	if err != nil {
		return err
	}
	if !isList(tag) {
		return malformed("1.6.22", "a list is wanted, not code %#02x", tag)
	}
	count, b, err := counted(tag, body)
	if err != nil {
		return err
	}
	for i := range count {
		rest, err := skip(b)
		if err != nil {
			return err
		}
		n := len(b) - len(rest)
		if !f(i, b[:n:n]) {
			return nil
		}
		b = rest
	}
	if len(b) > 0 {
		return errTail
	}
	return nil
}
