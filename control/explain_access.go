package control

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
)

func (c *Control) ExplainAccess(ctx context.Context, p Principal, q AccessQuestion) (AccessExplanation, error) {
	return AccessExplanation{}, fault.New("control.ExplainAccess", fault.Unavailable, "not yet")
}
