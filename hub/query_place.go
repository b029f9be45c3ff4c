package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// place is where a page of a query ended. It holds nothing that its bearer may not know and gives no right, so nobody signs it; whatever it
// says is only ever bound to a statement.
type place struct {
	Query []byte         `json:"q"` // which query on which hub
	After hubstore.Place `json:"k"`
	Left  int            `json:"n,omitempty"` // of SELECT TOP
}

// maxContinuation bounds a continuation, which travels in a header.
const maxContinuation = 4096

// queryID tells a query on a hub from others.
func (h *Hub) queryID(q *query.Query) []byte {
	sum := sha256.Sum256([]byte(h.id + "\n" + q.String()))
	return sum[:12]
}

// String is TooLarge when the last row is too large to go on from, which only groups by long texts are.
func (p place) String() (string, error) {
	b, err := json.Marshal(p)
	if n := base64.RawURLEncoding.EncodedLen(len(b)); err == nil && n > maxContinuation {
		err = fault.New("hub.Query", fault.TooLarge, "the texts that the query groups by are too long to be given out in pages").
			Advise("ask for more items a page, or group by something shorter")
	}
	return base64.RawURLEncoding.EncodeToString(b), err
}

func readPlace(continuation string, id []byte) (place, error) {
	bad := fault.New("hub.Query", fault.Invalid, "the continuation is not one that this hub gave").Advise("send it as it was given, or ask for the first page again")
	if len(continuation) > maxContinuation {
		return place{}, bad
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(continuation)
	if err != nil {
		return place{}, bad
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var p place
	if d.Decode(&p) != nil || len(p.After) == 0 || p.Left < 0 {
		return place{}, bad
	}
	if _, err := d.Token(); err != io.EOF {
		return place{}, bad
	}
	if !bytes.Equal(p.Query, id) {
		return place{}, fault.New("hub.Query", fault.Invalid, "the continuation is of another query").Advise("send it with the query that it came from")
	}
	return p, nil
}
