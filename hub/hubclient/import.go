package hubclient

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
)

// How Import treats identities that are there already.
const (
	ImportCreate         = "create"         // they are left alone, but for parts of their twins that nobody has written
	ImportUpdate         = "update"         // they are changed, and no others are made
	ImportCreateOrUpdate = "createOrUpdate" // they are changed
)

// What became of an identity.
const (
	ImportCreated = "created"
	ImportChanged = "changed"
	ImportSame    = "same"   // it was there already, as it is to be
	ImportKept    = "kept"   // it was there, differs, and was left alone
	ImportAbsent  = "absent" // it was not there, and none was made
)

// Imported is what became of one identity.
type Imported struct {
	Result  string // ImportCreated and so on; empty with Err
	NewKeys bool   // the hub made its keys
	Err     error
}

// Import brings up to MaxBulk identities of another hub, with their twins, in one transaction; those that fail keep nobody else out. Each
// is JSON as in the file of an export job, and may have "parentDeviceId", "modelId" and "twinOnly" (only the twin is known) beside it.
// Brought again nothing changes. trial tells what would come of it and changes nothing. The results are in the order of the identities.
func (c *Client) Import(ctx context.Context, mode string, trial bool, identities []json.RawMessage) ([]Imported, error) {
	op := "hubclient.Import"
	var answer struct {
		Results []struct {
			Result  string
			NewKeys bool
			Error   *struct {
				Code          int
				Message, Next string
			}
		}
	}
	in := map[string]any{"mode": mode, "dryRun": trial, "identities": identities}
	if err := c.call(ctx, http.MethodPost, "/isthmus/v1/import", nil, "", in, &answer); err != nil {
		return nil, err
	}
	if len(answer.Results) != len(identities) {
		return nil, fault.Newf(op, fault.Unavailable, "the hub answered for %d of %d identities", len(answer.Results), len(identities))
	}
	out := make([]Imported, len(identities))
	for i, r := range answer.Results {
		out[i] = Imported{Result: r.Result, NewKeys: r.NewKeys}
		if r.Error != nil {
			known, ok := code.Numbered(r.Error.Code)
			if !ok {
				known = code.ArgumentInvalid
			}
			out[i].Err = code.With(fault.New(op, kindOf(known.Status), r.Error.Message).Advise("%s", r.Error.Next), known)
		}
	}
	return out, nil
}
