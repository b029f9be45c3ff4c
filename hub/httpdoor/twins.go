package httpdoor

import (
	"net/http"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/twin"
)

func getTwin(x *exchange) error { return x.answerTwin(x.hub.Twin(x.Context(), x.identity())) }

func (x *exchange) answerTwin(t hub.Twin, err error) error {
	if err != nil {
		return err
	}
	b, err := t.JSON()
	if err != nil {
		return fault.Wrap("httpdoor.twin", fault.Internal, err, "")
	}
	x.setETag(t.ETag())
	return x.replyText(http.StatusOK, b)
}

func patchTwin(x *exchange) error {
	b, err := x.body(twin.MaxBody)
	if err != nil {
		return err
	}
	return x.answerTwin(x.hub.PatchTwin(x.Context(), x.identity(), b, x.ifMatch()))
}

func replaceTwin(x *exchange) error {
	b, err := x.body(twin.MaxBody)
	if err != nil {
		return err
	}
	return x.answerTwin(x.hub.ReplaceTwin(x.Context(), x.identity(), b, x.ifMatch()))
}
