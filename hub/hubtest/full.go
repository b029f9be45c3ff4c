package hubtest

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/configuration"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/job"
	"github.com/isthmus-io/isthmus/hub/stream"
)

// fill starts the rooms above the hub, as a hub process has them, with shorter pauses.
func (w *World) fill(rooms *httpdoor.Config, o Options, run func(name string, f func(context.Context) error)) {
	rooms.Jobs = job.New(job.Config{Look: 50 * time.Millisecond}, w.Server, o.Logger, o.Clock)
	rooms.Configurations = configuration.New(configuration.Config{Every: 50 * time.Millisecond}, w.Server, o.Logger, o.Clock)
	files, err := file.New(context.Background(), file.Config{Blobs: blob.Config{Dir: w.t.TempDir()}}, w.Server, o.Logger, o.Clock, nil)
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, files.Close()) }) // after the doors, whose cleanup comes later and so runs first
	rooms.Files = files
	rooms.Streams = stream.New(stream.Config{EachSecond: 20, Journal: o.Journal}, o.Logger, o.Clock)
	w.Streams = rooms.Streams
	run("jobs", rooms.Jobs.Run)
	run("streams", rooms.Streams.Run)
	run("configurations", rooms.Configurations.Run)
	run("files", files.Run)
}
