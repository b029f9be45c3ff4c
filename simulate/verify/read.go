package verify

import (
	"context"
	"strconv"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// Events is where events are read; *hubclient.Client is one.
type Events interface {
	End(ctx context.Context) (string, error)
	Events(ctx context.Context, q hubclient.Query, each func(hubclient.Event) error) error
}

// tellsEvery is how many events are read between calls of progress.
const tellsEvery = 100_000

// Run reads the events of a run from a place on, as End gave it before the first message, up to what is there when it begins: a message
// that was acknowledged is. progress, which may be nil, is told how many events were read.
func Run(ctx context.Context, events Events, from, run string, sent []Sent, progress func(read int)) (*Report, error) {
	c := NewChecker()
	read := 0
	err := events.Events(ctx, hubclient.Query{From: from}, func(e hubclient.Event) error {
		if read++; read%tellsEvery == 0 && progress != nil {
			progress(read)
		}
		if e.Properties[RunProperty] != run {
			return nil
		}
		number, err := strconv.ParseUint(e.Properties[NumberProperty], 10, 64)
		if err != nil {
			number = 0
		}
		c.See(e.System["iothub-connection-device-id"], number)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.Finish(sent), nil
}
