package httpdoor

import (
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/registryfile"
)

const maxImportBody = 8 << 20

// importRoutes bring identities of another hub.
func importRoutes() []route {
	return []route{{method: "POST", path: "isthmus/v1/import", right: hub.EveryRight, own: true, serve: bringIdentities}}
}

// newcomerJSON is a line of an export with what other sources know beside it.
type newcomerJSON struct {
	registryfile.Line
	TwinOnly bool   `json:"twinOnly"`
	Parent   string `json:"parentDeviceId"`
	ModelID  string `json:"modelId"`
}

func (j newcomerJSON) newcomer() hub.Newcomer {
	n := hub.Newcomer{Device: j.Device(), Only: j.TwinOnly, Parent: j.Parent, Model: j.ModelID, Tags: j.Tags}
	if j.Properties != nil {
		n.Desired, n.Reported = j.Properties.Desired, j.Properties.Reported
	}
	return n
}

type importJSON struct {
	Mode       string         `json:"mode"` // create, update or createOrUpdate
	Trial      bool           `json:"dryRun"`
	Identities []newcomerJSON `json:"identities"`
}

type arrivedJSON struct {
	Arrival hub.Arrival `json:"result,omitempty"`
	NewKeys bool        `json:"newKeys,omitempty"`
	Error   *errorJSON  `json:"error,omitempty"`
}

type errorJSON struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Next    string `json:"next,omitempty"`
}

func bringIdentities(x *exchange) error {
	op := "httpdoor.bringIdentities"
	var in importJSON
	if err := x.decode(maxImportBody, &in); err != nil {
		return err
	}
	modes := map[string]hub.Mode{"create": hub.Create, "update": hub.Update, "createorupdate": hub.CreateOrUpdate}
	mode, known := modes[strings.ToLower(in.Mode)]
	if !known {
		return fault.Newf(op, fault.Invalid, "mode is %.40q", in.Mode).Advise("use create, update or createOrUpdate")
	}
	if len(in.Identities) == 0 || len(in.Identities) > maxBulk {
		err := fault.Newf(op, fault.Invalid, "the request brings %d identities", len(in.Identities)).Advise("send 1 to %d at a time", maxBulk)
		if len(in.Identities) > maxBulk {
			return code.With(err, code.TooManyDevices)
		}
		return err
	}
	if err := x.count(limit.Registry, len(in.Identities)); err != nil {
		return err
	}
	list := make([]hub.Newcomer, len(in.Identities))
	for i, j := range in.Identities {
		list[i] = j.newcomer()
	}
	results, err := x.hub.Bring(x.Context(), mode, list, in.Trial)
	if err != nil {
		return err
	}
	out := make([]arrivedJSON, len(results))
	for i, r := range results {
		out[i] = arrivedJSON{Arrival: r.Arrival, NewKeys: r.NewKeys}
		if r.Err != nil {
			out[i] = arrivedJSON{Error: &errorJSON{code.Of(r.Err).Number, fault.Message(r.Err), fault.Next(r.Err)}}
		}
	}
	return x.reply(map[string]any{"results": out})
}
