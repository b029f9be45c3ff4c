package httpdoor

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/hub/front"
)

// tracked is a connection as net/http has it. It tells front when net/http is done with it, and keeps the head of the request being read
// as it came: net/http rewrites the names of headers, and devices' properties are names of headers in which case counts.
type tracked struct {
	*front.Conn
	taken atomic.Bool // by another door, which says when the connection is over

	head    []byte // as far as it came
	reading bool   // of the head
}

func (t *tracked) Close() error {
	err := t.Conn.Close()
	if !t.taken.Load() {
		t.Leave()
	}
	return err
}

// handOver is called when net/http has given the connection up, to the handler of a WebSocket.
func (t *tracked) handOver() {
	t.taken.Store(true)
	t.head, t.reading = nil, false
}

// Read also keeps what belongs to a request's head. net/http makes no two reads at once, and none while ConnState is called.
func (t *tracked) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if t.reading {
		t.head = append(t.head, b[:n]...)
		t.reading = len(t.head) < maxHeader && !bytes.Contains(t.head[max(0, len(t.head)-n-3):], []byte("\r\n\r\n"))
	}
	return n, err
}

// begin is ConnState of net/http: a request is about to be read. Of a request that was sent before the last one was answered, no head is
// kept, because it may have been read already.
func begin(c net.Conn, s http.ConnState) {
	t, ok := c.(*tracked)
	if !ok || (s != http.StateNew && s != http.StateIdle) {
		return
	}
	if cap(t.head) > keepHead {
		t.head = nil
	}
	t.head, t.reading = t.head[:0], true
}

// keepHead is the largest buffer an idle connection keeps for its next head.
const keepHead = 2 << 10

// appHeaders calls each for every header of a request that is an application's property, with the key as it was written.
func (x *exchange) appHeaders(each func(key, value string)) {
	names := map[string][]string{}
	if x.tracked != nil {
		head, _, _ := bytes.Cut(x.tracked.head, []byte("\r\n\r\n"))
		for line := range bytes.Lines(head) {
			name, _, _ := bytes.Cut(line, []byte(":"))
			if len(name) > len(appPrefix) && strings.EqualFold(string(name[:len(appPrefix)]), appPrefix) {
				key := http.CanonicalHeaderKey(string(name))
				names[key] = append(names[key], string(name[len(appPrefix):]))
			}
		}
	}
	for name, values := range x.Header {
		if len(name) <= len(appPrefix) || !strings.EqualFold(name[:len(appPrefix)], appPrefix) {
			continue
		}
		written := names[name]
		for i, v := range values {
			key := strings.ToLower(name[len(appPrefix):])
			if i < len(written) {
				key = written[i]
			}
			each(key, v)
		}
	}
}
