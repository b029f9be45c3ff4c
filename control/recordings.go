package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/keepfile"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

const (
	wholeEnding     = ".recording"
	partEnding      = ".part"
	longestPart     = 24 * time.Hour // after which a part is what a process left that died
	forgottenAtOnce = 1000
	keptFor         = 365 * 24 * time.Hour
)

// sentAtOnceBy is how many recordings one process may be sending: what is on its way has its room kept, and others need some too.
const sentAtOnceBy = 2

// receiving is how many bytes are on their way, and who sends how many recordings.
type receiving struct {
	mu    sync.Mutex // guards the fields below
	bytes int64
	by    map[identity.ID]int
}

// begin keeps room for a recording; ok is false when who sends it sends too many, or there would be more bytes than most.
func (r *receiving) begin(id identity.ID, n, most int64) (many, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if many = r.by[id] >= sentAtOnceBy; many || r.bytes+n > most {
		return many, false
	}
	if r.by == nil {
		r.by = map[identity.ID]int{}
	}
	r.by[id]++
	r.bytes += n
	return false, true
}

func (r *receiving) end(id identity.ID, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes -= n
	if r.by[id]--; r.by[id] == 0 {
		delete(r.by, id)
	}
}

// PutRecording takes what was recorded of a session from the process that led to it: size bytes whose SHA-256 is sum, in hexadecimal. What it
// is given again does no harm. NotFound for a session that the process has not told of, Conflict when it sent another recording of it before,
// TooLarge and Exhausted for what there is no room for, Invalid for content that is not what it is said to be.
func (c *Control) PutRecording(ctx context.Context, id identity.ID, session string, r io.Reader, size int64, sum string) error {
	op := "control.PutRecording"
	if err := c.mustBeMember(op, id); err != nil {
		return err
	}
	switch {
	case !validSession(session) || len(sum) != 2*sha256.Size:
		return fault.New(op, fault.Invalid, "the session's id or the content's hash cannot be right")
	case c.cfg.Recordings == "":
		return fault.New(op, fault.Unavailable, "this control plane keeps no recordings").Advise("give the server a data directory")
	case size < 0 || size > c.cfg.MaxRecording:
		return fault.Newf(op, fault.TooLarge, "the recording has %d bytes", size).Advise("at most %d are kept of one", c.cfg.MaxRecording)
	}
	there, err := c.mayPutRecording(ctx, op, id, session, size, sum)
	if err != nil || there {
		return err
	}
	defer c.receiving.end(id, size)
	part, err := c.receive(op, session, r, size, sum)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part) }() // renamed where all went well
	return c.update(ctx, string(id), "", func(w *work) error {
		s, _, err := w.Session(session)
		if err != nil {
			return err
		}
		if before, again, err := w.Recording(session); again || err != nil { // sent twice at the same time
			if again && before.SHA256 != sum {
				return otherRecording(op, session)
			}
			return err
		}
		kept := store.Recording{Session: session, Tenant: s.Tenant, Size: size, SHA256: sum, Received: w.now, File: session + wholeEnding}
		if err := w.AddRecording(kept); err != nil {
			return err
		}
		// Not before: what is kept stays what the audit log has the hash of, whoever is still sending another.
		if err := c.nameRecording(part, kept.File); err != nil {
			return err
		}
		return w.record(s.Tenant, "recording", resource.Key{Kind: kindSession, Tenant: s.Tenant, Name: session}, nil, map[string]any{"bytes": size, "sha256": sum})
	})
}

func otherRecording(op, session string) error {
	return fault.Newf(op, fault.Conflict, "another recording of the session %s is kept already", session)
}

// mayPutRecording reserves room; there tells that it is kept already.
func (c *Control) mayPutRecording(ctx context.Context, op string, id identity.ID, session string, size int64, sum string) (there bool, err error) {
	var total int64
	err = c.store.View(ctx, func(tx *store.Tx) error {
		s, ok, err := tx.Session(session)
		if err != nil {
			return err
		}
		if !ok || s.Agent != string(id) {
			return fault.Newf(op, fault.NotFound, "%s has told of no session %s", id, session).Advise("send the session's records first")
		}
		kept, ok, err := tx.Recording(session)
		if err != nil {
			return err
		}
		if ok && kept.SHA256 != sum {
			return otherRecording(op, session)
		}
		there = ok
		total, err = tx.RecordingBytes()
		return err
	})
	if err != nil || there {
		return there, err
	}
	many, fits := c.receiving.begin(id, size, c.cfg.MaxRecordings-total)
	if many {
		return false, fault.Newf(op, fault.Exhausted, "%s is sending %d recordings already", id, sentAtOnceBy).Advise("send one after the other")
	}
	if !fits {
		return false, fault.Newf(op, fault.Exhausted, "the recordings take %d bytes already", total).Advise("give them more room, or keep them for a shorter time")
	}
	return false, nil
}

// receive writes a part, whole or not at all. The caller removes it.
func (c *Control) receive(op, session string, r io.Reader, size int64, sum string) (part string, err error) {
	if err := os.MkdirAll(c.cfg.Recordings, 0o700); err != nil {
		return "", notWritten(op, err)
	}
	f, err := os.CreateTemp(c.cfg.Recordings, session+"-*"+partEnding) // with mode 0600
	if err != nil {
		return "", notWritten(op, err)
	}
	defer func() {
		_ = f.Close() // closed before where it matters
		if err != nil {
			_ = os.Remove(f.Name()) // looked after later
		}
	}()
	digest := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, digest), io.LimitReader(r, size+1))
	if pe, disk := errors.AsType[*fs.PathError](err); disk {
		return "", notWritten(op, pe)
	}
	if err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err, "the recording broke off on its way")
	}
	if n != size || hex.EncodeToString(digest.Sum(nil)) != sum {
		return "", fault.Newf(op, fault.Invalid, "the recording's content is not what was announced: %d bytes of %d came", n, size).Advise("send it again")
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", notWritten(op, err)
	}
	return f.Name(), nil
}

// nameRecording makes a part a recording.
func (c *Control) nameRecording(part, name string) error {
	err := os.Rename(part, filepath.Join(c.cfg.Recordings, name))
	if err == nil {
		err = keepfile.SyncFolder(c.cfg.Recordings)
	}
	if err != nil {
		return notWritten("control.PutRecording", err)
	}
	return nil
}

func notWritten(op string, err error) error {
	return fault.Wrap(op, fault.Unavailable, err, "the recording could not be written on the server's disk")
}

// RecordingContent is a recording as it can be had. Close it.
type RecordingContent struct {
	io.ReadCloser
	Sealed bool  // it is still encrypted, for keys that the control plane does not have
	Size   int64 // bytes on the disk
}

// Recording opens what was recorded of a session, for auditors and owners of the target's tenant and administrators; that they did stands in the
// audit log. NotFound for a session that has none and for one of another tenant.
func (c *Control) Recording(ctx context.Context, p Principal, session string) (RecordingContent, error) {
	op := "control.Recording"
	none := RecordingContent{}
	if err := p.mayReplay(op); err != nil {
		return none, err
	}
	if wait := c.passes.Take("replay " + p.Who()); wait > 0 {
		return none, tooOften(op, p.Who()+" asked for recordings too often", wait)
	}
	missing := fault.Newf(op, fault.NotFound, "there is no recording of a session %q", printable(session)).Advise("list sessions with: isthmus access sessions")
	if !validSession(session) {
		return none, missing
	}
	var kept store.Recording
	var private []byte
	err := c.update(ctx, p.Who(), "", func(w *work) error {
		var ok bool
		var err error
		if kept, ok, err = w.Recording(session); err != nil {
			return err
		}
		if !ok || !p.sees(kept.Tenant) {
			return missing
		}
		private, err = c.privateKey(w.Tx, kept.Tenant, store.KeyRecordings)
		if err != nil && fault.KindOf(err) != fault.NotFound { // without a key others have one
			return err
		}
		return w.record(kept.Tenant, "replay", resource.Key{Kind: kindSession, Tenant: kept.Tenant, Name: session}, nil, nil)
	})
	if err != nil {
		return none, err
	}
	return c.openRecording(op, kept, string(private))
}

func (c *Control) openRecording(op string, kept store.Recording, private string) (RecordingContent, error) {
	none := RecordingContent{}
	f, err := os.Open(filepath.Join(c.cfg.Recordings, kept.File))
	if err != nil {
		return none, fault.Newf(op, fault.NotFound, "the recording of the session %s is not on this server's disk", kept.Session).Because(err).
			Advise("servers that share a database must share the directory of recordings too")
	}
	if private != "" {
		r, err := recording.Open(f, private)
		if err == nil {
			return RecordingContent{ReadCloser: opened{r, f}, Size: kept.Size}, nil
		}
		if fault.KindOf(err) != fault.Denied { // Denied: it is for others
			_ = f.Close() // it was only read
			return none, fault.Wrap(op, fault.Internal, err, "")
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			_ = f.Close() // it was only read
			return none, fault.Wrap(op, fault.Unavailable, err, "the recording could not be read")
		}
	}
	return RecordingContent{ReadCloser: f, Sealed: true, Size: kept.Size}, nil
}

// opened is a decrypted file.
type opened struct {
	io.Reader
	io.Closer
}

// forgetRecordings deletes recordings that have been kept for long enough, and what processes that died left of others.
func (c *Control) forgetRecordings(ctx context.Context) error {
	if c.cfg.Recordings == "" {
		return nil
	}
	if parts, err := filepath.Glob(filepath.Join(c.cfg.Recordings, "*"+partEnding)); err == nil { // the pattern is right
		for _, p := range parts {
			if i, err := os.Stat(p); err == nil && c.clock.Now().Sub(i.ModTime()) > longestPart {
				_ = os.Remove(p) // tried again
			}
		}
	}
	if c.cfg.KeepRecordings < 0 {
		return nil
	}
	var old []store.Recording
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		old, err = tx.OldRecordings(c.clock.Now().Add(-c.cfg.KeepRecordings), forgottenAtOnce)
		return err
	}); err != nil || len(old) == 0 {
		return err
	}
	return c.update(ctx, itself, "kept for "+strings.TrimSuffix(c.cfg.KeepRecordings.String(), "0m0s"), func(w *work) error {
		for _, r := range old {
			if err := os.Remove(filepath.Join(c.cfg.Recordings, r.File)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fault.Wrap("control.forgetRecordings", fault.Unavailable, err, "a recording could not be deleted")
			}
			if err := w.RemoveRecording(r.Session); err != nil {
				return err
			}
			if err := w.record(r.Tenant, "forget", resource.Key{Kind: kindSession, Tenant: r.Tenant, Name: r.Session}, nil, nil); err != nil {
				return err
			}
		}
		return nil
	})
}
