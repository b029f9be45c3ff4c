package syslog

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/audit"
)

// ExampleEnterprise is the private enterprise number which RFC 5612 keeps for examples. It stands in SD-IDs unless another is configured:
// the product has no number of its own.
const ExampleEnterprise = 32473

// Bounds of a message, in bytes.
const (
	MaxMessage  = 8192 // what a receiver should take (RFC 5425, clause 4.3.1)
	MaxDatagram = 2048 // likewise over UDP (RFC 5426, clause 3.2)
)

// Facility 13 is "log audit" (RFC 5424, table 1).
const facility = 13

// Severities of RFC 5424, table 2.
const (
	alert         = 1
	warning       = 4
	notice        = 5
	informational = 6
)

const (
	version   = " 1 "
	appName   = "isthmus"
	bom       = "\uFEFF" // begins a MSG in UTF-8 (clause 6.4)
	maxHost   = 255
	maxMSGID  = 32
	timeStyle = "2006-01-02T15:04:05.000000Z07:00" // six digits at most (clause 6.2.3)
)

// Format turns records into messages. The zero value works.
type Format struct {
	Host       string // HOSTNAME: the deployment's trust domain
	Enterprise int    // ExampleEnterprise when 0
	Limit      int    // MaxMessage when 0; never less than MaxDatagram
}

// severity of what was done: whoever breaks the glass wants to be heard, and who may not do what he tries is of interest.
func severity(operation string) int {
	switch {
	case operation == "break-glass":
		return alert
	case operation == "denied", operation == "deny", strings.HasSuffix(operation, "-refused"):
		return warning
	case strings.HasPrefix(operation, "session-"), operation == "sign-in":
		return informational
	}
	return notice
}

// Record appends the record's message to b. The structured data has every field of the record; before and after are left out, and texts cut,
// where the message would be longer than the limit, and "omitted" names them.
func (f Format) Record(b []byte, r *audit.Record) []byte {
	start := len(b)
	limit := max(f.Limit, MaxDatagram)
	if f.Limit == 0 {
		limit = MaxMessage
	}
	for _, try := range []struct {
		omitted       string
		before, after bool
		text          int
	}{
		{"", true, true, limit}, {"before", false, true, limit}, {"before after", false, false, limit},
		{"before after text", false, false, limit / 12}, {"before after text", false, false, 40},
	} {
		cut := func(s string) string { return truncate(s, try.text) }
		b = f.header(b[:start], severity(r.Operation), r.Time, r.Operation)
		b = append(b, "[isthmus@"...)
		b = f.enterprise(b)
		b = param(b, "tenant", cut(r.Tenant))
		b = param(b, "sequence", strconv.FormatInt(r.Sequence, 10))
		b = param(b, "who", cut(r.Who))
		b = param(b, "operation", cut(r.Operation))
		b = param(b, "kind", cut(r.Kind))
		b = param(b, "path", cut(r.Path))
		b = optional(b, "why", cut(r.Why))
		if try.before {
			b = optional(b, "before", string(r.Before))
		}
		if try.after {
			b = optional(b, "after", string(r.After))
		}
		b = optional(b, "omitted", try.omitted)
		b = param(b, "previous", r.Previous)
		b = param(b, "hash", r.Hash)
		b = append(b, "] "+bom...)
		b = visible(b, cut(r.Who)+": "+cut(strings.TrimSpace(r.Operation+" "+r.Kind+" "+r.Path)), false)
		if r.Why != "" {
			b = visible(b, ": "+cut(r.Why), false)
		}
		if len(b)-start <= limit {
			break
		}
	}
	return b
}

// Checkpoint appends the message of a checkpoint to b, with all of it: a collector is a good place to keep one.
func (f Format) Checkpoint(b []byte, c *audit.Checkpoint) []byte {
	b = f.header(b, informational, c.At, "checkpoint")
	b = append(b, "[isthmusCheckpoint@"...)
	b = f.enterprise(b)
	b = param(b, "trustDomain", truncate(c.TrustDomain, maxHost))
	b = param(b, "tenant", truncate(c.Tenant, 64))
	b = param(b, "sequence", strconv.FormatInt(c.Sequence, 10))
	b = param(b, "hash", truncate(c.Hash, 64))
	b = param(b, "at", c.At.UTC().Format(time.RFC3339Nano))
	b = param(b, "authority", truncate(c.Authority, 64))
	b = param(b, "signature", truncate(c.Signature, 1024))
	b = append(b, "] "+bom...)
	return visible(b, "the audit log ends with record "+strconv.FormatInt(c.Sequence, 10), false)
}

// header is everything before the structured data (clause 6.2).
func (f Format) header(b []byte, severity int, at time.Time, id string) []byte {
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(facility*8+severity), 10)
	b = append(b, '>')
	b = append(b, version[1:]...)
	if at.IsZero() {
		b = append(b, '-')
	} else {
		b = at.UTC().AppendFormat(b, timeStyle)
	}
	b = append(b, ' ')
	b = word(b, f.Host, maxHost)
	b = append(b, " "+appName+" - "...)
	b = word(b, id, maxMSGID)
	return append(b, ' ')
}

func (f Format) enterprise(b []byte) []byte {
	if f.Enterprise <= 0 {
		return strconv.AppendInt(b, ExampleEnterprise, 10)
	}
	return strconv.AppendInt(b, int64(f.Enterprise), 10)
}

// word appends PRINTUSASCII, or the NILVALUE for nothing (clause 6).
func word(b []byte, s string, most int) []byte {
	if s == "" {
		return append(b, '-')
	}
	for i := range min(len(s), most) {
		if c := s[i]; c > ' ' && c < 0x7f {
			b = append(b, c)
		} else {
			b = append(b, '?')
		}
	}
	return b
}

// param appends a PARAM with its value escaped (clause 6.3.3).
func param(b []byte, name, value string) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, `="`...)
	b = visible(b, value, true)
	return append(b, '"')
}

func optional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return param(b, name, value)
}

// visible appends UTF-8 without control characters: those of ASCII become their pictures (U+2400 and on), others U+FFFD, so that no text can
// begin a line of its own in somebody's log or steer a terminal.
func visible(b []byte, s string, escape bool) []byte {
	for _, c := range s {
		switch {
		case c < ' ':
			c += 0x2400
		case c == 0x7f:
			c = 0x2421
		case c >= 0x80 && c < 0xa0, c == 0x2028, c == 0x2029:
			c = utf8.RuneError
		case escape && (c == '"' || c == '\\' || c == ']'):
			b = append(b, '\\')
		}
		b = utf8.AppendRune(b, c)
	}
	return b
}

// truncate cuts a text to at most n bytes, between runes.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
