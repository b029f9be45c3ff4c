package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/isthmus-io/isthmus/fault"
)

// maxSecret bounds a line of standard input.
const maxSecret = 16 << 10

// secret reads one that stands alone on a line of a file, or of standard input for "-", at a terminal without echo. what names it.
func (w *world) secret(what, file string) (string, error) {
	b, err := w.secretLine(what, file)
	if err != nil {
		return "", fault.Wrap("isthmus.secret", fault.NotFound, err, "the "+what+" cannot be read: "+err.Error())
	}
	text := strings.TrimSpace(string(b))
	if text == "" || strings.ContainsAny(text, " \t\r\n") {
		return "", fault.Newf("isthmus.secret", fault.Invalid, "there is no %s, or more than one word", what).Advise("the %s stands alone on one line", what)
	}
	return text, nil
}

func (w *world) secretLine(what, file string) ([]byte, error) {
	if file != "-" {
		return os.ReadFile(file)
	}
	f, ok := w.in.(*os.File)
	if !ok || !w.typing {
		return readLine(w.in)
	}
	_, _ = io.WriteString(w.err, what+": ")
	defer io.WriteString(w.err, "\n") //nolint:errcheck // there is nobody else to tell
	return term.ReadPassword(int(f.Fd()))
}

// readLine takes no more than a line, so that what follows is there for others.
func readLine(r io.Reader) ([]byte, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < maxSecret {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' {
			return line, nil
		}
		line = append(line, one[:n]...)
		if errors.Is(err, io.EOF) {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the line is too long")
}

// newSecret is a file for a secret that is not made yet: one that cannot be kept had better not be made. The zero value is no file.
type newSecret struct {
	f    *os.File
	kept bool
}

// createSecret makes the file, which must not be there, for its owner only; an empty path makes none. The caller closes it.
func createSecret(path string) (*newSecret, error) {
	if path == "" {
		return &newSecret{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fault.Wrap("isthmus.createSecret", fault.Conflict, err, "the secret cannot be written: "+err.Error())
	}
	return &newSecret{f: f}, nil
}

func (s *newSecret) write(text string) error {
	_, err := s.f.WriteString(text + "\n")
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		return fault.Wrap("isthmus.newSecret", fault.Exhausted, err, "the secret cannot be written: "+err.Error())
	}
	s.kept = true
	return nil
}

// close takes the file away again when no secret came to be in it.
func (s *newSecret) close() {
	if s.f == nil {
		return
	}
	s.f.Close()
	if !s.kept {
		_ = os.Remove(s.f.Name())
	}
}
