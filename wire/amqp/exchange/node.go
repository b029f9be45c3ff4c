package exchange

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// Config bounds a node. The zero value works.
type Config struct {
	MaxRequest uint64        // bytes of one request; 64 KiB
	Waiting    uint32        // requests of one link that are not answered: its credit; 32
	Replies    int           // links of one connection that answers may go to; 1024
	Within     time.Duration // an answer waits so long for a link, and for credit on it; 20 s
}

// Node is one node of one connection.
type Node struct {
	cfg   Config
	serve func(context.Context, *amqp.Message) *amqp.Message
	busy  sync.WaitGroup

	mu      sync.Mutex     // guards the fields below
	replies []*engine.Link // the peer receives on them; the newest last
	came    chan struct{}  // closed and made anew when one was added
}

// New returns a node. serve makes the answer to a request, without its correlation-id; it is called from one goroutine of each link that
// requests come on, with a context that ends with the connection.
func New(cfg Config, serve func(ctx context.Context, request *amqp.Message) *amqp.Message) *Node {
	if cfg.MaxRequest == 0 {
		cfg.MaxRequest = 64 << 10
	}
	if cfg.Waiting == 0 {
		cfg.Waiting = 32
	}
	if cfg.Replies <= 0 {
		cfg.Replies = 1024
	}
	if cfg.Within <= 0 {
		cfg.Within = 20 * time.Second
	}
	return &Node{cfg: cfg, serve: serve, came: make(chan struct{})}
}

// Attach takes a link to the node's address, of either direction. It accepts it, or refuses it when there are too many.
func (n *Node) Attach(l *engine.Link) {
	if !l.PeerReceives() {
		l.Accept(engine.Accept{Credit: n.cfg.Waiting, MaxMessage: n.cfg.MaxRequest, Receive: n.requests()})
		return
	}
	if n.Links() >= n.cfg.Replies {
		l.Refuse(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "There are more than %d links to this node on the connection.", n.cfg.Replies))
		return
	}
	l.Accept(engine.Accept{}) // before anything can be sent on it
	n.mu.Lock()
	n.replies = append(n.replies, l)
	close(n.came)
	n.came = make(chan struct{})
	n.mu.Unlock()
	l.OnEnd(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.replies = slices.DeleteFunc(n.replies, func(r *engine.Link) bool { return r == l })
	})
}

// Links returns how many links answers may go to.
func (n *Node) Links() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.replies)
}

// Wait returns when nothing of the node runs any more. It is for after the connection's end.
func (n *Node) Wait() { n.busy.Wait() }

// replyLink finds the link for the answer to a request that came on l, and a channel that is closed when another may be there.
func (n *Node) replyLink(l *engine.Link, replyTo string) (*engine.Link, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var newest *engine.Link
	for _, r := range slices.Backward(n.replies) {
		if r.Session() != l.Session() {
			continue
		}
		if answersTo(r, replyTo) {
			return r, n.came
		}
		if newest == nil {
			newest = r
		}
	}
	if newest != nil {
		return newest, n.came
	}
	for _, r := range slices.Backward(n.replies) {
		if answersTo(r, replyTo) {
			return r, n.came
		}
	}
	return nil, n.came
}

func answersTo(r *engine.Link, replyTo string) bool {
	if replyTo == "" {
		return false
	}
	if r.Name() == replyTo {
		return true
	}
	target := r.Peer().Target
	if target == nil {
		return false
	}
	address, _ := target.Address.(string)
	return address == replyTo
}
