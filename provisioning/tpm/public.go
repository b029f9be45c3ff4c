package tpm

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // the standard lets TPMs name keys by it; nothing else relies on it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"math/big"

	"github.com/isthmus-io/isthmus/fault"
)

// TPM 2.0 Library, part 2: TPM_ALG_ID and TPMA_OBJECT.
const (
	algRSA       = 0x0001
	algSHA1      = 0x0004
	algHMAC      = 0x0005
	algAES       = 0x0006
	algKeyedHash = 0x0008
	algSHA256    = 0x000B
	algSHA384    = 0x000C
	algNull      = 0x0010
	algCFB       = 0x0043

	attrUserWithAuth = 1 << 6
	attrNoDA         = 1 << 10
	attrRestricted   = 1 << 16
	attrDecrypt      = 1 << 17
	attrSign         = 1 << 18
)

// maxPublic bounds what is looked at: a key of 4096 bits takes some 600 bytes.
const maxPublic = 1024

// Public is the public part of a key of a TPM that others may encrypt to.
type Public struct {
	RSA     *rsa.PublicKey
	Name    []byte // algorithm and digest of the public area, which stands for the key
	hash    crypto.Hash
	symBits int // of the key's own AES, by which it protects what is below it
}

// ParsePublic reads a TPM2B_PUBLIC, or the TPMT_PUBLIC in it. Faults are Invalid.
func ParsePublic(b []byte) (*Public, error) {
	if len(b) > maxPublic {
		return nil, invalid("it is too long")
	}
	if len(b) >= 2 && int(binary.BigEndian.Uint16(b)) == len(b)-2 {
		b = b[2:]
	}
	f := &fields{rest: b}
	kind, alg, attributes := f.uint16(), f.uint16(), f.uint32()
	f.sized() // authPolicy
	sym, symBits, mode := f.uint16(), 0, 0
	if sym != algNull {
		symBits, mode = f.uint16(), f.uint16()
	}
	if scheme := f.uint16(); scheme != algNull {
		f.uint16()
	}
	bits, exponent, modulus := f.uint16(), f.uint32(), f.sized()
	hash, known := map[int]crypto.Hash{algSHA1: crypto.SHA1, algSHA256: crypto.SHA256, algSHA384: crypto.SHA384}[alg]
	if exponent == 0 {
		exponent = 65537 // TPM 2.0 part 2, TPMS_RSA_PARMS
	}
	switch {
	case f.short || len(f.rest) > 0:
		return nil, invalid("it is no public area of an RSA key")
	case kind != algRSA:
		return nil, invalid("it is not an RSA key")
	case !known:
		return nil, invalid("its name algorithm is not SHA-1, SHA-256 or SHA-384")
	case attributes&(attrRestricted|attrDecrypt) != attrRestricted|attrDecrypt:
		return nil, invalid("it is not restricted to decryption")
	case sym != algAES || mode != algCFB || (symBits != 128 && symBits != 192 && symBits != 256):
		return nil, invalid("it does not protect with AES in CFB mode")
	case bits < 2048 || bits > 4096 || len(modulus)*8 != bits || modulus[0] < 0x80 || modulus[len(modulus)-1]&1 == 0:
		return nil, invalid("it has not 2048 to 4096 bits")
	case exponent < 3 || exponent&1 == 0 || exponent > 1<<31-1:
		return nil, invalid("its exponent is out of bounds")
	}
	digest := hash.New()
	digest.Write(b)
	p := &Public{RSA: &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: exponent}, hash: hash, symBits: symBits}
	p.Name = digest.Sum(binary.BigEndian.AppendUint16(nil, uint16(alg)))
	return p, nil
}

func invalid(why string) error {
	return fault.New("tpm.ParsePublic", fault.Invalid, "the TPM's key cannot be used: "+why).
		Advise("give the base64 text of a TPM2B_PUBLIC of an RSA key, as the device's TPM prints it")
}

// fields takes big-endian fields from the front.
type fields struct {
	rest  []byte
	short bool // there was less than asked for
}

func (f *fields) take(n int) []byte {
	if len(f.rest) < n {
		f.short, f.rest = true, nil
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) uint16() int {
	if b := f.take(2); !f.short {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (f *fields) uint32() int {
	if b := f.take(4); !f.short {
		return int(binary.BigEndian.Uint32(b))
	}
	return 0
}

// sized takes what the standard calls a TPM2B: two bytes of length, and so many.
func (f *fields) sized() []byte {
	b := f.take(f.uint16())
	if f.short {
		return nil
	}
	return b
}
