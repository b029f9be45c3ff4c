package journal

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
)

// maxRefused bounds the file of records that the control plane refused; later ones are only logged.
const maxRefused = 4 << 20

func (j *Journal) refusedDir() string { return filepath.Join(j.cfg.Dir, "refused") }

// findRefused counts what was set aside in earlier lives.
func (j *Journal) findRefused() {
	entries, err := os.ReadDir(j.refusedDir())
	if err != nil || len(entries) == 0 {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			j.recorded += info.Size()
		}
	}
	j.trouble("refused", "what the control plane refused of sessions lies in "+j.refusedDir(),
		fault.Newf("journal.Open", fault.Denied, "%d files of earlier days", len(entries)))
}

// setAside keeps a record that the control plane will never take.
func (j *Journal) setAside(r *session.Record, why error) {
	j.log.Error("the control plane refused the record of a session", "session", r.Session, "phase", r.Phase, "error", why)
	j.trouble("refused", "what the control plane refused of sessions lies in "+j.refusedDir(), why)
	line, err := json.Marshal(struct {
		Why    string         `json:"why"`
		Record session.Record `json:"record"`
	}{fault.Message(why), *r})
	if err == nil {
		err = j.appendRefused(append(line, '\n'))
	}
	if err != nil {
		j.log.Error("a refused record could not be kept", "session", r.Session, "error", err)
	}
}

func (j *Journal) appendRefused(line []byte) error {
	if err := os.MkdirAll(j.refusedDir(), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(j.refusedDir(), "records.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size()+int64(len(line)) > maxRefused {
		return errors.New("there are too many")
	}
	if _, err = f.Write(line); err == nil {
		err = f.Sync()
	}
	return err
}

// setRecordingAside keeps a recording that the control plane will never take. Its bytes count until somebody deletes it.
func (j *Journal) setRecordingAside(r *recording, why error) {
	j.log.Error("the control plane refused a recording", "session", r.session, "error", why)
	err := os.MkdirAll(j.refusedDir(), 0o700)
	if err == nil {
		err = os.Rename(r.path(closedEnding), filepath.Join(j.refusedDir(), r.session+closedEnding))
	}
	j.trouble("refused", "what the control plane refused of sessions lies in "+j.refusedDir(), why)
	if err != nil {
		j.log.Error("a refused recording could not be set aside; it is tried again", "session", r.session, "error", err)
		return
	}
	j.mu.Lock()
	delete(j.recordings, r.session)
	j.mu.Unlock()
}

// damagedFault says what could not be read.
func damagedFault(path string, lines int) error {
	return fault.Newf("journal.read", fault.Invalid, "%d lines of %s could not be read, and what they told is lost", lines, path).Advise("check the disk")
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
