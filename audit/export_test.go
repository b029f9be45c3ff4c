package audit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

func write(t testing.TB, lines ...audit.Line) []byte {
	t.Helper()
	var b []byte
	var err error
	for _, l := range lines {
		if b, err = l.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func header(chains ...audit.Part) audit.Line {
	return audit.Line{Header: &audit.Header{Format: audit.Format, Version: audit.Version, TrustDomain: "isthmus.test", At: t0.Add(2 * time.Hour), Chains: chains}}
}

// export is a chain of 30 records with a checkpoint behind the tenth and the last.
func export(t testing.TB, a *identity.Authority, records []audit.Record) []audit.Line {
	t.Helper()
	last := records[len(records)-1].Sequence
	out := []audit.Line{header(audit.Part{Tenant: "ot", After: audit.Place{Sequence: records[0].Sequence - 1, Hash: records[0].Previous}, Through: last})}
	for _, r := range records {
		out = append(out, audit.Line{Record: &r})
		if r.Sequence == 10 || r.Sequence == last {
			c, err := audit.SignCheckpoint(a, "ot", r.Place(), t0.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, audit.Line{Checkpoint: &c})
		}
	}
	return out
}

func TestAnExportIsWhole(t *testing.T) {
	a := authority(t, "isthmus.test")
	whole := chain(t, "ot", 30)
	for name, records := range map[string][]audit.Record{"all": whole, "its end": whole[20:]} {
		var lines int
		list, err := audit.VerifyExport(audit.NewReader(bytes.NewReader(write(t, export(t, a, records)...))), a.CertificatePEM(), nil, func() { lines++ })
		want := audit.Verified{Tenant: "ot", After: records[0].Sequence - 1, Last: whole[29].Place()}
		if err != nil || len(list) != 1 || list[0].Covered.Sequence != 30 || lines < len(records) {
			t.Fatalf("%s: %+v, %v, %d lines", name, list, err, lines)
		}
		if list[0].Covered = (audit.Checkpoint{}); list[0] != want {
			t.Errorf("%s: %+v", name, list[0])
		}
	}
	// Several chains, one of which began later.
	other := chain(t, "", 3)
	both := append(export(t, a, whole), audit.Line{Record: &other[0]}, audit.Line{Record: &other[1]})
	list, err := audit.VerifyExport(audit.NewReader(bytes.NewReader(write(t, both...))), a.CertificatePEM(), nil, nil)
	if err != nil || len(list) != 2 || list[0].Last.Sequence != 2 || list[0].Covered.Sequence != 0 || list[1].Last.Sequence != 30 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestWhatWasDoneToAnExportIsTold(t *testing.T) {
	a, other := authority(t, "isthmus.test"), authority(t, "isthmus.test")
	whole := chain(t, "ot", 30)
	kept, err := audit.SignCheckpoint(a, "ot", whole[29].Place(), t0.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	later, err := audit.SignCheckpoint(a, "ot", audit.Place{Sequence: 31, Hash: "ab"}, t0.Add(5*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := audit.SignCheckpoint(a, "it", whole[2].Place(), t0)
	if err != nil {
		t.Fatal(err)
	}
	rewritten := extend(t, whole[:4], "ot", 26, "never happened")
	mallory := forge(audit.Record{Tenant: "ot", Sequence: 17, Time: t0, Who: "mallory", Previous: whole[15].Hash})
	edit := func(f func(l []audit.Line) []audit.Line) []byte {
		lines := export(t, a, whole)
		for i := range lines {
			if r := lines[i].Record; r != nil {
				c := *r
				lines[i].Record = &c
			}
		}
		return write(t, f(lines)...)
	}
	// Record n stands in line n of what export gave (the header in line 0), after the tenth in line n+1.
	for _, tc := range []struct {
		name  string
		file  []byte
		kept  []audit.Checkpoint
		what  audit.What // "": it is no break but Invalid
		at    int64
		words string
	}{
		{"removed", edit(func(l []audit.Line) []audit.Line { return slices.Delete(l, 18, 19) }), nil, audit.Removed, 17, "it is missing"},
		{"changed", edit(func(l []audit.Line) []audit.Line { l[18].Record.Why = "nobody asked"; return l }), nil, audit.Changed, 17, "its content"},
		{"reordered", edit(func(l []audit.Line) []audit.Line { l[18], l[19] = l[19], l[18]; return l }), nil, audit.Reordered, 17, "record 18 stands before it"},
		{"inserted", edit(func(l []audit.Line) []audit.Line { return slices.Insert(l, 18, audit.Line{Record: &mallory}) }), nil, audit.Inserted, 17, "it was inserted"},
		{"truncated", edit(func(l []audit.Line) []audit.Line { return l[:20] }), nil, audit.CutOff, 19, "its last record was number 30"},
		{"truncated, the header too", edit(func(l []audit.Line) []audit.Line { l[0].Header.Chains[0].Through = 18; return l[:20] }), []audit.Checkpoint{kept}, audit.CutOff, 19, "names record 30"},
		{"rewritten", write(t, export(t, other, rewritten)...), nil, audit.Forged, 10, "another authority"},
		{"rewritten, without checkpoints", write(t, slices.DeleteFunc(export(t, other, rewritten), func(l audit.Line) bool { return l.Checkpoint != nil })...), []audit.Checkpoint{kept}, audit.Rewritten, 30, "not the checkpoint signed"},
		{"rewritten behind a checkpoint", edit(func(l []audit.Line) []audit.Line {
			for i, line := range l {
				if line.Record != nil {
					*l[i].Record = rewritten[line.Record.Sequence-1]
				}
			}
			return l
		}), nil, audit.Rewritten, 10, "not the checkpoint signed"},
		{"a forged checkpoint", edit(func(l []audit.Line) []audit.Line { l[11].Checkpoint.At = t0; return l }), nil, audit.Forged, 10, "does not fit"},
		{"a checkpoint taken elsewhere", edit(func(l []audit.Line) []audit.Line { l[11], l[30] = l[30], l[11]; return l }), nil, audit.Reordered, 11, "record 29 stands before it"},
		{"records of another chain", edit(func(l []audit.Line) []audit.Line { return append(l, audit.Line{Record: &chain(t, "it", 3)[2]}) }), nil, audit.Removed, 1, "it and 1 more are missing"},
		{"older than what was kept", edit(func(l []audit.Line) []audit.Line { return l }), []audit.Checkpoint{later}, "", 0, "the checkpoint is newer"},
		{"without what was kept", edit(func(l []audit.Line) []audit.Line { return l }), []audit.Checkpoint{stranger}, "", 0, "not in the export"},
		{"two headers", edit(func(l []audit.Line) []audit.Line { return append(l, l[0]) }), nil, "", 0, "one header"},
		{"a chain twice in the header", write(t, header(audit.Part{Tenant: "ot"}, audit.Part{Tenant: "ot"})), nil, "", 0, "twice"},
		{"no header", edit(func(l []audit.Line) []audit.Line { return l[1:] }), nil, "", 0, "one header, in its first line"},
		{"nothing", nil, nil, "", 0, "empty"},
		{"a cut line", edit(func(l []audit.Line) []audit.Line { return l })[:900], nil, "", 0, "its end is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := audit.VerifyExport(audit.NewReader(bytes.NewReader(tc.file)), a.CertificatePEM(), tc.kept, nil)
			b, ok := errors.AsType[*audit.Break](err)
			switch {
			case tc.what == "" && (ok || fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), tc.words) || fault.Next(err) == ""):
				t.Errorf("got %v, want %q with advice", err, tc.words)
			case tc.what != "" && (!ok || b.What != tc.what || b.Sequence != tc.at || !strings.Contains(b.Words, tc.words)):
				t.Errorf("got %v, want %s at %d: %q", err, tc.what, tc.at, tc.words)
			}
		})
	}
}

func TestWithoutAnAuthorityNothingIsSaidOfCheckpoints(t *testing.T) {
	a := authority(t, "isthmus.test")
	_, err := audit.VerifyExport(audit.NewReader(bytes.NewReader(write(t, export(t, a, chain(t, "ot", 12))...))), []byte("no PEM"), nil, nil)
	if _, ok := errors.AsType[*audit.Break](err); ok || fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), "no authority's certificate") {
		t.Errorf("%v", err)
	}
}

// Two programs that read a line must not read two things.
func TestLinesAreReadAsTheyAreWritten(t *testing.T) {
	r := chain(t, "ot", 1)[0]
	head, line := string(write(t, header())), string(write(t, audit.Line{Record: &r}))
	for name, text := range map[string]string{
		"a key twice":        strings.Replace(line, `"who":"`, `"who":"mallory","who":"`, 1),
		"another case":       strings.Replace(line, `"who":`, `"Who":`, 1),
		"a field of its own": strings.Replace(line, `"who":`, `"approved":true,"who":`, 1),
		"white space":        strings.Replace(line, `"who":`, `"who": `, 1),
		"white space inside": strings.Replace(line, `"after":{`, `"after":{ `, 1),
		"another escape":     strings.Replace(line, "olga", `\u006flga`, 1),
		"fields turned":      strings.Replace(line, `"type":"record","tenant":"ot"`, `"tenant":"ot","type":"record"`, 1),
		"another type":       strings.Replace(line, `"type":"record"`, `"type":"note"`, 1),
		"a wrong type":       strings.Replace(line, `"sequence":1`, `"sequence":"1"`, 1),
		"no object":          "[]\n",
		"no JSON":            "x\n",
		"nothing":            "\n",
		"two in a line":      strings.TrimSuffix(line, "\n") + line,
		"another version":    "",
	} {
		in := head + text
		if name == "another version" {
			in = strings.Replace(head, `"version":1`, `"version":2`, 1)
		}
		rd := audit.NewReader(strings.NewReader(in))
		var err error
		for err == nil {
			_, err = rd.Next()
		}
		if errors.Is(err, io.EOF) || fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), "line ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := audit.NewReader(endless{}).Next(); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), "more than 64 MiB") {
		t.Errorf("a line without end: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func FuzzReader(f *testing.F) {
	a := authority(f, "isthmus.test")
	f.Add(write(f, export(f, a, chain(f, "ot", 12))...))
	f.Add(write(f, header(audit.Part{Tenant: "ot", Through: 3})))
	f.Add([]byte(`{"type":"header","format":"isthmus audit","version":1,"trustDomain":"","at":"2026-11-22T08:00:00Z","chains":null}` + "\n"))
	f.Add([]byte("{\"type\":\"record\"\n"))
	f.Add([]byte{})
	roots := a.CertificatePEM()
	f.Fuzz(func(t *testing.T, b []byte) {
		// What is read is, written again, what was there.
		rd := audit.NewReader(bytes.NewReader(b))
		var again []byte
		for {
			l, err := rd.Next()
			if err != nil {
				break
			}
			if again, err = l.Append(again); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, b[:rd.Offset()]) {
				t.Fatalf("read %q, written %q", b[:rd.Offset()], again)
			}
		}
		if _, err := audit.VerifyExport(audit.NewReader(bytes.NewReader(b)), roots, nil, nil); err != nil && err.Error() == "" {
			t.Fatal("an error without words")
		}
	})
}

// pages is a chain in memory that grows between the calls, and refuses pages that are too large.
type pages struct {
	records []audit.Record
	marks   []audit.Checkpoint
	limit   int
	calls   int
	then    func()
}

func (p *pages) Records(_ context.Context, after int64, limit int) ([]audit.Record, error) {
	p.calls++
	if limit > p.limit {
		return nil, fault.New("x", fault.TooLarge, "too large")
	}
	out := p.records[min(after, int64(len(p.records))):]
	out = slices.Clone(out[:min(len(out), limit)])
	if then := p.then; then != nil {
		p.then = nil
		then()
	}
	return out, nil
}

func (p *pages) Checkpoints(_ context.Context, after int64, limit int) (out []audit.Checkpoint, err error) {
	for _, c := range p.marks {
		if c.Sequence > after && len(out) < limit {
			out = append(out, c)
		}
	}
	return out, nil
}

func TestWalkGoesThroughEverythingInItsOrder(t *testing.T) {
	p := &pages{records: chain(t, "ot", 2500), limit: 300, marks: []audit.Checkpoint{{Sequence: 1}, {Sequence: 250}, {Sequence: 2500}}}
	more := extend(t, p.records, "ot", 5, "meanwhile")
	w := audit.Walk{Source: p}
	var last, marked int64
	broken := errors.New("stop")
	failAt := int64(700)
	record := func(r audit.Record) error {
		if r.Sequence == failAt {
			failAt = 0
			return broken
		}
		if r.Sequence != last+1 {
			t.Fatalf("record %d after %d", r.Sequence, last)
		}
		last = r.Sequence
		return nil
	}
	checkpoint := func(c audit.Checkpoint) error {
		if c.Sequence != last {
			t.Errorf("the checkpoint of %d stands behind %d", c.Sequence, last)
		}
		marked++
		return nil
	}
	if err := w.Run(t.Context(), record, checkpoint); !errors.Is(err, broken) || w.After != 699 || w.Checkpoint != 250 {
		t.Fatalf("%v, %+v", err, w)
	}
	if err := w.Run(t.Context(), record, checkpoint); err != nil || last != 2500 || marked != 3 {
		t.Fatalf("%v, to %d, %d checkpoints", err, last, marked)
	}
	calls := p.calls
	if err := w.Run(t.Context(), record, checkpoint); err != nil || marked != 3 || p.calls > calls+5 {
		t.Fatalf("again: %v, %d checkpoints, %d calls", err, marked, p.calls-calls)
	}
	// Records and a checkpoint of them that come while one looks are not taken for a chain cut off.
	p.then = func() { p.records, p.marks = more, append(p.marks, audit.Checkpoint{Sequence: 2504}) }
	if err := w.Run(t.Context(), record, checkpoint); err != nil || last != 2505 || marked != 4 {
		t.Fatalf("%v, to %d, %d checkpoints", err, last, marked)
	}
	// Checkpoints whose records are not there come last.
	p.marks = append(p.marks, audit.Checkpoint{Sequence: 9999})
	if err := w.Run(t.Context(), record, func(c audit.Checkpoint) error { marked = c.Sequence; return nil }); err != nil || marked != 9999 {
		t.Fatalf("%v, %d", err, marked)
	}
}

func BenchmarkVerify(b *testing.B) {
	records := chain(b, "ot", 10_000)
	b.ReportAllocs()
	for b.Loop() {
		v := audit.NewVerifier("ot", audit.Place{}, nil)
		for i := range records {
			if err := v.Record(records[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(records))/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkVerifyExport(b *testing.B) {
	a := authority(b, "isthmus.test")
	file := write(b, export(b, a, chain(b, "ot", 10_000))...)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := audit.VerifyExport(audit.NewReader(bytes.NewReader(file)), a.CertificatePEM(), nil, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "records/s")
}
