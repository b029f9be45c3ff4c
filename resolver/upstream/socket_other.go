//go:build !linux

package upstream

// listen takes what comes, until the socket is closed or done with.
func (s *socket) listen(p *Pool) {
	var w work
	buf := make([]byte, 2048)
	msgs, cut, reads := make([][]byte, 1), make([]bool, 1), make([]reading, 1)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			p.broken(s, err, &w)
			return
		}
		msgs[0], cut[0] = buf[:n], n == len(buf)
		if p.arrived(s, msgs, cut, reads, &w) {
			return
		}
	}
}

// packet is a query on its way out.
type packet struct {
	buf     [640]byte // the largest query has 2+12+255+4+11+44+132+131
	scratch [64]byte
	msg     []byte
}

func newPacket() *packet { return new(packet) }

func (k *packet) sendOn(s *socket) error {
	_, err := s.conn.Write(k.msg)
	return err
}
