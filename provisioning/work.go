package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// work assigns a device to a hub.
func (s *Server) work(ctx context.Context, j job) {
	if parked := s.workOn(ctx, j); !parked {
		s.give(j)
	}
}

// workOn does one attempt, and tells whether the registration waits for another one.
func (s *Server) workOn(ctx context.Context, j job) (parked bool) {
	svc, ok := s.Service(j.service)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.WorkTimeout)
	defer cancel()
	row, err := s.store.Registration(ctx, j.service, j.registration)
	if err != nil || row.Status != Assigning {
		return false
	}
	rec, err := recordOf(row)
	if err != nil {
		s.log.Error("provisioning: a registration cannot be read", "service", svc.Name(), "registration", j.registration, "err", err)
		return false
	}
	out := rec // what is to be written
	err = svc.assign(ctx, &out)
	now := s.clock.Now()
	switch kind := fault.KindOf(err); {
	case err == nil:
		out.row.Status = Assigned
	case (kind == fault.Unavailable || kind == fault.Timeout) && !isCoded(err) && now.Sub(rec.Began) < s.cfg.GiveUp:
		// The device asks again soon, and with that it is tried again.
		if full, parked := s.far.parks(err, j); full {
			return parked
		}
		s.log.Warn("provisioning: hub not reached yet", "service", svc.Name(), "registration", rec.row.ID, "err", err)
		return false
	default:
		out = rec
		out.row.Status, out.ErrorCode, out.ErrorMessage = Failed, CodeOf(err), fault.Message(err)
		s.log.Warn("provisioning: registration failed", "service", svc.Name(), "registration", rec.row.ID, "code", int(out.ErrorCode), "err", err)
	}
	out.Asked = nil
	// What was done at the hub is written down even when the process stops now.
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancelLast()
	if err := svc.write(last, &out); err != nil {
		s.log.Error("provisioning: registration not written down", "service", svc.Name(), "registration", rec.row.ID, "err", err)
		return false
	}
	s.metrics.registered.WithLabelValues(svc.Name(), out.row.Status).Inc()
	if out.row.Status == Assigned {
		s.log.Info("provisioning: assigned", "service", svc.Name(), "registration", rec.row.ID, "hub", out.Hub, "device", out.Device, "substatus", out.Substatus)
		svc.release(last, &out)
	}
	return false
}

func isCoded(err error) bool {
	_, ok := errors.AsType[*coded](err)
	return ok
}

// write writes a record unless another operation began meanwhile.
func (s *Service) write(ctx context.Context, rec *record) error {
	return s.store().Write(ctx, func(tx *provisioningstore.Tx) error {
		row, err := tx.Registration(s.id, rec.row.ID)
		if err != nil {
			return err
		}
		if row.Operation != rec.row.Operation {
			return fault.New("provisioning.write", fault.Conflict, "another registration of the device began meanwhile")
		}
		return rec.put(tx, s.server.clock.Now())
	})
}

// release tells the hub that a device left, and notes that it knows.
func (s *Service) release(ctx context.Context, rec *record) {
	if rec.Former == nil {
		return
	}
	h, err := s.hub(ctx, rec.Former.Hub)
	if err == nil {
		err = h.Release(ctx, rec.Former.Device)
	} else if fault.KindOf(err) == fault.NotFound {
		err = nil // it is not linked any more: there is nobody to tell
	}
	if err == nil {
		rec.Former = nil
		err = s.write(ctx, rec)
	}
	if err != nil {
		s.server.log.Warn("provisioning: the device is still at its former hub", "service", s.Name(), "registration", rec.row.ID, "err", err)
	}
}

// assign does what the enrollment says and leaves in rec where the device is then.
func (s *Service) assign(ctx context.Context, rec *record) error {
	op := "provisioning.assign"
	e, err := s.enrollmentOf(ctx, rec)
	if err != nil {
		return err
	}
	if e.Status == Disabled {
		return fault.New(op, fault.Denied, "the enrollment was disabled meanwhile")
	}
	d, err := e.device(rec)
	if err != nil {
		return err
	}
	if rec.Former != nil {
		s.release(ctx, rec)
	}
	target, twin, payload := rec.Hub, e.twin(), rec.Payload
	first := rec.Hub == ""
	if first || e.Reprovision.UpdateHubAssignment {
		a, err := s.allocate(ctx, e, rec)
		if err != nil {
			return err
		}
		target, payload = a.hub, a.payload
		if a.twin != nil {
			twin = *a.twin
		}
	}
	h, err := s.hub(ctx, target)
	if err != nil {
		return err
	}
	mode, substatus := Keep, rec.Substatus
	moves := !first && (target != rec.Hub || d.ID != rec.Device)
	switch {
	case first:
		mode, substatus = Merge, InitialAssignment
	case !e.Reprovision.UpdateHubAssignment: // it stays where it is, as it is
	case !e.Reprovision.MigrateDeviceData:
		mode, substatus = Reset, DeviceDataReset
	case moves:
		mode, substatus = Reset, DeviceDataMigrated
		if twin, err = s.carried(ctx, rec, twin); err != nil {
			return err
		}
	}
	keys, err := h.Assign(ctx, d, twin, mode)
	if err != nil {
		return err
	}
	if moves {
		rec.Former = &place{rec.Hub, rec.Device}
	}
	if rec.Attest == AttestTPM {
		rec.TPMKey = keys.Primary
	}
	rec.Hub, rec.Device, rec.Substatus, rec.Payload = target, d.ID, substatus, payload
	return nil
}

// carried returns the twin that goes with a device to another hub: the one it had, or the initial one when the old hub has forgotten it
// or is not linked any more.
func (s *Service) carried(ctx context.Context, rec *record, initial Twin) (Twin, error) {
	old, err := s.hub(ctx, rec.Hub)
	if err == nil {
		var t Twin
		if t, err = old.Twin(ctx, rec.Device); err == nil {
			return t, nil
		}
	}
	if fault.KindOf(err) == fault.NotFound {
		return initial, nil
	}
	return Twin{}, err
}

// enrollmentOf finds the enrollment by which a device registered.
func (s *Service) enrollmentOf(ctx context.Context, rec *record) (*Enrollment, error) {
	kind, id := provisioningstore.Individual, rec.row.ID
	if rec.row.Group != "" {
		kind, id = provisioningstore.Group, rec.row.Group
	}
	row, err := s.store().Enrollment(ctx, s.id, kind, id)
	if err != nil {
		return nil, err
	}
	e, err := stored(row)
	return &e, err
}

// device makes the identity at the hub.
func (e *Enrollment) device(rec *record) (Device, error) {
	d := Device{ID: e.DeviceID, Edge: e.Capabilities != nil && e.Capabilities.IoTEdge}
	if d.ID == "" {
		d.ID = rec.row.ID
	}
	if e.Attestation.Type != rec.Attest {
		return d, fault.New("provisioning.device", fault.Denied, "the enrollment attests in another way meanwhile").Advise("register again")
	}
	switch rec.Attest {
	case AttestSymmetricKey:
		keys, err := e.deviceKeys(rec.Spelling)
		d.PrimaryKey, d.SecondaryKey = keys.Primary, keys.Secondary
		return d, err
	case AttestX509:
		d.X509, d.PrimaryThumbprint = true, rec.Leaf.SHA256
		if rec.row.Group == "" {
			for _, c := range e.Attestation.X509.Client.parsed() {
				if t := thumbprint(c); t != d.PrimaryThumbprint {
					d.SecondaryThumbprint = t
				}
			}
		}
	}
	return d, nil
}

// rawOrNil leaves out what is no value.
func rawOrNil(r json.RawMessage) json.RawMessage {
	if len(r) == 0 || string(r) == "null" {
		return nil
	}
	return r
}
