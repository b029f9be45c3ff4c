package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// publisher sends one event. done is called once it is acknowledged; no more than the load's window are in flight. body is good again when
// publish returns.
type publisher interface {
	publish(body []byte, done func(ok bool)) error
}

// publisher connects the ith sender.
func (l eventLoad) publisher(ctx context.Context, i int) (publisher, error) {
	id, at, target := deviceID(i), l.Door, l.Target
	switch l.Client {
	case "mqtt":
		f, err := newFleet(l.Door.Addr, l.Door.CA, false)
		if err != nil {
			return nil, err
		}
		d, err := f.dial(ctx, i)
		if err != nil {
			return nil, err
		}
		p := &mqttPublisher{device: d, waiting: make(chan func(bool), l.Window)}
		p.message = mqtt.Publish{Topic: []byte("devices/" + id + "/messages/events/line=3"), QoS: 1}
		go p.acknowledgements()
		return p, nil
	case "device":
		token, err := sas.Sign(hubHost+"/devices/"+id, hubKey, "", time.Now().Add(time.Hour))
		if err != nil {
			return nil, err
		}
		at.User, at.Key, target = id+"@sas."+hubHost, token, "/devices/"+id+"/messages/events"
	}
	s, err := at.session(ctx)
	if err != nil {
		return nil, err
	}
	sender, err := s.Sender(ctx, target, nil)
	if err != nil {
		return nil, err
	}
	return &amqpPublisher{ctx, sender}, nil
}

type amqpPublisher struct {
	ctx    context.Context
	sender *amqptest.Sender
}

func (p *amqpPublisher) publish(body []byte, done func(ok bool)) error {
	message, format := eventLoad{}.message(body)
	return p.sender.Start(p.ctx, message, format, func(s amqp.State) {
		_, ok := s.(amqp.Accepted)
		done(ok)
	})
}

type mqttPublisher struct {
	device  *device
	message mqtt.Publish
	waiting chan func(bool) // in the order of the messages, as PUBACKs are
}

func (p *mqttPublisher) publish(body []byte, done func(ok bool)) error {
	p.message.ID = p.message.ID%65535 + 1
	p.message.Payload = body
	var err error
	if p.device.buf, err = p.message.Append(p.device.buf[:0]); err != nil {
		return err
	}
	p.waiting <- done
	_, err = p.device.Write(p.device.buf)
	return err
}

func (p *mqttPublisher) acknowledgements() {
	var ack [4]byte
	for {
		if _, err := io.ReadFull(p.device, ack[:]); err != nil {
			fmt.Fprintln(os.Stderr, p.device.id, err)
			for done := range p.waiting {
				done(false)
			}
			return
		}
		(<-p.waiting)(true)
	}
}
