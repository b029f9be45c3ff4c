package contract

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"time"
)

// member is a name of an object with its value in canonical form.
type member struct{ name, value []byte }

// sortMembers puts them in order, and tells whether no two have one name.
func sortMembers(list []member) bool {
	slices.SortFunc(list, member.compare)
	for i := 1; i < len(list); i++ {
		if bytes.Equal(list[i-1].name, list[i].name) {
			return false
		}
	}
	return true
}

// tags keep values of different kinds apart, whose forms may be the same bytes.
var tags = [...]byte{text: 't', number: 'n', boolean: 'b', null: 'z', container: 'j'}

// appendHash appends the hash of a value: of a text as it reads, of a number in any form, of a container in canonical form.
func (s *scratch) appendHash(to []byte, k kind, value []byte) []byte {
	var form [80]byte
	if k == number {
		s.number.read(value)
		value = s.number.append(form[:0])
	}
	return s.sum(to, tags[k], value)
}

func (s *scratch) sum(to []byte, tag byte, value []byte) []byte {
	var buf [32]byte
	s.mac.Reset()
	buf[0] = tag
	s.mac.Write(buf[:1]) // a hash never fails
	s.mac.Write(value)
	return hex.AppendEncode(to, s.mac.Sum(buf[:0]))
}

// hashText returns the hash of a text.
func (s *scratch) hashText(value string) string {
	s.tmp = append(s.tmp[:0], value...)
	var out [64]byte
	return string(s.sum(out[:0], tags[text], s.tmp))
}

// property returns what kind of value a property has, and the value as appendHash and judge take it.
func (s *scratch) property(v any) (k kind, value []byte) {
	s.tmp = s.tmp[:0]
	switch v := v.(type) {
	case string:
		s.tmp = append(s.tmp, v...)
		return text, s.tmp
	case int64:
		s.tmp = strconv.AppendInt(s.tmp, v, 10)
		return number, s.tmp
	case uint64:
		s.tmp = strconv.AppendUint(s.tmp, v, 10)
		return number, s.tmp
	case float64:
		s.tmp = strconv.AppendFloat(s.tmp, v, 'g', -1, 64)
		return number, s.tmp
	case bool:
		s.tmp = strconv.AppendBool(s.tmp, v)
		return boolean, s.tmp
	case time.Time:
		s.tmp = v.UTC().AppendFormat(append(s.tmp, "time:"...), time.RFC3339Nano)
		return container, s.tmp
	case []byte:
		s.tmp = append(append(s.tmp, "bytes:"...), v...)
		return container, s.tmp
	}
	return null, nil
}
