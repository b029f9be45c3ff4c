package syslog_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/audit/syslog"
)

var t0 = time.Date(2026, 11, 22, 8, 0, 0, 123456789, time.UTC)

func record(t testing.TB, f func(*audit.Record)) audit.Record {
	t.Helper()
	r := audit.Record{Tenant: "ot", Time: t0, Who: "olga of ot", Operation: "approve", Kind: "Grant", Path: "ot/plant-7/plc/g1", Why: "repair",
		Before: json.RawMessage(`{"state":"Requested"}`), After: json.RawMessage(`{"state":"Approved","logins":["root"]}`)}
	if f != nil {
		f(&r)
	}
	r, err := r.Follow(audit.Place{Sequence: 6, Hash: strings.Repeat("a", 64)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAMessageByTheLetter(t *testing.T) {
	r := record(t, nil)
	got := string(syslog.Format{Host: "isthmus.test"}.Record(nil, &r))
	want := `<109>1 2026-11-22T08:00:00.123456Z isthmus.test isthmus - approve [isthmus@32473 tenant="ot" sequence="7" who="olga of ot" operation="approve" kind="Grant" ` +
		`path="ot/plant-7/plc/g1" why="repair" before="{\"state\":\"Requested\"}" after="{\"state\":\"Approved\",\"logins\":[\"root\"\]}" previous="` + strings.Repeat("a", 64) +
		`" hash="` + r.Hash + `"] ` + "\uFEFF" + `olga of ot: approve Grant ot/plant-7/plc/g1: repair`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	c := audit.Checkpoint{TrustDomain: "isthmus.test", Tenant: "ot", Sequence: 7, Hash: "ab", At: t0, Authority: "cd", Signature: "ef"}
	got = string(syslog.Format{Host: "isthmus.test", Enterprise: 7}.Checkpoint(nil, &c))
	want = `<110>1 2026-11-22T08:00:00.123456Z isthmus.test isthmus - checkpoint [isthmusCheckpoint@7 trustDomain="isthmus.test" tenant="ot" sequence="7" hash="ab" ` +
		`at="2026-11-22T08:00:00.123456789Z" authority="cd" signature="ef"] ` + "\uFEFF" + `the audit log ends with record 7`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSeverities(t *testing.T) {
	for operation, want := range map[string]int{
		"break-glass": 1, "denied": 4, "deny": 4, "session-refused": 4, "sign-in-refused": 4, "session-open": 6, "session-end": 6, "sign-in": 6, "update": 5, "revoke": 5, "": 5,
	} {
		r := record(t, func(r *audit.Record) { r.Operation = operation })
		m, err := parse(string(syslog.Format{}.Record(nil, &r)))
		if err != nil || m.severity != want || m.facility != 13 || m.host != "-" {
			t.Errorf("%s: %+v, %v", operation, m, err)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	long := json.RawMessage(`"` + strings.Repeat("x", 6000) + `"`)
	for _, tc := range []struct {
		name    string
		change  func(*audit.Record)
		limit   int
		omitted string
	}{
		{"small", nil, 0, ""},
		{"a long object", func(r *audit.Record) { r.Before, r.After = long, long }, 0, "before"},
		{"two of them over UDP", func(r *audit.Record) { r.Before, r.After = long, long }, syslog.MaxDatagram, "before after"},
		{"a long reason", func(r *audit.Record) { r.Why = strings.Repeat("é", 9000) }, 0, "before after text"},
		{"everything escaped and long", func(r *audit.Record) {
			r.Why = strings.Repeat(`"`, 9000)
			r.Who, r.Path, r.Kind, r.Operation, r.Tenant = r.Why, r.Why, r.Why, r.Why, r.Why
		}, syslog.MaxDatagram, "before after text"},
		{"controls, which grow", func(r *audit.Record) {
			r.Why = strings.Repeat("\x01", 9000)
			r.Who, r.Path, r.Kind, r.Operation, r.Tenant = r.Why, r.Why, r.Why, r.Why, r.Why
		}, 1, "before after text"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := record(t, tc.change)
			f := syslog.Format{Host: strings.Repeat("h", 300), Limit: tc.limit}
			b := f.Record(nil, &r)
			limit := max(tc.limit, syslog.MaxDatagram)
			if tc.limit == 0 {
				limit = syslog.MaxMessage
			}
			m, err := parse(string(b))
			if err != nil || len(b) > limit || m.params["omitted"] != tc.omitted || m.params["hash"] != r.Hash || m.params["sequence"] != "7" {
				t.Errorf("%d bytes, %v, omitted %q: %s", len(b), err, m.params["omitted"], b)
			}
		})
	}
}

// seen is what a text looks like in a message, said another way than the package says it: each byte that is no UTF-8 is one U+FFFD.
func seen(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c < ' ':
			return '␀' + c
		case c == 0x7f:
			return '␡'
		case c < 0xa0 && c > 0x7f, c == '\u2028', c == '\u2029':
			return '\uFFFD'
		}
		return c
	}, string([]rune(s)))
}

func FuzzMessage(f *testing.F) {
	f.Add("olga of ot", "approve", "Grant", "ot/g1", "repair", `{"a":1}`, "isthmus.test")
	f.Add(`"]\`, "line\nbreak", "\x00\x1b]0;title\a", "\u2028\u0085", "\xff\xfe", `"]\\"`, "a b")
	f.Add("", "", "", "", "", "", "")
	f.Add("]", "break-glass", "\\", "\"", "<13>1 - - - - - -", `[]`, strings.Repeat("h", 400))
	f.Fuzz(func(t *testing.T, who, operation, kind, path, why, after, host string) {
		r := audit.Record{Sequence: 9, Time: t0, Who: who, Operation: operation, Kind: kind, Path: path, Why: why, After: json.RawMessage(after), Hash: "ab"}
		b := syslog.Format{Host: host}.Record([]byte("before"), &r)
		b = b[len("before"):]
		if len(b) > syslog.MaxMessage || !utf8.Valid(b) {
			t.Fatalf("%d bytes", len(b))
		}
		m, err := parse(string(b))
		if err != nil {
			t.Fatalf("%v: %q", err, b)
		}
		if m.params["omitted"] != "" {
			return
		}
		want := map[string]string{"tenant": "", "sequence": "9", "who": who, "operation": operation, "kind": kind, "path": path, "previous": "", "hash": "ab"}
		if why != "" {
			want["why"] = why
		}
		if after != "" {
			want["after"] = after
		}
		for k, v := range want {
			want[k] = seen(v)
		}
		if !maps.Equal(m.params, want) {
			t.Fatalf("got %q, want %q", m.params, want)
		}
	})
}

func BenchmarkMessage(b *testing.B) {
	r := record(b, nil)
	f := syslog.Format{Host: "isthmus.test"}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Record(buf[:0], &r)
	}
}
