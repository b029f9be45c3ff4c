package httpdoor

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage"
)

// accountPath is where on a local socket the account itself is.
const accountPath = "/isthmus/v1/storage"

// AccountJSON is an account as the local socket tells of it.
type AccountJSON struct {
	Name      string   `json:"name"`
	Account   string   `json:"account"`
	HostNames []string `json:"hostNames"`
	KeysOff   bool     `json:"keysOff"`
	Blobs     int64    `json:"blobs"`
	Bytes     int64    `json:"bytes"`
}

// KeysJSON is both keys of an account, and what an SDK is given. They are secrets.
type KeysJSON struct {
	Account   string `json:"account"`
	Primary   string `json:"primaryKey"`
	Secondary string `json:"secondaryKey"`
	Endpoint  string `json:"endpoint"`
}

// serveLocal answers what only a local socket has; own is false for everything else.
func (x *exchange) serveLocal() (own bool, err error) {
	if !x.door.cfg.Local || x.path == LocalPath || strings.HasPrefix(x.path, LocalPath+"/") {
		return false, nil
	}
	switch x.Method + " " + strings.TrimSuffix(x.path, "/") {
	case "GET " + accountPath:
		blobs, bytes := x.Account.Usage()
		return true, x.json(AccountJSON{x.Account.Name(), x.Account.AccountName(), x.Account.HostNames(), x.Account.KeysOff(), blobs, bytes})
	case "GET " + accountPath + "/keys":
		return true, x.showKeys()
	case "POST " + accountPath + "/keys":
		var in struct {
			Renew storage.Which `json:"renew"`
		}
		if err := json.NewDecoder(io.LimitReader(x.Body, 1<<10)).Decode(&in); err != nil {
			return true, fault.New("httpdoor.serveLocal", fault.Invalid, "the body is not the JSON that belongs here").Because(err)
		}
		if err := x.Account.RenewKey(x.Context(), in.Renew, "the local socket"); err != nil {
			return true, err
		}
		return true, x.showKeys()
	}
	return true, fault.Newf("httpdoor.serveLocal", fault.NotFound, "there is no %s %.100q here", x.Method, x.path)
}

func (x *exchange) showKeys() error {
	primary, secondary := x.Account.Keys()
	return x.json(KeysJSON{x.Account.AccountName(), primary, secondary, x.Account.Endpoint("")})
}

func (x *exchange) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap("httpdoor.json", fault.Internal, err, "")
	}
	x.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = x.w.Write(b) // a client that went needs no answer
	return nil
}

// Named returns what Config.Arrive is on a local socket, where a host name is a formality: the account named by ?hub=, or the only one.
func Named(server *storage.Server) func(*http.Request) (Arrival, error) {
	return func(r *http.Request) (Arrival, error) {
		op := "httpdoor.Named"
		all := server.Accounts()
		name := r.URL.Query().Get("hub")
		switch a, ok := server.ByName(name); {
		case ok:
			return Arrival{Account: a}, nil
		case name == "" && len(all) == 1:
			return Arrival{Account: all[0]}, nil
		case len(all) == 0:
			return Arrival{}, fault.New(op, fault.NotFound, "no blob service is served here").Advise("make a service of type blob that has servedBy set to this process")
		}
		names := make([]string, len(all))
		for i, a := range all {
			names[i] = a.Name()
		}
		return Arrival{}, fault.Newf(op, fault.NotFound, "no blob service %.140q is served here", name).Advise("name one: %s", strings.Join(names, ", "))
	}
}
