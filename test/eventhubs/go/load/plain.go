package main

import (
	"context"
	"fmt"

	"github.com/Azure/go-amqp"
)

// session connects with go-amqp and begins a session.
func (d door) session(ctx context.Context) (*amqp.Session, error) {
	trusted, err := d.trust()
	if err != nil {
		return nil, err
	}
	scheme := "amqps://"
	if trusted == nil {
		scheme = "amqp://"
	}
	c, err := amqp.Dial(ctx, scheme+d.Addr, &amqp.ConnOptions{HostName: d.Host, SASLType: amqp.SASLTypePlain(d.User, d.Key), TLSConfig: trusted})
	if err != nil {
		return nil, err
	}
	return c.NewSession(ctx, nil)
}

// batchFormat says that a message's data sections are messages.
const batchFormat = 0x80013700

// message is an event, or a batch of them.
func (o order) message() (*amqp.Message, error) {
	one := &amqp.Message{
		Header: &amqp.MessageHeader{Durable: true}, ApplicationProperties: map[string]any{"line": "3"}, Data: [][]byte{make([]byte, o.Body)},
	}
	if o.Batch <= 1 {
		return one, nil
	}
	b, err := one.MarshalBinary()
	if err != nil {
		return nil, err
	}
	m := &amqp.Message{Format: batchFormat, Header: &amqp.MessageHeader{Durable: true}}
	for range o.Batch {
		m.Data = append(m.Data, b)
	}
	return m, nil
}

func plainSenders(ctx context.Context, o order) ([]sender, error) {
	message, err := o.message()
	if err != nil {
		return nil, err
	}
	var out []sender
	for range o.Senders {
		s, err := o.Door.session(ctx)
		if err != nil {
			return nil, err
		}
		link, err := s.NewSender(ctx, o.Target, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, func(ctx context.Context) (func(context.Context) error, error) {
			receipt, err := link.SendWithReceipt(ctx, message, nil)
			return func(ctx context.Context) error {
				state, err := receipt.Wait(ctx)
				if _, ok := state.(*amqp.StateAccepted); err == nil && !ok {
					err = fmt.Errorf("the outcome is %T", state)
				}
				return err
			}, err
		})
	}
	return out, nil
}

func plainReaders(ctx context.Context, o order) ([]reader, error) {
	s, err := o.Reader.session(ctx)
	if err != nil {
		return nil, err
	}
	var out []reader
	for _, source := range o.Sources {
		link, err := s.NewReceiver(ctx, source, &amqp.ReceiverOptions{Credit: 5000, RequestedSenderSettleMode: amqp.SenderSettleModeSettled.Ptr()})
		if err != nil {
			return nil, err
		}
		out = append(out, func(ctx context.Context, got func()) error {
			for {
				if _, err := link.Receive(ctx, nil); err != nil {
					return err
				}
				got()
			}
		})
	}
	return out, nil
}
