package httpdoor

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Wrong secrets from one source that are answered as such: at once, and one more each. Secrets have 256 bits and cannot be guessed; this
// keeps a program that tries all the same, or has an old token, from filling logs. Others may come from the same address, through the
// same relay or proxy, so a right secret always works.
const (
	guessBurst = 30
	guessEvery = 2 * time.Second
)

// tooMany is the cause of a fault that stands for 429 (RFC 6585 4).
type tooMany struct{ wait time.Duration }

func (t *tooMany) Error() string { return "too many wrong secrets" }

// retryAfter is in whole seconds (RFC 9110 10.2.3), and not too early.
func (t *tooMany) retryAfter() string { return strconv.Itoa(int(math.Ceil(t.wait.Seconds()))) }

// wrongSecret counts a refusal of a secret against its source, and returns what to answer.
func (d *door) wrongSecret(r *http.Request, secret string, err error) error {
	if fault.KindOf(err) != fault.Unauthenticated {
		return err
	}
	from := source(r)
	wait := d.guesses.Take(from)
	if wait == 0 {
		return err
	}
	t := &tooMany{wait}
	return fault.Newf("httpdoor.wrongSecret", fault.Exhausted, "too many requests with a wrong secret came from %s; the %s of this one is wrong too", words(from), secret).
		Because(t).Advise("stop what keeps trying and check its %s; wrong ones are looked at again in %s s, a right one works at once", secret, t.retryAfter())
}

// words shows an address without the length of a prefix that is one address.
func words(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// source is where a request comes from. Of IPv6 it is the /64, which one machine has to itself.
func source(r *http.Request) netip.Prefix {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	a := at.Addr().Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // of a valid address, with a length it has
	return p
}
