package storage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

// Account is one blob service of a server.
type Account struct {
	server *Server
	id     string
	spec   atomic.Pointer[Spec]
	keys   atomic.Pointer[keys]

	renewing sync.Mutex // held while keys change

	blobs, bytes atomic.Int64 // of all containers, as far as this process has heard
}

type keys struct{ primary, secondary []byte }

func (s *Server) open(ctx context.Context, spec Spec) (*Account, error) {
	op := "storage.SetAccounts"
	if spec.ID == "" || len(spec.HostNames) == 0 {
		return nil, fault.Newf(op, fault.Invalid, "blob service %q has no id or no host name in the plan", spec.Name).Advise("give its service a spec.hostName")
	}
	row, err := s.store.Ensure(ctx, storagestore.Account{ID: spec.ID, Created: s.clock.Now(), PrimaryKey: newKey(), SecondaryKey: newKey()})
	if err != nil {
		return nil, err
	}
	a := &Account{server: s, id: spec.ID}
	if err := a.setKeys(row); err != nil {
		return nil, err
	}
	n, bytes, err := s.store.Reading(ctx).Usage(spec.ID)
	a.blobs.Store(n)
	a.bytes.Store(bytes)
	return a, err
}

func (a *Account) setKeys(row storagestore.Account) error {
	var k keys
	for text, to := range map[string]*[]byte{row.PrimaryKey: &k.primary, row.SecondaryKey: &k.secondary} {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b) < 32 {
			return fault.New("storage.setKeys", fault.Internal, "a key of the account is not as it was made")
		}
		*to = b
	}
	a.keys.Store(&k)
	return nil
}

// newKey returns 64 random bytes as base64, as long as those of Azure.
func newKey() string {
	b := make([]byte, 64)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// ID is the uid of the service.
func (a *Account) ID() string { return a.id }

// Name is the service's path, ot/ot-cloud/lake.
func (a *Account) Name() string { return a.spec.Load().Name }

// HostName is the public name.
func (a *Account) HostName() string { return a.spec.Load().HostNames[0] }

// HostNames are all names it answers to. Do not change the slice.
func (a *Account) HostNames() []string { return a.spec.Load().HostNames }

// AccountName is the name in signatures and connection strings.
func (a *Account) AccountName() string { return a.spec.Load().account() }

// KeysOff tells whether keys open nothing.
func (a *Account) KeysOff() bool { return a.spec.Load().KeysOff }

// Usage is how many blobs there are, and their bytes.
func (a *Account) Usage() (blobs, bytes int64) { return a.blobs.Load(), a.bytes.Load() }

// Which says which of the two keys is meant.
type Which string

const (
	Primary   Which = "primary"
	Secondary Which = "secondary"
)

// Keys returns both keys, as base64. They are secrets.
func (a *Account) Keys() (primary, secondary string) {
	k := a.keys.Load()
	return base64.StdEncoding.EncodeToString(k.primary), base64.StdEncoding.EncodeToString(k.secondary)
}

// RenewKey makes a new key in place of one. Requests and signatures made with the old one are refused from then on. by is who asked, for the
// log.
func (a *Account) RenewKey(ctx context.Context, which Which, by string) error {
	a.renewing.Lock()
	defer a.renewing.Unlock()
	row := storagestore.Account{ID: a.id}
	row.PrimaryKey, row.SecondaryKey = a.Keys()
	switch which {
	case Primary:
		row.PrimaryKey = newKey()
	case Secondary:
		row.SecondaryKey = newKey()
	default:
		return fault.Newf("storage.RenewKey", fault.Invalid, "%.20q is no key", which).Advise("write primary or secondary")
	}
	if err := a.server.store.Write(ctx, func(tx *storagestore.Tx) error { return tx.SetKeys(row) }); err != nil {
		return err
	}
	a.server.log.Info("storage: key renewed", "account", a.Name(), "key", string(which), "by", by)
	return a.setKeys(row)
}

// ConnectionString is what a person gives to an SDK; port is the door's, empty for 443. It is a secret.
func (a *Account) ConnectionString(which Which, port string) (string, error) {
	primary, secondary := a.Keys()
	key := primary
	switch which {
	case Primary:
	case Secondary:
		key = secondary
	default:
		return "", fault.Newf("storage.ConnectionString", fault.Invalid, "%.20q is no key", which).Advise("write primary or secondary")
	}
	return "DefaultEndpointsProtocol=https;AccountName=" + a.AccountName() + ";AccountKey=" + key + ";BlobEndpoint=" + a.Endpoint(port) + ";", nil
}
