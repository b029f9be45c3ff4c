package trial

import (
	"context"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// stand puts a step's stand-in in the place of its endpoint.
func (t *trial) stand(s *resource.BridgeStep) error {
	if s.HTTP == nil {
		return nil
	}
	text, there := t.args.Functions[s.Name]
	if !there {
		return fault.Newf("trial.Run", fault.Invalid, "step %s of %s asks a service, and a trial opens no endpoints", s.Name, t.args.Name).
			Advise("start the service and name it: --function %s=http://localhost:8080", s.Name)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fault.Newf("trial.Run", fault.Invalid, "%.100q is no URL of a function", text).Advise("write it as http://localhost:8080")
	}
	h := *s.HTTP
	h.Plain, h.Endpoint, h.Secret = u.Scheme == "http", s.Name, ""
	h.Path = strings.TrimSuffix(u.Path, "/") + h.Path
	s.HTTP = &h
	return nil
}

// end is the way to a stand-in, by the name of its step.
func (t *trial) end(step, _ string) (*end.End, error) {
	u, err := url.Parse(t.args.Functions[step])
	if err != nil || u.Host == "" {
		return nil, fault.Newf("trial.Run", fault.Invalid, "a trial opens no endpoints, and %s needs one", step)
	}
	port := uint64(443)
	if u.Scheme == "http" {
		port = 80
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.ParseUint(p, 10, 16); err != nil {
			return nil, fault.Newf("trial.Run", fault.Invalid, "%.20q is no port", p)
		}
	}
	address := net.JoinHostPort(u.Hostname(), strconv.FormatUint(port, 10))
	return &end.End{
		BridgeEnd: plan.BridgeEnd{Name: step, Open: true, HostName: u.Hostname(), Ports: []uint16{uint16(port)}},
		Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}, nil
}

// references puts files in the place of tables that are blobs.
func (t *trial) references() ([]resource.ReferenceTable, error) {
	list := append([]resource.ReferenceTable(nil), t.args.Spec.References...)
	for i := range list {
		r := &list[i]
		if r.Blob != nil {
			r.File, r.Blob = path.Base(r.Blob.Name), nil
		}
		if _, err := os.Stat(filepath.Join(t.args.References, r.File)); err != nil {
			return nil, fault.Newf("trial.Run", fault.NotFound, "the table %s is not in %s", r.Name, t.args.References).
				Advise("put a copy there as %s, or name another folder with --references", r.File)
		}
	}
	return list, nil
}
