package journal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
)

// sendRecordings is the goroutine that sends recordings. One that fails does not hold the others up, unless nobody is there to take any.
func (j *Journal) sendRecordings(ctx context.Context, to Sender) {
	wait := backoff.Backoff{Base: sendBase, Max: sendPause}
	for {
		var failed error
		for _, r := range j.sendable() {
			err := j.sendRecording(ctx, to, r)
			if ctx.Err() != nil {
				return
			}
			failed = cmp.Or(failed, err)
			if k := fault.KindOf(err); err != nil && (k == fault.Unavailable || k == fault.Timeout) {
				break
			}
		}
		j.trouble("uploading", "the control plane does not take recordings of sessions; they are kept here until it does", failed)
		if failed != nil {
			if !wait.Wait(ctx, j.clk) {
				return
			}
			continue
		}
		wait.Reset()
		select {
		case <-j.newsIn:
		case <-ctx.Done():
			return
		}
	}
}

// sendable returns the recordings whose turn has come.
func (j *Journal) sendable() []*recording {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []*recording
	for _, r := range j.recordings {
		if r.closed && r.told && r.after <= j.taken {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *recording) int {
		return cmp.Or(cmp.Compare(a.after, b.after), cmp.Compare(a.session, b.session))
	})
	return list
}

// sendRecording sends one. An error means that it is to be tried again.
func (j *Journal) sendRecording(ctx context.Context, to Sender, r *recording) error {
	path := r.path(closedEnding)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		j.forget(r)
		return nil
	}
	if err != nil {
		return diskFault("journal.upload", "cannot read "+path, err)
	}
	defer f.Close()
	digest := sha256.New()
	size, err := io.Copy(digest, f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return diskFault("journal.upload", "cannot read "+path, err)
	}
	err = to.Recording(ctx, r.session, size, hex.EncodeToString(digest.Sum(nil)), io.NopCloser(f))
	f.Close()
	if k := fault.KindOf(err); final(err) || err != nil && (k == fault.NotFound || k == fault.Conflict) {
		if r.tries++; r.tries < refusals { // it may have been cut short on its way
			return err
		}
		j.setRecordingAside(r, err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskFault("journal.upload", "cannot delete "+path, err)
	}
	j.forget(r)
	return nil
}
