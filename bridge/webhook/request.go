package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"mime"
	"net/http"
	"time"
	"unicode/utf8"

	signature "github.com/isthmus-io/isthmus/access/webhook"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

const maxHeader = 16 << 10 // many servers take no more for all headers together

// appendEvent writes an event as a member of a batch.
func appendEvent(b []byte, e *event.Event, bridge string) []byte {
	b = appendString(append(b, `{"id":`...), e.ID(bridge))
	if e.Repeated() {
		b = append(b, `,"repeat":true`...)
	}
	if device := e.Device(); device != "" {
		b = appendString(append(b, `,"device":`...), device)
	}
	if at := e.Origin.Enqueued; !at.IsZero() {
		b = append(append(append(b, `,"enqueued":"`...), at.UTC().Format(time.RFC3339Nano)...), '"')
	}
	switch body := e.Body; {
	case !utf8.Valid(body):
		b = append(b, `,"bodyBase64":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, body), '"')
	case json.Valid(body):
		b = append(append(b, `,"body":`...), body...)
	default:
		b = appendString(append(b, `,"bodyText":`...), string(body))
	}
	b = appendObject(b, `,"properties":`, e.Properties)
	b = appendObject(b, `,"system":`, e.System)
	return append(b, '}')
}

// appendObject writes properties as an object behind a name, or nothing when there are none. The marks of bridges are not among them.
func appendObject(b []byte, name string, list []event.Property) []byte {
	start, n := len(b), 0
	var seen map[string]bool
	if len(list) > 1 {
		seen = make(map[string]bool, len(list))
	}
	b = append(append(b, name...), '{')
	for i := range list {
		p := &list[i]
		if p.Name == "" || p.Name == event.OriginProperty || p.Name == event.RepeatProperty || seen[p.Name] {
			continue
		}
		if seen != nil {
			seen[p.Name] = true
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = appendValue(append(appendString(b, p.Name), ':'), p.Value)
	}
	if n == 0 {
		return b[:start]
	}
	return append(b, '}')
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendString(b, v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(event.AppendText(append(b, '"'), v), '"')
		}
		return event.AppendText(b, v)
	case bool, int64, uint64:
		return event.AppendText(b, v)
	}
	return append(event.AppendText(append(b, '"'), v), '"')
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON text. What is no UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// headers is what stands beside the body of a single event.
func (d *destination) headers(e *event.Event) (http.Header, error) {
	h := http.Header{"Isthmus-Origin": {printable(e.ID(d.bridge))}, "Content-Type": {"application/octet-stream"}}
	if e.Repeated() {
		h.Set("Isthmus-Repeat", "true")
	}
	if device := e.Device(); device != "" {
		h.Set("Isthmus-Device", printable(device))
	}
	if at := e.Origin.Enqueued; !at.IsZero() {
		h.Set("Isthmus-Enqueued", at.UTC().Format(time.RFC3339Nano))
	}
	if t := event.Text(e.System, event.ContentType); t != "" && len(t) <= 200 && printable(t) == t {
		if _, _, err := mime.ParseMediaType(t); err == nil {
			h.Set("Content-Type", t)
		}
	}
	for name, list := range map[string][]event.Property{"Isthmus-Properties": e.Properties, "Isthmus-System": e.System} {
		if b := appendObject(nil, "", list); len(b) > 0 {
			h[name] = []string{ascii(b)}
		}
	}
	size := 0
	for _, values := range h {
		size += len(values[0])
	}
	if size > maxHeader {
		return nil, fault.Newf("webhook.Write", fault.TooLarge, "what stands beside the event's body takes more than %d bytes of headers", maxHeader).
			Advise("send batches, or leave properties out in a step")
	}
	return h, nil
}

// printable percent-encodes what is no printable ASCII, and %.
func printable(s string) string {
	clean := true
	for i := range len(s) {
		plain := s[i] > ' ' && s[i] < 0x7f && s[i] != '%' || s[i] == ' ' && i > 0 && i < len(s)-1
		clean = clean && plain
	}
	if clean {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' {
			b = append(b, c)
		} else {
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return string(b)
}

// ascii writes the letters of JSON that are not ASCII as escapes.
func ascii(b []byte) string {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		switch {
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			out = appendEscape(appendEscape(out, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			out = appendEscape(out, r)
		}
	}
	return string(out)
}

func appendEscape(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// request makes a request of a body.
func (d *destination) request(ctx context.Context, body []byte, header http.Header) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, d.spec.Method, d.url, bytes.NewReader(body))
	if err != nil {
		return nil, fault.New("webhook.Write", fault.Invalid, "the request cannot be made of the manifest's path").Because(err)
	}
	for name, values := range d.header {
		if name == "Host" {
			r.Host = values[0]
			continue
		}
		r.Header[name] = values
	}
	if header == nil && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		if name == "Content-Type" && values[0] == "application/octet-stream" && r.Header.Get(name) != "" {
			continue // it stands for no knowledge
		}
		r.Header[name] = values
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", "isthmus")
	}
	switch {
	case d.signing != "":
		r.Header.Set(signature.SignatureHeader, signature.Sign(d.signing, body, d.clk.Now()))
	case d.authorization != "":
		r.Header.Set("Authorization", d.authorization)
	case d.end.Token != nil && d.end.Served && d.end.HostName != "" && !d.spec.Plain:
		t, err := d.end.Token(ctx, "https://"+d.end.HostName+"/")
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+t.Text)
	}
	return r, nil
}
