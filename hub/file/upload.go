package file

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// Grant is what a device needs to send a file: to https://{Host}/{Container}/{Blob}{Query}.
type Grant struct {
	Correlation string
	Host        string // with the port that the device used, if it said one
	Container   string
	Blob        string // the device's id, a slash, and the name it wants
	Query       string // begins with a question mark; whoever has it can write the blob
	Expires     time.Time
}

// Begin opens an upload of a device which has proved who it is. name is the blob's without the device's id; host is how the device called
// the hub. Faults: Invalid (the name), Exhausted with code 403006 (too many are open).
func (s *Service) Begin(ctx context.Context, h *hub.Hub, device, name, host string) (Grant, error) {
	op := "file.Begin"
	full := device + "/" + name
	if name == "" {
		return Grant{}, fault.New(op, fault.Invalid, "the request has no blobName").Advise(`send {"blobName":"logs/today.txt"}`)
	}
	if err := blob.CheckName(name); err != nil {
		return Grant{}, err
	}
	if len(full) > blob.MaxName {
		return Grant{}, fault.Newf(op, fault.Invalid, "the blob's name has %d bytes with the device's id, %d are allowed", len(full), blob.MaxName)
	}
	set, err := s.Settings(ctx, h)
	if err != nil {
		return Grant{}, err
	}
	key, err := s.key(ctx, h)
	if err != nil {
		return Grant{}, err
	}
	now := s.clock.Now()
	u := hubstore.Upload{
		Hub: h.ID(), Correlation: newCorrelation(key, device, now), Device: device, Blob: full,
		Started: now, Expires: now.Add(set.grant()).Truncate(time.Second),
	}
	err = s.store.Together(ctx, func(tx *hubstore.Tx) error {
		open, err := tx.CountUploads(u.Hub, device, now)
		if err != nil {
			return err
		}
		if open >= s.cfg.MaxOpen {
			return code.With(fault.Newf(op, fault.Exhausted, "device %q has %d uploads that are not done, which is the limit", device, open).
				Advise("let it say how they went, with a request to /files/notifications; those it forgot end after %s", set.grant()), code.ActiveUploadsExceeded)
		}
		return tx.InsertUpload(u)
	}, nil)
	if err != nil {
		return Grant{}, err
	}
	s.metrics.uploads.WithLabelValues("begun").Inc()
	link := azureblob.Link{Container: Container, Blob: full, Rights: azureblob.Create | azureblob.Write, Expires: u.Expires, Upload: u.Correlation}
	return Grant{u.Correlation, strings.ToLower(host), Container, full, link.Query(key), u.Expires}, nil
}

// Outcome is how an upload went, as its device says.
type Outcome struct {
	Success     bool
	Status      int    // of the object store's last answer
	Description string // for people
}

// Done ends an upload. After a success, services are told of the file. A second call for the same upload does nothing. Faults: Invalid when
// the hub gave this device no such upload, Expired when its time is over, Precondition when it succeeded and there is no blob.
func (s *Service) Done(ctx context.Context, h *hub.Hub, device, correlation string, o Outcome) error {
	op := "file.Done"
	key, err := s.key(ctx, h)
	if err != nil {
		return err
	}
	began, ok := correlationBegan(key, device, correlation)
	if !ok {
		return fault.Newf(op, fault.Invalid, "device %q was given no upload %.60q", device, correlation).Advise("use the correlationId as POST /devices/%s/files gave it", device)
	}
	set, err := s.Settings(ctx, h)
	if err != nil {
		return err
	}
	now := s.clock.Now()
	u, err := s.store.Upload(ctx, h.ID(), correlation)
	gone := err != nil && fault.KindOf(err) == fault.NotFound
	switch {
	case gone && now.Before(began.Add(set.grant())): // it was done, and the answer did not arrive
		return nil
	case gone || err == nil && !now.Before(u.Expires):
		return code.With(fault.Newf(op, fault.Expired, "the upload began %s ago, and its time is over", now.Sub(began).Round(time.Second)).
			Advise("begin another one; a file may take %s", set.grant()), code.ArgumentInvalid)
	case err != nil:
		return err
	}
	up, ref := blob.Upload{Hub: h.ID(), ID: correlation}, blob.Ref{Hub: h.ID(), Container: Container, Name: u.Blob}
	var news *hubstore.FileNotification
	result := "failed"
	if o.Success {
		result = "finished"
		if news, err = s.finished(ctx, h, u, up, ref, set); err != nil {
			return err
		}
	}
	err = s.store.Together(ctx, func(tx *hubstore.Tx) error {
		if err := tx.DeleteUpload(u.Hub, correlation); err != nil {
			return err
		}
		if news == nil {
			return nil
		}
		if err := tx.InsertFileNotification(*news); err != nil {
			return err
		}
		dropped, err := tx.TrimFileNotifications(u.Hub, s.cfg.MaxNotifications)
		if dropped > 0 {
			s.log.Warn("files: notifications that nobody completed made room for newer ones", "hub", h.Name(), "dropped", dropped)
		}
		return err
	}, nil)
	if err != nil && fault.KindOf(err) == fault.NotFound { // another request for the same upload was faster
		return nil
	}
	if err != nil {
		return err
	}
	if news != nil {
		s.tell(h)
	}
	s.metrics.uploads.WithLabelValues(result).Inc()
	s.log.Info("files: upload "+result, "hub", h.Name(), "device", device, "blob", u.Blob, "status", o.Status, "description", shorten(o.Description))
	if err := s.blobs.Forget(up); err != nil {
		s.log.Warn("files: the rest of an upload could not be taken away; it will be tried again", "err", err)
	}
	return nil
}

// finished checks that the blob is there, and writes the notification if the hub wants one.
func (s *Service) finished(ctx context.Context, h *hub.Hub, u hubstore.Upload, up blob.Upload, ref blob.Ref, set Settings) (*hubstore.FileNotification, error) {
	info, err := s.blobs.Stat(ctx, ref)
	missing := err != nil && fault.KindOf(err) == fault.NotFound
	if err != nil && !missing {
		return nil, err
	}
	if missing || !s.blobs.Finished(up) {
		return nil, code.With(fault.Newf("file.Done", fault.Precondition, "nothing was stored in upload %.60q, so it did not succeed", u.Correlation).
			Advise("send the file to the URL of the grant, then say that it is done"), code.ArgumentInvalid)
	}
	s.metrics.bytes.Add(float64(info.Size))
	if !set.Notifications {
		return nil, nil
	}
	now := s.clock.Now()
	return &hubstore.FileNotification{
		Hub: u.Hub, Device: u.Device, BlobURI: uri(h.HostName(), u.Blob), BlobName: u.Blob, Updated: info.Modified, Size: info.Size,
		Enqueued: now, Expires: now.Add(set.notification()),
	}, nil
}

// uri is where a blob is, without any proof that one may have it.
func uri(host, name string) string {
	return "https://" + host + "/" + Container + "/" + azureblob.EscapePath(name)
}

// shorten makes what a device wrote fit for a log.
func shorten(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
