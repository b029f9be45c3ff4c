package message

// appendEscaped writes text percent-encoded: all but the unreserved characters of RFC 3986, 2.3.
func appendEscaped[T string | []byte](dst []byte, text T) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// AppendProperty writes "key=value" after dst, with "&" before it when dst holds one already. Both are escaped.
func AppendProperty(dst []byte, key, value string) []byte {
	if len(dst) > 0 {
		dst = append(dst, '&')
	}
	dst = append(appendEscaped(dst, key), '=')
	return appendEscaped(dst, value)
}
