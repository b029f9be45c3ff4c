package httpdoor

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage"
)

func setMetadata(x *exchange) error {
	cond, err := x.condition("")
	if err != nil {
		return err
	}
	info, err := x.Account.SetMetadata(x.Context(), x.ref(), x.metadata(), cond)
	if err != nil {
		return err
	}
	x.changed(info.ETag, info.Modified)
	x.w.Header().Set("x-ms-request-server-encrypted", "false")
	x.w.WriteHeader(http.StatusOK)
	return nil
}

func setProperties(x *exchange) error {
	for _, name := range []string{"x-ms-blob-content-length", "x-ms-sequence-number-action"} {
		if x.Header.Get(name) != "" {
			return coded(fault.Newf("httpdoor.setProperties", fault.Invalid, "the header %s is for page blobs, and there are none here", name), http.StatusBadRequest, "UnsupportedHeader")
		}
	}
	p, err := x.properties()
	if err != nil {
		return err
	}
	cond, err := x.condition("")
	if err != nil {
		return err
	}
	info, err := x.Account.SetProperties(x.Context(), x.ref(), p, cond)
	if err != nil {
		return err
	}
	x.changed(info.ETag, info.Modified)
	x.w.WriteHeader(http.StatusOK)
	return nil
}

func deleteBlob(x *exchange) error {
	switch strings.ToLower(x.Header.Get("x-ms-delete-snapshots")) {
	case "", "include":
	default:
		return x.badHeader("x-ms-delete-snapshots", "include: a blob has no snapshots")
	}
	cond, err := x.condition("")
	if err != nil {
		return err
	}
	if err := x.Account.Delete(x.Context(), x.ref(), cond); err != nil {
		return err
	}
	x.w.Header().Set("x-ms-delete-type-permanent", "true")
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

func leaseBlob(x *exchange) error {
	cond, err := x.condition("")
	if err != nil {
		return err
	}
	cond.Lease = ""
	r := storage.LeaseRequest{
		Action: storage.LeaseAction(strings.ToLower(x.Header.Get("x-ms-lease-action"))), ID: x.Header.Get("x-ms-lease-id"), Proposed: x.Header.Get("x-ms-proposed-lease-id"),
	}
	if text := x.Header.Get("x-ms-lease-duration"); text != "" {
		if r.Seconds, err = strconv.Atoi(text); err != nil {
			return x.badHeader("x-ms-lease-duration", "a number of seconds")
		}
	}
	if text := x.Header.Get("x-ms-lease-break-period"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return x.badHeader("x-ms-lease-break-period", "a number of seconds")
		}
		r.Break = &n
	}
	info, id, left, err := x.Account.Lease(x.Context(), x.ref(), r, cond)
	if err != nil {
		return err
	}
	x.changed(info.ETag, info.Modified)
	h, status := x.w.Header(), http.StatusOK
	switch r.Action {
	case storage.Acquire:
		status = http.StatusCreated
		h.Set("x-ms-lease-id", id)
	case storage.Break:
		status = http.StatusAccepted
		h.Set("x-ms-lease-time", strconv.Itoa(left))
	case storage.Renew, storage.Change:
		h.Set("x-ms-lease-id", id)
	case storage.Release:
	}
	x.w.WriteHeader(status)
	return nil
}
