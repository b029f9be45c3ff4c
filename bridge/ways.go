package bridge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

const maxSecret = 64 << 10

// ways is the connections of one bridge to its ends. Once cut, those that were open are closed and none is opened any more.
type ways struct {
	dial     Dial
	tls      *tls.Config
	token    func(ctx context.Context, workload, audience string) (end.Token, error)
	secrets  string // the folder
	identity string
	latest   func(name string) (plan.BridgeEnd, bool) // who provides an end may change while it is used

	mu   sync.Mutex // guards the fields below
	cut  bool
	open map[*way]struct{}
}

type way struct {
	net.Conn
	all *ways
}

// Close closes the connection.
func (w *way) Close() error {
	w.all.mu.Lock()
	delete(w.all.open, w)
	w.all.mu.Unlock()
	return w.Conn.Close()
}

// close cuts all.
func (w *ways) close() {
	w.mu.Lock()
	w.cut = true
	open := w.open
	w.open = nil
	w.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close() // it is to break
	}
}

// connect opens a connection to a port of an end, by the end's name.
func (w *ways) connect(ctx context.Context, name string, port uint16) (net.Conn, error) {
	e, ok := w.latest(name)
	if !ok || !e.Open {
		return nil, fault.Newf("bridge.connect", fault.Unavailable, "the connection of the endpoint %s is not approved", name)
	}
	c, err := w.dial(ctx, e, port)
	if err != nil {
		return nil, err
	}
	tracked := &way{Conn: c, all: w}
	w.mu.Lock()
	cut := w.cut
	if !cut {
		if w.open == nil {
			w.open = map[*way]struct{}{}
		}
		w.open[tracked] = struct{}{}
	}
	w.mu.Unlock()
	if cut {
		_ = c.Close()
		return nil, fault.New("bridge.connect", fault.Unavailable, "the bridge does not run any more")
	}
	return tracked, nil
}

// end makes an End of a private endpoint, with the content of a secret.
func (w *ways) end(name, secret string) (*end.End, error) {
	e, ok := w.latest(name)
	if !ok {
		return nil, fault.Newf("bridge.end", fault.Unavailable, "the private endpoint %s is not there", name).Advise("make it in the network of the bridge")
	}
	out := &end.End{BridgeEnd: e, TLS: w.tls}
	out.Connect = func(ctx context.Context, port uint16) (net.Conn, error) { return w.connect(ctx, name, port) }
	if e.Served && w.token != nil {
		out.Token = func(ctx context.Context, audience string) (end.Token, error) {
			if e.HostName != "" { // for this service alone: whoever serves it could show another token to others
				var err error
				if audience, err = end.AudienceOf(e.HostName); err != nil {
					return end.Token{}, err
				}
			}
			return w.token(ctx, w.identity, audience)
		}
	}
	var err error
	out.Secret, err = w.secret(secret)
	return out, err
}

// secret reads the file of a name; none without a name.
func (w *ways) secret(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	path := filepath.Join(w.secrets, filepath.Base(name))
	f, err := os.Open(path)
	if err != nil {
		kind := fault.Unavailable
		if errors.Is(err, fs.ErrNotExist) {
			kind = fault.Invalid
		}
		return "", fault.Newf("bridge.secret", kind, "the secret %s cannot be read", name).Advise("put it into %s, readable for this process only", path).Because(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil || len(b) > maxSecret {
		return "", fault.Newf("bridge.secret", fault.Invalid, "the secret %s cannot be read, or has more than %d bytes", name, maxSecret).Because(err)
	}
	return string(bytes.TrimSpace(b)), nil
}
