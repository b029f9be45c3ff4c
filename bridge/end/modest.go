package end

import (
	"io"
	"net/http"

	"github.com/isthmus-io/isthmus/fault"
)

// MaxAnswer is how many bytes Modest takes of an answer.
const MaxAnswer = 1 << 20

// Modest bounds what is read of answers, except of those that give what a GET asked for: libraries of stores keep in memory whatever a
// service says, and it may be another tenant's. What is longer ends in a fault: Unavailable.
func Modest(t http.RoundTripper) http.RoundTripper { return modest{t} }

type modest struct{ http.RoundTripper }

func (m modest) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.RoundTripper.RoundTrip(r)
	if err == nil && (r.Method != http.MethodGet || resp.StatusCode >= 300) {
		resp.Body = &bounded{resp.Body, MaxAnswer}
	}
	return resp, err
}

type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fault.Newf("end.Modest", fault.Unavailable, "the service gave an answer of more than %d KiB", MaxAnswer>>10)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		n--
	}
	return n, err
}
