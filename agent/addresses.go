package agent

import (
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/identity"
)

// addresses puts addresses on the configured interface. Both methods return one sentence for each address that could not be dealt
// with.
type addresses interface {
	// add puts the missing ones of want there. Addresses which the machine has already, wherever, are left alone.
	add(want []netip.Addr) (problems []string)
	// prune removes what this agent put there, now or in an earlier life, and is not in want.
	prune(want []netip.Addr) (problems []string)
}

// noAddresses is used when no interface is configured: the addresses must be there already.
type noAddresses struct{}

func (noAddresses) add([]netip.Addr) []string   { return nil }
func (noAddresses) prune([]netip.Addr) []string { return nil }

// ownTag marks an agent's addresses, so that several agents of one machine keep out of each other's way: "i" and six letters or digits
// that follow from its id.
func ownTag(id identity.ID) string {
	sum := sha256.Sum256([]byte(id))
	return "i" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:4]))[:6]
}

// maxLabel is how long an address's label may be (IFNAMSIZ without its final zero).
const maxLabel = 15

// label returns the label of an address on an interface. Old tools expect it to begin with the interface's name, so it does where
// there is room.
func label(iface, tag string) string {
	if l := iface + ":" + tag; len(l) <= maxLabel {
		return l
	}
	return tag
}

// ours says whether a label is one of this agent's, on whichever interface.
func ours(l, tag string) bool { return l == tag || strings.HasSuffix(l, ":"+tag) }
