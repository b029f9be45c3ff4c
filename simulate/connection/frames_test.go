package connection

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// nowhere is a connection that takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }
func (nowhere) Close() error                     { return nil }

// told counts what a sink is told of each message.
type told struct{ of map[uint16]int }

func (k *told) Acknowledged(_ *Conn, id uint16)             { k.of[id]++ }
func (k *told) Refused(_ *Conn, id uint16, _ error, _ bool) { k.of[id]++ }
func (*told) Ready(*Conn)                                   {}
func (*told) Renewed(*Conn)                                 {}
func (*told) Ended(*Conn, error)                            {}
func still() time.Time                                      { return time.Unix(1, 0) }
func silent(p Protocol) *Way                                { return New(Config{Host: "hub.example.net", Protocol: p, Now: still}) }
func (p *pieces) Write(b []byte) (int, error)               { return len(b), nil }
func (p *pieces) SetWriteDeadline(time.Time) error          { return nil }
func frame(p amqp.Performative, payload ...byte) []byte {
	return amqp.AppendFrame(nil, amqp.FrameAMQP, 0, p, payload)
}
func disposed(first, last uint32, state amqp.State) []byte {
	return frame(&amqp.Disposition{Role: amqp.RoleReceiver, First: first, Last: amqp.Some(last), Settled: true, State: state})
}

// FuzzFrames cuts frames out of pieces as the codec's reader does out of a whole.
func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(disposed(1, 2, amqp.Accepted{}), frame(nil), frame(&amqp.Close{Error: &amqp.Error{Condition: "x", Description: string(make([]byte, 300))}}), frame(nil)), uint8(1))
	f.Add(bytes.Repeat(disposed(1, 2, amqp.Accepted{}), 20), uint8(79))
	f.Add([]byte{0, 0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 7, 2, 0, 0, 0}, uint8(3))
	f.Add([]byte{0, 0, 0, 12, 3, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 9, 2, 1, 0, 0, 9}, uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		var got, want [][]byte
		in := frames{src: &pieces{rest: b, size: int(size%100) + 1}}
		var gotErr error
		for gotErr == nil {
			var body []byte
			if body, gotErr = in.next(); gotErr == nil {
				got = append(got, bytes.Clone(body))
			}
		}
		r := amqp.NewReader(bytes.NewReader(b))
		r.Limit(largestFrame)
		for {
			kind, _, body, err := r.Next()
			if err != nil || kind != amqp.FrameAMQP {
				break
			}
			want = append(want, bytes.Clone(body))
		}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%x in pieces of %d: %x, %v; want %x", b, size%100+1, got, gotErr, want)
		}
	})
}

// FuzzHub reads whatever a hub sends while messages are under way, and tells of each at most once.
func FuzzHub(f *testing.F) {
	f.Add(slices.Concat(disposed(2, 3, amqp.Accepted{}), disposed(0, 9, amqp.Rejected{}), frame(&amqp.Flow{IncomingWindow: 9, Handle: amqp.Some(uint32(5)), Echo: true, Drain: true})), uint8(9))
	f.Add(disposed(1<<31, 1<<30, amqp.Released{}), uint8(99))
	f.Add(slices.Concat(disposed(3, 1, amqp.Accepted{}), disposed(4, 1<<31-1, amqp.Modified{}), frame(&amqp.Detach{})), uint8(50))
	answer, err := (&amqp.Message{ApplicationProperties: amqp.Map{{Key: "status-code", Value: int32(200)}}}).Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Concat(frame(&amqp.Transfer{Handle: 1, DeliveryID: amqp.Some(uint32(0)), More: true}, answer[:9]...), frame(&amqp.Transfer{Handle: 1}, answer[9:]...)), uint8(7))
	way := silent(AMQP)
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		k := &told{map[uint16]int{}}
		in := &pieces{rest: b, size: int(size%100) + 1}
		c := &Conn{way: way, raw: in, net: in, sink: k}
		talk := newAMQPTalk(c)
		c.talk, talk.address = talk, "/devices/d/messages/events"
		talk.maxFrame, talk.window, talk.links[eventsHandle].end = 512, 100, 100
		talk.met, talk.theirs, talk.trusted = [handles]bool{true, true, true}, [handles]uint32{3, 4, 5}, true
		for id := range uint16(6) {
			if err := c.Publish("d", nil, []byte("x"), id, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := talk.read(); err == nil || errors.Is(err, io.ErrNoProgress) {
			t.Fatal("it ended without a reason")
		}
		left := 0
		for _, x := range talk.flying {
			if !x.settled {
				left++
			}
		}
		for id, n := range k.of {
			if n != 1 || id > 5 {
				t.Fatalf("message %d was told of %d times", id, n)
			}
		}
		if len(k.of)+left != 6 {
			t.Fatalf("%d told of, %d left", len(k.of), left)
		}
	})
}

func TestPublishingAllocatesNothing(t *testing.T) {
	bag := []byte("%24.ct=application%2Fjson&%24.ce=utf-8&%24.cid=7f0c4c1e-8c54-4b5a-9f0a-111111111111&line=7")
	body := make([]byte, 300)
	for _, protocol := range []Protocol{MQTT, AMQP, HTTPS} {
		c := &Conn{way: silent(protocol), raw: nowhere{}, net: nowhere{}, sink: &told{map[uint16]int{}}}
		c.talk = c.way.talk(c)
		settle := func() {}
		switch talk := c.talk.(type) {
		case *amqpTalk:
			talk.address, talk.maxFrame, talk.window = "/devices/d/messages/events", 512, 1<<30
			talk.links[eventsHandle].end = 1 << 30
			accepted := disposed(0, 0, amqp.Accepted{})
			settle = func() {
				accepted = amqp.AppendDisposition(accepted[:0], 0, &amqp.Disposition{Role: amqp.RoleReceiver, First: talk.next - 1, Settled: true, State: amqp.Accepted{}})
				if err := talk.take(accepted[8:]); err != nil || len(talk.flying) != 0 {
					t.Fatal(err)
				}
			}
		case *httpsTalk:
			talk.head, talk.token = "POST / HTTP/1.1\r\n", "SharedAccessSignature x"
			settle = func() { talk.waiting = false }
		}
		b := new(buffers) // of a pool, which forgets some when it is watched for races
		allocated := testing.AllocsPerRun(1000, func() {
			if err := c.talk.publish(b, message{"d", bag, body, 1, false}); err != nil {
				t.Fatal(err)
			}
			settle()
		})
		if allocated > 0 {
			t.Errorf("%s: %v allocations a message", protocol, allocated)
		}
	}
}
