package httpdoor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// deadlines is a writer that remembers until when it may be read.
type deadlines struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = t; return nil }

func TestARecordingHasToComeInTime(t *testing.T) {
	for _, left := range []time.Duration{time.Second, time.Hour} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		end := time.Now().Add(left)
		p := &patient{Reader: strings.NewReader("x"), rc: http.NewResponseController(w), end: end}
		if _, err := p.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if w.read.After(end) || w.read.After(time.Now().Add(maxCopyPause)) || left < maxCopyPause && !w.read.Equal(end) {
			t.Errorf("with %s left it waits until %s", left, w.read)
		}
	}
}
