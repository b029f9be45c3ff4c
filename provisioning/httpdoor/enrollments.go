package httpdoor

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
)

const (
	maxBulkBody  = 1 << 20
	maxQueryBody = 8 << 10
)

// enrollments serves individual enrollments, or groups when it is true.
type enrollments bool

func (group enrollments) get(x *exchange) error {
	e, err := x.service.Enrollment(x.Context(), x.args[0], bool(group))
	if err != nil {
		return err
	}
	x.tagged(e.ETag, e)
	return nil
}

func (group enrollments) put(x *exchange) error {
	b, err := x.body(provisioning.MaxEnrollment + 1)
	if err != nil {
		return err
	}
	e, err := x.service.PutEnrollment(x.Context(), x.args[0], b, bool(group), x.ifMatch())
	if err != nil {
		return err
	}
	x.tagged(e.ETag, e)
	return nil
}

func (group enrollments) delete(x *exchange) error {
	if err := x.service.DeleteEnrollment(x.Context(), x.args[0], bool(group), x.ifMatch()); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (group enrollments) mechanism(x *exchange) error {
	a, err := x.service.Mechanism(x.Context(), x.args[0], bool(group))
	if err != nil {
		return err
	}
	x.w.Header().Set("Cache-Control", "no-store")
	x.write(http.StatusOK, a)
	return nil
}

func (group enrollments) query(x *exchange) error {
	limit, err := x.asked()
	if err != nil {
		return err
	}
	page, err := x.service.Enrollments(x.Context(), bool(group), limit, x.Header.Get("x-ms-continuation"))
	if err != nil {
		return err
	}
	kind := "enrollment"
	if group {
		kind = "enrollmentGroup"
	}
	x.page(kind, page.Continuation, page.Items)
	return nil
}

// asked reads a query and how many items a page may have.
func (x *exchange) asked() (limit int, err error) {
	var body struct {
		Query string `json:"query"`
	}
	if err := x.decode(maxQueryBody, &body); err != nil {
		return 0, err
	}
	if s := x.Header.Get("x-ms-max-item-count"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit == 0 || limit < -1 {
			return 0, fault.Newf("httpdoor.query", fault.Invalid, "x-ms-max-item-count is %.20q", s).Advise("it is a number from 1 to %d", provisioning.MaxPage)
		}
	}
	return limit, provisioning.CheckQuery(body.Query)
}

func (x *exchange) page(kind, continuation string, items any) {
	x.w.Header().Set("x-ms-item-type", kind)
	if continuation != "" {
		x.w.Header().Set("x-ms-continuation", continuation)
	}
	x.write(http.StatusOK, items)
}

func (x *exchange) tagged(etag string, v any) {
	x.w.Header().Set("ETag", `"`+etag+`"`)
	x.write(http.StatusOK, v)
}

func bulk(x *exchange) error {
	var body struct {
		Enrollments []json.RawMessage `json:"enrollments"`
		Mode        string            `json:"mode"`
	}
	if err := x.decode(maxBulkBody, &body); err != nil {
		return err
	}
	errs, err := x.service.Bulk(x.Context(), body.Mode, body.Enrollments)
	if err != nil {
		return err
	}
	x.write(http.StatusOK, map[string]any{"isSuccessful": len(errs) == 0, "errors": errs})
	return nil
}

func getState(x *exchange) error {
	s, err := x.service.State(x.Context(), x.args[0])
	if err != nil {
		return err
	}
	x.tagged(s.ETag, s)
	return nil
}

func deleteState(x *exchange) error {
	if err := x.service.DeleteState(x.Context(), x.args[0], x.ifMatch()); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func queryStates(x *exchange) error {
	limit, err := x.asked()
	if err != nil {
		return err
	}
	page, err := x.service.States(x.Context(), x.args[0], limit, x.Header.Get("x-ms-continuation"))
	if err != nil {
		return err
	}
	x.page("deviceRegistration", page.Continuation, page.Items)
	return nil
}
