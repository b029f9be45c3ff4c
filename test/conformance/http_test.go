package conformance

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

const rawHTTPS = "raw HTTPS"

func dialHTTPS(t *testing.T, w *hubtest.World) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := w.Dial(w.HTTPS, nil, hubtest.Contoso)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func readReply(t *testing.T, reader *bufio.Reader) (reply, string) {
	t.Helper()
	res, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.Status, res.StatusCode, res.Header}, string(b)
}

// TestRawHTTPS sends requests byte for byte, all on one connection: clients write names of headers in their own way, and Go's would change them.
func TestRawHTTPS(t *testing.T) {
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "press+1")
	token, come := w.Token(hubtest.Contoso, d), newEvents(t, w)
	conn, reader := dialHTTPS(t, w)
	const path = "/devices/press%2B1/messages/events?api-version=2021-04-12"
	post := func(t *testing.T, head, body string) reply {
		t.Helper()
		text := "POST " + path + " HTTP/1.1\r\nhost: " + hubtest.Contoso + "\r\nAUTHORIZATION: " + token + "\r\n" + head + "\r\n" + body
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		r, _ := readReply(t, reader)
		return r
	}
	stored := func(e eventlog.Event, body string, properties, system map[string]string) {
		t.Helper()
		want := stamped(d, map[string]string{})
		maps.Copy(want, system)
		if string(e.Body) != body || !maps.Equal(e.Properties, properties) || !maps.Equal(e.System, want) {
			t.Errorf("%q %v %v\nwant %q %v %v", e.Body, e.Properties, e.System, body, properties, want)
		}
	}
	for _, c := range []struct {
		id, name, head, body string
		properties, system   map[string]string
	}{
		{"C15", "the case of names", "IoTHub-App-MyKey: 1\r\niothub-app-myKey2: 2\r\nIOTHUB-APP-SHOUT: 3\r\nIoTHub-MessageId: m\r\nIOTHUB-CORRELATIONID: c\r\nContent-Length: 4\r\n", "body",
			map[string]string{"MyKey": "1", "myKey2": "2", "SHOUT": "3"}, map[string]string{"message-id": "m", "correlation-id": "c"}},
		{"C17", "empty values, and a space that is none", "iothub-app-empty:\r\niothub-app-tab:\tx \r\nContent-Length: 4\r\n", "body", map[string]string{"empty": "", "tab": "x"}, nil},
		{"C15", "in chunks", "Transfer-Encoding: chunked\r\niothub-app-k: v\r\n", "2\r\nbo\r\n2;more=1\r\ndy\r\n0\r\n\r\n", map[string]string{"k": "v"}, nil},
		{"C15", "a body that waits to be asked for", "Expect: 100-continue\r\nContent-Length: 4\r\n", "body", nil, nil},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			covers(t, c.id, rawHTTPS)
			res := post(t, c.head, c.body)
			if res.StatusCode == http.StatusContinue {
				res, _ = readReply(t, reader)
			}
			if res.StatusCode != http.StatusNoContent {
				t.Fatal(res.Status)
			}
			e := come(1)[0]
			if len(c.properties) == 0 {
				e.Properties = nil
			}
			stored(e, "body", c.properties, c.system)
		})
	}
	t.Run("C16 a batch with properties of all kinds", func(t *testing.T) {
		covers(t, "C16", rawHTTPS)
		body := `[{"body":"b25l","properties":{"iothub-app-MyKey":"1","IoTHub-MessageId":"m"}},{"body":"two","base64Encoded":false},{"body":"dGhyZWU=","base64Encoded":true}]`
		if res := post(t, fmt.Sprintf("Content-Type: application/vnd.microsoft.iothub.json\r\nContent-Length: %d\r\n", len(body)), body); res.StatusCode != http.StatusNoContent {
			t.Fatal(res.Status)
		}
		all := come(3)
		stored(all[0], "one", map[string]string{"MyKey": "1"}, map[string]string{"message-id": "m"})
		stored(all[1], "two", nil, nil)
		stored(all[2], "three", nil, nil)
	})
	t.Run("C18 too large", func(t *testing.T) {
		covers(t, "C18", rawHTTPS)
		for name, head := range map[string]string{
			"body": fmt.Sprintf("Content-Length: %d\r\n", 256<<10+1), "with its properties": fmt.Sprintf("iothub-app-k: v\r\nContent-Length: %d\r\n", 256<<10-1),
		} {
			size := 256<<10 + 1
			if strings.Contains(head, "iothub") {
				size = 256<<10 - 1
			}
			conn, reader = dialHTTPS(t, w) // what is too large is not read, so that the connection ends
			if res := post(t, head, strings.Repeat("x", size)); res.StatusCode != http.StatusRequestEntityTooLarge || res.Header.Get("iothub-errorcode") != "MessageTooLarge" {
				t.Errorf("%s: %s %v", name, res.Status, res.Header)
			}
		}
	})
	t.Run("C46 it says what is wrong", func(t *testing.T) {
		covers(t, "C46", rawHTTPS)
		conn, reader := dialHTTPS(t, w)
		for request, want := range map[string]string{
			"GET /devices/press%2B1?api-version=2021-04-12":                              "401 IotHubUnauthorized",
			"GET /nothing?api-version=2021-04-12":                                        "404 ",
			"POST /devices/other/messages/events?api-version=2021-04-12":                 "401 IotHubUnauthorized",
			"DELETE /devices/press%2B1/messages/devicebound/none?api-version=2021-04-12": "412 DeviceMessageLockLost",
			"PATCH /devices/press%2B1/messages/events?api-version=2021-04-12":            "405 ",
		} {
			if _, err := io.WriteString(conn, request+" HTTP/1.1\r\nHost: "+hubtest.Contoso+"\r\nAuthorization: "+token+"\r\nContent-Length: 0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			res, b := readReply(t, reader)
			if got := fmt.Sprint(res.StatusCode, " ", res.Header.Get("iothub-errorcode")); !strings.HasPrefix(got, want) || !strings.Contains(b, "Tracking ID:") {
				t.Errorf("%s: %s %s, want %s", request, got, b, want)
			}
		}
	})
}
