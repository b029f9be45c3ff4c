package cookie

import (
	"encoding/binary"
	"math/bits"
)

// sipKey is a key of SipHash-2-4 (Aumasson and Bernstein, 2012).
type sipKey struct{ k0, k1 uint64 }

func newSipKey(secret [SecretSize]byte) sipKey {
	return sipKey{binary.LittleEndian.Uint64(secret[:]), binary.LittleEndian.Uint64(secret[8:])}
}

type sipState struct{ v0, v1, v2, v3 uint64 }

func (s *sipState) round() {
	s.v0 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
	s.v0 = bits.RotateLeft64(s.v0, 32)
	s.v2 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
	s.v0 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
	s.v2 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
	s.v2 = bits.RotateLeft64(s.v2, 32)
}

func (s *sipState) word(w uint64) {
	s.v3 ^= w
	s.round()
	s.round()
	s.v0 ^= w
}

func (k sipKey) hash(in []byte) uint64 {
	s := sipState{k.k0 ^ 0x736f6d6570736575, k.k1 ^ 0x646f72616e646f6d, k.k0 ^ 0x6c7967656e657261, k.k1 ^ 0x7465646279746573}
	size := len(in)
	for ; len(in) >= 8; in = in[8:] {
		s.word(binary.LittleEndian.Uint64(in))
	}
	last := uint64(size) << 56
	for i, c := range in {
		last |= uint64(c) << (8 * i)
	}
	s.word(last)
	s.v2 ^= 0xff
	for range 4 {
		s.round()
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}
