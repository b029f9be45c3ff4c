package provisioning

import (
	"context"
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

func lower(s string) string { return strings.ToLower(s) }

// MaxPage is the most a query returns at once.
const MaxPage = 1000

// Page is a part of what a query found. Continuation is empty at its end.
type Page[T any] struct {
	Items        []T
	Continuation string
}

// Enrollments lists enrollments or groups by id, up to max of them, those after a continuation, as Enrollment shows them, but without
// the registrations of individual ones.
func (s *Service) Enrollments(ctx context.Context, group bool, max int, continuation string) (Page[Enrollment], error) {
	page := Page[Enrollment]{Items: []Enrollment{}}
	max, after, err := paging(max, continuation)
	if err != nil {
		return page, err
	}
	rows, err := s.store().Enrollments(ctx, s.id, kindOf(group), after, max+1)
	if err != nil {
		return page, err
	}
	if len(rows) > max {
		rows = rows[:max]
		page.Continuation = continuationOf(rows[max-1].ID)
	}
	for _, row := range rows {
		e, err := stored(row)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, e.redacted())
	}
	return page, nil
}

func paging(max int, continuation string) (int, string, error) {
	op := "provisioning.Query"
	if max <= 0 || max > MaxPage {
		max = MaxPage
	}
	after, err := base64.RawURLEncoding.DecodeString(continuation)
	if err != nil || len(after) > MaxID {
		return 0, "", fault.New(op, fault.Invalid, "the continuation is none that this service gave").Advise("begin the query again without it")
	}
	return max, string(after), nil
}

func continuationOf(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

var everything = regexp.MustCompile(`(?i)^\s*(\*|select\s+\*(\s+from\s+[a-z]+)?)?\s*$`)

// CheckQuery refuses queries for less than everything: "*", or SELECT * FROM enrollments.
func CheckQuery(text string) error {
	if len(text) <= 4096 && everything.MatchString(text) {
		return nil
	}
	return fault.New("provisioning.Query", fault.Invalid, "enrollments can be listed, not searched").Advise("query for *, or SELECT * FROM enrollments")
}

// State reads a registration. NotFound when the device never registered.
func (s *Service) State(ctx context.Context, id string) (State, error) {
	row, err := s.store().Registration(ctx, s.id, lower(id))
	if err != nil {
		return State{}, err
	}
	rec, err := recordOf(row)
	if err != nil {
		return State{}, err
	}
	return *rec.state(), nil
}

// States lists the registrations of a group by id, up to max of them, those after a continuation.
func (s *Service) States(ctx context.Context, group string, max int, continuation string) (Page[State], error) {
	page := Page[State]{Items: []State{}}
	max, after, err := paging(max, continuation)
	if err != nil {
		return page, err
	}
	rows, err := s.store().Registrations(ctx, s.id, lower(group), after, max+1)
	if err != nil {
		return page, err
	}
	if len(rows) > max {
		rows = rows[:max]
		page.Continuation = continuationOf(rows[max-1].ID)
	}
	for _, row := range rows {
		rec, err := recordOf(row)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, *rec.state())
	}
	return page, nil
}

// DeleteState forgets a registration: the device is as one that never registered. It stays at its hub. ifMatch may be empty.
func (s *Service) DeleteState(ctx context.Context, id, ifMatch string) error {
	return s.store().Write(ctx, func(tx *provisioningstore.Tx) error {
		row, err := tx.Registration(s.id, lower(id))
		if err != nil {
			return err
		}
		if ifMatch != "" && ifMatch != AnyETag && ifMatch != row.ETag {
			return changed("provisioning.DeleteState", row.ID)
		}
		return tx.DeleteRegistration(s.id, row.ID)
	})
}
