package membership

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/keepfile"
	"github.com/isthmus-io/isthmus/plan"
)

const (
	identityFile = "identity.json"
	planFile     = "plan.json"
	joiningFile  = "joining.json"
)

// kept is the identity as it lies on disk: one file, so that key and certificate never part.
type kept struct {
	ID          identity.ID `json:"id"`
	TrustDomain string      `json:"trustDomain"`
	Servers     []string    `json:"servers"`     // host:port
	Key         string      `json:"key"`         // PKCS #8 PEM
	Certificate string      `json:"certificate"` // PEM
	Roots       string      `json:"roots"`       // PEM
}

// String keeps the key out of logs.
func (k kept) String() string { return "identity of " + string(k.ID) }

// GoString keeps the key out of %#v.
func (k kept) GoString() string { return k.String() }

// files is the member's directory.
type files struct {
	dir   string
	write func(path string, content []byte) error
}

func newFiles(cfg Config) (files, error) {
	if cfg.Dir == "" {
		return files{}, fault.New("membership.files", fault.Invalid, "no directory was given for the identity").Advise("configure one, such as /var/lib/isthmus")
	}
	f := files{dir: cfg.Dir, write: cfg.write}
	if f.write == nil {
		f.write = keepfile.Write
	}
	return f, nil
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

func (f files) has(name string) bool {
	_, err := os.Lstat(f.path(name))
	return err == nil
}

func (f files) save(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.Wrap("membership.save", fault.Internal, err, "")
	}
	return f.saveBytes(name, b)
}

func (f files) saveBytes(name string, b []byte) error {
	if err := f.write(f.path(name), b); err != nil {
		return fault.New("membership.save", fault.Exhausted, "cannot write "+f.path(name)+": "+plainCause(err)).
			Because(err).Advise("free some space, or see to the rights of %s; what was there before is unharmed", f.dir)
	}
	return nil
}

func (f files) remove(name string) error {
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New("membership.remove", fault.Denied, "cannot remove "+f.path(name)+": "+plainCause(err)).Because(err)
	}
	return nil
}

// load reads a file; NotFound when there is none, Invalid when it cannot be understood.
func (f files) load(name string, v any) error {
	b, err := f.read(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return f.damaged(name, err)
	}
	return nil
}

func (f files) damaged(name string, err error) error {
	return fault.New("membership.load", fault.Invalid, f.path(name)+" is damaged").Because(err)
}

func (f files) read(name string) ([]byte, error) {
	op := "membership.load"
	b, err := os.ReadFile(f.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(op, fault.NotFound, "there is no "+f.path(name)).Because(err)
	case err != nil:
		return nil, fault.New(op, fault.Denied, "cannot read "+f.path(name)+": "+plainCause(err)).Because(err).
			Advise("run as the user who joined")
	}
	return b, nil
}

// savePlan writes a plan as a stream would carry it: a line for each part, and one for the plan.
func (f files) savePlan(p plan.Plan) error {
	var w plan.Writer
	lines, err := w.Lines(p)
	if err != nil {
		return err
	}
	return f.saveBytes(planFile, append(bytes.Join(lines, []byte{'\n'}), '\n'))
}

// loadPlan reads what savePlan wrote.
func (f files) loadPlan() (plan.Plan, error) {
	b, err := f.read(planFile)
	if err != nil {
		return plan.Plan{}, err
	}
	p, err := plan.ReadFile(b)
	if err != nil {
		return plan.Plan{}, f.damaged(planFile, err)
	}
	return p, nil
}

// plainCause is the part of a file error worth showing after words that name the file.
func plainCause(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return le.Err.Error()
	}
	return err.Error()
}
