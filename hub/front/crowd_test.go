package front_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// One machine that connects and says nothing takes a part of the places only.
func TestOneAddressDoesNotTakeEveryPlace(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Front: front.Config{MaxConnections: 8, MaxPerSource: 2}})
	var silent []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", w.MQTT)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	// Which of three are taken first is the kernel's choice: one of them is closed.
	c, err := net.Dial("tcp", w.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error, 3)
	for _, c := range append(silent, c) {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
	}
	if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("all three stay")
	}
	for _, c := range append(silent, c) {
		_ = c.Close()
	}
	<-ended
	<-ended
}

// An agent brings many devices from one address.
func TestDevicesBehindAnAgentAreNotCounted(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Front: front.Config{MaxConnections: 8, MaxPerSource: 1}})
	for i := range 3 {
		id := fmt.Sprint("d", i)
		code, _, err := mqttSays(t, w, w.Header(hubtest.Contoso, hubtest.ContosoLink), hubtest.Contoso, hubtest.Contoso, id, w.Token(hubtest.Contoso, w.Device(hubtest.Contoso, id)))
		if err != nil || code != mqtt.Accepted {
			t.Fatalf("device %d: %v, %v", i, code, err)
		}
	}
}
