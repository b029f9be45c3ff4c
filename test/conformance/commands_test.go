package conformance

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// eventually asks again until it is told yes, for what happens by itself.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !yes(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}

// service returns a client with every right, by HTTPS. The service SDK for Node.js sends messages to devices over AMQP only.
func service(t *testing.T, w *hubtest.World) *hubclient.Client {
	t.Helper()
	text, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyOwner)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := hubclient.New(hubclient.Config{Connection: cs, Address: w.HTTPS, Roots: w.Roots}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// outbound is a hub that sends to its devices, and hears at once what became of it.
type outbound struct {
	*hubtest.World
	api    *hubclient.Client
	t      *testing.T
	status map[string]string // by message id
	counts map[string]int    // of each status
}

func sending(t *testing.T) *outbound {
	t.Helper()
	return sendingFrom(t, start(t, hubtest.Options{}))
}

func sendingFrom(t *testing.T, w *hubtest.World) *outbound {
	t.Helper()
	h := w.Hub(hubtest.Contoso)
	settings := h.CommandSettings()
	settings.FeedbackDelay = 0
	if err := h.SetCommandSettings(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	return &outbound{w, service(t, w), t, map[string]string{}, map[string]int{}}
}

// in is the same for a subtest.
func (o *outbound) in(t *testing.T) *outbound {
	return &outbound{o.World, o.api, t, o.status, o.counts}
}

// sent sends messages whose ids are their bodies, asking for all feedback.
func (o *outbound) sent(name string, bodies ...string) {
	o.t.Helper()
	for _, body := range bodies {
		if _, err := o.api.SendCommand(o.t.Context(), name, hubclient.Command{MessageID: body, Ack: "full", Body: []byte(body)}); err != nil {
			o.t.Fatal(err)
		}
	}
}

// hears takes the feedback there is, by REST.
func (o *outbound) hears() {
	o.t.Helper()
	list, lock, err := o.api.ReceiveFeedback(o.t.Context())
	if err == nil && lock != "" {
		err = o.api.CompleteFeedback(o.t.Context(), lock)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	for _, f := range list {
		o.status[f.MessageID] = f.Status
		o.counts[f.Status]++
	}
}

// became waits for the feedback of messages.
func (o *outbound) became(want map[string]string) {
	o.t.Helper()
	eventually(o.t, fmt.Sprintf("feedback %v", want), func() bool {
		o.hears()
		for id := range want {
			if o.status[id] == "" {
				return false
			}
		}
		return true
	})
	for id, status := range want {
		if o.status[id] != status {
			o.t.Errorf("feedback of %s is %s, want %s", id, o.status[id], status)
		}
	}
}

func TestCommands(t *testing.T) {
	beside(t)
	o := sending(t)
	for _, tr := range transports {
		who := deviceAndModule(t, o.World, tr.name)
		if tr.name == "http" || tr.overWebSocket() { // HTTPS knows no modules
			who = who[:1]
		}
		for _, c := range who {
			t.Run("C21 to a "+c.name+" over "+tr.name, func(t *testing.T) {
				covers(t, "C21", tr.pkg)
				covers(t, "C22", tr.pkg)
				o := o.in(t)
				id := c.name + " " + tr.name
				m := hubclient.Command{
					MessageID: id, CorrelationID: "corr ü", UserID: "who", ContentType: "text/plain;x=1", ContentEncoding: "utf-8", Ack: "full",
					Expires: time.Now().Add(time.Hour).Truncate(time.Second), Properties: map[string]string{"unit": "°C €", "a&b": "=%/+#", "empty": ""}, Body: []byte("body € \n"),
				}
				if tr.name == "http" { // whose headers hold less
					delete(m.Properties, "a&b")
					m.Properties["unit"], m.CorrelationID = "°C", "corr"
				}
				if _, err := o.api.SendCommand(t.Context(), c.String(), m); err != nil {
					t.Fatal(err)
				}
				o.sent(c.String(), "end")
				s := play(t, o.World, "commands.js", "hear", c.env, "TRANSPORT="+tr.name)
				v := s.wants("body", "body € \n")
				want := map[string]string{"messageId": id, "correlationId": m.CorrelationID, "to": "/devices/" + tr.name + "/messages/devicebound"}
				properties, prefix := maps.Clone(m.Properties), ""
				if tr.name == "http" { // of the others the SDK keeps nothing
					prefix = "iothub-app-"
				} else {
					maps.Copy(want, map[string]string{"userId": "who", "type": "text/plain;x=1", "encoding": "utf-8"})
					if tr.amqp() {
						want["ack"] = "full"
					} else {
						properties["iothub-ack"] = "full"
					}
				}
				if c.Module != "" {
					want["to"] = "/devices/" + tr.name + "/modules/m/messages/devicebound"
				}
				for key, text := range want {
					if v.text(key) != text {
						t.Errorf("%s is %q, want %q, in %v", key, v.text(key), text, v)
					}
				}
				layout := time.RFC3339
				if tr.name == "http" {
					layout = time.RFC1123
				}
				at, err := time.Parse(layout, v.text("expiry"))
				if ms, ok := v["expiry"].(float64); ok && tr.amqp() {
					at, err = time.UnixMilli(int64(ms)), nil
				}
				if err != nil || !at.Equal(m.Expires) {
					t.Errorf("it expires at %v, want %v", v["expiry"], m.Expires)
				}
				have, _ := v["properties"].(map[string]any)
				for key, text := range properties {
					if have[prefix+key] != text {
						t.Errorf("property %s is %q, want %q, in %v", key, have[key], text, have)
					}
				}
				if len(have) != len(properties) {
					t.Errorf("properties %v, want %v", have, properties)
				}
				s.wants("body", "end")
				s.wants("done", true)
				o.became(map[string]string{id: "Success"})
			})
		}
	}
	t.Run("C22 there is no reject and no abandon over mqtt", func(t *testing.T) {
		covers(t, "C22", "azure-iot-device-mqtt")
		o := o.in(t)
		d := o.Device(hubtest.Contoso, "settled")
		o.sent(d.ID, "x")
		s := play(t, o.World, "commands.js", "settled", deviceString(hubtest.Contoso, d))
		s.wants("body", "x")
		s.wants("error", "NotImplementedError")
		s.wants("error", "NotImplementedError")
		o.became(map[string]string{"x": "Success"})
	})
	for _, tr := range lasting {
		t.Run("C25 what waits comes after a reconnect over "+tr.name, func(t *testing.T) {
			covers(t, "C25", tr.pkg)
			o := o.in(t)
			d := o.Device(hubtest.Contoso, "absent-"+tr.name)
			s := play(t, o.World, "commands.js", "absent", deviceString(hubtest.Contoso, d), "TRANSPORT="+tr.name)
			s.wants("listens", true)
			o.sent(d.ID, "first")
			s.wants("body", "first")
			s.wants("gone", true)
			o.sent(d.ID, "second", "third", "end")
			s.goOn()
			for _, body := range []string{"second", "third", "end"} {
				s.wants("body", body)
			}
			s.wants("done", true)
			o.became(map[string]string{"first": "Success", "second": "Success", "third": "Success"})
		})
	}
}

func TestSettlingOverHTTPS(t *testing.T) {
	beside(t)
	covers(t, "C22", "azure-iot-device-http")
	covers(t, "C23", "azure-iot-device-http")
	o := sending(t)
	d, most := o.Device(hubtest.Contoso, "d"), o.Hub(hubtest.Contoso).CommandSettings().MaxDeliveryCount
	o.sent(d.ID, "complete", "abandon", "reject", "end")
	s := play(t, o.World, "commands.js", "settle", deviceString(hubtest.Contoso, d), "TRANSPORT=http", fmt.Sprint("TIMES=", most))
	given := map[string][]said{}
	for v := s.next(); v["done"] == nil; v = s.next() {
		given[v.text("body")] = append(given[v.text("body")], v)
	}
	for body, n := range map[string]int{"complete": 1, "abandon": most, "reject": 1, "end": 1} {
		if len(given[body]) != n {
			t.Errorf("%s came %d times, want %d", body, len(given[body]), n)
		}
	}
	locks := map[string]bool{}
	for _, v := range given["abandon"] {
		locks[v.text("lock")] = true
	}
	if len(locks) != most {
		t.Errorf("%d locks of the message that came %d times", len(locks), most)
	}
	o.became(map[string]string{"complete": "Success", "abandon": "DeliveryCountExceeded", "reject": "Rejected", "end": "Success"})
}

func TestSettlingOverAMQP(t *testing.T) {
	beside(t)
	o := sending(t)
	most := o.Hub(hubtest.Contoso).CommandSettings().MaxDeliveryCount
	for _, tr := range lasting[2:] {
		t.Run("C22 over "+tr.name, func(t *testing.T) {
			covers(t, "C22", tr.pkg)
			covers(t, "C23", tr.pkg)
			o := o.in(t)
			d := o.Device(hubtest.Contoso, tr.name)
			s := play(t, o.World, "commands.js", "settleInTurn", deviceString(hubtest.Contoso, d), "TRANSPORT="+tr.name)
			for _, body := range []string{"reject", "complete", "abandon"} {
				o.sent(d.ID, body)
				n := 1
				if body == "abandon" {
					n = most
				}
				for i := range n {
					s.all(map[string]any{"body": body, "count": i})
				}
				status := map[string]string{"complete": "Success", "abandon": "DeliveryCountExceeded", "reject": "Rejected"}[body]
				o.became(map[string]string{body: status})
				delete(o.status, body)
			}
			o.sent(d.ID, "end")
			s.wants("body", "end")
			s.wants("done", true)
			o.became(map[string]string{"end": "Success"})
			delete(o.status, "end")
		})
	}
	t.Run("C22 many at once", func(t *testing.T) {
		covers(t, "C22", lasting[2].pkg)
		o := o.in(t)
		d, want := o.Device(hubtest.Contoso, "together"), map[string]string{}
		for i := range 40 {
			o.sent(d.ID, fmt.Sprint("message ", i))
			want[fmt.Sprint("message ", i)] = "Success"
		}
		s := play(t, o.World, "commands.js", "together", deviceString(hubtest.Contoso, d), "TRANSPORT=amqp", "TIMES=40")
		for i := range 40 {
			s.wants("body", fmt.Sprint("message ", i))
		}
		s.wants("done", true)
		o.became(want)
	})
}

// TestDeliveryCount is what the SDK keeps to itself.
func TestDeliveryCount(t *testing.T) {
	beside(t)
	covers(t, "C22", "raw HTTPS")
	o := sending(t)
	d := o.Device(hubtest.Contoso, "d")
	o.sent(d.ID, "again")
	token := o.Token(hubtest.Contoso, d)
	const path, version = "/devices/d/messages/devicebound", "?api-version=2021-04-12"
	asked := func(method, path string) (status int, h http.Header, body string) {
		res, b := askAs(t, o.World, token, method, path+version, "")
		return res.StatusCode, res.Header, string(b)
	}
	for i := range 3 {
		status, h, body := asked("GET", path)
		if status != http.StatusOK || body != "again" || h.Get("iothub-deliverycount") != fmt.Sprint(i) || h.Get("iothub-ack") != "full" {
			t.Fatalf("%d %v %q", status, h, body)
		}
		lock := path + "/" + strings.Trim(h.Get("ETag"), `"`)
		if status, _, body := asked("POST", lock+"/abandon"); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, body)
		}
		if status, h, body := asked("DELETE", lock); status != http.StatusPreconditionFailed || h.Get("iothub-errorcode") != "DeviceMessageLockLost" {
			t.Errorf("with a lock that is over: %d %s", status, body)
		}
	}
}

func queues(t *testing.T, o *outbound) {
	for _, id := range []string{"C23", "C24", "C27"} {
		covers(t, id, rawHTTPS)
	}
	d, late := o.Device(hubtest.Contoso, "full"), o.Device(hubtest.Contoso, "late")
	for i := range 50 {
		o.sent(d.ID, fmt.Sprint(i))
	}
	_, err := o.api.SendCommand(t.Context(), d.ID, hubclient.Command{Body: []byte("x")})
	if code.Of(err) != code.QueueDepthExceeded {
		t.Errorf("the 51st: %v", err)
	}
	if n, err := o.api.PurgeCommands(t.Context(), d.ID); n != 50 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	eventually(t, "feedback of those that were purged", func() bool { o.hears(); return o.counts["Purged"] == 50 })
	if _, err := o.api.SendCommand(t.Context(), late.ID, hubclient.Command{MessageID: "late", Ack: "full", Expires: time.Now().Add(time.Second), Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	o.became(map[string]string{"late": "Expired"})
}
