package tpmtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// TPM is a device's TPM.
type TPM struct{ ek, srk *rsa.PrivateKey }

// New returns one with new keys of 2048 bits.
func New() (*TPM, error) {
	ek, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	srk, err := rsa.GenerateKey(rand.Reader, 2048)
	return &TPM{ek, srk}, err
}

// EndorsementKey returns a TPM2B_PUBLIC by the default template (TCG EK Credential Profile, template L-1).
func (t *TPM) EndorsementKey() []byte {
	policy := []byte{
		0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
		0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
	}
	return public(t.ek, 0x000300b2, policy)
}

// StorageRootKey returns a TPM2B_PUBLIC.
func (t *TPM) StorageRootKey() []byte { return public(t.srk, 0x00030472, nil) }

func public(k *rsa.PrivateKey, attributes uint32, policy []byte) []byte {
	b := []byte{0, 1, 0, 0x0b} // RSA, named by SHA-256
	b = binary.BigEndian.AppendUint32(b, attributes)
	b = append(b, two(policy)...)
	b = append(b, 0, 6, 0, 128, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0) // AES-128-CFB, no scheme, 2048 bits, exponent 65537
	return two(append(b, two(k.N.FillBytes(make([]byte, 256)))...))
}

func two(b []byte) []byte { return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...) }

// Activate opens an activation blob and returns the key and the text in it.
func (t *TPM) Activate(blob []byte) (key []byte, about string, err error) {
	var parts [6][]byte // TPM2B_ID_OBJECT, _ENCRYPTED_SECRET, _PRIVATE, _ENCRYPTED_SECRET, _PUBLIC, _DATA
	for i := range parts {
		if parts[i], blob, err = cut(blob); err != nil {
			return nil, "", fmt.Errorf("part %d: %w", i, err)
		}
	}
	if len(blob) > 0 {
		return nil, "", errors.New("bytes are left")
	}
	// The storage root key's name binds the credential to the object it is activated on.
	inner, err := open(t.ek, "IDENTITY\x00", parts[1], name(t.StorageRootKey()[2:]), parts[0])
	if err != nil {
		return nil, "", fmt.Errorf("tpm ActivateCredential: %w", err)
	}
	if inner, _, err = cut(inner); err != nil {
		return nil, "", err
	}
	object := name(parts[4])
	wrapped, err := open(t.srk, "DUPLICATE\x00", parts[3], object, parts[2])
	if err != nil {
		return nil, "", fmt.Errorf("tpm Import, outer wrapper: %w", err)
	}
	integrity, sensitive, err := cut(decrypt(inner, wrapped))
	if err != nil {
		return nil, "", err
	}
	if sum := sha256.Sum256(append(bytes.Clone(sensitive), object...)); !bytes.Equal(sum[:], integrity) {
		return nil, "", errors.New("tpm Import: the inner integrity does not hold")
	}
	if sensitive, _, err = cut(sensitive); err != nil {
		return nil, "", err
	}
	if len(sensitive) < 2 || !bytes.Equal(sensitive[:2], []byte{0, 8}) {
		return nil, "", errors.New("tpm Import: the sensitive area is not of a keyed hash")
	}
	var fields [3][]byte // authValue, seedValue, the key
	rest := sensitive[2:]
	for i := range fields {
		if fields[i], rest, err = cut(rest); err != nil {
			return nil, "", err
		}
	}
	unique := sha256.Sum256(append(bytes.Clone(fields[1]), fields[2]...))
	if !bytes.HasSuffix(parts[4], two(unique[:])) {
		return nil, "", errors.New("tpm Load: the public area is not of this key")
	}
	// Keyed hash, SHA-256; neither fixedTPM nor fixedParent, else Import refuses; sign; no policy; HMAC with SHA-256.
	if a := binary.BigEndian.Uint32(parts[4][4:]); !bytes.HasPrefix(parts[4], []byte{0, 8, 0, 0x0b}) || a&0x12 != 0 || a&0x40000 == 0 ||
		!bytes.Equal(parts[4][8:14], []byte{0, 0, 0, 5, 0, 0x0b}) {
		return nil, "", fmt.Errorf("tpm Load: the public area is %x", parts[4])
	}
	return fields[2], string(decrypt(inner, parts[5])), nil
}

// open takes an outer wrapper off.
func open(k *rsa.PrivateKey, label string, encryptedSeed, name, data []byte) ([]byte, error) {
	seed, err := rsa.DecryptOAEP(sha256.New(), nil, k, encryptedSeed, []byte(label))
	if err != nil {
		return nil, err
	}
	mac, encrypted, err := cut(data)
	if err != nil {
		return nil, err
	}
	m := hmac.New(sha256.New, derive(seed, "INTEGRITY", nil, 32))
	m.Write(encrypted)
	m.Write(name)
	if !hmac.Equal(m.Sum(nil), mac) {
		return nil, errors.New("the integrity value does not hold")
	}
	return decrypt(derive(seed, "STORAGE", name, 16), encrypted), nil
}

func derive(seed []byte, label string, context []byte, n int) []byte {
	m := hmac.New(sha256.New, seed)
	m.Write(append([]byte{0, 0, 0, 1}, label...))
	m.Write(append([]byte{0}, context...))
	m.Write([]byte{0, 0, byte(n * 8 >> 8), byte(n * 8)})
	return m.Sum(nil)[:n]
}

func decrypt(key, in []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	out := make([]byte, len(in))
	//lint:ignore SA1019 what a TPM does is what is wanted (TPM 2.0 part 1, 11.4.10)
	cipher.NewCFBDecrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(out, in) //nolint:staticcheck // the same
	return out
}

func name(public []byte) []byte {
	sum := sha256.Sum256(public)
	return append([]byte{0, 0x0b}, sum[:]...)
}

func cut(b []byte) (first, rest []byte, err error) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return nil, nil, errors.New("it is too short")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:], nil
}
