package localdoor

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/deadletter"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/localsocket"
)

const (
	readTime    = 10 * time.Second
	replayTime  = 12 * time.Hour
	mostLetters = 10_000
	mostBytes   = 64 << 20
)

// Bridges is what the door needs of the bridges of a process.
type Bridges interface {
	Status() []bridge.Status
	Letters(id string) (bridge.Letters, bool)
	Replay(ctx context.Context, id string, letters []*event.Event) error
}

var _ Bridges = (*bridge.Bridges)(nil)

// Serve answers at the socket until ctx ends. Conflict when another process does, Invalid when the path cannot be a socket's.
func Serve(ctx context.Context, path string, b Bridges, log *slog.Logger) error {
	ln, err := localsocket.Listen(path)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: Handler(b, log), ReadHeaderTimeout: readTime, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
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

// door answers requests.
type door struct {
	bridges Bridges
	log     *slog.Logger
}

// Handler is the door without its socket. It asks nobody who they are.
func Handler(b Bridges, log *slog.Logger) http.Handler {
	d := &door{b, log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", d.answer(func(*http.Request) (any, error) { return d.bridges.Status(), nil }))
	mux.HandleFunc("GET /letters", d.answer(d.list))
	mux.HandleFunc("GET /letter", d.answer(d.show))
	mux.HandleFunc("POST /replay", d.answer(d.replay))
	mux.HandleFunc("POST /delete", d.answer(d.remove))
	return mux
}

func (d *door) answer(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				d.log.Error("a request on this machine failed", "path", r.URL.Path, "error", err)
			}
			w.WriteHeader(http.StatusConflict) // the kind stands in the answer
			v = struct{ Error, Next, Kind string }{fault.Message(err), fault.Next(err), fault.KindOf(err).String()}
		}
		if err := json.NewEncoder(w).Encode(v); err != nil {
			d.log.Debug("an answer was not read", "error", err)
		}
	}
}

// store finds the bridge that is meant: by its name, its uid, or because it is the only one.
func (d *door) store(r *http.Request) (id, name string, s *deadletter.Store, err error) {
	const op = "localdoor.store"
	wanted := r.URL.Query().Get("bridge")
	all := d.bridges.Status()
	var names []string
	for _, b := range all {
		names = append(names, b.Name)
		if wanted == b.Name || wanted == b.ID || wanted == "" && len(all) == 1 {
			id, name = b.ID, b.Name
		}
	}
	switch {
	case len(all) == 0:
		return "", "", nil, fault.New(op, fault.NotFound, "this process carries no bridges").Advise("who carries which stands in: isthmus bridge list")
	case id == "" && wanted == "":
		return "", "", nil, fault.Newf(op, fault.Invalid, "this process carries %d bridges", len(all)).Advise("name one of %s", strings.Join(names, ", "))
	case id == "":
		return "", "", nil, fault.Newf(op, fault.NotFound, "this process carries no bridge %.200s", wanted).Advise("it carries %s", strings.Join(names, ", "))
	}
	l, open := d.bridges.Letters(id)
	s, kept := l.(*deadletter.Store)
	if !open || !kept {
		return "", "", nil, fault.Newf(op, fault.Unavailable, "the dead letters of %s are not open: it has not run since the process began", name).
			Advise("why stands in: isthmus bridge status %s", name)
	}
	return id, name, s, nil
}

func (d *door) list(r *http.Request) (any, error) {
	_, name, s, err := d.store(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	f, err := filter(q)
	if err != nil {
		return nil, err
	}
	limit := 100
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > mostLetters {
			return nil, fault.Newf("localdoor.list", fault.Invalid, "%.20q letters cannot be listed", text).Advise("give 1 to %d", mostLetters)
		}
	}
	found, err := s.List(f, limit, mostBytes)
	if err != nil {
		return nil, err
	}
	out := Letters{Bridge: name, Total: s.Count(f), Letters: make([]Letter, len(found))}
	for i, l := range found {
		out.Letters[i] = letterOf(l, q.Get("whole") == "true")
	}
	return out, nil
}

func (d *door) show(r *http.Request) (any, error) {
	_, _, s, err := d.store(r)
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseUint(r.URL.Query().Get("id"), 10, 64)
	if err != nil {
		return nil, fault.Newf("localdoor.show", fault.Invalid, "%.40q is no number of a dead letter", r.URL.Query().Get("id"))
	}
	l, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	return letterOf(l, true), nil
}

func (d *door) replay(r *http.Request) (any, error) {
	id, name, s, err := d.store(r)
	if err != nil {
		return nil, err
	}
	f, err := filter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), replayTime)
	defer cancel()
	n, err := s.Replay(ctx, f, func(ctx context.Context, list []*event.Event) error { return d.bridges.Replay(ctx, id, list) })
	d.log.Info("dead letters were replayed", "bridge", name, "letters", n, "error", err)
	if err != nil {
		return nil, fault.New("localdoor.replay", fault.KindOf(err), fault.Message(err)+"; "+strconv.Itoa(n)+" were replayed before").Advise("%s", fault.Next(err)).Because(err)
	}
	return Done{name, n}, nil
}

func (d *door) remove(r *http.Request) (any, error) {
	_, name, s, err := d.store(r)
	if err != nil {
		return nil, err
	}
	f, err := filter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	n, err := s.Delete(f)
	d.log.Info("dead letters were deleted", "bridge", name, "letters", n, "error", err)
	return Done{name, n}, err
}
