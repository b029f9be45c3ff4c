//go:build slim

package files

import (
	"context"
	"net/url"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/fault"
)

func openS3(context.Context, *url.URL, *end.End) (sink, error) {
	return nil, fault.New("files.New", fault.Invalid, "this program was built without the clouds' buckets").Advise("use one that was built without -tags slim")
}
