package amqpevent

import (
	"errors"
	"fmt"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Types that a field may have, as format codes. Text is taken as string and as symbol wherever either is meant: clients mix them up, and
// decoders forgive that.
const (
	boolCodes      = "\x41\x42\x56"
	ubyteCodes     = "\x50"
	uintCodes      = "\x43\x52\x70"
	ulongCodes     = "\x44\x53\x80"
	timestampCodes = "\x83"
	binaryCodes    = "\xa0\xb0"
	textCodes      = "\xa1\xb1\xa3\xb3"
	idCodes        = ulongCodes + "\x98" + binaryCodes + textCodes
)

var (
	headerFields     = [...]string{boolCodes, ubyteCodes, uintCodes, boolCodes, uintCodes} // 3.2.1
	propertiesFields = [...]string{                                                        // 3.2.4
		idCodes, binaryCodes, textCodes, textCodes, textCodes, idCodes, textCodes, textCodes,
		timestampCodes, timestampCodes, textCodes, uintCodes, textCodes,
	}
)

// check tells whether a message, whose sections were found, is well formed to the last value.
func check(s *amqp.Sections) error {
	if err := checkFields(s.Header, headerFields[:]); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if err := checkFields(s.Properties, propertiesFields[:]); err != nil {
		return fmt.Errorf("properties: %w", err)
	}
	if err := checkKeys(s.MessageAnnotations, textCodes+ulongCodes); err != nil {
		return fmt.Errorf("message-annotations: %w", err)
	}
	if err := checkKeys(s.ApplicationProperties, textCodes); err != nil {
		return fmt.Errorf("application-properties: %w", err)
	}
	if err := checkKeys(s.Footer, textCodes+ulongCodes); err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if s.Kind == amqp.Data { // whose values are found with the sections
		return nil
	}
	for b := s.Body; len(b) > 0; {
		var err error
		if b, err = skip(b, 0); err != nil {
			return fmt.Errorf("body: %w", err)
		}
	}
	return nil
}

func checkFields(section []byte, fields []string) error {
	if section == nil {
		return nil
	}
	n, b, err := itemsOf(section)
	if err != nil {
		return err
	}
	for i := range n {
		if len(b) == 0 {
			return errValue
		}
		code := b[0]
		if b, err = skip(b, 1); err != nil {
			return err
		}
		if code != 0x40 && (i >= len(fields) || !has(fields[i], code)) {
			return fmt.Errorf("field %d has a wrong type", i)
		}
	}
	return end(b)
}

func checkKeys(section []byte, keys string) error {
	if section == nil {
		return nil
	}
	n, b, err := itemsOf(section)
	if err != nil || n%2 != 0 {
		return errValue
	}
	for i := range n {
		if len(b) == 0 {
			return errValue
		}
		if i%2 == 0 && !has(keys, b[0]) {
			return errors.New("a key has a wrong type")
		}
		if b, err = skip(b, 1); err != nil {
			return err
		}
	}
	return end(b)
}

func end(b []byte) error {
	if len(b) != 0 {
		return errValue
	}
	return nil
}

func has(codes string, code byte) bool {
	for i := range len(codes) {
		if codes[i] == code {
			return true
		}
	}
	return false
}
