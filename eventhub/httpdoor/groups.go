package httpdoor

import (
	"net/http"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
)

// groupJSON is a consumer group.
type groupJSON struct {
	Name     string    `json:"name"`
	Declared bool      `json:"declared"`
	Created  time.Time `json:"created"`
}

func listGroups(x *exchange) error {
	list, err := x.namespace.Groups(x.args[0])
	if err != nil {
		return err
	}
	out := []groupJSON{}
	for _, g := range list {
		out = append(out, groupJSON(g))
	}
	x.write(http.StatusOK, out)
	return nil
}

func createGroup(x *exchange) error {
	g, err := x.namespace.CreateGroup(x.Context(), x.args[0], x.args[1])
	if err != nil {
		return err
	}
	x.write(http.StatusCreated, groupJSON(g))
	return nil
}

func deleteGroup(x *exchange) error {
	if err := x.namespace.DeleteGroup(x.Context(), x.args[0], x.args[1]); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// checkpointJSON is how far a consumer group has come in one partition.
type checkpointJSON struct {
	Partition int       `json:"partition"`
	Sequence  int64     `json:"sequenceNumber"`
	Offset    string    `json:"offset"`
	Waiting   int64     `json:"waiting"`
	Owner     string    `json:"owner,omitempty"`
	ETag      string    `json:"etag"`
	Updated   time.Time `json:"updated"`
}

func listCheckpoints(x *exchange) error {
	list, err := x.namespace.Checkpoints(x.Context(), x.args[0], x.args[1])
	if err != nil {
		return err
	}
	out := []checkpointJSON{}
	for _, c := range list {
		out = append(out, checkpointJSON(c))
	}
	x.write(http.StatusOK, out)
	return nil
}

func setCheckpoint(x *exchange) error {
	op := "httpdoor.setCheckpoint"
	partition, err := x.partition(2)
	if err != nil {
		return err
	}
	var in struct {
		Sequence *int64 `json:"sequenceNumber"`
		Offset   string `json:"offset"`
		Owner    string `json:"owner"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	if in.Sequence == nil {
		return fault.New(op, fault.Invalid, "sequenceNumber is missing").Advise("it is that of the last event that was done with, -1 for none")
	}
	c, err := x.namespace.SetCheckpoint(x.Context(), x.args[0], x.args[1], eventhub.Checkpoint{Partition: partition, Sequence: *in.Sequence, Offset: in.Offset, Owner: in.Owner}, x.tag("If-Match"))
	if err != nil {
		return err
	}
	x.tagged(c.ETag, checkpointJSON(c))
	return nil
}

// partition reads the number of a partition from the path.
func (x *exchange) partition(arg int) (int, error) {
	n, err := strconv.Atoi(x.args[arg])
	if err != nil || n < 0 {
		return 0, fault.Newf("httpdoor.partition", fault.NotFound, "there is no partition %.20q", x.args[arg]).Advise("partitions are numbers from 0 on")
	}
	return n, nil
}

func (x *exchange) tagged(etag string, v any) {
	x.w.Header().Set("ETag", `"`+etag+`"`)
	x.write(http.StatusOK, v)
}

// ownershipJSON says which processor reads a partition.
type ownershipJSON struct {
	Partition int       `json:"partition"`
	Owner     string    `json:"owner"`
	ETag      string    `json:"etag"`
	Modified  time.Time `json:"modified"`
}

func listOwnerships(x *exchange) error {
	list, err := x.namespace.Ownerships(x.Context(), x.args[0], x.args[1])
	if err != nil {
		return err
	}
	out := []ownershipJSON{}
	for _, o := range list {
		out = append(out, ownershipJSON(o))
	}
	x.write(http.StatusOK, out)
	return nil
}

func claimOwnership(x *exchange) error {
	partition, err := x.partition(2)
	if err != nil {
		return err
	}
	var in struct {
		Owner string `json:"owner"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	o, err := x.namespace.ClaimOwnership(x.Context(), x.args[0], x.args[1], partition, in.Owner, x.tag("If-Match"))
	if err != nil {
		return err
	}
	x.tagged(o.ETag, ownershipJSON(o))
	return nil
}
