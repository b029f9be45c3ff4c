package eventlog

import "math/bits"

// Lookup3 is the hash by which the clients of event hubs know the partition of a key beforehand: lookup3 of Bob Jenkins (hashlittle2
// with both seeds 0) over the key's UTF-8 bytes, both results joined by xor, the low 16 bits of that read as a signed number, without
// its sign. 0 for the empty key.
func Lookup3(key string) uint32 {
	const start = 0xdeadbeef
	n := len(key)
	a, b, c := start+uint32(n), start+uint32(n), start+uint32(n)
	for len(key) > 12 {
		a, b, c = a+word(key, 0), b+word(key, 4), c+word(key, 8)
		a = (a - c) ^ bits.RotateLeft32(c, 4)
		c += b
		b = (b - a) ^ bits.RotateLeft32(a, 6)
		a += c
		c = (c - b) ^ bits.RotateLeft32(b, 8)
		b += a
		a = (a - c) ^ bits.RotateLeft32(c, 16)
		c += b
		b = (b - a) ^ bits.RotateLeft32(a, 19)
		a += c
		c = (c - b) ^ bits.RotateLeft32(b, 4)
		b += a
		key = key[12:]
	}
	if len(key) > 0 {
		a, b, c = a+word(key, 0), b+word(key, 4), c+word(key, 8)
		c = (c ^ b) - bits.RotateLeft32(b, 14)
		a = (a ^ c) - bits.RotateLeft32(c, 11)
		b = (b ^ a) - bits.RotateLeft32(a, 25)
		c = (c ^ b) - bits.RotateLeft32(b, 16)
		a = (a ^ c) - bits.RotateLeft32(c, 4)
		b = (b ^ a) - bits.RotateLeft32(a, 14)
		c = (c ^ b) - bits.RotateLeft32(b, 24)
	}
	h := int32(int16(c ^ b))
	return uint32(max(h, -h))
}

// word is the little endian number at i, as if zeros followed the key.
func word(key string, i int) (w uint32) {
	for j := min(len(key), i+4) - 1; j >= i; j-- {
		w = w<<8 | uint32(key[j])
	}
	return w
}
