package amqpdoor

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// places keep account of who reads what: which receivers a partition has in each consumer group.
type places struct {
	readers int // without epoch, at most

	mu sync.Mutex // guards the fields below
	at map[place]*occupants
}

// place is a partition as a consumer group sees it.
type place struct {
	host, entity, group string // lower case
	partition           int
}

// occupants are the receivers of one place: one with an epoch, or some without.
type occupants struct {
	holder *receiver
	others []*receiver
}

// enter lets a receiver in, unless those who are there exclude it. ousted have to be detached with why by the caller. Who was let in
// leaves by leave.
func (p *places) enter(at place, r *receiver) (ousted []*receiver, refused *amqp.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.at[at]
	if o == nil {
		o = &occupants{}
		p.at[at] = o
	}
	if !r.exclusive {
		switch {
		case o.holder != nil:
			return nil, amqp.Errorf(amqp.ConditionStolen, "At least one receiver for the endpoint is created with epoch of '%d', and so non-epoch receiver is not allowed. "+
				"Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.", o.holder.epoch)
		case len(o.others) >= p.readers:
			return nil, amqp.Errorf(amqp.ConditionResourceLimitExceeded, "Exceeded the maximum number of allowed receivers per partition in a consumer group which is %d. "+
				"List of connected receivers - %s.", p.readers, names(o.others))
		}
		o.others = append(o.others, r)
		return nil, nil
	}
	if h := o.holder; h != nil && h.epoch > r.epoch {
		return nil, amqp.Errorf(amqp.ConditionStolen, "Receiver '%s' with a higher epoch '%d' already exists. Receiver '%s' with epoch %d cannot be created. "+
			"Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.",
			h.name, h.epoch, r.name, r.epoch)
	}
	ousted = o.others
	if o.holder != nil {
		ousted = append(ousted, o.holder)
	}
	o.holder, o.others = r, nil
	return ousted, nil
}

// ousting is what a receiver is told that r took the place of.
func ousting(old, r *receiver) *amqp.Error {
	epoch := "-1"
	if old.exclusive {
		epoch = fmt.Sprint(old.epoch)
	}
	return amqp.Errorf(amqp.ConditionStolen, "New receiver '%s' with higher epoch of '%d' is created hence current receiver '%s' with epoch '%s' is getting disconnected. "+
		"If you are recreating the receiver, make sure a higher epoch is used.", r.name, r.epoch, old.name, epoch)
}

// leave takes a receiver out, which may have been ousted before.
func (p *places) leave(at place, r *receiver) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.at[at]
	if o == nil {
		return
	}
	if o.holder == r {
		o.holder = nil
	}
	o.others = slices.DeleteFunc(o.others, func(other *receiver) bool { return other == r })
	if o.holder == nil && len(o.others) == 0 {
		delete(p.at, at)
	}
}

// len is how many places are taken.
func (p *places) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.at)
}

func names(rs []*receiver) string {
	all := make([]string, len(rs))
	for i, r := range rs {
		all[i] = r.name
	}
	return strings.Join(all, ", ")
}
