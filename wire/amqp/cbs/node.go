package cbs

import (
	"context"
	"strings"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/exchange"
)

// Is tells whether an address is that of the node.
func Is(address string) bool { return strings.EqualFold(strings.TrimPrefix(address, "/"), "$cbs") }

// Token is what a peer puts.
type Token struct {
	Audience string // what it is for, as the peer wrote it: "sb://host/hub", "host%2Fdevices%2Fd"
	Kind     string // "servicebus.windows.net:sastoken", "jwt", …
	Text     string // secret
}

// Result is what becomes of a token. Code is that of HTTP: 200 or 202 when it was taken.
type Result struct {
	Code        int32
	Description string
	Condition   amqp.Symbol // for peers that tell errors apart by it; empty when the token was taken
}

// Node is the $cbs of one connection.
type Node struct {
	put      func(context.Context, Token) Result
	exchange *exchange.Node
}

// New returns the node of a connection. put is called once for each token, for tokens of one link one after the other; its context ends
// with the connection.
func New(put func(ctx context.Context, t Token) Result) *Node {
	n := &Node{put: put}
	n.exchange = exchange.New(exchange.Config{}, n.serve)
	return n
}

// Attach takes a link whose address is that of the node.
func (n *Node) Attach(l *engine.Link) { n.exchange.Attach(l) }

// Links returns how many links of the connection answers may go to.
func (n *Node) Links() int { return n.exchange.Links() }

// Wait returns when nothing of the node runs any more. It is for after the connection's end.
func (n *Node) Wait() { n.exchange.Wait() }

func (n *Node) serve(ctx context.Context, m *amqp.Message) *amqp.Message {
	t, res := read(m)
	if res.Code == 0 {
		res = n.put(ctx, t)
	}
	return answer(res)
}
