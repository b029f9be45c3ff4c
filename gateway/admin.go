package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/gateway/refusals"
	"github.com/isthmus-io/isthmus/localsocket"
)

// adminSocket is where people are answered, in the data directory.
const adminSocket = "gateway.sock"

const (
	adminTime    = 10 * time.Second
	mostRefusals = 1000
)

// serveAdmin answers HTTP at the socket until ctx ends. Whoever may open the file may do everything.
func (g *Gateway) serveAdmin(ctx context.Context, path string) error {
	ln, err := localsocket.Listen(path)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: g.Handler(), ReadHeaderTimeout: adminTime, ReadTimeout: adminTime, WriteTimeout: adminTime, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case <-ctx.Done():
	case err := <-served:
		return err
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = srv.Shutdown(bounded) // requests get a moment to end
	err = srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return err
}

// Refusals is what the admin door tells of them.
type Refusals struct {
	Recent   []refusals.Refusal `json:"recent"` // the latest first
	Counts   []refusals.Count   `json:"counts"`
	Culprits []refusals.Culprit `json:"culprits"`
}

// Handler is the admin door: GET /status, GET /why?source=&name=&port=&listener=&gateway=, GET /refusals?n=, POST /drain?seconds=. It
// asks nobody who they are.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { g.reply(w, g.Status()) })
	mux.HandleFunc("GET /refusals", func(w http.ResponseWriter, r *http.Request) {
		n, err := number(r, "n", 100, mostRefusals)
		if err != nil {
			g.fail(w, err)
			return
		}
		g.reply(w, Refusals{g.ledger.Recent(n), g.ledger.Counts(), g.ledger.Culprits(n)})
	})
	mux.HandleFunc("GET /why", func(w http.ResponseWriter, r *http.Request) {
		x, err := g.why(r)
		if err != nil {
			g.fail(w, err)
			return
		}
		g.reply(w, x)
	})
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) {
		seconds, err := number(r, "seconds", 0, 86_400)
		if err != nil {
			g.fail(w, err)
			return
		}
		g.Drain(time.Duration(seconds) * time.Second)
		g.reply(w, map[string]int{"connections": g.carrier.Stats().Open})
	})
	return mux
}

func (g *Gateway) why(r *http.Request) (x Explanation, err error) {
	const op = "gateway.why"
	q := decide.Question{Name: r.FormValue("name"), Listener: r.FormValue("listener")}
	if q.Source, err = netip.ParseAddr(r.FormValue("source")); err != nil {
		return x, fault.Newf(op, fault.Invalid, "the source %q is no IP address", r.FormValue("source")).Advise("give the client's address, such as 203.0.113.9")
	}
	port, err := number(r, "port", 0, 65_535)
	if err != nil {
		return x, err
	}
	q.Port = uint16(port)
	x, ok := g.Why(r.FormValue("gateway"), q)
	if !ok {
		return x, fault.Newf(op, fault.NotFound, "this process carries no gateway %s", r.FormValue("gateway")).Advise("see its status for those it carries")
	}
	return x, nil
}

// number reads a number of a query.
func number(r *http.Request, name string, otherwise, most int) (int, error) {
	text := r.FormValue(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fault.Newf("gateway.admin", fault.Invalid, "%s is %q", name, text).Advise("give a number from 0 to %d", most)
	}
	return n, nil
}

func (g *Gateway) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		g.log.Debug("an answer could not be written", "error", err)
	}
}

// fail answers with the fault's words.
func (g *Gateway) fail(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	if fault.KindOf(err) == fault.NotFound {
		status = http.StatusNotFound
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": fault.Message(err), "next": fault.Next(err), "kind": fault.KindOf(err).String()})
}
