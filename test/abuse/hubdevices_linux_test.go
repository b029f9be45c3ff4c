package abuse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// patches are what no device reports, and what the answer says about each; empty is accepted.
var patches = []struct{ name, patch, says string }{
	{"twelve deep", strings.Repeat(`{"k":`, 12) + "1" + strings.Repeat("}", 12), "nested deeper"},
	{"twenty thousand deep", strings.Repeat(`{"k":`, 20_000) + "1" + strings.Repeat("}", 20_000), "nested deeper"},
	{"arrays a hundred thousand deep", `{"k":` + strings.Repeat("[", 100_000), "nested deeper"},
	{"a key of 64 kB", `{"` + strings.Repeat("k", 64<<10) + `":1}`, "the key has 65536 bytes"},
	{"a key with $", `{"$set":1}`, "$"},
	{"a key with $ further down", `{"a":{"$where":1}}`, "$"},
	{"a key with a dot", `{"a.b":1}`, "."},
	{"a key with NUL", "{\"a\\u0000b\":1}", "U+0000"},
	{"a key twice", `{"a":1,"a":2}`, "twice"},
	{"a key twice, written in two ways", "{\"a\":1,\"\\u0061\":2}", "twice"},
	{"a text of 5 kB", `{"a":"` + strings.Repeat("x", 5_000) + `"}`, "4096"},
	{"40 kB of small values", `{` + strings.TrimSuffix(bulky(4_000), ",") + `}`, "properties.reported would have"},
	{"a number nobody can hold", `{"a":1e999999999}`, ""},
	{"a number of 100,000 digits", `{"a":` + strings.Repeat("9", 100_000) + `}`, ""},
	{"an integer beyond all", `{"a":18446744073709551616}`, ""},
	{"an array for a document", `[1,2,3]`, "object"},
	{"null for a document", `null`, "object"},
	{"nothing", ``, "the text is no JSON"},
	{"half of it", `{"a":{"b":`, "the text is no JSON"},
	{"more than one", `{"a":1}{"a":2}`, "the text is no JSON"},
	{"no UTF-8", "{\"a\":\"\xff\xfe\"}", "UTF-8"},
	{"half a surrogate", `{"a":"\ud800"}`, ""},
	{"200 kB of spaces", strings.Repeat(" ", 200_000) + `{"a":1}`, "bytes"},
	{"words of a database", `{"a'); DROP TABLE twins;--":1}`, ""},
}

func bulky(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"key%06d":%d,`, i, i)
	}
	return b.String()
}

// Patches that nobody sends are refused with words and without ending the connection; nothing of them is kept, and many of them at a time
// cost others little.
func TestHostileTwins(t *testing.T) {
	s := startHub(t)
	hostile := s.create("hostile")
	d := s.connect(hostile)
	for _, p := range patches {
		_, err := d.Report(t.Context(), []byte(p.patch))
		var failed device.Failed
		switch {
		case errors.As(err, &failed):
			if failed.Status != 400 || !strings.Contains(failed.Words, p.says) || !json.Valid([]byte(failed.Words)) || len(failed.Words) > 2000 {
				t.Errorf("%s: %d %.300s, wanted words with %q", p.name, failed.Status, failed.Words, p.says)
			}
		case err != nil || p.says != "":
			t.Fatalf("%s: %v", p.name, err)
		}
		if text, err := d.Twin(t.Context()); err != nil || !json.Valid(text) || len(text) > 64<<10 {
			t.Fatalf("%s: the twin is %.100s, %v", p.name, text, err)
		}
		r := s.ask("PATCH", contoso+"/twins/hostile"+v2021, s.token(), `{"tags":`+p.patch+`}`)
		if r.Status/100 != 2 && r.Status != 400 && r.Status != 413 {
			t.Errorf("%s, as tags: %d %.200s", p.name, r.Status, r.Body)
		}
	}
	o := s.bystanders()
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var flood sync.WaitGroup
	var tried atomic.Int64
	for i := range 4 {
		d := s.connect(s.create(fmt.Sprintf("hostile-%d", i)))
		flood.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				_, err := d.Report(ctx, []byte(patches[n%len(patches)].patch))
				var failed device.Failed
				if err != nil && ctx.Err() == nil && !errors.As(err, &failed) {
					t.Errorf("%s: %v", patches[n%len(patches)].name, err)
				}
				tried.Add(1)
			}
		})
	}
	<-time.After(time.Duration(more(2, 60)) * time.Second)
	o.fine("beside hostile patches", 20)
	cancel()
	flood.Wait()
	t.Logf("%d patches", tried.Load())
	memory().within(t, 64)
	o.stop()
	s.end()
	if n := len(s.lines()); n > 40 {
		t.Errorf("the log has %d lines:\n%s", n, s.tail())
	}
}

// deaf connects a device that reads nothing after its SUBACK, with little room in its socket.
func (s *site) deaf(c device.Config, filters ...string) net.Conn {
	s.t.Helper()
	raw, err := net.Dial("tcp", c.Address)
	must(s.t, err)
	must(s.t, raw.(*net.TCPConn).SetReadBuffer(4<<10))
	s.t.Cleanup(func() { _ = raw.Close() })
	conn := tlsOver(raw, c)
	token, err := device.Sign(processes.Contoso, c.ID, c.Key)
	must(s.t, err)
	say := func(p mqtt.Packet) {
		b, err := p.Append(nil)
		must(s.t, err)
		_, err = conn.Write(b)
		must(s.t, err)
	}
	say(&mqtt.Connect{ClientID: c.ID, CleanSession: true, HasUserName: true, UserName: processes.Contoso + "/" + c.ID + "/?api-version=2021-04-12", HasPassword: true, Password: []byte(token)})
	subscribe := &mqtt.Subscribe{ID: 1}
	for _, f := range filters {
		subscribe.Topics = append(subscribe.Topics, mqtt.Subscription{Filter: f, QoS: 1})
	}
	say(subscribe)
	r := mqtt.NewReader(conn, 1<<10)
	for range 2 {
		if _, _, err := r.Next(); err != nil {
			s.t.Fatal(err)
		}
	}
	return conn
}

// A device that acknowledges nothing fills its own queue; one that reads nothing is cut when more waits for it than is good.
func TestDevicesThatOnlyTake(t *testing.T) {
	s := startHub(t)
	o := s.bystanders()
	memory := s.watchMemory()

	silent := s.create("silent")
	silent.Command = func(device.Command) bool { return false }
	s.connect(silent)
	sent := 0
	for ; sent < 60; sent++ {
		_, err := s.api.SendCommand(t.Context(), "silent", hubclient.Command{MessageID: fmt.Sprint(sent), Body: bytes.Repeat([]byte("x"), 60_000)})
		if err != nil {
			if code.Of(err) != code.QueueDepthExceeded {
				t.Error(err)
			}
			break
		}
	}
	if sent != 50 {
		t.Errorf("%d messages were taken for a device that acknowledges none, wanted 50", sent)
	}

	deaf := s.create("deaf")
	conn := s.deaf(deaf, "$iothub/twin/PATCH/properties/desired/#", "$iothub/twin/res/#")
	big := strings.Repeat("x", 4_000)
	cut := 0
	await(t, "the end of who does not read what he is told", func() error {
		for range 20 {
			cut++
			_, err := s.api.PatchTwin(t.Context(), "deaf", hubclient.Twin{Properties: hubclient.TwinProperties{Desired: fmt.Appendf(nil, `{"a":%q,"b":%q,"c":%q,"d":%q,"n":%d}`, big, big, big, big, cut)}}, hubclient.Any)
			must(t, err)
		}
		w, err := s.api.Why(t.Context(), "deaf")
		if err == nil && w.Session != nil {
			err = fmt.Errorf("after %d patches it is connected", cut)
		}
		return err
	})
	_ = conn.Close()
	why, err := s.api.Why(t.Context(), "deaf")
	must(t, err)
	if b, _ := json.Marshal(why); !strings.Contains(string(b), "does not read what the hub sends") {
		t.Errorf("why: %s", b)
	}

	asker := s.create("asker")
	conn = s.deaf(asker, "$iothub/twin/res/#")
	_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	var asked int
	for ; asked < 100_000; asked++ {
		b, _ := (&mqtt.Publish{Topic: fmt.Appendf(nil, "$iothub/twin/GET/?$rid=%s%d", strings.Repeat("r", 1000), asked)}).Append(nil)
		if _, err := conn.Write(b); err != nil {
			break
		}
	}
	if asked == 100_000 {
		t.Error("a device that asks and does not read is served for ever")
	}
	t.Logf("who reads nothing was cut after %d changes; who only asks after %d questions", cut, asked)
	o.fine("beside those who only take", 20)
	memory().within(t, 48)
	o.stop()
	s.end()
	s.saysOnce(2, "hub: refused", "who=asker", "asks and does not read the answers")
}

// Callers that pile up before a device that never answers are bounded, and leave nothing behind when they go.
func TestCallersThatPileUp(t *testing.T) {
	s := startHub(t)
	s.create("mute2")
	mute := s.create("mute")
	var called atomic.Int64
	mute.Method = func(string, []byte) (int, []byte, bool) {
		called.Add(1)
		return 0, nil, false
	}
	s.connect(mute)
	o := s.bystanders()
	memory := s.watchMemory()
	payload := strings.Repeat("x", 5_000)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var refused atomic.Int64
	for i := range 600 {
		all.Go(func() {
			body := fmt.Sprintf(`{"methodName":"stall","responseTimeoutInSeconds":300,"connectTimeoutInSeconds":300,"payload":"%d %s"}`, i, payload)
			to := "mute"
			switch i % 3 {
			case 0:
				to = "mute2" // who is not there
			case 1: // too much for any door
				body = strings.Replace(body, payload, strings.Repeat(payload, 20), 1)
			}
			r, err := s.web.Ask(ctx, "POST", contoso+"/twins/"+to+"/methods"+v2021, s.token(), []byte(body))
			switch {
			case ctx.Err() != nil:
			case err != nil || (r.Status != 429 && r.Status != 404):
				t.Errorf("a call is answered with %d %s, %v", r.Status, r.Body, err)
			default:
				if r.Status == 429 && !bytes.Contains(r.Body, []byte("method calls")) {
					t.Errorf("a call is refused with %s", r.Body)
				}
				refused.Add(1)
			}
		})
	}
	await(t, "the calls", func() error {
		if called.Load() == 0 || refused.Load() < 600-64-64 {
			return fmt.Errorf("%d were made, %d refused", called.Load(), refused.Load())
		}
		return nil
	})
	<-time.After(time.Duration(more(1, 30)) * time.Second)
	o.fine("beside callers that wait", 20)
	before := called.Load()
	if before > 64 {
		t.Errorf("%d calls reached the device, wanted 64 at most", before)
	}
	cancel()
	all.Wait()
	s.web.CloseIdleConnections()
	await(t, "room after they went", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.api.Invoke(ctx, "mute", hubclient.Method{Name: "again", Response: 5 * time.Second})
		if called.Load() == before+1 {
			return nil
		}
		return err
	})
	memory().within(t, 96)
	o.stop()
	s.end()
	if n := len(s.lines("level=ERROR")); n > 0 {
		t.Errorf("the log has %d errors:\n%s", n, s.tail())
	}
}

// What a device may not say ends its connection, with a line in the log; the device that says it again and again is slowed down, and
// nobody else.
func TestPacketsNoDeviceSends(t *testing.T) {
	s := startHub(t)
	o := s.bystanders()
	memory := s.watchMemory()
	publish := func(topic string, qos byte, size int) mqtt.Packet {
		return &mqtt.Publish{Topic: []byte(topic), QoS: qos, ID: uint16(qos), Payload: make([]byte, size)}
	}
	const own = "devices/rude-%d/messages/events/"
	kinds := []struct {
		name   string
		packet mqtt.Packet
		says   string
	}{
		{"properties that are not encoded", publish(own+"a=%zz", 1, 1), "not percent-encoded"},
		{"properties that are no UTF-8", publish(own+"a=%ff%fe", 1, 1), "not percent-encoded"},
		{"60 kB of properties", publish(own+strings.Repeat("k=v&", 15_000), 1, 1), ""},
		{"20,000 properties", publish(own+bag(9_000), 1, 1), ""},
		{"a body and properties of more than 256 KiB", publish(own+strings.Repeat("k=v&", 10_000), 1, 256<<10), "a message has"},
		{"another device's topic", publish("devices/calm/messages/events/", 1, 1), "is not its own"},
		{"a topic that begins like its own", publish("devices/rude-%d0/messages/events/", 1, 1), "is not its own"},
		{"$SYS", publish("$SYS/broker", 0, 1), "is not its own"},
		{"QoS 2", publish(own, 2, 1), "QoS 2"},
		{"everybody's messages", &mqtt.Subscribe{ID: 9, Topics: []mqtt.Subscription{{Filter: "#"}}}, "subscribed to"},
		{"everybody's commands", &mqtt.Subscribe{ID: 9, Topics: []mqtt.Subscription{{Filter: "devices/+/messages/devicebound/#"}}}, "subscribed to"},
		{"5,000 subscriptions", &mqtt.Subscribe{ID: 9, Topics: many("devices/calm/messages/devicebound/#", 5_000)}, "subscribed to"},
		{"a second CONNECT", &mqtt.Connect{ClientID: "x", CleanSession: true}, "has no place here"},
		{"a CONNACK", mqtt.Connack{}, "has no place here"},
		{"an answer to nothing", publish("$iothub/methods/res/200/?$rid=ffffff", 0, 1), ""},
		{"a status that is none", publish("$iothub/methods/res/99999999999999/?$rid=1", 0, 1), "is not its own"},
		{"a packet of 256 MiB", verbatim{0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'a'}, "too large"},
		{"a length without end", verbatim{0x32, 0xff, 0xff, 0xff, 0xff, 0xff}, "malformed"},
		{"a topic longer than its packet", verbatim{0x30, 4, 0xff, 0xff, 'a', 'b'}, "malformed"},
		{"flags that must not be", verbatim{0x36, 2, 0, 0}, "malformed"},
	}
	for i, k := range kinds {
		id := fmt.Sprintf("rude-%d", i)
		d := s.connect(s.create(id))
		switch p := k.packet.(type) {
		case *mqtt.Publish:
			p.Topic = bytes.ReplaceAll(p.Topic, []byte("%d"), []byte(fmt.Sprint(i)))
		}
		must(t, d.Say(k.packet))
		if k.says == "" {
			if _, err := d.Twin(t.Context()); err != nil {
				t.Errorf("%s: %v", k.name, err)
			}
			continue
		}
		select {
		case <-d.Ended():
		case <-time.After(patient):
			t.Errorf("%s: the connection goes on", k.name)
		}
		await(t, k.name, func() error {
			if len(s.lines("hub: refused", "who="+id+" ", k.says)) != 1 {
				return fmt.Errorf("the log does not say %q:\n%s", k.says, s.tail())
			}
			return nil
		})
	}
	rude := s.create("rude-again")
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(more(2, 60))*time.Second)
	defer cancel()
	var came, turned int
	for ctx.Err() == nil {
		d, err := device.Dial(ctx, rude)
		if err != nil {
			turned++
			continue
		}
		came++
		must(t, d.Say(publish("devices/rude-again/messages/events/a=%zz", 1, 1)))
		<-d.Ended()
	}
	t.Logf("it came in %d times, and was turned away %d times", came, turned)
	if most := 60 + 2*more(3, 61); came > most || turned == 0 {
		t.Errorf("it came in %d times, wanted at most %d", came, most)
	}
	o.fine("beside rude devices", 15)
	memory().within(t, 64)
	o.stop()
	s.end()
	s.saysOnce(3, "who=rude-again ", "not percent-encoded")
	s.saysOnce(3, "who=rude-again ", "of connecting")
	if n := len(s.lines()); n > 80 {
		t.Errorf("the log has %d lines:\n%s", n, s.tail())
	}
}

// verbatim is bytes that are no packet.
type verbatim []byte

func (verbatim) Type() mqtt.Type                     { return 0 }
func (v verbatim) Append(dst []byte) ([]byte, error) { return append(dst, v...), nil }

func bag(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d&", i)
	}
	return b.String()
}

func many(filter string, n int) []mqtt.Subscription {
	out := make([]mqtt.Subscription, n)
	for i := range out {
		out[i].Filter = filter
	}
	return out
}
