package control

import (
	"crypto/aes"
	"crypto/cipher"

	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store"
)

// seal encrypts what only a process with the deployment's authority may read, for one purpose: the same text cannot stand elsewhere.
func (c *Control) seal(purpose string, plain []byte) ([]byte, error) {
	gcm, err := c.vault()
	if err != nil {
		return nil, err
	}
	return gcm.Seal(nil, nil, plain, []byte(purpose)), nil //nolint:gosec // the nonce is random: NewGCMWithRandomNonce
}

// open decrypts what seal made for the same purpose.
func (c *Control) open(purpose string, sealed []byte) ([]byte, error) {
	gcm, err := c.vault()
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nil, sealed, []byte(purpose))
	if err != nil {
		return nil, fault.New("control.open", fault.Conflict, "a key in the database was not made with this deployment's authority").Because(err).
			Advise("the database and the authority's files (ca.pem, ca.key) belong together: restore both from one backup")
	}
	return plain, nil
}

func (c *Control) vault() (cipher.AEAD, error) {
	secret, err := c.authority.Secret("sealed keys")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fault.Wrap("control.vault", fault.Internal, err, "")
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	return gcm, fault.Wrap("control.vault", fault.Internal, err, "")
}

func keyPurpose(tenant string, p store.KeyPurpose) string {
	return "key " + string(p) + " of " + tenant
}

// ensureKeys makes what keys the tenant does not have yet.
func (w *work) ensureKeys(tenant string) error {
	for _, k := range []struct {
		purpose store.KeyPurpose
		make    func() (string, []byte, error)
	}{
		{store.KeySSHUsers, sshca.NewKey}, {store.KeySSHHosts, sshca.NewKey},
		{store.KeyRecordings, func() (string, []byte, error) {
			public, private, err := recording.NewKey()
			return public, []byte(private), err
		}},
	} {
		if w.world().publics[tenant][k.purpose] != "" {
			continue
		}
		if _, ok, err := w.SealedKey(tenant, k.purpose); ok || err != nil { // made by this change, or by another server
			if err != nil {
				return err
			}
			continue
		}
		public, private, err := k.make()
		if err != nil {
			return err
		}
		sealed, err := w.c.seal(keyPurpose(tenant, k.purpose), private)
		if err != nil {
			return err
		}
		pub := store.PublicKey{Tenant: tenant, Purpose: k.purpose, Public: public}
		if err := w.AddSealedKey(pub, sealed, w.now); err != nil {
			return err
		}
		w.changes = append(w.changes, change{public: &pub})
	}
	return nil
}

// privateKey opens a tenant's key. NotFound when it has none yet.
func (c *Control) privateKey(tx *store.Tx, tenant string, p store.KeyPurpose) ([]byte, error) {
	sealed, ok, err := tx.SealedKey(tenant, p)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.Newf("control.privateKey", fault.NotFound, "the tenant %s has no key for this yet", tenant).Advise("make a target first")
	}
	return c.open(keyPurpose(tenant, p), sealed)
}
