package bridgenode

import (
	"context"
	"log/slog"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/contract"
	"github.com/isthmus-io/isthmus/bridge/deadletter"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/eventhubs"
	"github.com/isthmus-io/isthmus/bridge/files"
	"github.com/isthmus-io/isthmus/bridge/function"
	"github.com/isthmus-io/isthmus/bridge/kafka"
	"github.com/isthmus-io/isthmus/bridge/mqtt"
	"github.com/isthmus-io/isthmus/bridge/webhook"
	"github.com/isthmus-io/isthmus/bridge/window"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Parts says which specification leads to which room.
func Parts(cfg Config) bridge.Config {
	functions := function.New() // its modules are compiled for as long as the process lives
	return bridge.Config{
		Dir: cfg.Dir, Folders: cfg.Folders,
		Source: func(e *end.End, s resource.BridgeSource, log *slog.Logger, clk clock.Clock) (bridge.Source, error) {
			return eventhubs.NewSource(e, s, log, clk)
		},
		Destination: destination,
		Step:        functions.Step,
		Window:      func(ctx context.Context, args bridge.WindowArgs) (bridge.Window, error) { return window.New(ctx, args) },
		Columns:     window.Columns,
		Contract:    func(c *plan.Contract) (bridge.Contract, error) { return contract.Compile(c) },
		Letters:     func(args bridge.LettersArgs) (bridge.Letters, error) { return deadletter.Open(args) },
	}
}

func destination(ctx context.Context, args bridge.DestinationArgs) (bridge.Destination, error) {
	switch d := args.Destination; {
	case d.Blob != nil, d.Disk != nil:
		return files.New(ctx, args)
	case d.EventHub != nil:
		return eventhubs.NewDestination(args.End, args.Bridge, *d.EventHub, args.Log, args.Clock)
	case d.Kafka != nil:
		return kafka.New(args)
	case d.MQTT != nil:
		return mqtt.New(args)
	case d.HTTP != nil:
		return webhook.New(args)
	}
	return nil, fault.Newf("bridgenode.destination", fault.Invalid, "the destination of %s is of no form that is known here", args.Name).
		Advise("this program may be older than the control plane: use the same version")
}
