package resolver

import (
	"context"
	"errors"
	"net"

	"github.com/isthmus-io/isthmus/resolver/datagram"
)

// answerUDP reads datagrams in batches and answers at once what the view and the cache know. Upstreams are asked when those answers are
// on their way: names of the network do not wait for others.
func (r *Resolver) answerUDP(ctx context.Context, sock *datagram.Socket) error {
	batch, d := sock.NewBatch(r.cfg.Batch), r.newDesk()
	var later []*exchange
	for errs := 0; ; {
		n, err := batch.Read()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			// An ICMP error for an earlier reply is told to the next read; so many in a row are something else.
			if errs++; errs > 1000 || errors.Is(err, net.ErrClosed) {
				return err
			}
			continue
		}
		errs = 0
		d.open()
		for i := range n {
			reply, more := d.answer(batch.Room(i), batch.Packet(i), batch.Client(i), overUDP)
			if more {
				var x *exchange
				if x, reply = d.exchange(); x != nil {
					x.sock, x.back = sock, batch.Return(i)
					later = append(later, x)
					continue
				}
			}
			batch.Answer(i, reply)
		}
		d.close() // who has an answer finds it counted
		batch.Flush()
		for i, x := range later {
			later[i] = nil
			x.start()
		}
		later = later[:0]
	}
}
