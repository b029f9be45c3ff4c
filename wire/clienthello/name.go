package clienthello

import "net/netip"

const (
	hostName = 0   // the only type of name there is, RFC 6066 clause 3
	maxName  = 253 // of a host name as text, RFC 1035 clause 2.3.4 without the root
	maxLabel = 63
)

// parseNames reads a server name extension: at least one name, at most one of each type. Types that were never defined are passed over.
func parseNames(data cursor) (string, error) {
	list, ok := data.vector16()
	if !ok || len(data) != 0 || len(list) == 0 {
		return "", BadNameList
	}
	var host cursor
	for len(list) > 0 {
		kind, ok := list.take(1)
		name, ok2 := list.vector16()
		if !ok || !ok2 || len(name) == 0 {
			return "", BadNameList
		}
		if kind[0] != hostName {
			continue
		}
		if host != nil {
			return "", BadNameList
		}
		host = name
	}
	if host == nil {
		return "", nil
	}
	return parseName(host)
}

// parseName takes what resource names of routes and rules are made of, and nothing else: a byte that could mean something to a log,
// a terminal or a comparison further on ends here.
func parseName(b []byte) (string, error) {
	if b[len(b)-1] == '.' {
		b = b[:len(b)-1] // not allowed, but said by some who take the name from a resolver, and it means the same
	}
	if len(b) == 0 || len(b) > maxName {
		return "", BadName
	}
	var lower [maxName]byte
	label, letters := 0, false
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
			letters = true
		case c >= 'a' && c <= 'z', c == '-', c == '_':
			letters = true
		case c >= '0' && c <= '9':
		case c == '.' && label > 0:
			label = -1
		case c == ':' && isAddress(string(b)):
			return "", NameIsAddress
		default:
			return "", BadName
		}
		if label++; label > maxLabel {
			return "", BadName
		}
		lower[i] = c
	}
	if label == 0 {
		return "", BadName
	}
	name := string(lower[:len(b)])
	if !letters && isAddress(name) {
		return "", NameIsAddress
	}
	return name, nil
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
