package provisioning

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// Mode of a bulk operation.
const (
	BulkCreate  = "create"
	BulkUpdate  = "update"
	BulkIfMatch = "updateIfMatchETag"
	BulkDelete  = "delete"
	MaxBulk     = 100
)

// BulkError is an enrollment of a bulk operation that failed.
type BulkError struct {
	RegistrationID string `json:"registrationId"`
	Code           Code   `json:"errorCode"`
	Status         string `json:"errorStatus"`
}

// Bulk makes, changes or deletes individual enrollments in one transaction. Those that fail are returned and do not keep the others from
// being done; an error beside them is that of the store, and then nothing was done. mode is compared without regard to case.
func (s *Service) Bulk(ctx context.Context, mode string, list []json.RawMessage) ([]BulkError, error) {
	op := "provisioning.Bulk"
	known := slices.IndexFunc([]string{BulkCreate, BulkUpdate, BulkIfMatch, BulkDelete}, func(m string) bool { return lower(m) == lower(mode) })
	if known < 0 {
		return nil, fault.Newf(op, fault.Invalid, "mode %.40q is unknown", mode).Advise("use create, update, updateIfMatchETag or delete")
	}
	if len(list) > MaxBulk {
		return nil, fault.Newf(op, fault.Invalid, "%d enrollments were sent, %d are allowed", len(list), MaxBulk)
	}
	errs := []BulkError{}
	err := s.store().Write(ctx, func(tx *provisioningstore.Tx) error {
		for _, text := range list {
			id, err := s.one(tx, lower(mode), text)
			if kind := fault.KindOf(err); err != nil && (kind == fault.Exhausted || kind == fault.Unavailable || kind == fault.Timeout || kind == fault.Internal) {
				return err
			}
			if err != nil {
				errs = append(errs, BulkError{id, CodeOf(err), fault.Message(err)})
			}
		}
		return nil
	})
	return errs, err
}

func (s *Service) one(tx *provisioningstore.Tx, mode string, text json.RawMessage) (id string, err error) {
	var named struct {
		RegistrationID string `json:"registrationId"`
		ETag           string `json:"etag"`
	}
	if err := json.Unmarshal(text, &named); err != nil {
		return "", fault.New("provisioning.Bulk", fault.Invalid, "an enrollment is not the JSON that belongs here")
	}
	if mode == lower(BulkDelete) {
		return named.RegistrationID, s.drop(tx, lower(named.RegistrationID), false, named.ETag)
	}
	e, err := ParseEnrollment(text, false)
	if err != nil {
		return named.RegistrationID, err
	}
	match := ""
	switch mode {
	case lower(BulkUpdate):
		match = AnyETag
	case lower(BulkIfMatch):
		if match = named.ETag; match == "" {
			return e.RegistrationID, fault.Newf("provisioning.Bulk", fault.Precondition, "the etag of %q is missing", e.RegistrationID)
		}
	}
	_, err = s.put(tx, e, false, match)
	return e.RegistrationID, err
}
