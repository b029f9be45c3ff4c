package virtualdevice_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/access/virtualdevice"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/socketstream"
)

func TestStreamsLeadWhereTheSettingsSay(t *testing.T) {
	w := newWorld(t, nil)
	w.host.Set([]virtualdevice.Device{w.settings("press-4", map[string]string{
		"echo": target(t, "tcp", echo), "local": target(t, "unix", says("from the socket")), "dead": "127.0.0.1:1",
	})})
	w.run()
	w.status("press-4", isConnected)

	a, b := w.open("press-4", "echo"), w.open("press-4", "echo")
	exchange(t, a, "one")
	exchange(t, b, strings.Repeat("two ", 300_000))
	if s := w.status("press-4", func(s virtualdevice.Status) bool { return s.Sessions == 2 }); s.Problem != "" || s.Device != "press-4" || s.Hub != hubtest.Contoso {
		t.Errorf("%+v", s)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	w.status("press-4", func(s virtualdevice.Status) bool { return s.Sessions == 1 })
	exchange(t, b, "still there")

	if got, err := io.ReadAll(w.open("press-4", "local")); string(got) != "from the socket" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	reject(w, "press-4", "telnet")
	reject(w, "press-4", "dead")
	w.status("press-4", hasProblem("stream dead: 127.0.0.1:1 does not answer"))
	exchange(t, b, "and still")
}

// A copy that ends one way and waits for the answer, as rsync and HTTP do.
func TestOneWayEndsBeforeTheOther(t *testing.T) {
	w := newWorld(t, nil)
	sum := func(c net.Conn) {
		all, _ := io.ReadAll(c)
		s := sha256.Sum256(all)
		_, _ = c.Write(s[:])
	}
	w.host.Set([]virtualdevice.Device{w.settings("press-4", map[string]string{"sum": target(t, "tcp", sum)})})
	w.run()
	w.status("press-4", isConnected)
	s := w.open("press-4", "sum", socketstream.Subprotocol)
	body := bytes.Repeat([]byte("0123456789"), 200_000)
	if _, err := s.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := s.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(body)
	if got, err := io.ReadAll(s); !bytes.Equal(got, want[:]) || err != nil {
		t.Errorf("%x, %v", got, err)
	}
}

func TestOneDeviceHarmsNoOther(t *testing.T) {
	w := newWorld(t, nil)
	at := target(t, "tcp", echo)
	good := w.settings("good", map[string]string{"echo": at, "bad/name": at, "no address": "localhost"})
	wrongKey := w.settings("wrong-key", map[string]string{"echo": at})
	wrongKey.ConnectionString = strings.Replace(wrongKey.ConnectionString, "SharedAccessKey=", "SharedAccessKey=AAAA", 1)
	no := false
	off := w.settings("off", map[string]string{"echo": at})
	off.Enabled = &no
	w.host.Set([]virtualdevice.Device{
		{Name: "nothing"}, wrongKey, {Name: "service", ConnectionString: "HostName=h;SharedAccessKeyName=p;SharedAccessKey=AAAA"}, good, good, off,
		{Name: "no name", Hub: "h", ID: "x", Key: "AAAA"}, {Name: "variable", ConnectionStringVariable: "ISTHMUS_NOT_THERE"},
		{Name: "no-host", Hub: "a b", ID: "x", Key: "AAAA"}, {Name: "no-key", Hub: "h", ID: "x", Key: "not base64"},
	})
	w.run()
	w.status("good", isConnected)
	exchange(t, w.open("good", "echo"), "hello")
	w.status("good", hasProblem("no stream can have the name"))
	w.status("good", hasProblem("stream no address: \"localhost\" is no address"))
	w.status("wrong-key", hasProblem("refused the device with CONNACK code 5"))
	for name, says := range map[string]string{
		"nothing": "no connectionString", "service": "a service's", "no name": "", "variable": "ISTHMUS_NOT_THERE", "no-host": "is no host", "no-key": "not base64", "off": "",
	} {
		if name == "no name" { // it has none
			name, says = "", "cannot be a device's name"
		}
		w.status(name, hasProblem(says))
	}
	twice := 0
	for _, s := range w.host.Status() {
		if strings.Contains(s.Problem, "twice") {
			twice++
		}
	}
	if twice != 1 || len(w.host.Status()) != 10 {
		t.Errorf("%+v", w.host.Status())
	}
	if status, _, _, _ := w.ask("off", "echo"); status != http.StatusNotFound {
		t.Errorf("a device that is off: %d", status)
	}
}

func TestSettingsChangeWhileSessionsGoOn(t *testing.T) {
	w := newWorld(t, nil)
	at, elsewhere := target(t, "tcp", echo), target(t, "tcp", echo)
	one := w.settings("one", map[string]string{"stays": at, "goes": at, "moves": at})
	two := w.settings("two", map[string]string{"stays": at})
	w.run()
	w.host.Set([]virtualdevice.Device{one, two})
	w.status("one", isConnected)
	w.status("two", isConnected)
	stays, goes, moves, other := w.open("one", "stays"), w.open("one", "goes"), w.open("one", "moves"), w.open("two", "stays")
	for _, s := range []socketstream.Stream{stays, goes, moves, other} {
		exchange(t, s, "hello")
	}
	connects := w.dials("8883")
	one.Streams = map[string]string{"stays": at, "moves": elsewhere}
	w.host.Set([]virtualdevice.Device{two, one})
	for name, s := range map[string]socketstream.Stream{"goes": goes, "moves": moves} {
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s is open", name)
		}
	}
	exchange(t, stays, "still there")
	exchange(t, other, "still there")
	reject(w, "one", "goes")
	exchange(t, w.open("one", "moves"), "to the new place")
	if w.dials("8883") != connects {
		t.Error("a change of streams connected anew")
	}

	no := false
	two.Enabled = &no
	w.host.Set([]virtualdevice.Device{one, two})
	if _, err := other.Read(make([]byte, 1)); err == nil {
		t.Error("the session of a device that was switched off is open")
	}
	exchange(t, stays, "and still")
	two.Enabled = nil
	w.host.Set([]virtualdevice.Device{one, two})
	w.status("two", isConnected)
	exchange(t, w.open("two", "stays"), "on again")
	w.host.Set(nil)
	if s := w.host.Status(); len(s) != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := stays.Read(make([]byte, 1)); err == nil {
		t.Error("the session of a device that is gone is open")
	}
}

func TestTheConnectionIsMadeAnewAndSessionsGoOn(t *testing.T) {
	w := newWorld(t, nil)
	d := w.settings("press-4", map[string]string{"echo": target(t, "tcp", echo)})
	w.host.Set([]virtualdevice.Device{d})
	w.run()
	w.status("press-4", isConnected)
	s := w.open("press-4", "echo")
	exchange(t, s, "hello")
	known, err := w.Hub(hubtest.Contoso).Device(t.Context(), "press-4")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody else takes the identity, which ends the connection.
	other, err := w.Hub(hubtest.Contoso).Connect(t.Context(), hub.Request{Device: "press-4", Token: w.Token(hubtest.Contoso, known), Cut: func(hub.Cause) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.End()
	w.status("press-4", hasProblem("the hub ended the connection"))
	exchange(t, s, "still there")
	w.status("press-4", isConnected)
	exchange(t, w.open("press-4", "echo"), "and new ones")

	known.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), known.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("the session of a device that was disabled is open")
	}
	w.status("press-4", hasProblem("CONNACK code 5"))
}

func TestWhereOnly443IsOpen(t *testing.T) {
	w := newWorld(t, nil)
	w.shut["8883"] = true
	w.host.Set([]virtualdevice.Device{w.settings("press-4", map[string]string{"echo": target(t, "tcp", echo)})})
	w.run()
	w.status("press-4", hasProblem("8883 cannot be reached: a firewall says no"))
	w.status("press-4", isConnected)
	exchange(t, w.open("press-4", "echo"), "hello")
}

func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	d := w.settings("press-4", map[string]string{"echo": target(t, "tcp", echo)})
	d.Sessions = 2
	w.host.Set([]virtualdevice.Device{d})
	w.run()
	w.status("press-4", isConnected)
	exchange(t, w.open("press-4", "echo"), "one")
	exchange(t, w.open("press-4", "echo"), "two")
	reject(w, "press-4", "echo")
}
