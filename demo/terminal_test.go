package demo

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// typed gives one piece of input for each read, as a terminal does.
type typed []string

func (k *typed) Read(p []byte) (int, error) {
	if len(*k) == 0 {
		return 0, io.EOF
	}
	n := copy(p, (*k)[0])
	*k = (*k)[1:]
	return n, nil
}

func TestKeysThatQuit(t *testing.T) {
	for _, quit := range []string{"q", "Q", "\x03", "\x1b", "abcq"} {
		k := typed{"x", "\x1b[A", "\x1b[1;5C", quit, "never read"}
		waitForQuit(&k, func(byte) {})
		if len(k) != 1 {
			t.Errorf("%q: %d pieces are left", quit, len(k))
		}
	}
	var none typed
	waitForQuit(&none, func(byte) {}) // a terminal that goes away
}

func TestDrawLeavesNothingOfBefore(t *testing.T) {
	var out bytes.Buffer
	draw(&out, "one\ntwo", 0)
	if got := out.String(); got != goHome+"one"+clearLine+"\r\n"+"two"+clearLine+"\r\n"+clearBelow {
		t.Errorf("%q", got)
	}
	out.Reset()
	draw(&out, "1\n2\n3\n4\n", 3)
	if got := out.String(); strings.Contains(got, "3") || !strings.Contains(got, "2") {
		t.Errorf("on three rows: %q", got)
	}
}
