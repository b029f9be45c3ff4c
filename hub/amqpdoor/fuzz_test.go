package amqpdoor_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// FuzzRead: whatever a device sends as a message is read the same way whatever came before it, and nothing of it counts as less than it is.
func FuzzRead(f *testing.F) {
	w := hubtest.Start(f, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	s, err := w.Hub(hubtest.Contoso).Connect(f.Context(), hub.Request{Device: "d", Token: w.Token(hubtest.Contoso, d), Cut: func(hub.Cause) {}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.End)
	for _, m := range []amqp.Message{
		{}, {Data: [][]byte{[]byte("a"), []byte("b")}}, {HasValue: true, Value: "text"}, {Sequence: []amqp.List{{int32(1)}}},
		{
			Properties:            &amqp.Properties{MessageID: amqp.UUID{1}, CorrelationID: uint64(1), UserID: []byte("u"), To: "x", CreationTime: amqp.Some(amqp.Timestamp(1))},
			MessageAnnotations:    amqp.Map{{Key: amqp.Symbol("dt-subject"), Value: "x"}, {Key: uint64(1), Value: amqp.List{}}},
			ApplicationProperties: amqp.Map{{Key: "iothub-outputname", Value: "o"}, {Key: "k", Value: int32(1)}}, Data: [][]byte{[]byte("body")},
		},
	} {
		f.Add(encode(f, m), text(f, "before"))
	}
	f.Add([]byte("garbage"), []byte{})
	f.Fuzz(func(t *testing.T, message, before []byte) {
		body, size, err := amqpdoor.Read(s, message)
		again, sizeAgain, errAgain := amqpdoor.Read(s, before, message, message)
		if !bytes.Equal(body, again) || size != sizeAgain || (err == nil) != (errAgain == nil) {
			t.Errorf("alone: %q %d %v; after another: %q %d %v", body, size, err, again, sizeAgain, errAgain)
		}
		if err == nil && size < len(body) {
			t.Errorf("a body of %d bytes counts as %d", len(body), size)
		}
	})
}

// FuzzPlace: an address is of the identity that stands in it, or of none.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{
		"devices/d/messages/events", "Devices/d/Modules/m/Twin", "devices/d/modules/m", "devices/modules/modules/modules/twin", "devices//twin", "devices/d/methods/devicebound/x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		n, kind, ok := amqpdoor.Place(path)
		if ok != (kind != 0) {
			t.Errorf("%q: kind %d, %v", path, kind, ok)
		}
		if !ok {
			return
		}
		if n.Device == "" || strings.Contains(n.Device, "/") || strings.Contains(n.Module, "/") {
			t.Errorf("%q is of %+v", path, n)
		}
		want := "devices/" + n.Device + "/"
		if n.IsModule() {
			want += "modules/" + n.Module + "/"
		}
		if len(path) < len(want) || !strings.EqualFold(path[strings.IndexByte(path, '/'):len(want)], want[strings.IndexByte(want, '/'):]) {
			t.Errorf("%q is of %+v", path, n)
		}
	})
}
