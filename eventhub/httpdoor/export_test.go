package httpdoor

import (
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
)

// Route is a row of the table, for tests.
type Route struct {
	Method, Path  string
	Right         eventhub.Right
	Entity, Local bool
}

// Routes returns the table.
func Routes() []Route {
	var out []Route
	for _, r := range routes() {
		out = append(out, Route{r.method, r.path, r.right, r.entity, r.local})
	}
	return out
}

// StatusOf is the table of statuses.
func StatusOf(k fault.Kind) int { return statusOf(k) }
