package provisioning

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// Registration is what a device sends to register.
type Registration struct {
	Payload        json.RawMessage // for the webhook; may be nil
	StorageRootKey string          // of a device with a TPM
}

// RetryAfter returns how long devices are told to wait.
func (s *Service) RetryAfter() time.Duration { return s.server.cfg.RetryAfter }

// Prove tells whether a device is enrolled and may register. Faults are those of Register's proof.
func (s *Service) Prove(ctx context.Context, p Proof) error {
	_, err := s.prove(ctx, p)
	return err
}

// Register begins to assign a device to a hub, or finds that this is being done already. Faults: Unauthenticated, in one wording, for who
// has not proved that it is enrolled; Expired and Denied for who has, and Exhausted (429001) when too many wait.
func (s *Service) Register(ctx context.Context, p Proof, r Registration) (Operation, error) {
	op := "provisioning.Register"
	who, err := s.prove(ctx, p)
	if err != nil {
		return Operation{}, err
	}
	if string(r.Payload) == "null" {
		r.Payload = nil
	}
	if len(r.Payload) > MaxPayload {
		return Operation{}, fault.Newf(op, fault.TooLarge, "the payload has %d bytes, %d are allowed", len(r.Payload), MaxPayload)
	}
	if err := shallow(r.Payload); err != nil {
		return Operation{}, err
	}
	if who.enrollment.Attestation.Type == AttestTPM {
		if r.StorageRootKey == "" {
			r.StorageRootKey = who.enrollment.Attestation.TPM.StorageRootKey
		}
		if _, err := parseTPMKey(r.StorageRootKey); err != nil {
			return Operation{}, err
		}
	}
	j := job{s.id, who.id}
	began := false
	for {
		before, err := s.store().Registration(ctx, s.id, who.id)
		if err == nil && before.Status == Assigning {
			return s.resume(before)
		}
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return Operation{}, err
		}
		if !began {
			began = true
			if wait := s.server.often.Take(j); wait > 0 {
				return Operation{}, with(fault.Newf(op, fault.Exhausted, "%q has registered too often", who.id).
					Advise("register again in %s; a device that has its hub needs to register only when that refuses it", wait.Round(time.Second)), Throttled)
			}
		}
		given, err := s.server.take(j)
		if err != nil {
			return Operation{}, err
		}
		if given == nil {
			break
		}
		// Another connection of the device is about to write, or the operation before has just ended and is about to give its place back.
		select {
		case <-given:
		case <-ctx.Done():
			return Operation{}, s.server.busy()
		}
	}
	var rec record
	err = s.store().Write(ctx, func(tx *provisioningstore.Tx) error {
		row, err := tx.Registration(s.id, who.id)
		if fault.KindOf(err) == fault.NotFound && err != nil {
			row, err = provisioningstore.Registration{Service: s.id, ID: who.id, Document: []byte("{}")}, nil
		}
		if err != nil {
			return err
		}
		if rec, err = recordOf(row); err != nil {
			return err
		}
		if rec.row.Status == Assigning { // another process was faster
			return nil
		}
		now := s.server.clock.Now()
		rec.begin(who, r, now)
		return rec.put(tx, now)
	})
	if err != nil {
		s.server.give(j)
		return Operation{}, err
	}
	s.server.queue <- j // never waits: it has room for everybody who took a place
	return rec.operation(), nil
}

// begin makes the record that of a new operation. Where the device is stays.
func (r *record) begin(who *proved, reg Registration, now time.Time) {
	r.row.Group, r.row.Operation, r.row.Status = who.group(), newOperation(), Assigning
	r.Spelling, r.Attest, r.SRK = who.spelling, who.enrollment.Attestation.Type, reg.StorageRootKey
	r.Leaf, r.Authority = nil, nil
	if who.leaf != nil {
		r.Leaf = infoOf(who.leaf)
	}
	if who.authority != nil {
		r.Authority = infoOf(who.authority)
	}
	r.Began, r.Asked, r.Trouble = now, reg.Payload, ""
	r.ErrorCode, r.ErrorMessage = 0, ""
}

// resume returns an operation that has not ended, and takes it up when nobody in this process works on it: its process was stopped, or
// its hub could not be reached.
func (s *Service) resume(row provisioningstore.Registration) (Operation, error) {
	rec, err := recordOf(row)
	if err != nil {
		return Operation{}, err
	}
	j := job{s.id, row.ID}
	if given, err := s.server.take(j); err == nil && given == nil {
		s.server.queue <- j
	}
	return rec.operation(), nil
}

// Operation returns how far an operation of a device is. NotFound (404202) when it is not the device's newest.
func (s *Service) Operation(ctx context.Context, p Proof, id string) (Operation, error) {
	who, rec, err := s.registered(ctx, p)
	if err != nil {
		return Operation{}, err
	}
	if rec == nil || rec.row.Operation != id {
		return Operation{}, with(fault.New("provisioning.Operation", fault.NotFound, "the device has no such registration operation, or began another one since").
			Advise("register again"), NoOperation)
	}
	if rec.row.Status == Assigning {
		return s.resume(rec.row)
	}
	o := rec.operation()
	return o, s.forDevice(who, rec, o.State)
}

// DeviceState returns a device's registration to itself. NotFound (404201) when it never registered.
func (s *Service) DeviceState(ctx context.Context, p Proof) (State, error) {
	who, rec, err := s.registered(ctx, p)
	if err != nil {
		return State{}, err
	}
	if rec == nil {
		return State{}, fault.New("provisioning.DeviceState", fault.NotFound, "the device has not registered yet").Advise("register it")
	}
	state := rec.state()
	return *state, s.forDevice(who, rec, state)
}

// registered finds the record of a device; nil when there is none.
func (s *Service) registered(ctx context.Context, p Proof) (*proved, *record, error) {
	who, err := s.prove(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	row, err := s.store().Registration(ctx, s.id, who.id)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			err = nil
		}
		return who, nil, err
	}
	rec, err := recordOf(row)
	return who, &rec, err
}

// forDevice adds what only the device may read: the key for its hub, for its TPM.
func (s *Service) forDevice(who *proved, rec *record, state *State) error {
	if rec.row.Status != Assigned || rec.Attest != AttestTPM || who.enrollment.Attestation.TPM == nil {
		return nil
	}
	blob, err := wrapFor(*who.enrollment.Attestation.TPM, rec.SRK, rec.TPMKey, rec.Hub+"/"+rec.Device)
	if err != nil {
		return err
	}
	state.TPM = &TPMState{base64.StdEncoding.EncodeToString(blob)}
	return nil
}

// take takes a place for a registration. When it has one already, because it waits or is worked on, what is returned is closed once that is
// given back. Exhausted when there is no place.
func (s *Server) take(j job) (given <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if taken, ok := s.working[j]; ok {
		return taken, nil
	}
	select {
	case s.places <- struct{}{}:
	default:
		return nil, s.busy()
	}
	s.working[j] = make(chan struct{})
	return nil, nil
}

func (s *Server) busy() error {
	return with(fault.New("provisioning.Register", fault.Exhausted, "too many devices register at the moment").Advise("register again in a moment"), Throttled)
}

// give gives a place back.
func (s *Server) give(j job) {
	s.mu.Lock()
	close(s.working[j])
	delete(s.working, j)
	s.mu.Unlock()
	<-s.places
}
