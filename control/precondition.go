package control

import (
	"context"

	"github.com/isthmus-io/isthmus/resource"
)

// Precondition is what must hold of a noun at the moment it is changed: its check runs in the transaction of the change, before it, and
// a fault from it is the outcome. It is not called for a noun that is not there. Whoever sets one has made sure that the principal may
// see the noun.
type Precondition struct {
	Key   resource.Key
	Check func(now resource.Object) error
}

type preconditionKey struct{}

// WithPrecondition puts a precondition on the one change made with the context: an Apply or a Delete.
func WithPrecondition(ctx context.Context, p Precondition) context.Context {
	return context.WithValue(ctx, preconditionKey{}, p)
}

func (w *work) precondition(ctx context.Context) error {
	p, ok := ctx.Value(preconditionKey{}).(Precondition)
	if !ok {
		return nil
	}
	o, err := w.get(p.Key)
	if err != nil || o == nil {
		return err
	}
	return p.Check(o)
}
