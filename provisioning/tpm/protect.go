package tpm

import (
	"crypto"
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"

	"github.com/isthmus-io/isthmus/fault"
)

// Labels of RSA-OAEP and KDFa. The standard counts the zero at the end of OAEP's.
const (
	labelIdentity  = "IDENTITY\x00"
	labelDuplicate = "DUPLICATE\x00"
	labelStorage   = "STORAGE"
	labelIntegrity = "INTEGRITY"
)

// MaxKey is the longest key Wrap takes, in bytes.
const MaxKey = 64

// Wrap makes an activation blob: a TPM that has both private keys gets key from it as the key of an HMAC-SHA256 object below the
// storage root key, and about, of up to 1,024 bytes, in clear. It is a TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET, TPM2B_PRIVATE,
// TPM2B_ENCRYPTED_SECRET, TPM2B_PUBLIC and TPM2B_DATA, one after the other, as Microsoft's SDKs take them apart.
func Wrap(endorsement, storageRoot *Public, key []byte, about string) ([]byte, error) {
	op := "tpm.Wrap"
	if len(key) == 0 || len(key) > MaxKey || len(about) > 1024 {
		return nil, fault.Newf(op, fault.Invalid, "a TPM is given a key of 1 to %d bytes, this one has %d", MaxKey, len(key))
	}
	inner := random(16) // the client takes AES-128 for granted
	credential, secret, err := makeCredential(endorsement, storageRoot.Name, inner)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	public, sensitive := keyedHash(key)
	private, seed, err := duplicate(storageRoot, public, sensitive, inner)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	var out []byte
	for _, part := range [][]byte{credential, secret, private, seed, public, cfb(inner, []byte(about))} {
		out = append(out, sized(part)...)
	}
	return out, nil
}

// makeCredential is TPM2_MakeCredential: only the TPM with the key to, on which an object of that name is loaded, gets the secret
// (part 1, clause 24).
func makeCredential(to *Public, name, secret []byte) (idObject, encryptedSeed []byte, err error) {
	seed := random(to.hash.Size())
	if encryptedSeed, err = rsa.EncryptOAEP(to.hash.New(), rand.Reader, to.RSA, seed, []byte(labelIdentity)); err != nil {
		return nil, nil, err
	}
	return to.outer(seed, name, sized(secret)), encryptedSeed, nil
}

// duplicate is TPM2_Duplicate with both wrappers, for an object that was made outside (part 1, clause 23.3).
func duplicate(parent *Public, public, sensitive, inner []byte) (private, encryptedSeed []byte, err error) {
	name := sha256Name(public)
	sensitive = sized(sensitive)
	integrity := sha256.Sum256(append(sensitive[:len(sensitive):len(sensitive)], name...))
	wrapped := cfb(inner, append(sized(integrity[:]), sensitive...))
	seed := random(parent.hash.Size())
	if encryptedSeed, err = rsa.EncryptOAEP(parent.hash.New(), rand.Reader, parent.RSA, seed, []byte(labelDuplicate)); err != nil {
		return nil, nil, err
	}
	return parent.outer(seed, name, wrapped), encryptedSeed, nil
}

// outer protects data for a name under a seed: the HMAC of what is encrypted, then that.
func (p *Public) outer(seed, name, data []byte) []byte {
	encrypted := cfb(KDFa(p.hash, seed, labelStorage, name, p.symBits), data)
	mac := hmac.New(p.hash.New, KDFa(p.hash, seed, labelIntegrity, nil, p.hash.Size()*8))
	mac.Write(encrypted)
	mac.Write(name)
	return append(sized(mac.Sum(nil)), encrypted...)
}

// keyedHash makes the public and the sensitive area of an object that signs with HMAC-SHA256.
func keyedHash(key []byte) (public, sensitive []byte) {
	obfuscation := random(sha256.Size)
	unique := sha256.Sum256(append(obfuscation[:len(obfuscation):len(obfuscation)], key...))
	be := binary.BigEndian
	public = be.AppendUint16(be.AppendUint16(nil, algKeyedHash), algSHA256)
	public = be.AppendUint32(public, attrUserWithAuth|attrNoDA|attrSign)
	public = append(public, 0, 0) // no policy
	public = be.AppendUint16(be.AppendUint16(public, algHMAC), algSHA256)
	public = append(public, sized(unique[:])...)
	sensitive = append(be.AppendUint16(nil, algKeyedHash), 0, 0) // no password
	return public, append(append(sensitive, sized(obfuscation)...), sized(key)...)
}

func sha256Name(public []byte) []byte {
	sum := sha256.Sum256(public)
	return append([]byte{algSHA256 >> 8, algSHA256}, sum[:]...)
}

// KDFa derives bits from a key (part 1, clause 11.4.10.2), with one context.
func KDFa(hash crypto.Hash, key []byte, label string, context []byte, bits int) []byte {
	var out []byte
	for counter := uint32(1); len(out)*8 < bits; counter++ {
		m := hmac.New(hash.New, key)
		m.Write(binary.BigEndian.AppendUint32(nil, counter))
		m.Write([]byte(label))
		m.Write([]byte{0})
		m.Write(context)
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(bits)))
		out = m.Sum(out)
	}
	return out[:bits/8]
}

// cfb encrypts with AES in CFB mode from an initial vector of zeros, as TPMs do with keys that serve once.
func cfb(key, in []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("tpm: a key of 16, 24 or 32 bytes is an AES key: " + err.Error())
	}
	out := make([]byte, len(in))
	var register [aes.BlockSize]byte
	for at := 0; at < len(in); at += aes.BlockSize {
		var stream [aes.BlockSize]byte
		block.Encrypt(stream[:], register[:])
		end := min(at+aes.BlockSize, len(in))
		for i := at; i < end; i++ {
			out[i] = in[i] ^ stream[i-at]
		}
		copy(register[:], out[at:end])
	}
	return out
}

func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
