package amqp

// State is the state of a delivery (3.4): Accepted, Rejected, Released, Modified, Received, OtherState, or nil for none.
type State interface{ state() }

// Accepted is the outcome of a delivery that was taken (3.4.2).
type Accepted struct{}

// Rejected is the outcome of a delivery that is invalid (3.4.3). Error may be nil.
type Rejected struct{ Error *Error }

// Released is the outcome of a delivery that was not processed (3.4.4).
type Released struct{}

// Modified is the outcome of a delivery that was not processed and changed (3.4.5).
type Modified struct {
	DeliveryFailed, UndeliverableHere bool
	Annotations                       Map
}

// Received tells how much of a delivery has come (3.4.1).
type Received struct {
	SectionNumber uint32
	SectionOffset uint64 // bytes
}

// OtherState is a state this package has no type for, such as those of transactions (4.5.5).
type OtherState struct{ Described Described }

func (Accepted) state()   {}
func (Rejected) state()   {}
func (Released) state()   {}
func (Modified) state()   {}
func (Received) state()   {}
func (OtherState) state() {}

// appendState writes a state with its descriptor; null when there is none.
func appendState(dst []byte, s State) []byte {
	var c composite
	switch s := s.(type) {
	case Accepted:
		return append(AppendDescriptor(dst, codeAccepted), tagList0)
	case Released:
		return append(AppendDescriptor(dst, codeReleased), tagList0)
	case Rejected:
		c = compose(dst, codeRejected)
		c.error(s.Error)
	case Modified:
		c = compose(dst, codeModified)
		c.flag(s.DeliveryFailed)
		c.flag(s.UndeliverableHere)
		c.mapping(s.Annotations)
	case Received:
		c = compose(dst, codeReceived)
		c.uint(s.SectionNumber)
		c.maybeUlong(Some(s.SectionOffset))
	case OtherState:
		c = composite{dst: dst}
		c.value(s.Described)
		return c.dst
	default:
		return append(dst, tagNull)
	}
	return c.close()
}

func (c *composite) state(s State) {
	if c.add(s != nil) {
		c.dst = appendState(c.dst, s)
	}
}

func (f *fields) state() State {
	raw := f.raw()
	if raw == nil {
		return nil
	}
	code, rest, err := descriptor(raw)
	if err != nil {
		f.wrap(err)
		return nil
	}
	switch code {
	case codeAccepted, codeReleased, codeRejected, codeModified, codeReceived:
	default:
		if d, ok := f.parse(raw).(Described); ok {
			return OtherState{Described: d}
		}
		return nil
	}
	n, _, err := openList(rest, code)
	if err != nil {
		f.wrap(err)
		return nil
	}
	var s State
	switch code {
	case codeAccepted:
		s = Accepted{}
	case codeReleased:
		s = Released{}
	case codeRejected:
		s = Rejected{Error: n.error()}
	case codeModified:
		s = Modified{DeliveryFailed: n.flag(), UndeliverableHere: n.flag(), Annotations: n.mapping()}
	case codeReceived:
		r := Received{SectionNumber: n.mustUint()}
		offset := n.ulong()
		n.require(offset.Set)
		r.SectionOffset = offset.Value
		s = r
	}
	if err := n.done(); err != nil {
		f.wrap(err)
		return nil
	}
	return s
}
