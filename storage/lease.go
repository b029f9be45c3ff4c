package storage

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

// LeaseInfo is a lease as clients are shown it (Lease Blob).
type LeaseInfo struct {
	State  string // available, leased, expired, breaking, broken
	Locked bool
	Fixed  bool // it lapses, when Locked
}

type lease = storagestore.Lease

// active tells whether nobody else may change the blob.
func active(l lease, now time.Time) bool {
	return l.ID != "" && !l.Broken && (l.Until.IsZero() || now.Before(l.Until))
}

func leaseInfo(l lease, now time.Time) LeaseInfo {
	switch {
	case l.ID == "":
		return LeaseInfo{State: "available"}
	case l.Broken || l.Breaking && !active(l, now):
		return LeaseInfo{State: "broken"}
	case l.Breaking:
		return LeaseInfo{"breaking", true, l.Seconds > 0}
	case active(l, now):
		return LeaseInfo{"leased", true, l.Seconds > 0}
	}
	return LeaseInfo{State: "expired"}
}

// leaseForChange refuses who wants to change a blob that is somebody's, or says a lease that is none.
func leaseForChange(op string, l lease, id string, now time.Time) error {
	switch {
	case active(l, now) && id == "":
		return fault.New(op, fault.Precondition, "the blob is leased, and the request names no lease").Advise("send x-ms-lease-id, or wait until the lease has ended").Because(LeaseMissing)
	case active(l, now) && !strings.EqualFold(id, l.ID):
		return fault.New(op, fault.Precondition, "the lease of the request is not the blob's").Because(LeaseMismatch)
	case !active(l, now) && id != "":
		return fault.New(op, fault.Precondition, "the blob is not leased any more").Advise("acquire a lease again").Because(LeaseNotPresent)
	}
	return nil
}

// leaseForRead refuses who says a lease that is not the blob's.
func leaseForRead(op string, l lease, id string, now time.Time) error {
	if id == "" {
		return nil
	}
	return leaseForChange(op, l, id, now)
}

// LeaseAction is what is to be done with a lease (Lease Blob: x-ms-lease-action).
type LeaseAction string

const (
	Acquire LeaseAction = "acquire"
	Renew   LeaseAction = "renew"
	Change  LeaseAction = "change"
	Release LeaseAction = "release"
	Break   LeaseAction = "break"
)

// LeaseRequest asks for something about a lease.
type LeaseRequest struct {
	Action   LeaseAction
	ID       string // that it has: to renew, change, release
	Proposed string // that it is to have: to acquire, change; a new one when empty
	Seconds  int    // to acquire: 15 to 60, or -1 for no end
	Break    *int   // to break: seconds it goes on at most, 0 to 60; nil: as long as it would have
}

// Lease does something with a blob's lease. It returns the id the lease has, and for a break how many seconds it goes on.
func (a *Account) Lease(ctx context.Context, of Ref, r LeaseRequest, cond Condition) (info Info, id string, left int, err error) {
	op := "storage.Lease"
	if err := r.check(op); err != nil {
		return Info{}, "", 0, err
	}
	err = a.server.store.Together(ctx, func(tx *storagestore.Tx) error {
		b, err := a.row(tx, op, of)
		if err != nil {
			return err
		}
		if err := cond.forChange(op, b.ETag, b.Modified, true); err != nil {
			return err
		}
		now := a.server.clock.Now()
		if b.Lease, left, err = r.apply(op, b.Lease, now); err != nil {
			return err
		}
		id, info = b.Lease.ID, a.info(b)
		return tx.PutBlob(a.id, b, now)
	})
	return info, id, left, err
}

func (r *LeaseRequest) check(op string) error {
	bad := func(format string, args ...any) error {
		return fault.Newf(op, fault.Invalid, format, args...).Because(InvalidLeaseField)
	}
	if len(r.ID) > 64 || len(r.Proposed) > 64 {
		return bad("an id of a lease is a GUID")
	}
	switch r.Action {
	case Acquire:
		if r.Seconds != -1 && (r.Seconds < 15 || r.Seconds > 60) {
			return bad("a lease has 15 to 60 seconds, or -1 for no end")
		}
	case Renew, Release:
		if r.ID == "" {
			return bad("the request names no lease")
		}
	case Change:
		if r.ID == "" || r.Proposed == "" {
			return bad("the request does not name both the lease and the one it is to become")
		}
	case Break:
		if r.Break != nil && (*r.Break < 0 || *r.Break > 60) {
			return bad("a lease that is broken goes on for 0 to 60 seconds")
		}
	default:
		return bad("%.40q is nothing that can be done with a lease", string(r.Action))
	}
	return nil
}

// apply is the table of Lease Blob: what each action does in each state.
func (r *LeaseRequest) apply(op string, l lease, now time.Time) (next lease, left int, err error) {
	refuse := func(why Reason, words string) (lease, int, error) {
		return l, 0, fault.New(op, fault.Conflict, words).Because(why)
	}
	state, mine := leaseInfo(l, now).State, strings.EqualFold(r.ID, l.ID)
	until := func(seconds int) time.Time {
		if seconds <= 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(seconds) * time.Second)
	}
	switch r.Action {
	case Acquire:
		same := r.Proposed != "" && strings.EqualFold(r.Proposed, l.ID)
		switch {
		case state == "leased" && !same:
			return refuse(LeaseTaken, "the blob is leased already")
		case state == "breaking" && same:
			return refuse(LeaseBreaking, "the lease is being broken")
		case state == "breaking":
			return refuse(LeaseTaken, "the blob is leased already")
		}
		next = lease{ID: r.Proposed, Seconds: max(r.Seconds, 0), Until: until(r.Seconds)}
		if next.ID == "" {
			next.ID = newLeaseID()
		}
		return next, 0, nil
	case Renew:
		switch {
		case state == "available" || !mine:
			return refuse(LeaseOther, "the lease of the request is not the blob's")
		case state == "breaking" || state == "broken":
			return refuse(LeaseBroken, "the lease is broken")
		}
		return lease{ID: l.ID, Seconds: l.Seconds, Until: until(l.Seconds)}, 0, nil
	case Change:
		switch {
		case state != "leased" && state != "breaking":
			return refuse(LeaseNone, "the blob is not leased")
		case !mine && !strings.EqualFold(r.Proposed, l.ID):
			return refuse(LeaseOther, "the lease of the request is not the blob's")
		case state == "breaking":
			return refuse(LeaseBeingBroken, "the lease is being broken")
		}
		l.ID = r.Proposed
		return l, 0, nil
	case Release:
		if state == "available" || !mine {
			return refuse(LeaseOther, "the lease of the request is not the blob's")
		}
		return lease{}, 0, nil
	case Break:
		if state == "available" {
			return refuse(LeaseNone, "the blob is not leased")
		}
		return r.broken(l, now)
	}
	return l, 0, nil
}

// broken ends a lease: at once, after a while, or when it would have ended.
func (r *LeaseRequest) broken(l lease, now time.Time) (lease, int, error) {
	wait := time.Duration(0)
	if !l.Until.IsZero() {
		wait = max(l.Until.Sub(now), 0)
	}
	if r.Break != nil {
		asked := time.Duration(*r.Break) * time.Second
		if l.Until.IsZero() || asked < wait {
			wait = asked
		}
	}
	if !active(l, now) {
		wait = 0
	}
	if wait == 0 {
		return lease{ID: l.ID, Seconds: l.Seconds, Broken: true}, 0, nil
	}
	return lease{ID: l.ID, Seconds: l.Seconds, Breaking: true, Until: now.Add(wait)}, int((wait + time.Second - 1) / time.Second), nil
}

// newLeaseID returns a GUID.
func newLeaseID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
