package front_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/mqtt"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// closed is a hub without a public side; Fabrikam has one.
func closed(t *testing.T, o hubtest.Options) *hubtest.World {
	t.Helper()
	w := hubtest.Start(t, o)
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
	return w
}

// mqttSays connects a device of Contoso and returns the CONNACK's code, or the error that came instead.
func mqttSays(t *testing.T, w *hubtest.World, prefix []byte, serverName, host, device, token string) (mqtt.ReturnCode, *tls.Conn, error) {
	t.Helper()
	c, err := w.Dial(w.MQTT, prefix, serverName)
	if err != nil {
		return 0, nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, err := (&mqtt.Connect{ClientID: device, HasUserName: true, UserName: host + "/" + device + "/?api-version=2021-04-12", HasPassword: true, Password: []byte(token)}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		return 0, nil, err
	}
	first, body, err := mqtt.NewReader(c, 100).Next()
	if err != nil {
		return 0, nil, err
	}
	p, err := mqtt.Decode(first, body)
	if err != nil {
		return 0, nil, err
	}
	code := p.(mqtt.Connack).Code
	if code != mqtt.Accepted {
		_ = c.Close()
	}
	return code, c, nil
}

func httpSays(t *testing.T, w *hubtest.World, prefix []byte, serverName, host, token string) (status int, header http.Header, body string, err error) {
	t.Helper()
	c, err := w.Dial(w.HTTPS, prefix, serverName)
	if err != nil {
		return 0, nil, "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "GET /statistics/devices?api-version=2021-04-12 HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nConnection: close\r\n\r\n", host, token); err != nil {
		return 0, nil, "", err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, nil, "", err
	}
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, r.Header, string(b), errors.Join(err, r.Body.Close())
}

func TestApprovedEndpointReachesItsHubAndNoOther(t *testing.T) {
	w := closed(t, hubtest.Options{})
	d, other := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Fabrikam, "d")
	token, otherToken := w.Token(hubtest.Contoso, d), w.Token(hubtest.Fabrikam, other)
	service, otherService := w.ServiceToken(hubtest.Contoso, "iothubowner"), w.ServiceToken(hubtest.Fabrikam, "iothubowner")
	contoso := func() []byte { return w.Header(hubtest.Contoso, hubtest.ContosoLink) }

	for _, c := range []struct {
		name       string
		prefix     []byte
		serverName string
		host       string
		token      string
		service    string
		code       mqtt.ReturnCode
		status     int
		why        string
	}{
		{"its own hub", nil, hubtest.Contoso, hubtest.Contoso, token, service, mqtt.Accepted, 200, ""},
		{"its own hub, another case", nil, hubtest.Contoso, strings.ToUpper(hubtest.Contoso) + ":8883", token, service, mqtt.Accepted, 200, ""},
		{"another hub by name and TLS", nil, hubtest.Fabrikam, hubtest.Fabrikam, otherToken, otherService, mqtt.NotAuthorized, 401, "asks for"},
		{"another hub by name", nil, hubtest.Contoso, hubtest.Fabrikam, otherToken, otherService, mqtt.NotAuthorized, 401, "asks for"},
		{"another hub in TLS", nil, hubtest.Fabrikam, hubtest.Contoso, token, service, mqtt.NotAuthorized, 401, "said"},
		{"no hub at all", nil, hubtest.Contoso, "elsewhere.net", token, service, mqtt.NotAuthorized, 401, "asks for"},
		{"the public side", []byte{}, hubtest.Contoso, hubtest.Contoso, token, service, mqtt.NotAuthorized, 401, "no public network access"},
		{"the other hub's public side", []byte{}, hubtest.Fabrikam, hubtest.Fabrikam, otherToken, otherService, mqtt.Accepted, 200, ""},
		{"the public side of one, asking for the other", []byte{}, hubtest.Contoso, hubtest.Fabrikam, otherToken, otherService, mqtt.NotAuthorized, 401, "in TLS"},
		{"the public side of the other, asking for this", []byte{}, hubtest.Fabrikam, hubtest.Contoso, token, service, mqtt.NotAuthorized, 401, "no public network access"},
	} {
		t.Run(c.name, func(t *testing.T) {
			prefix := func() []byte {
				if c.prefix != nil {
					return c.prefix
				}
				return contoso()
			}
			code, _, err := mqttSays(t, w, prefix(), c.serverName, c.host, "d", c.token)
			if err != nil || code != c.code {
				t.Errorf("MQTT answers %d, %v; want %d", code, err, c.code)
			}
			status, header, body, err := httpSays(t, w, prefix(), c.serverName, c.host, c.service)
			if err != nil || status != c.status {
				t.Fatalf("HTTPS answers %d %s, %v; want %d", status, body, err, c.status)
			}
			if c.status != 401 {
				return
			}
			if header.Get("iothub-errorcode") != "IotHubUnauthorizedAccess" || !strings.Contains(body, `"Message":"ErrorCode:IotHubUnauthorizedAccess;`) {
				t.Errorf("HTTPS answers %v %s", header, body)
			}
			if list := w.Server.Refusals(); len(list) == 0 || !strings.Contains(list[0].Why, c.why) || list[0].Next == "" && c.why != "in TLS" {
				t.Errorf("people are told %+v, want %q", list, c.why)
			}
		})
	}
}

func TestHeadersNobodyMayWrite(t *testing.T) {
	w := closed(t, hubtest.Options{Front: front.Config{HeaderTimeout: 300 * time.Millisecond}})
	d := w.Device(hubtest.Contoso, "d")
	token := w.Token(hubtest.Contoso, d)
	src, dst := netip.MustParseAddrPort("10.7.0.9:1"), netip.MustParseAddrPort("10.8.0.2:8883")
	header := func(change func(*proxyproto.Header)) []byte {
		h := proxyproto.New(src, dst)
		change(&h)
		b, err := proxyproto.Append(nil, h)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sign := func(h *proxyproto.Header, key string, at time.Time) {
		if err := proxyproto.Sign([]byte(key), h, at); err != nil {
			t.Fatal(err)
		}
	}
	const key, otherKey = "contoso-key-contoso-key", "fabrikam-key-fabrikam-k"
	used := w.Header(hubtest.Contoso, hubtest.ContosoLink)
	if code, _, err := mqttSays(t, w, used, hubtest.Contoso, hubtest.Contoso, "d", token); err != nil || code != mqtt.Accepted {
		t.Fatalf("the first use: %d, %v", code, err)
	}
	good := w.Header(hubtest.Contoso, hubtest.ContosoLink)
	for _, c := range []struct {
		name   string
		header []byte
		why    string
	}{
		{"replayed", used, "used before"},
		{"no link", header(func(*proxyproto.Header) {}), "names no link"},
		{"no proof", header(func(h *proxyproto.Header) { h.SetLinkID(hubtest.ContosoLink) }), "no proof"},
		{"a key somebody guessed", header(func(h *proxyproto.Header) {
			h.SetLinkID(hubtest.ContosoLink)
			sign(h, "guess-guess-guess-guess", time.Now())
		}), "not made with this link key"},
		{"another hub's key", header(func(h *proxyproto.Header) { h.SetLinkID(hubtest.ContosoLink); sign(h, otherKey, time.Now()) }), "not made with this link key"},
		{"another link's proof", header(func(h *proxyproto.Header) {
			h.SetLinkID(hubtest.FabrikamLink)
			sign(h, key, time.Now())
		}), "not made with this link key"},
		{"a link nobody approved", header(func(h *proxyproto.Header) { h.SetLinkID(99); sign(h, key, time.Now()) }), "no hub here has approved"},
		{"another client's address", header(func(h *proxyproto.Header) {
			h.SetLinkID(hubtest.ContosoLink)
			sign(h, key, time.Now())
			h.Source = netip.MustParseAddrPort("10.7.0.66:1")
		}), "not made with this link key"},
		{"an old proof", header(func(h *proxyproto.Header) {
			h.SetLinkID(hubtest.ContosoLink)
			sign(h, key, time.Now().Add(-5*time.Minute))
		}), "compare the clocks"},
		{"cut short", good[:len(good)-10], ""}, // the ClientHello fills the gap
		{"version 1", []byte("PROXY TCP4 10.7.0.9 10.8.0.2 1 8883\r\n"), "names no link"},
		{"broken", append(append([]byte{}, good[:12]...), 0xff, 0xff, 0xff, 0xff), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if code, _, err := mqttSays(t, w, c.header, hubtest.Contoso, hubtest.Contoso, "d", token); err == nil {
				t.Errorf("it was let in as far as a CONNACK %d", code)
			}
			list := w.Server.Refusals()
			if len(list) == 0 || !strings.Contains(list[0].Why+list[0].Next, c.why) || list[0].Source != "127.0.0.1" {
				t.Errorf("people are told %+v, want %q", list, c.why)
			}
		})
	}
	t.Run("a health check is nobody", func(t *testing.T) {
		code, _, err := mqttSays(t, w, []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"), hubtest.Contoso, hubtest.Contoso, "d", token)
		if err != nil || code != mqtt.NotAuthorized {
			t.Errorf("LOCAL gives %d, %v", code, err)
		}
	})
	t.Run("a header cut off", func(t *testing.T) {
		c, err := net.Dial("tcp", w.MQTT)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(good[:20]); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c) // until the hub closes
		if list := w.Server.Refusals(); !strings.Contains(list[0].Why, "bytes") || list[0].Kind != fault.Invalid {
			t.Errorf("people are told %+v", list[0])
		}
	})
	t.Run("a header that does not end", func(t *testing.T) {
		c, err := net.Dial("tcp", w.MQTT)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(good[:30]); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		if list := w.Server.Refusals(); !strings.Contains(list[0].Why, "in time: 30 bytes") || list[0].Kind != fault.Timeout {
			t.Errorf("people are told %+v", list[0])
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		c, err := net.Dial("tcp", w.MQTT)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01d")); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		if list := w.Server.Refusals(); !strings.Contains(list[0].Why, "does not speak TLS") {
			t.Errorf("people are told %+v", list[0])
		}
	})
}

func TestRevokedLinkIsCut(t *testing.T) {
	w := closed(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	code, c, err := mqttSays(t, w, w.Header(hubtest.Contoso, hubtest.ContosoLink), hubtest.Contoso, hubtest.Contoso, "d", w.Token(hubtest.Contoso, d))
	if err != nil || code != mqtt.Accepted {
		t.Fatalf("%d, %v", code, err)
	}
	// A connection that has said nothing yet is cut as well.
	mute, err := w.Dial(w.HTTPS, w.Header(hubtest.Contoso, hubtest.ContosoLink), hubtest.Contoso)
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	if err := mute.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Links = nil })
	for name, conn := range map[string]*tls.Conn{"the session": c, "the mute one": mute} {
		var n net.Error
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &n) && n.Timeout() {
			t.Errorf("%s goes on: %v", name, err)
		}
	}
	if _, _, err := mqttSays(t, w, w.Header(hubtest.Contoso, hubtest.ContosoLink), hubtest.Contoso, hubtest.Contoso, "d", w.Token(hubtest.Contoso, d)); err == nil {
		t.Error("the revoked link still works")
	}
}

func TestTLSVersionsAndNames(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	for _, c := range []struct {
		name       string
		serverName string
		max        uint16
		suites     []uint16
		want       string // in the certificate; empty for a refusal
	}{
		{"1.3", hubtest.Fabrikam, tls.VersionTLS13, nil, hubtest.Fabrikam},
		{"1.2", hubtest.Contoso, tls.VersionTLS12, nil, hubtest.Contoso},
		{"no name", "", tls.VersionTLS13, nil, hubtest.Fabrikam},
		{"1.1", hubtest.Contoso, tls.VersionTLS11, nil, ""},
		{"1.2 without forward secrecy", hubtest.Contoso, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", w.MQTT, &tls.Config{InsecureSkipVerify: true, ServerName: c.serverName, MinVersion: tls.VersionTLS10, MaxVersion: c.max, CipherSuites: c.suites})
			if err != nil {
				if c.want != "" {
					t.Error(err)
				}
				return
			}
			defer conn.Close()
			if got := conn.ConnectionState().PeerCertificates[0].DNSNames[0]; got != c.want || conn.ConnectionState().Version != c.max {
				t.Errorf("shown %s in %x, want %q", got, conn.ConnectionState().Version, c.want)
			}
		})
	}
	// A client that does not trust the authority is worth a word to people.
	if _, err := tls.Dial("tcp", w.MQTT, &tls.Config{ServerName: hubtest.Contoso}); err == nil {
		t.Fatal("trusted")
	}
	told(t, w, "give the device the deployment's CA")
}

// told waits until people are told something; the peer may know of it a moment before.
func told(t *testing.T, w *hubtest.World, what string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !strings.Contains(fmt.Sprint(w.Server.Refusals()), what) {
		select {
		case <-deadline:
			t.Fatalf("people are told %+v", w.Server.Refusals())
		case <-time.After(time.Millisecond):
		}
	}
}

// What a peer shows is kept as long as its connection, and strangers can show what they like.
func TestCertificatesOfAPeerAreBounded(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	ca := w.Certificate("authority", true)
	few, many := w.Certificate("d", false, ca), w.Certificate("d", false, ca)
	for len(many.Certificate) <= 10 {
		many.Certificate = append(many.Certificate, ca.Certificate[0])
	}
	large := w.Certificate("d", false, ca)
	large.Certificate = append(large.Certificate, w.Certificate(strings.Repeat("x", 33<<10), true).Certificate[0])
	for name, c := range map[string]struct {
		cert tls.Certificate
		let  bool
	}{"a few": {few, true}, "many": {many, false}, "large": {large, false}} {
		conn, err := w.DialWith(w.MQTT, hubtest.Contoso, c.cert)
		n := 0
		if err == nil { // a client of TLS 1.3 is done before the server has looked
			hello, _ := (&mqtt.Connect{ClientID: "x", CleanSession: true}).Append(nil)
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = conn.Write(hello)
			n, err = conn.Read(make([]byte, 4))
			_ = conn.Close()
		}
		if let := n > 0; let != c.let { // the answer is that nobody is called x
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	told(t, w, "the peer showed 11 certificates")
}
