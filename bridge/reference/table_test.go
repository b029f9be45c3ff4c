package reference

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func text(s string) column.Value { return column.Value{Kind: column.Text, Text: s} }

func TestParse(t *testing.T) {
	for content, want := range map[string]string{ // the error, or the hall of machine 7
		"id,hall\r\n7,north\r\n8,\"so\nuth\"\r\n": "north",
		"\xef\xbb\xbfid,hall\n7,x\n":              "x",
		"id,hall\n":                               "<nil>",
		"":                                        "! it is empty",
		"id,hall\n7,a\n7,b\n":                     "! line 3 has the key \"7\", which",
		"id,hall\n7,a\n,b\n":                      "! line 3 has no key",
		"id,hall\n7\n":                            "! record on line 2",
		"hall\n7\n":                               "! there is no column \"id\"",
		"id,hall,hall\n":                          "! the column \"hall\" is there twice",
		"id,hall\n7,\"a\n":                        "! parse error on line 2",
	} {
		check(t, content, resource.FormatCSV, want)
	}
	for content, want := range map[string]string{
		"{\"id\":7,\"hall\":\"north\"}\n\n{\"id\":\"8\"}\n": "north",
		"":                            "<nil>",
		"{\"id\":7.0,\"hall\":\"x\"}": "x",
		"{\"id\":7}\n{\"id\":\"7\"}":  "! line 2 has the key",
		"{\"hall\":1}":                "! line 1 has no key",
		"[7]":                         "! line 1 is no JSON object",
		"null":                        "! line 1 is no JSON object",
		"{\"id\":7} 8":                "! line 1 has something behind",
		"{\"id\":7,":                  "! line 1 is no JSON object",
	} {
		check(t, content, resource.FormatJSON, want)
	}
}

// A table made to take a multiple of its size in memory is refused.
func TestTablesThatUnfold(t *testing.T) {
	var wide strings.Builder
	wide.WriteString("id")
	for i := range 600 {
		wide.WriteString("," + strconv.Itoa(i))
	}
	for i := range 40_000 {
		wide.WriteString("\n" + strconv.Itoa(i) + strings.Repeat(",", 600))
	}
	for content, format := range map[string]resource.FileFormat{
		wide.String(): resource.FormatCSV,
		`{"id":7,"x":[` + strings.Repeat("[],", 10<<20) + `[]]}`: resource.FormatJSON,
	} {
		if got, err := parse([]byte(content), format, "id"); err == nil || !strings.Contains(fault.Message(err), "more than 16000000 values") {
			t.Errorf("%s: %d rows, %v", format, len(got), err)
		}
	}
}

func check(t *testing.T, content string, format resource.FileFormat, want string) {
	t.Helper()
	got, err := parse([]byte(content), format, "id")
	if words, bad := strings.CutPrefix(want, "! "); bad {
		if err == nil || !strings.Contains(fault.Message(err), words) {
			t.Errorf("%q: %v", content, err)
		}
		return
	}
	hall := "<nil>"
	if row := got["7"]; row != nil {
		hall, _ = row["hall"].(string)
	}
	if err != nil || hall != want {
		t.Errorf("%q: %s %v", content, hall, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"id,hall\n7,x\n", "{\"id\":7}\n", "id\n\"", "{}"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, content []byte, isCSV bool) {
		format := resource.FormatJSON
		if isCSV {
			format = resource.FormatCSV
		}
		got, err := parse(content, format, "id")
		if err != nil && (got != nil || fault.KindOf(err) != fault.Invalid) {
			t.Fatalf("%d rows and %v", len(got), err)
		}
		if got[""] != nil {
			t.Fatal("a row without a key")
		}
	})
}

// The rows read last hold while a file is away, wrong or half; a table that was never read is waited for.
func TestTheLastGoodTableHolds(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "machines.csv")
	clk := clock.NewFake(time.Unix(0, 0))
	changed := make(chan struct{}, 10)
	table, err := Open(t.Context(), Args{
		Table: resource.ReferenceTable{Name: "machines", File: "machines.csv", Key: "id", RefreshSeconds: 10}, Folder: dir, Clock: clk, Changed: func() { changed <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	// until waits for what another reading brings.
	until := func(done func() bool) {
		t.Helper()
		for begin := time.Now(); !done(); {
			if time.Since(begin) > 20*time.Second {
				t.Fatal("it never came")
			}
			clk.Advance(time.Second)
			runtime.Gosched()
		}
	}
	problem := func(words string) func() bool {
		return func() bool {
			return strings.Contains(table.Problem(), words) && (words == "") == (table.Problem() == "")
		}
	}
	if _, err := table.Row(text("7")); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "there is no file machines.csv") {
		t.Fatal(err)
	}
	put("id,hall\n7,north\n")
	until(func() bool { _, err := table.Row(text("7")); return err == nil })
	<-changed
	hall := func() any {
		row, err := table.Row(column.Integer(7))
		if err != nil || row == nil {
			t.Fatal(row, err)
		}
		return row["hall"]
	}
	put("id,hall\n7,south\n7,east\n")
	until(problem("which was there before; the rows read before hold"))
	if hall() != "north" {
		t.Errorf("the hall is %v", hall())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	until(problem("there is no file"))
	if hall() != "north" {
		t.Errorf("the hall is %v", hall())
	}
	put("id,hall\n7,west\n")
	until(problem(""))
	if hall() != "west" {
		t.Errorf("the hall is %v", hall())
	}
	if row, err := table.Row(text("8")); row != nil || err != nil {
		t.Errorf("%v %v", row, err)
	}
	if row, err := table.Row(column.Value{}); row != nil || err != nil {
		t.Errorf("%v %v", row, err)
	}
}

func TestBlob(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusForbidden)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/tables/machines.csv" || r.URL.Query().Get("sig") != "abc" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte("id,hall\n7,north\n"))
	}))
	defer server.Close()
	e := &end.End{
		BridgeEnd: plan.BridgeEnd{Open: true, HostName: "example.com", Ports: []uint16{443}}, Secret: "?sv=1&sig=abc",
		TLS: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12},
		Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", server.Listener.Addr().String())
		},
	}
	changed := make(chan struct{}, 1)
	clk := clock.NewFake(time.Unix(0, 0))
	args := Args{
		Table:   resource.ReferenceTable{Name: "machines", Key: "id", Blob: &resource.ReferenceBlob{Endpoint: "lake", Container: "tables", Name: "machines.csv", Secret: "s"}},
		Clock:   clk,
		Changed: func() { changed <- struct{}{} },
		End: func(endpoint, secret string) (*end.End, error) {
			if endpoint != "lake" || secret != "s" {
				return nil, errors.New("another end")
			}
			return e, nil
		},
	}
	table, err := Open(t.Context(), args)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for begin := time.Now(); !strings.Contains(table.Problem(), "does not let the bridge in"); runtime.Gosched() {
		if time.Since(begin) > 20*time.Second {
			t.Fatal(table.Problem())
		}
	}
	status.Store(http.StatusOK)
	for read := false; !read; {
		clk.Advance(time.Second)
		select {
		case <-changed:
			read = true
		default:
			runtime.Gosched()
		}
	}
	if row, err := table.Row(text("7")); err != nil || row["hall"] != "north" {
		t.Fatal(row, err)
	}
	args.Table.Blob = &resource.ReferenceBlob{Endpoint: "other"}
	if _, err := Open(t.Context(), args); err == nil {
		t.Error("an end that is not there")
	}
}

func TestALinkLeadsNowhere(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "x.csv"), []byte("id\n7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(other, "x.csv"), filepath.Join(dir, "x.csv")); err != nil {
		t.Fatal(err)
	}
	table, err := Open(t.Context(), Args{Table: resource.ReferenceTable{Name: "x", File: "x.csv", Key: "id"}, Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if _, err := table.Row(text("7")); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}
