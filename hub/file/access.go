package file

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// Access is what a request may do with which blob.
type Access struct {
	Blob   blob.Ref
	Upload blob.Upload // zero when it is no device's upload
	Device string      // of the upload
	Rights azureblob.Rights
}

// Transfers is the folder of what import and export jobs read and write, among those of devices. No device id begins with a tilde.
const Transfers = "~transfers"

// Needs returns the rights of a policy that may read and delete a blob: for the lists of identities, which hold keys, those of who makes
// such jobs.
func Needs(name string) hub.Right {
	if name == Transfers || strings.HasPrefix(name, Transfers+"/") {
		return hub.RegistryRead | hub.RegistryWrite
	}
	return hub.ServiceConnect
}

// Admit tells which blob a request means and whether it may do one of the things in needs. path is that of the URL, still encoded; who asks
// proves itself by the signature in the query, or by a policy's token, with the rights of Needs, for reading and deleting. Faults:
// Unauthenticated, Expired, Denied.
func (s *Service) Admit(ctx context.Context, h *hub.Hub, path string, query url.Values, token string, needs azureblob.Rights) (Access, error) {
	op := "file.Admit"
	container, decoded, literal, ok := azureblob.ParsePath(path)
	if !ok || !strings.EqualFold(container, Container) {
		return Access{}, fault.Newf(op, fault.NotFound, "there is no container %.60q", container).Advise("files are in %s", Container)
	}
	out := Access{Blob: blob.Ref{Hub: h.ID(), Container: Container, Name: decoded}}
	switch {
	case azureblob.IsSigned(query):
		signed, err := azureblob.ParseSigned(query)
		if err != nil {
			return Access{}, err
		}
		if err := s.check(ctx, h, signed, &out, literal); err != nil {
			return Access{}, err
		}
	case token != "":
		if _, _, err := h.Authorize(token, Needs(out.Blob.Name)); err != nil {
			return Access{}, err
		}
		out.Rights = azureblob.Read | azureblob.Delete
	default:
		return Access{}, fault.New(op, fault.Unauthenticated, "the request proves nothing: neither is its URL signed, nor has it a token").
			Advise("use the URL as the hub gave it, or send the token of a policy")
	}
	if out.Rights&needs == 0 {
		return Access{}, fault.Newf(op, fault.Denied, "this URL or token is for %q, and the request needs %q", out.Rights, needs).
			Advise("a device's grant is for writing; a link for reading is made with POST /isthmus/v1/files/links")
	}
	return out, blob.CheckName(out.Blob.Name)
}

// check tells whether a signed URL is good now, and whose it is.
func (s *Service) check(ctx context.Context, h *hub.Hub, signed azureblob.Signed, out *Access, literal string) error {
	op := "file.Admit"
	key, err := s.key(ctx, h)
	if err != nil {
		return err
	}
	var u hubstore.Upload
	open := false
	if signed.Upload != "" {
		u, err = s.store.Upload(ctx, h.ID(), signed.Upload)
		open = err == nil
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
	}
	switch {
	case signed.SignedBy(key, Container, out.Blob.Name):
	case signed.SignedBy(key, Container, literal): // the name looks encoded, and the client wrote it as it is
		out.Blob.Name = literal
	case open && out.Blob.Name == decode(u.Blob) && signed.SignedBy(key, Container, u.Blob): // and encoded the rest of it
		out.Blob.Name = u.Blob
	default:
		return fault.New(op, fault.Unauthenticated, "the URL is not signed by this hub for this blob").Advise("use the URL as the hub gave it, unchanged")
	}
	now := s.clock.Now()
	if !now.Before(signed.Expires) {
		return fault.Newf(op, fault.Expired, "the URL ended %s ago", now.Sub(signed.Expires).Round(time.Second)).Advise("ask the hub for another one")
	}
	out.Rights = signed.Rights
	if signed.Upload == "" {
		return nil
	}
	if !open {
		return fault.New(op, fault.Expired, "the upload of this URL is done").Advise("begin another one")
	}
	out.Device, out.Upload = u.Device, blob.Upload{Hub: h.ID(), ID: u.Correlation}
	return s.still(ctx, h, u.Device)
}

// decode is a name in which what looks percent-encoded is decoded, as clients do that take a name for a part of a URL.
func decode(name string) string {
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}

// still tells whether a device may send files yet.
func (s *Service) still(ctx context.Context, h *hub.Hub, device string) error {
	op := "file.Admit"
	d, err := h.Device(ctx, device)
	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return fault.Newf(op, fault.Denied, "device %q, whose upload this is, was deleted", device)
	case err != nil:
		return err
	case d.Status != hubstore.Enabled:
		return fault.Newf(op, fault.Denied, "device %q, whose upload this is, is disabled", device).Advise("enable it in the registry")
	}
	return nil
}

// maxLink is how long a link may be good.
const maxLink = 7 * 24 * time.Hour

// Link makes a signed URL with which anybody can read a blob for some time, an hour when it is 0. host is how the caller called the hub.
// Faults: Invalid, NotFound.
func (s *Service) Link(ctx context.Context, h *hub.Hub, name, host string, lasts time.Duration) (link string, expires time.Time, err error) {
	if lasts == 0 {
		lasts = time.Hour
	}
	if lasts < time.Second || lasts > maxLink {
		return "", time.Time{}, fault.Newf("file.Link", fault.Invalid, "a link for %s cannot be made", lasts).Advise("it may be good for one second to seven days")
	}
	if err := blob.CheckName(name); err != nil {
		return "", time.Time{}, err
	}
	if _, err := s.blobs.Stat(ctx, blob.Ref{Hub: h.ID(), Container: Container, Name: name}); err != nil {
		return "", time.Time{}, err
	}
	key, err := s.key(ctx, h)
	if err != nil {
		return "", time.Time{}, err
	}
	expires = s.clock.Now().Add(lasts).Truncate(time.Second)
	l := azureblob.Link{Container: Container, Blob: name, Rights: azureblob.Read, Expires: expires}
	return uri(strings.ToLower(host), name) + l.Query(key), expires, nil
}
