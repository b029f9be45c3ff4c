package abuse

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
)

// clientHello is what a real client says first.
func clientHello(t *testing.T, name string) []byte {
	t.Helper()
	near, far := net.Pipe()
	var shaking sync.WaitGroup
	shaking.Go(func() { _ = tls.Client(near, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}).Handshake() })
	buf := make([]byte, 1<<14)
	n, err := far.Read(buf)
	must(t, err)
	_, _ = near.Close(), far.Close()
	shaking.Wait()
	return buf[:n]
}

// descriptors is how many files the process has open.
func (r *running) descriptors() int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.PID()))
	must(r.t, err)
	return len(list)
}

// 10,000 who never get to the point of a TLS handshake, from 200 addresses: a quarter says nothing, a quarter the first byte, a quarter half
// a hello, and a quarter a whole one and then nothing. Who says nothing is gone after ten seconds, the others after a minute.
func TestTenThousandHalfOpenToAHub(t *testing.T) {
	s := startHub(t)
	o := s.bystanders()
	memory := s.watchMemory()
	whole := clientHello(t, processes.Contoso)
	quarter := 2500
	began := time.Now()
	var all [][]*net.TCPConn
	for _, first := range [][]byte{nil, whole[:1], whole[:len(whole)/2], whole} {
		all = append(all, crowd(t, s.hub.MQTT, quarter, first))
	}
	opened := time.Since(began)
	await(t, "ten thousand connections", func() error {
		if n := s.descriptors(); n < 4*quarter {
			return fmt.Errorf("%d files are open", n)
		}
		return nil
	})
	<-time.After(time.Duration(more(2, 70)) * time.Second)
	o.fine("beside ten thousand", 10)
	t.Logf("they came in %v", opened.Round(time.Millisecond))
	if soak {
		for _, quarter := range all {
			if err := ended(quarter[0], time.Now().Add(time.Second)); err != nil {
				t.Error(err)
			}
		}
	}
	memory().within(t, 320)
	o.stop()
	s.end()
	if soak {
		for _, why := range []string{"nothing came in time", "the peer did not finish TLS in time"} {
			s.saysOnce(210, "hub: refused", why)
		}
	}
	if n := len(s.lines()); n > more(30, 700) {
		t.Errorf("the log has %d lines:\n%s", n, s.tail())
	}
}

// refusedOver tells with what CONNECT is answered, 0 for success.
func refusedOver(t *testing.T, c device.Config) int {
	t.Helper()
	d, err := device.Dial(t.Context(), c)
	if err == nil {
		d.Close()
		return 0
	}
	var refused device.Refused
	if !errors.As(err, &refused) {
		t.Fatalf("%s: %v", c.ID, err)
	}
	return int(refused)
}

// Whoever is not who he says is told so with the same code, over MQTT and over HTTPS, and the log says what it was.
func TestWhoIsNotWhoHeSays(t *testing.T) {
	t.Parallel()
	s := startHub(t)
	victim, other := s.create("victim"), s.create("other")
	module := s.create("victim/part")
	far, err := s.hub.Local(processes.Fabrikam)
	must(t, err)
	defer far.Close()
	twin, err := far.Create(t.Context(), hubclient.Device{ID: "victim"}) // of the same name in another hub
	must(t, err)
	service, err := s.hub.Policy(t.Context(), processes.Contoso, "service")
	must(t, err)

	ca := provisioningtest.Sign(t, nil, "factory", provisioningtest.CA)
	foreign := provisioningtest.Sign(t, nil, "factory", provisioningtest.CA) // of the same name
	_, err = s.api.AddAuthority(t.Context(), "factory", ca.PEM(), true)
	must(t, err)
	for id, auth := range map[string]*hubclient.Auth{
		"signed": {Type: "certificateAuthority"}, "pinned": {Type: "selfSigned", Thumbprints: &hubclient.Thumbprints{Primary: thumbprint(provisioningtest.Sign(t, nil, "pinned"))}},
	} {
		_, err := s.api.Create(t.Context(), hubclient.Device{ID: id, Authentication: auth})
		must(t, err)
	}
	right := provisioningtest.Sign(t, ca, "signed")

	sign := func(host, path, key, policy string, lasts time.Duration) string {
		text, err := sas.Sign(host+path, key, policy, time.Now().Add(lasts))
		must(t, err)
		return text
	}
	good := sign(processes.Contoso, "/devices/victim", victim.Key, "", time.Hour)
	for _, c := range []struct {
		name, id, token string
		certificate     *provisioningtest.Certified
		says            string // in the log; empty for who may
	}{
		{"itself", "victim", good, nil, ""},
		{"another device's token", "victim", sign(processes.Contoso, "/devices/other", other.Key, "", time.Hour), nil, "is not signed with one of its keys"},
		{"its name signed with another's key", "victim", sign(processes.Contoso, "/devices/victim", other.Key, "", time.Hour), nil, "is not signed with one of its keys"},
		{"the key of the same name in another hub", "victim", sign(processes.Contoso, "/devices/victim", twin.Authentication.Keys.Primary, "", time.Hour), nil, "is not signed with one of its keys"},
		{"its own token for another hub", "victim", sign(processes.Fabrikam, "/devices/victim", victim.Key, "", time.Hour), nil, "the token is for another resource"},
		{"its own token for its module", "victim", sign(processes.Contoso, "/devices/victim/modules/part", victim.Key, "", time.Hour), nil, "the token is for another resource"},
		{"a device's token for a module", "victim/part", good, nil, "is not signed with one of its keys"},
		{"a module's token for its device", "victim", sign(processes.Contoso, "/devices/victim/modules/part", module.Key, "", time.Hour), nil, "is not signed with one of its keys"},
		{"a name that only begins like its own", "victim", sign(processes.Contoso, "/devices/vic", victim.Key, "", time.Hour), nil, "the token is for another resource"},
		{"a lapsed token", "victim", sign(processes.Contoso, "/devices/victim", victim.Key, "", -time.Minute), nil, "ended"},
		{"a policy that may not", "victim", sign(processes.Contoso, "", service.Key, "service", time.Hour), nil, "policy"},
		{"a policy that is not there", "victim", sign(processes.Contoso, "", victim.Key, "nobody", time.Hour), nil, "policy"},
		{"nobody", "nobody", sign(processes.Contoso, "/devices/nobody", victim.Key, "", time.Hour), nil, "the hub has no device"},
		{"no token", "victim", "", nil, "neither a SAS token nor a certificate"},
		{"garbage", "victim", "SharedAccessSignature sr=%zz&sig=\x00\xff&se=99999999999999999999", nil, "token"},
		{"64 kB of garbage", "victim", strings.Repeat("a=b&", 15_000), nil, "token"},
		{"its certificate", "signed", "", right, ""},
		{"another device's certificate", "signed", "", provisioningtest.Sign(t, ca, "other"), "common name"},
		{"a lapsed certificate", "signed", "", provisioningtest.Sign(t, ca, "signed", provisioningtest.Expired), "not valid now"},
		{"a foreign authority of the same name", "signed", "", provisioningtest.Sign(t, foreign, "signed"), "authority"},
		{"one that it signed itself", "signed", "", provisioningtest.Sign(t, nil, "signed"), "authority"},
		{"another one than the registry names", "pinned", "", provisioningtest.Sign(t, nil, "pinned"), "is not one the registry names"},
		{"a certificate for who has a key", "victim", "", provisioningtest.Sign(t, ca, "victim"), "proves itself with a shared access key"},
		{"the authority itself", "signed", "", ca, "common name"},
	} {
		cfg := device.Config{Address: s.hub.MQTT, TLS: s.hub.TLS(processes.Contoso), ID: c.id, Token: c.token}
		var shown []tls.Certificate
		if c.certificate != nil {
			shown = []tls.Certificate{c.certificate.TLS()}
			cfg.TLS.Certificates = shown
		}
		want, status := 5, 401
		if c.says == "" {
			want, status = 0, 204
		}
		if got := refusedOver(t, cfg); got != want {
			t.Errorf("%s: CONNECT is answered with %d, wanted %d", c.name, got, want)
		}
		web := s.hub.Web("", shown...)
		path := contoso + "/devices/" + strings.Replace(c.id, "/", "/modules/", 1) + "/messages/events" + v2021
		if !strings.ContainsAny(c.token, "\x00") && len(c.token) < 60_000 {
			r, err := web.Ask(t.Context(), "POST", path, c.token, []byte("hello"))
			if err != nil || r.Status != status {
				t.Errorf("%s: POST is answered with %d %s, %v, wanted %d", c.name, r.Status, r.Body, err, status)
			}
		}
		web.CloseIdleConnections()
		if c.says != "" && len(s.lines("hub: refused", c.says)) == 0 {
			t.Errorf("%s: the log does not say %q:\n%s", c.name, c.says, s.tail())
		}
	}
	s.end()
	for _, secret := range []string{victim.Key, other.Key, module.Key, service.Key, good[strings.Index(good, "sig=")+4:][:20]} {
		if strings.Contains(s.Log(), secret) {
			t.Errorf("the log holds %s: %q", secret, s.lines(secret))
		}
	}
}

func thumbprint(c *provisioningtest.Certified) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Guessing keys, over MQTT and HTTPS from 50 addresses, each time under another name, costs everybody else nothing, and the log a few lines.
func TestAFloodOfWrongKeys(t *testing.T) {
	s := startHub(t)
	o := s.bystanders()
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var tried atomic.Int64
	wrong := "d3JvbmcgYnV0IGxvbmcgZW5vdWdoIGZvciBhIGtleSE="
	for part := range 4 {
		flood.Go(func() {
			for i := part; ctx.Err() == nil; i += 4 {
				source, id := fmt.Sprintf("127.0.9.%d", 1+i%50), fmt.Sprintf("nobody-%d", i)
				if i%3 == 0 {
					id = "calm" // who exists
				}
				if part%2 == 0 {
					_, err := device.Dial(ctx, device.Config{Address: s.hub.MQTT, TLS: s.hub.TLS(processes.Contoso), Source: source, ID: id, Key: wrong})
					var refused device.Refused
					if ctx.Err() == nil && (!errors.As(err, &refused) || refused != 5) {
						t.Errorf("CONNECT of %s: %v", id, err)
					}
				} else {
					token, _ := device.Sign(processes.Contoso, id, wrong)
					web := s.hub.Web(source)
					r, err := web.Ask(ctx, "POST", contoso+"/devices/"+id+"/messages/events"+v2021, token, []byte("x"))
					web.CloseIdleConnections()
					if ctx.Err() == nil && (err != nil || r.Status != 401) {
						t.Errorf("POST as %s: %d %v", id, r.Status, err)
					}
				}
				tried.Add(1)
			}
		})
	}
	lasting := time.Duration(more(2, 60)) * time.Second
	<-time.After(lasting)
	o.fine("beside who guesses keys", 10)
	cancel()
	flood.Wait()
	memory().within(t, 48)
	o.stop()
	s.end()
	lines := len(s.lines("hub: refused"))
	t.Logf("%d keys were tried, in %d lines of the log", tried.Load(), lines)
	if most := 200 + int(lasting.Seconds()) + 2; lines > most || tried.Load() < 100 || len(s.lines("hub: refused", "unsaid=")) == 0 {
		t.Errorf("%d keys were tried, and the log has %d lines about it, wanted at most %d", tried.Load(), lines, most)
	}
}
