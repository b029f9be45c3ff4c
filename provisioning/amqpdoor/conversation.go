package amqpdoor

import (
	"crypto/x509"
	"slices"
	"strings"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/inturn"
)

// conversation is one connection.
type conversation struct {
	door         *Door
	conn         Conn
	amqp         *engine.Conn
	certificates []*x509.Certificate
	who          *device // of SASL; nil when devices prove themselves by certificate
	line         inturn.Line
	busy         sync.WaitGroup // unproved
	proving      sync.Once
	proved       chan struct{} // closed when a link was accepted
	over         chan struct{}

	mu      sync.Mutex     // guards the field below
	answers []*engine.Link // the peer receives on them
}

// Attach implements engine.Handler.
func (v *conversation) Attach(l *engine.Link) {
	scope, registration, ok := parse(amqptext.Path(l.Address()))
	if !ok {
		l.Refuse(v.refusal(nil, fault.Newf("amqpdoor.Attach", fault.NotFound, "provisioning has no node %.100q", l.Address()).
			Advise("links are on {id scope}/registrations/{registration id}")))
		return
	}
	if v.line.Len() >= maxLinks {
		l.Refuse(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "%d links wait to be accepted", maxLinks))
		return
	}
	v.line.Do(func() { v.attach(l, scope, registration) })
}

// Ended implements engine.Handler.
func (v *conversation) Ended(error) {
	close(v.over)
	v.line.Wait()
	v.busy.Wait()
}

// unproved ends a connection whose peer has proved nothing in time.
func (v *conversation) unproved() {
	due, stop := v.door.clock.After(v.door.cfg.Unproved)
	defer stop()
	select {
	case <-v.proved:
	case <-v.over:
	case <-due:
		v.conn.Refuse("", fault.Newf("amqpdoor.Converse", fault.Timeout, "the peer proved nothing within %s", v.door.cfg.Unproved).
			Advise("a device proves itself by SASL, or by its certificate when it attaches links"))
		v.amqp.Close(amqp.Errorf(amqp.ConditionConnectionForced, "Nothing was proved on this connection."))
	}
}

func (v *conversation) attach(l *engine.Link, scope, registration string) {
	who, err := v.identify(scope, registration)
	if err == nil {
		err = who.service.Prove(v.amqp.Context(), who.proof)
	}
	if err == nil && l.PeerReceives() {
		err = v.add(l)
	}
	if err != nil {
		v.tell(registration, err)
		l.Refuse(v.refusal(nil, err))
		return
	}
	v.proving.Do(func() {
		close(v.proved)
		v.amqp.Restrain(false)
	})
	if !l.PeerReceives() {
		l.Accept(engine.Accept{Credit: v.door.cfg.Waiting, MaxMessage: maxRequest, Receive: func(d *engine.Delivery) {
			v.line.Do(func() { v.request(who, d) })
		}})
		return
	}
	l.Accept(engine.Accept{})
}

// add notes a link that answers may go to.
func (v *conversation) add(l *engine.Link) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.answers) >= maxLinks {
		return fault.Newf("amqpdoor.attach", fault.Exhausted, "the connection has %d links for answers already", maxLinks)
	}
	v.answers = append(v.answers, l)
	l.OnEnd(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.answers = slices.DeleteFunc(v.answers, func(a *engine.Link) bool { return a == l })
	})
	return nil
}

// identify returns the device that a link is of.
func (v *conversation) identify(scope, registration string) (*device, error) {
	if v.who != nil {
		if !strings.EqualFold(scope, v.who.service.Scope()) || !strings.EqualFold(registration, v.who.proof.RegistrationID) {
			return nil, fault.Newf("amqpdoor.identify", fault.Denied, "the device attaches a link as %.140q and connected as %.140q", registration, v.who.proof.RegistrationID)
		}
		return v.who, v.door.mayStay(v.conn, v.who.service)
	}
	who, err := v.door.find(v.conn, scope)
	if err == nil {
		who.proof = provisioning.Proof{RegistrationID: registration, Certificates: v.certificates}
	}
	return who, err
}

// answerLink finds the link for the answers to what comes on l: of the same session and address.
func (v *conversation) answerLink(l *engine.Link) *engine.Link {
	address := amqptext.Path(l.Address())
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, a := range slices.Backward(v.answers) {
		if a.Session() == l.Session() && strings.EqualFold(amqptext.Path(a.Address()), address) {
			return a
		}
	}
	return nil
}
