package accessnode

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"

	"github.com/isthmus-io/isthmus/access/journal"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/membership"
)

const prefix = "/member/v1/access/"

// NewSender returns what brings a journal's content to the control plane, as this member.
func NewSender(m *membership.Member) journal.Sender { return sender{m} }

type sender struct{ member *membership.Member }

func (s sender) Sessions(ctx context.Context, records []session.Record) error {
	return s.member.Call(ctx, prefix+"sessions", struct {
		Records []session.Record `json:"records"`
	}{records}, nil)
}

// Recording names the hash as RFC 9530 has it.
func (s sender) Recording(ctx context.Context, session string, size int64, sha256 string, content io.Reader) error {
	sum, err := hex.DecodeString(sha256)
	if err != nil {
		return fault.Wrap("accessnode.Recording", fault.Internal, err, "")
	}
	return s.member.Upload(ctx, prefix+"recordings/"+session, content, size, http.Header{
		"Content-Type":   {"application/octet-stream"},
		"Content-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"},
	})
}
