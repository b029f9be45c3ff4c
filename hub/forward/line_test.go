package forward

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

func TestLinesAreWhatIoTHubWrites(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 0, 0, 5e6, time.UTC)
	for _, c := range []struct {
		kind, encoding, body, want string
	}{
		{"application/json", "utf-8", "{\n\"a\": 1}", `{"a":1}`},
		{"application/json; charset=utf-8", "UTF-8", "[1]", "[1]"},
		{"application/json", "utf-8", "{", `"ew=="`},
		{"application/json", "", "{}", `"e30="`},
		{"text/plain", "utf-8", "{}", `"e30="`},
		{"application/json", "utf-8", "", `""`},
	} {
		e := eventlog.Event{
			Body: []byte(c.body), System: map[string]string{hub.ContentType: c.kind, hub.ContentEncoding: c.encoding, "iothub-connection-device-id": "d", "x": "y"},
			Enqueued: at, Partition: 1, Sequence: 7,
		}
		var got lineJSON
		text := line("u", "hot", e, true)
		if err := json.Unmarshal(text, &got); err != nil || bytes.ContainsRune(text, '\n') {
			t.Fatalf("%s: %v", text, err)
		}
		if string(got.Body) != c.want || got.ID != "u/hot/1/7" || got.EnqueuedTimeUTC != "2026-11-22T03:00:00.0050000Z" || !got.Redelivered ||
			got.SystemProperties["connectionDeviceId"] != "d" || got.SystemProperties["x"] != "y" || got.SystemProperties["contentType"] != c.kind {
			t.Errorf("%q: %s", c.body, text)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"a":"\u2028\n"}`), "application/json", "utf-8", "k", "v")
	f.Add([]byte("\xff\n"), "application/json", "utf-8", "\n", "\x00\"")
	f.Fuzz(func(t *testing.T, body []byte, kind, encoding, key, value string) {
		e := eventlog.Event{Body: body, Properties: map[string]string{key: value}, System: map[string]string{hub.ContentType: kind, hub.ContentEncoding: encoding, key: value}}
		text := line("u", "hot", e, false)
		var got lineJSON
		if err := json.Unmarshal(text, &got); err != nil || bytes.ContainsAny(text, "\n\r") || got.ID != "u/hot/0/0" {
			t.Fatalf("%q: %v", text, err)
		}
		var plain []byte
		if json.Unmarshal(got.Body, &plain) != nil && !json.Valid(body) {
			t.Fatalf("%q is neither JSON nor base64", got.Body)
		}
	})
}

func TestWhatAnAnswerMeans(t *testing.T) {
	for _, c := range []struct {
		status  int
		after   string
		refused bool
		wait    time.Duration
	}{
		{400, "", true, 0}, {413, "", true, 0}, {415, "", true, 0}, {422, "", true, 0},
		{401, "", false, 0}, {404, "", false, 0}, {302, "", false, 0}, {500, "", false, 0},
		{429, "7", false, 7 * time.Second}, {503, "99999", false, longestAsk}, {503, "soon", false, 0},
	} {
		err := judge(&http.Response{StatusCode: c.status, Header: http.Header{"Retry-After": {c.after}}}, []byte("words\x1b[31m of it"))
		no, wrong := err.(*refused) //nolint:errorlint // not wrapped here
		later, busy := err.(*busy)  //nolint:errorlint // not wrapped here
		if wrong != c.refused || busy != (c.wait > 0) || busy && later.wait != c.wait {
			t.Errorf("%d: %v", c.status, err)
		}
		if text := fault.Message(err); !strings.Contains(text, "words") || strings.ContainsRune(text, 0x1b) {
			t.Errorf("%d says %q (%v)", c.status, text, no)
		}
	}
	if err := judge(&http.Response{StatusCode: 204}, nil); err != nil {
		t.Error(err)
	}
}
