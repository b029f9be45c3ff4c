package proxyproto

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// The value of a proof, 57 bytes:
//
//	version    1 byte, 1
//	timestamp  8 bytes big-endian, Unix milliseconds of the signer's clock
//	nonce      16 bytes
//	mac        32 bytes, HMAC-SHA256 with the link key over: the 25 bytes before, the link id (4 bytes little-endian), then source
//	           address and port and destination address and port in network order, 4+2 or 16+2 bytes each
const (
	proofVersion  = 1
	proofUnsigned = 1 + 8 + nonceLength
	proofLength   = proofUnsigned + sha256.Size
	nonceLength   = 16

	// MinKeyLength is the shortest link key that Sign and Verify take, in bytes.
	MinKeyLength = 16
)

// DefaultSkew is how far the clocks of signer and verifier may be apart where nobody says otherwise.
const DefaultSkew = 2 * time.Minute

// Proof is what a header that verified says of its making.
type Proof struct {
	LinkID uint32
	Time   time.Time // of the signer's clock, whole milliseconds
	Nonce  [nonceLength]byte
}

// Sign adds a fresh proof to a version 2 TCP header which has a link id, in place of one that is there. Whatever is changed
// afterwards in link id or addresses breaks it; other TLVs are not covered.
func Sign(key []byte, h *Header, now time.Time) error {
	const op = "proxyproto.Sign"
	v := make([]byte, proofUnsigned, proofLength)
	v[0] = proofVersion
	binary.BigEndian.PutUint64(v[1:], uint64(now.UnixMilli()))
	if _, err := rand.Read(v[9:]); err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	link, err := signable(op, key, h)
	if err != nil {
		return err
	}
	v = mac(v, key, link, h)
	for i, t := range h.TLVs {
		if t.Type == TypeProof {
			h.TLVs[i].Value = v
			return nil
		}
	}
	h.TLVs = append(h.TLVs, TLV{TypeProof, v})
	return nil
}

// Verify checks the proof of a header against one link key. A fault of kind Unauthenticated says that there is no proof or that
// another key made it, one of kind Expired that the clocks are further apart than skew. A header that verifies may still be one that
// was overheard: give the proof to a [ReplayWindow] of the same skew.
func Verify(key []byte, h *Header, now time.Time, skew time.Duration) (Proof, error) {
	const op = "proxyproto.Verify"
	link, err := signable(op, key, h)
	if err != nil {
		return Proof{}, err
	}
	v, ok := h.TLV(TypeProof)
	if !ok {
		return Proof{}, fault.New(op, fault.Unauthenticated, "the PROXY header has no proof of its link").
			Advise("only the provider's agent may dial here: its service must be the one this process serves")
	}
	if len(v) != proofLength || v[0] != proofVersion {
		return Proof{}, fault.Newf(op, fault.Unauthenticated, "the PROXY header's proof has %d bytes and cannot be read", len(v)).
			Advise("run agent and hub of the same release")
	}
	if !hmac.Equal(mac(append([]byte{}, v[:proofUnsigned]...), key, link, h), v) {
		return Proof{}, fault.New(op, fault.Unauthenticated, "the PROXY header's proof was not made with this link key").
			Advise("another machine forged it, or agent and hub follow plans of different times")
	}
	p := Proof{LinkID: link, Time: time.UnixMilli(int64(binary.BigEndian.Uint64(v[1:]))), Nonce: [nonceLength]byte(v[9:proofUnsigned])}
	if d := now.Sub(p.Time); d > skew || d < -skew {
		word := "old"
		if d < 0 {
			word, d = "ahead", -d
		}
		return Proof{}, fault.Newf(op, fault.Expired, "the PROXY header's proof is %s %s, more than %s", d.Round(time.Second), word, skew).
			Advise("compare the clocks of the provider's agent and of this machine")
	}
	return p, nil
}

func signable(op string, key []byte, h *Header) (uint32, error) {
	if len(key) < MinKeyLength {
		return 0, fault.Newf(op, fault.Invalid, "a link key has at least %d bytes", MinKeyLength)
	}
	if h.Version == 1 || h.Local || (h.Protocol != TCP4 && h.Protocol != TCP6) {
		return 0, fault.New(op, fault.Unauthenticated, "only a PROXY header of version 2 for a TCP connection can carry a proof")
	}
	link, ok := h.LinkID()
	if !ok {
		return 0, fault.New(op, fault.Unauthenticated, "the PROXY header names no link")
	}
	return link, nil
}

func mac(v, key []byte, link uint32, h *Header) []byte {
	m := hmac.New(sha256.New, key)
	var b [4 + 36]byte
	t := binary.LittleEndian.AppendUint32(b[:0], link)
	t = append(t, h.Source.Addr().AsSlice()...)
	t = binary.BigEndian.AppendUint16(t, h.Source.Port())
	t = append(t, h.Destination.Addr().AsSlice()...)
	t = binary.BigEndian.AppendUint16(t, h.Destination.Port())
	_, _ = m.Write(v)
	_, _ = m.Write(t)
	return m.Sum(v)
}
