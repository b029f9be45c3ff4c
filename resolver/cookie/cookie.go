package cookie

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	// Size is how long a whole cookie is: the client's 8 bytes and the server's 16.
	Size = clientSize + serverSize
	// SecretSize is how long a secret is.
	SecretSize = 16

	clientSize = 8
	serverSize = 16
	version    = 1

	// RFC 9018 section 4.3.
	maxAge   = time.Hour
	maxAhead = 5 * time.Minute
)

// Jar makes and checks cookies. Make it with New.
type Jar struct {
	given bool
	keys  atomic.Pointer[keys]
}

type keys struct{ now, before sipKey }

// New returns a Jar with a secret of SecretSize bytes, which stays, or without one, when it makes its own.
func New(secret []byte) (*Jar, error) {
	if len(secret) != 0 && len(secret) != SecretSize {
		return nil, fault.Newf("cookie.New", fault.Invalid, "the secret for DNS cookies has %d bytes", len(secret)).
			Advise("give %d random bytes, the same on all servers behind one address, or none", SecretSize)
	}
	j := &Jar{given: len(secret) > 0}
	if j.given {
		k := newSipKey([SecretSize]byte(secret))
		j.keys.Store(&keys{k, k})
		return j, nil
	}
	k := random()
	j.keys.Store(&keys{k, k})
	return j, nil
}

func random() sipKey {
	var secret [SecretSize]byte
	_, _ = rand.Read(secret[:]) // never fails
	return newSipKey(secret)
}

// Roll changes the secret, unless it was given. Cookies of the one before stay good until the next Roll.
func (j *Jar) Roll() {
	if !j.given {
		j.keys.Store(&keys{random(), j.keys.Load().now})
	}
}

// Append appends the whole cookie for a client: its own, of 8 bytes, and ours.
func (j *Jar) Append(dst, client []byte, from netip.Addr, now time.Time) []byte {
	start := len(dst)
	dst = append(dst, client[:clientSize]...)
	dst = append(dst, version, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(now.Unix()))
	return binary.LittleEndian.AppendUint64(dst, j.keys.Load().now.sum([16]byte(dst[start:]), from))
}

// Good tells whether a client sent a cookie that was made for it by us, or by one who has our secret, within the last hour.
func (j *Jar) Good(cookie []byte, from netip.Addr, now time.Time) bool {
	if len(cookie) != Size || cookie[clientSize] != version {
		return false
	}
	// Serial number arithmetic (RFC 1982): the time is the low 32 bits.
	age := time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(cookie[12:]))) * time.Second
	if age > maxAge || age < -maxAhead {
		return false
	}
	k := j.keys.Load()
	head := [16]byte(cookie)
	return same(k.now.sum(head, from), cookie) || k.before != k.now && same(k.before.sum(head, from), cookie)
}

func same(sum uint64, cookie []byte) bool {
	var want [8]byte
	binary.LittleEndian.PutUint64(want[:], sum)
	return subtle.ConstantTimeCompare(want[:], cookie[16:Size]) == 1
}

// sum hashes client cookie, version, reserved bytes, time and address.
func (k sipKey) sum(head [16]byte, from netip.Addr) uint64 {
	var in [32]byte
	copy(in[:], head[:])
	from = from.Unmap()
	if from.Is4() {
		ip := from.As4()
		return k.hash(in[:16+copy(in[16:], ip[:])])
	}
	ip := from.As16()
	return k.hash(in[:16+copy(in[16:], ip[:])])
}
