package job

import (
	"context"
	"io"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/registryfile"
)

// Containers opens what imports and exports name. It refuses addresses that the hub's jobs may not reach.
type Containers interface {
	// Check refuses an address before a job is accepted.
	Check(h *hub.Hub, container string) error
	// Reader opens a blob in a container named by an address.
	Reader(ctx context.Context, h *hub.Hub, container, blob string) (io.ReadCloser, error)
	// Writer makes a blob, which is there when Close returned without error.
	Writer(ctx context.Context, h *hub.Hub, container, blob string) (io.WriteCloser, error)
}

const (
	devicesBlob = "devices.txt"
	errorsBlob  = "importErrors.log"
	maxErrors   = 1000
	maxBatch    = 8 << 20 // bytes of the twins that are imported together
)

func (s *Scheduler) transfer(ctx context.Context, h *hub.Hub, j Job) error {
	blob := j.Transfer.Blob
	if blob == "" {
		blob = devicesBlob
	}
	if j.Type == Export {
		w, err := s.cfg.Containers.Writer(ctx, h, j.Transfer.To, blob)
		if err != nil {
			return err
		}
		err = Write(ctx, h, w, !j.Transfer.ExcludeKeys)
		if cerr := w.Close(); err == nil {
			err = cerr
		}
		return orCause(ctx, err)
	}
	r, err := s.cfg.Containers.Reader(ctx, h, j.Transfer.From, blob)
	if err != nil {
		return err
	}
	defer r.Close()
	failed, err := Read(ctx, h, r)
	if err == nil && len(failed) > 0 {
		err = s.tellFailed(ctx, h, j, failed)
	}
	return orCause(ctx, err)
}

// tellFailed writes what could not be imported beside the list, and fails the job in words.
func (s *Scheduler) tellFailed(ctx context.Context, h *hub.Hub, j Job, failed []Failure) error {
	if j.Transfer.To != "" {
		w, err := s.cfg.Containers.Writer(ctx, h, j.Transfer.To, errorsBlob)
		if err != nil {
			return err
		}
		for _, f := range failed {
			if _, err := io.WriteString(w, f.String()+"\n"); err != nil {
				break
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return fault.Newf("job.Import", fault.Invalid, "%d identities were not imported; the first: %s", len(failed), failed[0])
}

// Write writes every identity of a hub with its twin as lines of devices.txt; each device stands before its modules.
func Write(ctx context.Context, h *hub.Hub, w io.Writer, withKeys bool) error {
	after := ""
	for {
		list, err := h.Devices(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, d := range list {
			after = d.ID
			if err := writeDevice(ctx, h, w, d, withKeys); err != nil {
				return err
			}
		}
	}
}

func writeDevice(ctx context.Context, h *hub.Hub, w io.Writer, d hub.Device, withKeys bool) error {
	modules, err := h.Modules(ctx, d.ID)
	if err != nil {
		return gone(err)
	}
	for _, i := range append([]hub.Device{d}, modules...) {
		t, err := h.Twin(ctx, i.Name())
		if err != nil {
			return gone(err)
		}
		line, err := registryfile.Of(t, withKeys)
		if err == nil {
			err = line.Write(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gone passes over an identity that was deleted while the list was read.
func gone(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// Failure is an identity that could not be imported.
type Failure struct {
	Name hub.Name
	Err  error
}

func (f Failure) String() string { return f.Name.Words() + ": " + fault.Message(f.Err) }

// Read imports lines of devices.txt into a hub, many in one transaction. What fails does not keep the rest from being imported; of the
// failures the first 1,000 are returned.
func Read(ctx context.Context, h *hub.Hub, r io.Reader) ([]Failure, error) {
	var failed []Failure
	var batch []hub.Change
	bytes := 0 // of the batch
	fail := func(n hub.Name, err error) {
		if len(failed) < maxErrors {
			failed = append(failed, Failure{n, err})
		}
	}
	flush := func() error {
		results, err := h.ChangeDevices(ctx, batch)
		for i, r := range results {
			if r.Err != nil {
				fail(batch[i].Device.Name(), r.Err)
			}
		}
		batch = batch[:0]
		return err
	}
	err := registryfile.Read(r, func(_ int, l registryfile.Line) error {
		if l.Name().IsSystem() && (l.ImportMode == "" || l.ImportMode == "create") {
			l.ImportMode = "update" // it came with its edge device
		}
		c, err := l.Change(h, "create")
		if err != nil {
			fail(l.Name(), err)
			return nil
		}
		bytes += weight(l)
		if batch = append(batch, c); len(batch) == page || bytes >= maxBatch {
			bytes = 0
			return flush()
		}
		return nil
	})
	if err != nil {
		return failed, err
	}
	return failed, flush()
}

// weight is the size of what is large in a line.
func weight(l registryfile.Line) int {
	n := len(l.Tags)
	if l.Properties != nil {
		n += len(l.Properties.Desired) + len(l.Properties.Reported)
	}
	return n
}
