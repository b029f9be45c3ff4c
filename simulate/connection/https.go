package connection

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	// largestAnswer bounds what is read of one answer, and keptError what is kept of a refusal.
	largestAnswer = 64 << 10
	keptError     = 4 << 10
	// httpsBuffer is what an answer is read through.
	httpsBuffer = 256
)

// httpsTalk is HTTP/1.1 with one POST at a time, on a connection of the device's own that is kept alive. A transport of net/http would share
// connections among devices, or keep two goroutines and two buffers for each, and thousands of devices are to look like thousands.
type httpsTalk struct {
	c    *Conn
	head string // the request's first lines

	mu      sync.Mutex // guards the fields below
	token   string
	waiting bool // for the answer to id
	wanting bool // the sink waits for Ready
	let     bool // the hub has let the device in
	id      uint16
}

// introduce has nothing to say: each request says who it is from.
func (t *httpsTalk) introduce(_ context.Context, hello Hello) error {
	t.head = "POST /devices/" + url.PathEscape(hello.Device) + "/messages/events?api-version=2021-04-12 HTTP/1.1\r\nHost: " + t.c.way.cfg.Host +
		"\r\nUser-Agent: isthmus-simulate\r\n"
	t.token = hello.Token
	return nil
}

func (t *httpsTalk) publish(b *buffers, m message) error {
	head, err := appendHeaders(b.head[:0], m.bag)
	if b.head = head; err != nil {
		return err
	}
	t.mu.Lock()
	if t.waiting {
		t.wanting = true
		t.mu.Unlock()
		return ErrNotNow
	}
	t.waiting, t.id = true, m.id
	b.packet = append(b.packet[:0], t.head...)
	if t.token != "" {
		b.packet = append(append(append(b.packet, "Authorization: "...), t.token...), '\r', '\n')
	}
	t.mu.Unlock()
	b.packet = append(append(b.packet, head...), "Content-Length: "...)
	b.packet = append(strconv.AppendInt(b.packet, int64(len(m.body)), 10), "\r\n\r\n"...)
	b.packet = append(b.packet, m.body...)
	return t.c.send(b.packet)
}

// headers of properties with a place of their own (IoT Hub: device REST API, Send Device Event).
var systemHeaders = [...]struct{ property, header string }{
	{messageID, "iothub-messageid: "}, {userID, "iothub-userid: "}, {correlationID, "iothub-correlationid: "}, {contentType, "iothub-contenttype: "},
	{contentEncoding, "iothub-contentencoding: "},
}

// appendHeaders writes a property bag as headers. Invalid says that a property cannot be one.
func appendHeaders(dst, bag []byte) ([]byte, error) {
next:
	for len(bag) > 0 {
		var name, value []byte
		if name, value, bag = nextProperty(bag); len(name) == 0 {
			continue
		}
		for _, s := range systemHeaders {
			if isNamed(name, s.property) {
				dst = append(dst, s.header...)
				dst = appendValue(dst, value)
				continue next
			}
		}
		dst = append(dst, "iothub-app-"...)
		start := len(dst)
		dst = appendDecoded(dst, name)
		for _, c := range dst[start:] {
			if !isToken(c) {
				return dst, fault.Newf("connection.Publish", fault.Invalid, "the property %.60q cannot be sent over HTTPS, where names are those of headers", dst[start:]).
					Advise("rename it, or use mqtt or amqp")
			}
		}
		dst = appendValue(append(dst, ':', ' '), value)
	}
	return dst, nil
}

// appendValue writes a header's value; what none can hold becomes a space (RFC 9110, 5.5).
func appendValue(dst, value []byte) []byte {
	start := len(dst)
	dst = appendDecoded(dst, value)
	for i, c := range dst[start:] {
		if c < ' ' && c != '\t' || c == 0x7f {
			dst[start+i] = ' '
		}
	}
	return append(dst, '\r', '\n')
}

// isToken tells whether a header's name may have this character (RFC 9110, 5.6.2).
func isToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// ping has nothing to ask with: the hub counts as heard.
func (t *httpsTalk) ping() error {
	t.c.heard.Store(t.c.way.cfg.Now().UnixNano())
	return nil
}

func (*httpsTalk) beat() time.Duration { return 0 }

// renew has the next request carry the token.
func (t *httpsTalk) renew(token string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token = token
	return true, nil
}

func (*httpsTalk) leave() {}

// read takes answers until the connection ends.
func (t *httpsTalk) read() error {
	limited := &io.LimitedReader{R: (*ear)(t.c)}
	r := bufio.NewReaderSize(limited, httpsBuffer)
	request := &http.Request{Method: http.MethodPost}
	for {
		limited.N = largestAnswer
		if _, err := r.Peek(1); err != nil {
			if !t.isWaiting() {
				return ErrIdle
			}
			return err
		}
		answer, err := http.ReadResponse(r, request)
		if err != nil {
			return noHTTP(err)
		}
		if answer.StatusCode < http.StatusOK { // RFC 9110, 15.2: the answer proper follows
			continue
		}
		var body []byte
		if answer.StatusCode > 299 {
			body, err = io.ReadAll(io.LimitReader(answer.Body, keptError))
		}
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
		}
		_ = answer.Body.Close() // read to its end
		if err != nil || limited.N <= 0 {
			return noHTTP(err)
		}
		if !t.isWaiting() { // what nobody asked for comes before the end (RFC 9110, 15.5.9)
			return ErrIdle
		}
		if err := t.take(answer, body); err != nil {
			return err
		}
		if answer.Close {
			return ErrIdle
		}
	}
}

func noHTTP(err error) error {
	return fault.New("connection.read", fault.Unavailable, "the hub sent what is no HTTP").Because(err)
}

func (t *httpsTalk) isWaiting() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// take tells the sink what a status means.
func (t *httpsTalk) take(answer *http.Response, body []byte) error {
	op, sink, status := "connection.read", t.c.sink, answer.StatusCode
	t.mu.Lock()
	id, let, wanting := t.id, t.let, t.wanting
	t.waiting, t.wanting = false, false
	nobody := status == http.StatusUnauthorized || status == http.StatusNotFound
	t.let = let || !nobody
	t.mu.Unlock()
	said := explain(answer, body)
	switch {
	case status <= 299:
		sink.Acknowledged(t.c, id)
	case nobody && let: // another connection finds out
		return fault.Newf(op, fault.Unavailable, "the hub does not let the device in any more: %s", said)
	case nobody:
		return fault.Newf(op, fault.Unauthenticated, "the hub refused the device: %s", said).Advise(lookThere)
	case status == http.StatusTooManyRequests:
		sink.Refused(t.c, id, fault.Newf(op, fault.Exhausted, "the hub has too much to do: %s", said).Advise("send less often, or raise the hub's limits"), true)
	case status >= http.StatusInternalServerError:
		sink.Refused(t.c, id, fault.Newf(op, fault.Unavailable, "the hub could not take a message: %s", said), true)
	case status == http.StatusForbidden:
		sink.Refused(t.c, id, fault.Newf(op, fault.Denied, "the hub's quota is used up, or the device may not send: %s", said), false)
	case status == http.StatusRequestEntityTooLarge:
		sink.Refused(t.c, id, fault.Newf(op, fault.TooLarge, "the hub refused a message as too large: %s", said), false)
	default:
		sink.Refused(t.c, id, fault.Newf(op, fault.Invalid, "the hub refused a message: %s", said), false)
	}
	if wanting {
		sink.Ready(t.c)
	}
	return nil
}

// explain is what a refusal says to people (IoT Hub: error responses).
func explain(answer *http.Response, body []byte) string {
	if answer.StatusCode <= 299 {
		return ""
	}
	var told struct{ Message string }
	if err := json.Unmarshal(body, &told); err != nil || told.Message == "" {
		return answer.Status
	}
	return answer.Status + ", " + short(told.Message)
}
