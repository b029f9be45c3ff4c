package httpdoor

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// maxSkew is how far the date of a signed request may be from ours (Azure Storage: Authorize with Shared Key).
const maxSkew = 15 * time.Minute

// admit checks the caller's proof, and that it gives the right for the operation.
func (x *exchange) admit() error {
	if x.door.cfg.Local {
		x.claim = storage.Whole("the local socket")
	} else {
		scheme, _, _ := strings.Cut(x.Header.Get("Authorization"), " ")
		if x.Admits != nil && !strings.EqualFold(scheme, "Bearer") { // whatever key it is
			return x.Admits(storage.Claim{})
		}
		var err error
		if x.claim, err = x.prove(); err != nil {
			return err
		}
		if x.Admits != nil {
			if err := x.Admits(x.claim); err != nil {
				return err
			}
		}
	}
	o := x.op
	switch {
	case o.serve == nil:
		return o.refuse()
	case o.level == 0 || x.claim.Covers(o.level, x.container, x.blob, o.oneOf):
		return nil
	}
	return x.mayNot(o.level)
}

// watched is bytes on their way, which end when what the caller proved does not hold any more.
type watched struct {
	io.Reader
	io.Closer
	x    *exchange
	told bool // what comes then is read to be thrown away
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if !w.told && !w.x.claim.Holds() {
		w.told = true
		return 0, fault.Newf("httpdoor.Read", fault.Denied, "%s has lost the right to do this meanwhile", w.x.claim.Who).
			Advise("see whether the key was renewed, or the role taken away").Because(storage.MayNot)
	}
	return n, err
}

func (x *exchange) mayNot(level storage.Level) error {
	op := "httpdoor.mayNot"
	if !x.claim.Reaches(level) {
		return fault.Newf(op, fault.Denied, "%s does not reach what the request is about", x.claim.Who).Advise("use a signature for the container or the account, or a role").
			Because(storage.WrongLevel)
	}
	return fault.Newf(op, fault.Denied, "%s does not give the right to do this", x.claim.Who).Advise("use a signature or a role that does").Because(storage.MayNot)
}

// prove returns what the caller proved.
func (x *exchange) prove() (storage.Claim, error) {
	op := "httpdoor.prove"
	header := x.Header.Get("Authorization")
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return x.Account.ByWorkload(strings.TrimSpace(rest))
	case azureblob.IsSharedKey(header):
		return x.proveKey(header)
	case header != "":
		return storage.Claim{}, coded(fault.New(op, fault.Unauthenticated, "the Authorization header is of no kind that is known here").Advise("send SharedKey or Bearer"),
			http.StatusBadRequest, "InvalidAuthenticationInfo")
	case x.query.Has("sig"):
		s, c, err := x.proveSAS(x.query, x.container, x.blob)
		x.sas = &s
		return c, err
	case x.Method == http.MethodGet || x.Method == http.MethodHead:
		return storage.Claim{}, coded(fault.New(op, fault.Denied, "public access is not permitted on this account").Advise("send a key's signature, or the token of a workload"),
			http.StatusConflict, string(storage.PublicForbidden))
	}
	return storage.Claim{}, coded(fault.New(op, fault.Unauthenticated, "the request does not prove who asks").Advise("send a key's signature, or the token of a workload"),
		http.StatusUnauthorized, "NoAuthenticationInformation")
}

func (x *exchange) proveKey(header string) (storage.Claim, error) {
	op := "httpdoor.proveKey"
	k, err := azureblob.ParseSharedKey(header)
	if err != nil {
		return storage.Claim{}, err
	}
	date := x.Header.Get("x-ms-date")
	if date == "" {
		date = x.Header.Get("Date")
	}
	at, err := http.ParseTime(date)
	if err != nil {
		return storage.Claim{}, fault.New(op, fault.Unauthenticated, "the request has no date").Advise("send x-ms-date")
	}
	if d := x.door.clock.Now().Sub(at); d > maxSkew || d < -maxSkew {
		return storage.Claim{}, fault.Newf(op, fault.Unauthenticated, "the request is dated %s, which is more than %d minutes from now", at.UTC().Format(time.RFC3339), int(maxSkew.Minutes())).
			Advise("compare the clocks of both machines")
	}
	r := azureblob.Request{Method: x.Method, Header: x.Header, Length: x.ContentLength, Path: x.path, Query: x.query}
	c, err := x.Account.ByKey(func(key []byte) bool { return k.SignedBy(key, r) })
	if err == nil && k.Account != x.Account.AccountName() {
		return storage.Claim{}, fault.New(op, fault.Unauthenticated, "the request is signed for another account").Because(storage.WrongSignature)
	}
	return c, err
}

// letters of sp that mean something here. The others are of things that are not here.
var letters = map[rune]storage.Right{'r': storage.Read, 'a': storage.Add, 'c': storage.Create, 'w': storage.Write, 'd': storage.Delete, 'l': storage.List}

// proveSAS returns what a shared access signature gives, whose query it is: the request's, or that of a source of a copy.
func (x *exchange) proveSAS(q url.Values, container, blob string) (azureblob.SAS, storage.Claim, error) {
	op := "httpdoor.proveSAS"
	s, err := azureblob.ParseSAS(q)
	if err != nil {
		return s, storage.Claim{}, err
	}
	whole, err := x.Account.ByKey(func(key []byte) bool { return s.SignedBy(key, x.Account.AccountName(), container, blob) })
	if err != nil {
		return s, storage.Claim{}, err
	}
	denied := func(why storage.Reason, words string) (azureblob.SAS, storage.Claim, error) {
		return s, storage.Claim{}, fault.New(op, fault.Denied, words).Because(why)
	}
	starts, expires, _ := s.Times() // which were read before
	now := x.door.clock.Now()
	switch {
	case s.Policy != "":
		return denied(storage.WrongSignature, "the signature names a stored access policy, and there are none here")
	case expires.IsZero() || !now.Before(expires):
		return s, storage.Claim{}, fault.Newf(op, fault.Expired, "the signature was good until %s", s.Expires).Advise("make a new one").Because(storage.WrongSignature)
	case now.Before(starts):
		return s, storage.Claim{}, fault.Newf(op, fault.Expired, "the signature is good only from %s on", s.Starts).Advise("compare the clocks of both machines").Because(storage.WrongSignature)
	case !s.Admits(x.Peer):
		return denied(storage.WrongSourceIP, "the signature is for another address than "+x.Peer.String())
	case s.ForAccount() && !strings.Contains(s.Services, "b"):
		return denied(storage.WrongService, "the signature is not for blobs")
	}
	var rights storage.Right
	for _, l := range s.Permissions {
		rights |= letters[l]
	}
	levels := storage.Object
	switch {
	case !s.ForAccount() && s.Resource == "c":
		levels |= storage.Listing
		return s, whole.Narrow("the signature of a container", container, "", levels, rights, expires), nil
	case !s.ForAccount():
		return s, whole.Narrow("the signature of a blob", container, blob, levels, rights, expires), nil
	}
	levels = 0
	for l, level := range map[string]storage.Level{"s": storage.Service, "c": storage.Container | storage.Listing, "o": storage.Object} {
		if strings.Contains(s.Types, l) {
			levels |= level
		}
	}
	return s, whole.Narrow("the signature of the account", "", "", levels, rights, expires), nil
}
