package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/isthmus-io/isthmus/access/recording"
	sessions "github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/identity"
)

// memory is a file that a recording is written to.
type memory struct{ bytes.Buffer }

func (*memory) Close() error { return nil }

// visit NETWORK/AGENT GRANT SESSION FILE lets an agent tell of a session that was recorded, and of a try that was refused. The private key that opens
// the recording is written to FILE.
func visit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: visit AGENT GRANT SESSION FILE")
	}
	p, ctx := planeOf(ts), context.Background()
	id, ok := p.members[args[0]]
	if !ok {
		ts.Fatalf("%s has not joined", args[0])
	}
	g, err := p.ctl.Grant(ctx, control.Principal{Name: "test", Role: control.RoleAdmin}, args[1])
	ts.Check(err)
	at := time.Now()
	r := sessions.Record{
		Session: args[2], Phase: sessions.Opened, At: at, Grant: g.ID, Target: g.TargetUID, From: "192.0.2.7:50123", To: "127.0.0.1:22",
		Person: string(identity.PersonID("isthmus.test", g.Person.Tenant, g.Person.ID, "pass")),
	}
	end := r
	end.Phase, end.Opened, end.At, end.End, end.Sent, end.Received, end.Login = sessions.Ended, at, at.Add(time.Minute), sessions.EndClosed, 1200, 3_400_000, "service"
	refused := r
	refused.Session, refused.Phase, refused.End, refused.Words = "ff"+args[2][2:], sessions.Refused, sessions.Unreachable, "nothing listens there"
	ts.Check(p.ctl.NoteSessions(ctx, id, []sessions.Record{r, end, refused}))
	var out memory
	public, private, err := recording.NewKey()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(private+"\n"), 0o600))
	w, err := recording.NewWriter(&out, []string{public}, recording.Header{Width: 80, Height: 24}, clock.System{})
	ts.Check(err)
	ts.Check(w.Output([]byte("hello \x1b]0;evil\x07from the press\r\n")))
	ts.Check(w.Close())
	sum := sha256.Sum256(out.Bytes())
	ts.Check(p.ctl.PutRecording(ctx, id, args[2], bytes.NewReader(out.Bytes()), int64(out.Len()), hex.EncodeToString(sum[:])))
}
