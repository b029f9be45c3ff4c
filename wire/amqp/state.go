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
