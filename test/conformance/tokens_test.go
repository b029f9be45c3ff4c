package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func tokens(t *testing.T, o *outbound) {
	for _, tr := range lasting {
		if tr.amqp() {
			renewals(t, o, tr)
			continue
		}
		t.Run("C10 renewed over "+tr.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "C10", tr.pkg)
			o := o.in(t)
			d := o.Device(hubtest.Contoso, "renews-"+tr.name)
			s := play(t, o.World, "tokens.js", "renew", deviceString(hubtest.Contoso, d), "TRANSPORT="+tr.name)
			s.step("opened", "")
			o.sent(d.ID, "first")
			s.wants("body", "first")
			// Messages are sent all the while in which it connects three times.
			connects, sent, begun := map[time.Time]bool{}, 0, time.Now()
			heard := map[string]int{}
			for ; len(connects) < 3; sent++ {
				if time.Since(begun) > patience {
					t.Fatalf("it connected only at %v", connects)
				}
				for _, c := range o.Hub(hubtest.Contoso).Connections() {
					if c.Device == d.ID {
						connects[c.Since] = true
					}
				}
				body := fmt.Sprint(tr.name, " ", sent)
				if sent%10 == 9 { // some wait beside each other, others do not
					for i := range 3 {
						o.sent(d.ID, fmt.Sprint(body, " ", i))
						heard[fmt.Sprint(body, " ", i)] = 0
					}
				}
				o.sent(d.ID, body)
				heard[body] = 0
				for heard[body] == 0 {
					heard[s.next().text("body")]++
				}
			}
			o.sent(d.ID, "end")
			for v := s.next(); v["step"] == nil; v = s.next() {
				heard[v.text("body")]++
			}
			again := 0
			for body, n := range heard {
				if n == 0 {
					t.Errorf("%s is lost", body)
				}
				again += max(n-1, 0)
			}
			if again > len(connects) { // one can be on its way when it connects anew
				t.Errorf("%d messages came again", again)
			}
		})
	}
	for _, tr := range lasting {
		t.Run("C10 ended over "+tr.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "C10", tr.pkg)
			o := o.in(t)
			d := o.Device(hubtest.Contoso, "ends-"+tr.name)
			resource := hubtest.Contoso + "/devices/" + d.ID
			s := play(t, o.World, "tokens.js", "end", "TRANSPORT="+tr.name)
			s.wants("ready", true)
			s.goOn(sign(t, resource, d.PrimaryKey, "", 5*time.Second))
			s.step("open", "")
			o.sent(d.ID, "before")
			s.wants("body", "before")
			s.step("gone", "")
			o.sent(d.ID, "meanwhile")
			if tr.amqp() {
				s.step("open with what has ended", "UnauthorizedError")
			} else {
				s.step("open with what has ended", "NotConnectedError", "message", "Connection refused: Not authorized") // so the SDK puts it, after one success
			}
			s.goOn(sign(t, resource, d.PrimaryKey, "", time.Hour))
			opened := false
			for range 2 { // with its session there, what waits may come before the SDK says that it is open
				v := s.next()
				if v.text("step") == "open with another" && v["error"] == nil {
					opened = true
				} else if v.text("body") != "meanwhile" {
					t.Errorf("%v", v)
				}
			}
			if !opened {
				t.Error("it is not open")
			}
			s.goOn()
		})
	}
}

// renewals: over AMQP a device with a token for five seconds puts another each second, and stays connected.
func renewals(t *testing.T, o *outbound, tr transport) {
	t.Run("C14 renewed over "+tr.name, func(t *testing.T) {
		t.Parallel()
		covers(t, "C10", tr.pkg)
		covers(t, "C14", tr.pkg)
		o := o.in(t)
		d := o.Device(hubtest.Contoso, "renews-"+tr.name)
		s := play(t, o.World, "tokens.js", "renewEachSecond", deviceString(hubtest.Contoso, d), "TRANSPORT="+tr.name)
		s.step("opened", "")
		since := func() (out []time.Time) {
			for _, c := range o.Hub(hubtest.Contoso).Connections() {
				if c.Device == d.ID {
					out = append(out, c.Since)
				}
			}
			return out
		}
		o.sent(d.ID, "first")
		s.wants("body", "first")
		begun, connections := time.Now(), since()
		for i := 0; time.Since(begun) < 5500*time.Millisecond; i++ { // beyond the end of the first token
			time.Sleep(100 * time.Millisecond)
			body := fmt.Sprint(tr.name, " ", i)
			o.sent(d.ID, body)
			s.wants("body", body)
		}
		if now := since(); len(now) != 1 || len(connections) != 1 || now[0] != connections[0] {
			t.Errorf("it was connected since %v, and then since %v", connections, now)
		}
		o.sent(d.ID, "end")
		s.wants("body", "end")
		if v := s.next(); v.text("step") != "closed" || v["tokens"].(float64) < 3 {
			t.Errorf("%v", v)
		}
	})
}
