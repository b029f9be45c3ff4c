package httpdoor

import (
	"net/http"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
)

// lockHeader says for how many seconds a message stays with who received it.
const lockHeader = "iothub-messagelocktimeout"

func receiveCommand(x *exchange) error {
	var lock time.Duration
	if s := x.Header.Get(lockHeader); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 86400 {
			return fault.Newf("httpdoor.receiveCommand", fault.Invalid, "%s is %.20q", lockHeader, s).Advise("it is a number of seconds")
		}
		lock = time.Duration(n) * time.Second
	}
	c, err := x.hub.ReceiveCommand(x.Context(), x.identity(), lock)
	if err != nil {
		return err
	}
	if c == nil {
		return x.nothing()
	}
	x.setETag(c.Lock)
	h := x.w.Header()
	for name, value := range map[string]string{
		"messageid": c.MessageID, "correlationid": c.CorrelationID, "userid": c.UserID, "to": c.To, "ack": c.Ack,
		"contenttype": c.ContentType, "contentencoding": c.ContentEncoding,
		"sequencenumber": strconv.FormatInt(c.Sequence, 10), "deliverycount": strconv.Itoa(c.DeliveryCount), "enqueuedtime": headerTime(c.Enqueued),
		"expiry": headerTime(c.Expires),
	} {
		if value != "" {
			h["iothub-"+name] = []string{headerText(value)}
		}
	}
	for key, value := range c.Properties {
		h[appPrefix+key] = []string{headerText(value)} // as it was written: net/http would change its case
	}
	h.Set("Content-Type", "application/octet-stream")
	if c.ContentType != "" {
		h.Set("Content-Type", headerText(c.ContentType))
	}
	x.w.WriteHeader(http.StatusOK)
	_, _ = x.w.Write(c.Body) // a client that went gets it again
	return nil
}

func headerTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC1123)
}

// lockOf returns the lock of the path, which If-Match repeats when it is there.
func (x *exchange) lockOf() (string, error) {
	if m := x.ifMatch(); m != "" && m != x.name && m != hub.AnyETag {
		return "", code.With(fault.Newf("httpdoor.lock", fault.Precondition, "If-Match is not the lock token in the path"), code.MessageLockLost)
	}
	return x.name, nil
}

// settleCommand completes a message or, with ?reject, refuses it.
func settleCommand(x *exchange) error {
	settle := x.hub.CompleteCommand
	if _, reject := x.URL.Query()["reject"]; reject {
		settle = x.hub.RejectCommand
	}
	lock, err := x.lockOf()
	if err == nil {
		err = settle(x.Context(), x.identity(), lock)
	}
	if err != nil {
		return err
	}
	return x.nothing()
}

func abandonCommand(x *exchange) error {
	lock, err := x.lockOf()
	if err == nil {
		err = x.hub.AbandonCommand(x.Context(), x.identity(), lock)
	}
	if err != nil {
		return err
	}
	return x.nothing()
}
