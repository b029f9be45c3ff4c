package contract

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// partitionKey is the name under which System lists the partition key.
const partitionKey = "x-opt-partition-key"

// Enforcer is a contract that events are held against.
type Enforcer struct {
	name     string // "the contract ot/telemetry, version 3"
	spec     *resource.ContractSpec
	messages []*messageType
	largest  int64     // bytes an event may have; 0: any
	scratch  sync.Pool // of *scratch
	rate     rate
}

// messageType is one type of message.
type messageType struct {
	name   string // "the contract ot/telemetry, version 3, message telemetry"
	when   *message.Expression
	whole  bool
	strict bool // what is not listed breaks the contract

	root   *node   // of the fields; nil when none is listed
	rules  []*rule // of the fields, by index
	stream bool    // no field changes its place: the outgoing body can be written while the other is read

	properties, system *names
	device, key        passage
}

// passage is how something crosses.
type passage uint8

const (
	hashed passage = iota
	plain
)

// Compile makes an enforcer of what was agreed. Invalid when the text contradicts itself, an expression cannot be read, or something has to
// be hashed and there is no key.
func Compile(c *plan.Contract) (*Enforcer, error) {
	op := "contract.Compile"
	x := &Enforcer{name: fmt.Sprintf("the contract %s, version %d", c.Name, c.Version), spec: &c.Spec}
	if len(c.Spec.Messages) == 0 {
		return nil, fault.New(op, fault.Invalid, x.name+", lists no message").Advise("nothing could cross: list what may")
	}
	for i := range c.Spec.Messages {
		m, err := x.compile(&c.Spec.Messages[i])
		if err != nil {
			return nil, err
		}
		if len(c.HashKey) == 0 && m.hashes() {
			return nil, fault.Newf(op, fault.Invalid, "%s needs a key to hash with and was given none", m.name).
				Advise("keys are made by the control plane: look whether it is of the same version as this process")
		}
		x.messages = append(x.messages, m)
	}
	x.largest = int64(c.Spec.Limits.MaxEventBytes)
	if day := c.Spec.Limits.BytesPerDay; day > 0 && (x.largest == 0 || day < x.largest) {
		x.largest = day // it would wait for ever
	}
	x.rate.perSecond = c.Spec.Limits.EventsPerSecond
	key := append([]byte(nil), c.HashKey...)
	x.scratch.New = func() any { return &scratch{mac: hmac.New(sha256.New, key)} }
	return x, nil
}

func (x *Enforcer) compile(spec *resource.ContractMessage) (*messageType, error) {
	m := &messageType{name: x.name + ", message " + spec.Name, whole: spec.WholeBody, strict: spec.Otherwise == resource.OtherwiseDeadLetter}
	var err error
	if spec.When != "" {
		if m.when, err = message.Compile(spec.When); err != nil {
			return nil, at(m.name+": when: ", err)
		}
	}
	if !spec.WholeBody {
		if err := m.compileFields(spec.Fields); err != nil {
			return nil, err
		}
	}
	if m.properties, err = compileNames(m.name+", property ", spec.Properties); err != nil {
		return nil, err
	}
	if m.system, err = compileNames(m.name+", system ", spec.System); err != nil {
		return nil, err
	}
	m.device, m.key = m.system.passage(event.DeviceID), m.system.passage(partitionKey)
	if r := m.system.byName[partitionKey]; r != nil {
		r.required = false // it stands beside the properties, not among them
	}
	return m, nil
}

// hashes tells whether anything of a message of the type may have to be hashed.
func (m *messageType) hashes() bool {
	for _, r := range m.rules {
		if r.hash {
			return true
		}
	}
	return m.device == hashed || m.key == hashed || m.properties.hashes || m.system.hashes
}

// at says where in the contract something is wrong.
func at(where string, err error) error {
	return fault.New("contract.Compile", fault.Invalid, where+fault.Message(err)).Advise("%s", fault.Next(err)).Because(err)
}
