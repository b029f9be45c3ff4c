package migration

import (
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// maxBatch is how many bytes of identities go together; one alone may have more.
const maxBatch = 2 << 20

// batch is identities on their way.
type batch struct {
	names []string
	texts []json.RawMessage
	bytes int
}

// stopping carries an error out of a reading.
type stopping struct{ error }

func (s stopping) Unwrap() error { return s.error }

func (r *run) bringIdentities(ctx context.Context) error {
	passes := r.passes()
	for _, s := range passes {
		for _, f := range s.reading {
			if err := r.readIdentities(ctx, f, s, len(passes) > 1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) readIdentities(ctx context.Context, f *file, s pass, several bool) error {
	var b batch
	flush := func() error {
		if len(b.texts) == 0 {
			return nil
		}
		err := r.send(ctx, &b, several || r.Trial)
		b = batch{names: b.names[:0], texts: b.texts[:0]}
		return err
	}
	err := r.read(f, func(t azureexport.Thing) error {
		i, ok := t.(*azureexport.Identity)
		if !ok || !s.takes(r.Plan, i) {
			return nil
		}
		name := i.Name().String()
		text, err := json.Marshal(i)
		if err != nil {
			return r.failed(Identities, name, fault.Wrap("migration.identity", fault.Invalid, err, "it is not JSON"))
		}
		if b.bytes+len(text) > maxBatch || len(b.texts) == hubclient.MaxBulk {
			if err := flush(); err != nil {
				return err
			}
		}
		b.names, b.texts, b.bytes = append(b.names, name), append(b.texts, text), b.bytes+len(text)
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// read reads a file again.
func (r *run) read(f *file, each func(azureexport.Thing) error) error {
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	err = azureexport.Read(in, func(_ azureexport.At, t azureexport.Thing) error {
		if err := each(t); err != nil {
			return stopping{err}
		}
		return nil
	})
	if s, ok := errors.AsType[stopping](err); ok {
		return s.error
	}
	if err != nil {
		return fault.Newf("migration.read", fault.Invalid, "%s changed while it was imported: %s", f.Name, fault.Message(err)).Advise("import it again").Because(err)
	}
	return nil
}

// send brings a batch. track says that an identity may be met again, or is only thought to be there.
func (r *run) send(ctx context.Context, b *batch, track bool) error {
	var results []hubclient.Imported
	err := r.patiently(ctx, func() (err error) {
		results, err = r.hub.Import(ctx, r.Mode, r.Trial, b.texts)
		return err
	})
	switch {
	case fatal(err):
		return err
	case err != nil && len(b.names) == 1:
		return r.failed(Identities, b.names[0], err)
	case err != nil: // one of them makes the hub refuse all
		half := len(b.names) / 2
		if err := r.send(ctx, &batch{names: b.names[:half], texts: b.texts[:half]}, track); err != nil {
			return err
		}
		return r.send(ctx, &batch{names: b.names[half:], texts: b.texts[half:]}, track)
	}
	for i, one := range results {
		name := b.names[i]
		if r.Trial && r.expected(name, one) {
			one = hubclient.Imported{Result: hubclient.ImportCreated}
		}
		if one.Err != nil {
			if err := r.failed(Identities, name, one.Err); err != nil {
				return err
			}
			continue
		}
		if track && r.made[r.key(name)] {
			continue // it was counted; its twin came in another file
		}
		r.count(Identities, func(o *Outcome) { o.add(one) })
		if track && one.Result == hubclient.ImportCreated {
			r.made[r.key(name)] = true
		}
	}
	r.done += len(results)
	r.tell(Identities, r.done, r.total)
	return nil
}

func (r *run) key(name string) uint64 { return maphash.String(r.seed, name) }

// expected tells whether something is missing only because a trial did not make what it needs.
func (r *run) expected(name string, one hubclient.Imported) bool {
	if one.Result != hubclient.ImportAbsent && (one.Err == nil || fault.KindOf(one.Err) != fault.NotFound) {
		return false
	}
	device, _, _ := strings.Cut(name, "/")
	return r.made[r.key(name)] || r.made[r.key(device)] || r.made[r.key(r.judge.Parents()[device])]
}

func (o *Outcome) add(one hubclient.Imported) {
	switch one.Result {
	case hubclient.ImportCreated:
		o.Created++
	case hubclient.ImportChanged:
		o.Changed++
	case hubclient.ImportKept:
		o.Kept++
	case hubclient.ImportAbsent:
		o.Absent++
	default:
		o.Same++
	}
	if one.NewKeys {
		o.NewKeys++
	}
}
