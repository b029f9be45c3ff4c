package dialer

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"runtime"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

// kept is the file that a pass is kept in between processes.
type kept struct {
	Holder string `json:"holder"`
	Pass   Pass   `json:"pass"`
}

// maxFile bounds what is read: a pass with a thousand grants is well below.
const maxFile = 8 << 20

// load returns the pass of the file when it is one of ours. What cannot be used is as good as none: another is asked for.
func (d *Dialer) load() (Pass, bool) {
	if d.cfg.File == "" {
		return Pass{}, false
	}
	info, err := os.Stat(d.cfg.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Pass{}, false
	case err != nil || info.Size() > maxFile:
		d.log.Warn("the pass that was kept cannot be read", "file", d.cfg.File, "err", err)
		return Pass{}, false
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		d.log.Warn("the pass that was kept is not used, as others may read it", "file", d.cfg.File)
		return Pass{}, false
	}
	var k kept
	b, err := os.ReadFile(d.cfg.File)
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		d.log.Warn("the pass that was kept cannot be read", "file", d.cfg.File, "err", err)
		return Pass{}, false
	}
	if k.Holder != d.cfg.Holder {
		return Pass{}, false
	}
	return k.Pass, true
}

// save keeps a pass for the processes to come. That it cannot be kept stands in nobody's way today.
func (d *Dialer) save(p *Pass) {
	if d.cfg.File == "" {
		return
	}
	b, err := json.Marshal(kept{d.cfg.Holder, *p})
	if err == nil {
		err = keepfile.Write(d.cfg.File, b)
	}
	if err != nil {
		d.log.Warn("the pass cannot be kept for later", "file", d.cfg.File, "err", fault.Message(err))
	}
}
