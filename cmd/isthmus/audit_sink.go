package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/audit/syslog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

// auditSink takes the lines of an export.
type auditSink interface {
	write(ctx context.Context, l audit.Line) error
	// settle returns once what was written is where it belongs, as far as one can tell, and how large a file is with it.
	settle(ctx context.Context) (size int64, err error)
	// close ends it. A file that was not to be followed is only there when all was well.
	close(well bool) error
}

// openSink opens where the export goes to, and writes the header where a file begins.
func (x *auditExport) openSink(header audit.Header) (auditSink, error) {
	encode := x.encoder(syslog.MaxMessage)
	switch {
	case x.collector:
		cfg, err := x.collectorConfig()
		if err != nil {
			return nil, err
		}
		c := syslog.New(x.destination, cfg, x.w.clock)
		return &collectorSink{Collector: c, encode: x.encoder(c.Limit())}, nil
	case x.to == "-":
		return x.headed(&fileSink{to: x.w, lines: bufio.NewWriter(terminalSafe{x.w}), encode: encode}, header)
	}
	path := x.to
	flags := os.O_CREATE | os.O_TRUNC | os.O_WRONLY
	if x.follow {
		flags = os.O_CREATE | os.O_RDWR
	} else {
		if _, err := os.Lstat(path); err == nil && !x.force {
			return nil, fault.Newf("isthmus.export", fault.Conflict, "%s is there already", path).Advise("name another file, or write over it with --force")
		}
		path += ".part"
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, cannotExport(err)
	}
	s := &fileSink{file: f, lines: bufio.NewWriterSize(f, 1<<16), encode: encode}
	if !x.follow {
		s.becomes = x.to
		if err := f.Chmod(0o600); err != nil { // it may have been there, for others
			_ = s.close(false)
			return nil, cannotExport(err)
		}
		return x.headed(s, header)
	}
	return x.resume(s, header)
}

// collectorConfig says whom to trust and what to show over TLS.
func (x *auditExport) collectorConfig() (cfg syslog.Config, err error) {
	op := "isthmus.export"
	if x.collectorCA != "" {
		b, err := readBounded(x.collectorCA, maxKept)
		cfg.Roots = x509.NewCertPool()
		if err != nil || !cfg.Roots.AppendCertsFromPEM(b) {
			return cfg, fault.Newf(op, fault.Invalid, "%s holds no certificate in PEM", x.collectorCA).Because(err).Advise("it should begin with -----BEGIN CERTIFICATE-----")
		}
	}
	if x.collectorCert != "" {
		pair, err := tls.LoadX509KeyPair(x.collectorCert, x.collectorKey)
		if err != nil {
			return cfg, fault.Newf(op, fault.Invalid, "the certificate for the log collector cannot be used: %v", err).Because(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// resume goes on where a followed file ended, without what was written after its state was. A file that was taken away (rotated) begins anew.
func (x *auditExport) resume(s *fileSink, header audit.Header) (auditSink, error) {
	end, err := s.file.Seek(0, io.SeekEnd)
	known := len(x.state.Chains) > 0
	switch {
	case err != nil:
		err = cannotExport(err)
	case end == 0:
		return x.headed(s, header)
	case !known:
		err = fault.Newf("isthmus.export", fault.Conflict, "%s is there already, and %s, which says how far it got, is not", x.to, x.statePath).
			Advise("name another file, or take this one away")
	case end < x.state.Size:
		err = fault.Newf("isthmus.export", fault.Conflict, "%s is shorter than when it was last written to", x.to).
			Advise("keep it, and name another file, or move this one away whole")
	default:
		if err = s.file.Truncate(x.state.Size); err == nil {
			s.size, err = s.file.Seek(x.state.Size, io.SeekStart)
		}
		if err = cannotExport(err); err == nil {
			return s, nil
		}
	}
	_ = s.close(false) // the error says more
	return nil, err
}

// headed writes the header, which only JSON lines have.
func (x *auditExport) headed(s *fileSink, header audit.Header) (auditSink, error) {
	if err := s.write(context.Background(), audit.Line{Header: &header}); err != nil {
		_ = s.close(false) // the error says more
		return nil, err
	}
	return s, nil
}

// encoder appends a line in the format of the export; nothing for what the format does not have.
func (x *auditExport) encoder(limit int) func(b []byte, l audit.Line) ([]byte, error) {
	if x.format == exportLines {
		return func(b []byte, l audit.Line) ([]byte, error) { return l.Append(b) }
	}
	f := syslog.Format{Host: x.domain, Enterprise: x.enterprise, Limit: limit}
	return func(b []byte, l audit.Line) ([]byte, error) {
		switch {
		case l.Record != nil:
			b = f.Record(b, l.Record)
		case l.Checkpoint != nil:
			b = f.Checkpoint(b, l.Checkpoint)
		default:
			return b, nil
		}
		if !x.collector {
			b = append(b, '\n')
		}
		return b, nil
	}
}

func cannotExport(err error) error {
	return fault.Wrap("isthmus.export", fault.Exhausted, err, "the export cannot be written: "+errorText(err))
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// collectorSink sends each line as a message.
type collectorSink struct {
	*syslog.Collector
	encode func([]byte, audit.Line) ([]byte, error)
	b      []byte
}

func (s *collectorSink) write(ctx context.Context, l audit.Line) (err error) {
	if s.b, err = s.encode(s.b[:0], l); err != nil || len(s.b) == 0 {
		return err
	}
	return s.Send(ctx, s.b)
}

func (s *collectorSink) settle(context.Context) (int64, error) { return 0, nil }
func (s *collectorSink) close(bool) error                      { return s.Close() }

// fileSink writes lines to a file or to standard output.
type fileSink struct {
	to      *world
	file    *os.File // nil for standard output
	lines   *bufio.Writer
	encode  func([]byte, audit.Line) ([]byte, error)
	b       []byte
	size    int64
	becomes string // the name of the file once it is whole
}

func (s *fileSink) write(_ context.Context, l audit.Line) (err error) {
	if s.b, err = s.encode(s.b[:0], l); err != nil {
		return err
	}
	n, err := s.lines.Write(s.b)
	s.size += int64(n)
	return cannotExport(err)
}

func (s *fileSink) settle(context.Context) (int64, error) {
	err := s.lines.Flush()
	if err == nil && s.file != nil {
		err = s.file.Sync()
	}
	return s.size, cannotExport(err)
}

func (s *fileSink) close(well bool) error {
	if s.file == nil {
		return nil
	}
	part := s.file.Name()
	err := s.file.Close()
	if s.becomes == "" {
		return cannotExport(err)
	}
	if well && err == nil {
		if err = os.Rename(part, s.becomes); err == nil {
			err = keepfile.SyncFolder(filepath.Dir(s.becomes))
		}
		return cannotExport(err)
	}
	if e := os.Remove(part); e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
		err = e
	}
	return cannotExport(err)
}

// terminalSafe prints lines; control characters are escaped on a terminal, and byte by byte what they are for everything else.
type terminalSafe struct{ w *world }

func (t terminalSafe) Write(p []byte) (int, error) {
	out := p
	if t.w.terminal {
		out = escaped(p)
	}
	if _, err := t.w.out.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
