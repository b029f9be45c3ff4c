package abuse

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// upgradeTo asks for a WebSocket of AMQP at a path.
func (s *site) upgradeTo(path, protocol string) (net.Conn, int, error) {
	c, err := s.hub.DialTLS(s.t.Context(), "", s.hub.HTTPS, s.hub.TLS(processes.Contoso))
	if err != nil {
		return nil, 0, err
	}
	_ = c.SetDeadline(time.Now().Add(patient))
	_, err = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+processes.Contoso+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: "+protocol+"\r\n\r\n")
	if err != nil {
		return nil, 0, errors.Join(err, c.Close())
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil) // the server waits for the client's first word
	if err != nil {
		return nil, 0, errors.Join(err, c.Close())
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, res.StatusCode, c.Close()
	}
	return c, res.StatusCode, nil
}

// What nobody sends inside a WebSocket ends it, on both paths; what hardly comes makes the hub hold little.
func TestHostileWebSocketsOfAMQP(t *testing.T) {
	s := startHub(t)
	header := amqp.ProtocolHeader(amqp.ProtocolSASL)
	huge := append(header[:len(header):len(header)], 0xff, 0xff, 0xff, 0xff, 2, 1, 0, 0)
	memory := s.watchMemory()
	var all sync.WaitGroup
	var mu sync.Mutex // guards the next
	var slow []net.Conn
	for _, path := range []string{"/$iothub/websocket", "/$servicebus/websocket"} {
		for protocol, status := range map[string]int{"AMQPWSB10": 101, "amqp": 101, "soap": 400} {
			c, got, err := s.upgradeTo(path, protocol)
			if err != nil || got != status {
				t.Errorf("%s, %s: %d, %v", path, protocol, got, err)
			}
			if c != nil {
				_ = c.Close()
			}
		}
		for name, bytes := range map[string][]byte{
			"text": frame(0x81, 8, header[:]), "no mask": append([]byte{0x82, 8}, header[:]...), "another protocol": frame(0x82, 8, []byte("MQTTMQTT")),
			"a frame of 4 GB after the header": frame(0x82, uint64(len(huge)), huge), "a WebSocket's frame of 2^64 bytes": frame(0x82, 1<<64-1, []byte("xxxxxxxx")),
			"reserved bits": frame(0xf2, 8, header[:]),
		} {
			all.Go(func() {
				c, _, err := s.upgradeTo(path, "AMQPWSB10")
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if _, err = c.Write(bytes); err != nil {
					t.Error(err)
				}
				if err := ended(c, time.Now().Add(patient)); err != nil {
					t.Errorf("%s, %s: %v", path, name, err)
				}
			})
		}
		for range more(75, 1_000) {
			all.Go(func() { // a promise of much, and a byte of it
				c, _, err := s.upgradeTo(path, "AMQPWSB10")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = c.Write(frame(0x02, 1<<40, header[:1]))
				mu.Lock()
				defer mu.Unlock()
				slow = append(slow, c)
			})
		}
	}
	all.Wait()
	memory().within(t, 48)
	for _, c := range slow {
		_ = c.Close()
	}
	s.end()
	if n := len(s.lines()); n > 260 {
		t.Errorf("the log has %d lines:\n%s", n, s.tail())
	}
}

// A back end that gives credit for everything and reads nothing, and one that reads a byte now and then, are cut off or wait; devices and other
// back ends go on, and the process holds little for them.
func TestReadersThatReadNothing(t *testing.T) {
	s := startHub(t)
	h := s.honest(5)
	sender := s.create("amqp-large") // whose messages the others read too
	memory := s.watchMemory()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	token := s.token()
	for range 10 {
		conn, err := s.overAMQP(ctx, "")
		must(t, err)
		defer conn.Close()
		c, err := amqptest.Dial(ctx, conn, amqptest.Options{Hostname: processes.Contoso, SASL: amqptest.Plain("iothubowner@sas.root."+processes.Contoso, token)})
		must(t, err)
		_, err = c.Begin(ctx, 0)
		must(t, err)
		group := "messages/events/ConsumerGroups/$Default/Partitions/"
		for handle := range uint32(4) {
			a := amqptest.ReceiverFrom(fmt.Sprint("r", handle), handle, group+fmt.Sprint(handle%2))
			must(t, c.Send(ctx, 0, a, nil))
			must(t, c.Send(ctx, 0, &amqp.Flow{IncomingWindow: 1 << 30, OutgoingWindow: 1, Handle: amqp.Some(handle), DeliveryCount: amqp.Some(uint32(0)), LinkCredit: amqp.Some(uint32(1 << 30))}, nil))
		}
	}
	conn, session, err := s.claims(ctx, mustSign(t, sender.ID, sender.Key))
	must(t, err)
	defer conn.Abort()
	link, err := session.Sender(ctx, "/devices/"+sender.ID+"/messages/events", nil)
	must(t, err)
	for i := range more(150, 2_000) {
		body := make([]byte, 200_000)
		binary.BigEndian.PutUint32(body, uint32(i))
		m, err := (&amqp.Message{Data: [][]byte{body}}).Append(nil)
		must(t, err)
		must(t, link.SendAccepted(ctx, m, 0))
	}
	memory().within(t, 128)
	h.all(5)
	s.end()
}

func mustSign(t *testing.T, id, key string) string {
	t.Helper()
	token, err := device.Sign(processes.Contoso, id, key)
	must(t, err)
	return token
}
