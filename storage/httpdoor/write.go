package httpdoor

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/intake"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// making is the condition of a request that makes a blob. Who may only create has one more: that there is none.
func (x *exchange) making() (cond storage.Condition, createOnly bool, err error) {
	cond, err = x.condition("")
	if createOnly = !x.claim.Covers(storage.Object, x.container, x.blob, storage.Write); createOnly {
		cond.IfNoneMatch = "*"
	}
	return cond, createOnly, err
}

// made answers a request that made a blob.
func (x *exchange) made(i storage.Info, createOnly bool, err error) error {
	if createOnly && isReason(err, storage.BlobAlreadyExists) {
		return fault.New("httpdoor.made", fault.Denied, "the blob is there, and the signature gives the right to create and not to write").Because(storage.MayNot)
	}
	if err != nil {
		return err
	}
	x.changed(i.ETag, i.Modified)
	x.w.Header().Set("x-ms-request-server-encrypted", "false")
	return nil
}

func isReason(err error, r storage.Reason) bool {
	got, ok := errors.AsType[storage.Reason](err)
	return ok && got == r
}

func putBlob(x *exchange) error {
	if x.Header.Get("x-ms-copy-source") != "" {
		return copyBlob(x)
	}
	if t := x.Header.Get("x-ms-blob-type"); t != "BlockBlob" {
		if t == "AppendBlob" || t == "PageBlob" {
			return coded(fault.Newf("httpdoor.putBlob", fault.Invalid, "a blob of type %s is not possible here: there are block blobs only", t), http.StatusBadRequest, "FeatureNotSupported")
		}
		return x.badHeader("x-ms-blob-type", "BlockBlob")
	}
	p, err := x.properties()
	if err != nil {
		return err
	}
	cond, createOnly, err := x.making()
	if err != nil {
		return err
	}
	b, size, err := intake.BodyOf(x.Request, x.rc)
	if err != nil {
		return err
	}
	if p.ContentType == "" {
		p.ContentType = x.Header.Get("Content-Type")
	}
	if p.MD5 == nil {
		p.MD5 = b.MD5()
	}
	release, err := x.turn()
	if err != nil {
		return err
	}
	defer release()
	var content io.Reader = b
	if size == 0 { // its checksums are those of nothing
		if _, err := b.Read(nil); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		content = strings.NewReader("")
	}
	info, err := x.Account.Put(x.Context(), x.ref(), p, cond, size, content)
	if err := x.made(info, createOnly, err); err != nil {
		return err
	}
	b.Echo(x.w.Header())
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

func putBlock(x *exchange) error {
	if x.Header.Get("x-ms-copy-source") != "" {
		return coded(fault.New("httpdoor.putBlock", fault.Invalid, "Put Block From URL is not possible here: blocks come in requests").Advise("copy the blob whole"),
			http.StatusBadRequest, "FeatureNotSupported")
	}
	id, err := azureblob.ParseBlockID(x.query.Get("blockid"))
	if err != nil {
		return coded(err, http.StatusBadRequest, "InvalidQueryParameterValue")
	}
	b, size, err := intake.BodyOf(x.Request, x.rc)
	if err != nil {
		return err
	}
	if size == 0 {
		return coded(fault.New("httpdoor.putBlock", fault.Invalid, "the block is empty"), http.StatusBadRequest, "InvalidHeaderValue")
	}
	release, err := x.turn()
	if err != nil {
		return err
	}
	defer release()
	if err := x.Account.Stage(x.Context(), x.ref(), x.Header.Get("x-ms-lease-id"), id, size, b); err != nil {
		return err
	}
	b.Echo(x.w.Header())
	x.w.Header().Set("x-ms-request-server-encrypted", "false")
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

func putBlockList(x *exchange) error {
	p, err := x.properties()
	if err != nil {
		return err
	}
	cond, createOnly, err := x.making()
	if err != nil {
		return err
	}
	b, _, err := intake.BodyOf(x.Request, x.rc)
	if err != nil {
		return err
	}
	release, err := x.turn()
	if err != nil {
		return err
	}
	defer release()
	list, err := azureblob.ParseBlockList(b)
	if err != nil {
		if _, _, ok := azureblob.CodeOf(err); !ok && fault.KindOf(err) == fault.Invalid {
			err = coded(err, http.StatusBadRequest, "InvalidXmlDocument")
		}
		return err
	}
	if _, err := io.Copy(io.Discard, b); err != nil { // what stands after the list counts for its checksum
		return err
	}
	from := map[string]storage.From{azureblob.Latest: storage.Latest, azureblob.Uncommitted: storage.Waiting, azureblob.Committed: storage.Committed}
	wanted := make([]storage.Wanted, len(list))
	for i, l := range list {
		wanted[i] = storage.Wanted{ID: l.ID, From: from[l.From]}
	}
	info, err := x.Account.Commit(x.Context(), x.ref(), p, cond, wanted)
	if err := x.made(info, createOnly, err); err != nil {
		return err
	}
	b.Echo(x.w.Header())
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

// copyBlob is Copy Blob, Copy Blob From URL and Put Blob From URL, of which the content is there at once in each.
func copyBlob(x *exchange) error {
	from, source, err := x.source()
	if err != nil {
		return err
	}
	cond, createOnly, err := x.making()
	if err != nil {
		return err
	}
	fromCond, err := x.condition("x-ms-source-")
	if err != nil {
		return err
	}
	info, err := x.Account.Copy(x.Context(), x.ref(), from, source, x.metadata(), cond, fromCond)
	if isReason(err, storage.BlobNotFound) || isReason(err, storage.ContainerNotFound) {
		if _, cerr := x.Account.Container(x.Context(), x.container); cerr != nil {
			return cerr
		}
		return coded(fault.New("httpdoor.copyBlob", fault.NotFound, "the source of the copy is not there"), http.StatusNotFound, string(storage.CannotVerifyCopySource))
	}
	if err := x.made(info, createOnly, err); err != nil {
		return err
	}
	if x.Header.Get("x-ms-blob-type") != "" { // Put Blob From URL
		x.w.WriteHeader(http.StatusCreated)
		return nil
	}
	x.w.Header().Set("x-ms-copy-id", info.Copied.ID)
	x.w.Header().Set("x-ms-copy-status", "success")
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

const maxSource = 8 << 10

// source is the blob that is to be copied, which the caller must be allowed to read: by his own proof, or by a signature in its address.
func (x *exchange) source() (storage.Ref, string, error) {
	op := "httpdoor.source"
	u, err := url.Parse(x.Header.Get("x-ms-copy-source"))
	if err != nil || u.Host == "" || len(x.Header.Get("x-ms-copy-source")) > maxSource {
		return storage.Ref{}, "", x.badHeader("x-ms-copy-source", "the address of a blob")
	}
	cannot := func(words string) error {
		return coded(fault.New(op, fault.Invalid, words).Advise("copy blobs of this account; others are sent by whoever can read them"), http.StatusBadRequest, string(storage.CannotVerifyCopySource))
	}
	if !sas.IsHost(u.Host, x.Account.HostNames()) && !x.door.cfg.Local {
		return storage.Ref{}, "", cannot("the source of the copy is in another account than " + x.Account.HostName())
	}
	at := exchange{Request: &http.Request{Host: u.Host}, Arrival: x.Arrival, door: x.door, path: u.EscapedPath()}
	if err := at.split(); err != nil || at.blob == "" {
		return storage.Ref{}, "", cannot("the source of the copy is no blob")
	}
	query := u.Query()
	if query.Has("snapshot") || query.Has("versionid") {
		return storage.Ref{}, "", cannot("a blob has no older versions")
	}
	claim := x.claim
	if query.Has("sig") {
		if _, claim, err = x.proveSAS(query, at.container, at.blob); err != nil {
			return storage.Ref{}, "", coded(fault.Wrap(op, fault.Denied, err, ""), http.StatusForbidden, string(storage.CannotVerifyCopySource))
		}
	}
	if !claim.Covers(storage.Object, at.container, at.blob, storage.Read) {
		return storage.Ref{}, "", coded(fault.New(op, fault.Denied, "who asks may not read the source of the copy"), http.StatusForbidden, string(storage.CannotVerifyCopySource))
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return at.ref(), u.String(), nil
}
